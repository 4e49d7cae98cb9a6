"""Evaluates a SavedModel on a data set: accuracy, calibration, speed, sparsity.

    dlth-evaluate --saved_model=exports/1 --dataset=digits

Nothing but the SavedModel is needed; another program may have made it.
"""

import json
import statistics
import timeit
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from absl import flags

from dlth_tf.experiment import command_line
from dlth_tf.experiment import flags as program_flags
from dlth_tf.files import atomic_write
from dlth_tf.metrics import measure
from official import data
from official.common import DEFINE_path

program_flags.register()
FLAGS = program_flags.FLAGS

_OF_TRAINING = ("data_dir", "train_examples", "validation_fraction", "image_size")
for of_training in ("dataset", *_OF_TRAINING, "plugins"):
    flags.declare_key_flag(of_training)
DEFINE_path("saved_model", None, "Folder of the SavedModel.")
flags.DEFINE_enum(
    "split",
    "test",
    ["test", "validation"],
    "Part of the data set to evaluate on. validation: the training images that were held "
    "out, given --validation_fraction and --train_examples as in training.",
)
flags.DEFINE_bool(
    "normalize",
    False,
    "Normalise the images first, for a SavedModel that does not do so itself. Without "
    "it pixels are given as they come, mostly 0 to 255.",
)
flags.DEFINE_string(
    "signature",
    None,
    "Signature to call. Default: serving_default, or the only one there is.",
)
flags.DEFINE_string(
    "output_name",
    None,
    "Output to read. Default: logits, probabilities, or the only one there is.",
)
DEFINE_path("json", None, "File to write everything measured to, as JSON.")


@command_line.ends_in_a_line
def main() -> None:
    if not FLAGS.saved_model:
        raise ValueError("--saved_model is needed. See --help.")
    if FLAGS.split == "validation" and not FLAGS.validation_fraction:
        raise ValueError(
            "--split=validation needs the --validation_fraction that was held out in "
            f"training. Received: {FLAGS.validation_fraction}"
        )
    command_line.start_tensorflow_quietly()
    folder = Path(FLAGS.saved_model)
    classifier = SavedClassifier(folder, FLAGS.signature, FLAGS.output_name)
    if FLAGS.normalize and classifier.takes_whole_numbers:
        raise ValueError("--normalize: this SavedModel takes pixels, whole numbers.")
    images = _images()
    batches = images.evaluation_batches(FLAGS.split, 500)
    pairs = [(classifier(x), y) for x, y in batches]
    outputs, labels = map(np.concatenate, zip(*pairs, strict=True))
    if outputs.shape[1:] != (images.classes,):
        raise ValueError(
            f"The SavedModel's output must be [batch, {images.classes}], a score for "
            f"each class of {FLAGS.dataset}. It is {list(outputs.shape)}."
        )
    report = {
        "saved_model": FLAGS.saved_model,
        "dataset": FLAGS.dataset,
        "split": FLAGS.split,
        "normalized": FLAGS.normalize,
        **measure(outputs, labels, images.class_names),
        "images_per_second": _speeds(classifier, images),
        **_sparsity(classifier.weights()),
    }
    if FLAGS.json:
        with atomic_write(FLAGS.json) as file:
            file.write((json.dumps(report, indent=1) + "\n").encode())
    command_line.show(_table(report))


class SavedClassifier:
    """A SavedModel, whoever made it, as a classifier of images.

    Images may be wanted as `[batch, height, width, channels]`, with channels first,
    without the axis of a single channel, or flat, in any numeric type, in batches of any
    or of one size: the signature says which. `signature` may be None if it is
    `serving_default` or the only one, `output` if it is `logits`, `probabilities` or the
    only one.
    """

    def __init__(self, folder: Path, signature: str | None, output: str | None):
        import tensorflow as tf

        if not any(folder.glob("saved_model.pb*")):
            raise ValueError(f"'{folder}' holds no SavedModel (no saved_model.pb).")
        try:
            # The functions die with the object that they were loaded with.
            self._loaded = tf.saved_model.load(str(folder))
        except Exception as error:
            # TensorFlow raises errors of every kind on damaged files.
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise OSError(f"'{folder}' can't be loaded: {reason}") from error
        functions = self._loaded.signatures
        name = _chosen("signature", signature, functions, ["serving_default"])
        self._function = functions[name]
        _, inputs = self._function.structured_input_signature
        if len(inputs) != 1:
            raise ValueError(
                f"The signature of '{folder}' must have one input, the images. It has "
                f"{len(inputs)}: {', '.join(inputs)}"
            )
        ((self._input, spec),) = inputs.items()
        self._shape, self._dtype = spec.shape, spec.dtype.as_numpy_dtype
        outputs = self._function.structured_outputs
        self._output = _chosen("output", output, outputs, ["logits", "probabilities"])
        self.batch_size: int | None = spec.shape[0] if spec.shape.rank else None
        self.takes_whole_numbers: bool = spec.dtype.is_integer

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Outputs `[batch, classes]` for images `[batch, height, width, channels]`.

        Raises:
            ValueError: the signature wants images of another shape.
        """
        images = np.rint(images) if self.takes_whole_numbers else images
        images = self._arranged(images).astype(self._dtype, copy=False)
        count, size = len(images), self.batch_size or len(images)
        if count % size:
            images = np.resize(images, (count + -count % size, *images.shape[1:]))
        outputs = [
            self._function(**{self._input: batch})[self._output].numpy()
            for batch in np.split(images, len(images) // size)
        ]
        return np.concatenate(outputs)[:count]

    def _arranged(self, images: np.ndarray) -> np.ndarray:
        """The images with the axes that the signature wants."""
        wanted = self._shape
        if wanted.rank is None:
            return images
        flat, channels_first = images.reshape(len(images), -1), np.moveaxis(images, -1, 1)
        one_channel = [images[..., 0]] if images.shape[-1] == 1 else []
        for arranged in (images, channels_first, flat, *one_channel):
            if wanted[1:].is_compatible_with(arranged.shape[1:]):
                return arranged
        raise ValueError(
            f"The SavedModel wants images of shape {wanted.as_list()}, the data set's "
            f"are [batch, {', '.join(map(str, images.shape[1:]))}]."
        )

    def weights(self) -> dict[str, np.ndarray]:
        """The variables with two axes or more that the signature reads, by name."""
        weights: dict[str, np.ndarray] = {}
        for variable in self._function.variables:
            if variable.shape.rank >= 2 and variable.dtype.is_floating:
                name = variable.name.removesuffix(":0")
                name = f"{name}_{len(weights)}" if name in weights else name
                weights[name] = variable.numpy()
        return weights


def _chosen(
    kind: str, name: str | None, available: Iterable[str], preferred: list[str]
) -> str:
    """The name given; else the first preferred that is available, or the only one."""
    names = list(available)
    wanted = [name] if name else [*preferred, *(names if len(names) == 1 else [])]
    for candidate in wanted:
        if candidate in names:
            return candidate
    received = f"Received: {name}. " if name else "Say which to use. "
    raise ValueError(
        f"`{kind}` must be one of the SavedModel's. {received}"
        f"Available: {', '.join(names) or 'none'}"
    )


def _images() -> data.ImageData:
    given = {name: FLAGS[name].value for name in _OF_TRAINING}
    images = data.load(FLAGS.dataset, **given)
    return images if FLAGS.normalize else images.as_they_come()


def _speeds(classifier: SavedClassifier, images: data.ImageData) -> dict[str, float]:
    speeds = {}
    for size in [classifier.batch_size] if classifier.batch_size else [1, 128]:
        some, _ = next(iter(images.evaluation_batches(FLAGS.split, size)))
        batch = np.resize(some, (size, *some.shape[1:]))
        speeds[str(size)] = images_per_second(classifier, batch)
    return speeds


def images_per_second(
    classifier: Callable[[np.ndarray], object], images: np.ndarray, seconds: float = 1.0
) -> float:
    """Images per second of one batch after another, by the median call."""
    timer = timeit.Timer(lambda: classifier(images))
    timer.timeit(3)  # The first calls take longer.
    calls = max(5, int(seconds / timer.timeit(1)))
    return len(images) / statistics.median(timer.repeat(calls, 1))


def _sparsity(weights: dict[str, np.ndarray]) -> dict:
    size = sum(value.size for value in weights.values())
    zeros = {name: int((value == 0).sum()) for name, value in weights.items()}
    return {
        "weights": size,
        "sparsity": sum(zeros.values()) / size if size else None,
        "sparsity_per_variable": {n: zeros[n] / weights[n].size for n in weights},
    }


def _table(report: dict) -> str:
    zeros = "no variables" if report["sparsity"] is None else f"{report['sparsity']:.2%}"
    speeds = report["images_per_second"]
    rows = {
        "top-1 accuracy": f"{report['top1']:.2%}",
        "top-5 accuracy": f"{report['top5']:.2%}",
        "loss": f"{report['loss']:.4f}",
        "calibration error (ECE)": f"{report['calibration_error']:.4f}",
        **{f"images/s at batch {size}": f"{speeds[size]:,.0f}" for size in speeds},
        f"zeros among {report['weights']:,} weights": zeros,
    }
    for name, part in report["per_class"].items():
        rows[f"class {name}"] = "no images" if part is None else f"{part:.2%}"
    images = f"{report['images']:,} images of {report['dataset']} ({report['split']})"
    head = f"{Path(report['saved_model'])} on {images}"
    width = max(map(len, rows))
    return "\n".join([head, *(f"  {name:<{width}}  {rows[name]:>10}" for name in rows)])


def run() -> None:
    """The program, with the command line's flags."""
    command_line.start(main)


if __name__ == "__main__":
    run()
