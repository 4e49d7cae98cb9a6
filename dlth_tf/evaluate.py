"""Evaluates a SavedModel on a data set: accuracy, calibration, speed, sparsity.

    python -m dlth_tf.evaluate --saved_model=exports/1 --dataset=digits

Nothing but the SavedModel is needed; another program may have made it.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
from absl import flags

from dlth_tf.experiment import flags as program_flags
from dlth_tf.experiment.command_line import (
    FAILURE,
    USAGE,
    reject_arguments,
    say,
    show,
    start,
)
from dlth_tf.experiment.quiet import start_tensorflow_quietly
from dlth_tf.files import atomic_write
from official.common.path_flag import DEFINE_path

program_flags.register()
FLAGS = program_flags.FLAGS
_BATCH_SIZES = (1, 128)
_EVALUATION_BATCH = 500

flags.declare_key_flag("dataset")
flags.declare_key_flag("data_dir")
flags.declare_key_flag("train_examples")
flags.declare_key_flag("validation_fraction")
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


def main(argv: list[str]) -> int:
    try:
        reject_arguments(argv)
        if not FLAGS.saved_model:
            raise ValueError("--saved_model is needed. See --help.")
        if FLAGS.split == "validation" and not FLAGS.validation_fraction:
            raise ValueError(
                "--split=validation needs the --validation_fraction that was held out in "
                f"training. Received: {FLAGS.validation_fraction}"
            )
        return _evaluate()
    except (ValueError, FileNotFoundError) as error:
        return say(error, USAGE)
    except (OSError, RuntimeError) as error:
        return say(error, FAILURE)


def _evaluate() -> int:
    start_tensorflow_quietly()
    from dlth_tf.evaluating import SavedClassifier, measure
    from official import data

    classifier = SavedClassifier(FLAGS.saved_model, FLAGS.signature, FLAGS.output_name)
    if FLAGS.normalize and classifier.takes_whole_numbers:
        raise ValueError("--normalize: this SavedModel takes pixels, whole numbers.")
    images = data.load(
        FLAGS.dataset,
        data_dir=FLAGS.data_dir,
        train_examples=FLAGS.train_examples,
        validation_fraction=FLAGS.validation_fraction,
    )
    if not FLAGS.normalize:
        images = _as_they_come(images)
    outputs, labels = _predictions(classifier, images)
    if outputs.shape[1:] != (len(images.class_names),):
        raise ValueError(
            f"The SavedModel's output must be [batch, {len(images.class_names)}], a "
            f"score for each class of {FLAGS.dataset}. It is {list(outputs.shape)}."
        )
    report = {
        "saved_model": FLAGS.saved_model,
        "dataset": FLAGS.dataset,
        "split": FLAGS.split,
        "normalized": FLAGS.normalize,
        **dataclasses.asdict(measure(outputs, labels, images.class_names)),
        "images_per_second": _speeds(classifier, images),
        **_sparsity(classifier),
    }
    if FLAGS.json:
        with atomic_write(FLAGS.json) as file:
            file.write((json.dumps(report, indent=1) + "\n").encode())
    show(_table(report))
    return 0


def _as_they_come(images):
    from official.data import Normalization

    channels = images.input_shape[-1]
    identity = Normalization(1.0, (0.0,) * channels, (1.0,) * channels)
    return dataclasses.replace(images, normalization=identity)


def _predictions(classifier, images) -> tuple[np.ndarray, np.ndarray]:
    outputs, labels = [], []
    for x, y in images.evaluation_batches(FLAGS.split, _EVALUATION_BATCH):
        outputs.append(classifier(x))
        labels.append(y)
    return np.concatenate(outputs), np.concatenate(labels)


def _speeds(classifier, images) -> dict[str, float]:
    from dlth_tf.evaluating import images_per_second

    speeds = {}
    for size in (
        _BATCH_SIZES if classifier.batch_size is None else [classifier.batch_size]
    ):
        some, _ = next(iter(images.evaluation_batches(FLAGS.split, size)))
        batch = np.resize(some, (size, *some.shape[1:]))
        speeds[str(size)] = images_per_second(classifier, batch)
    return speeds


def _sparsity(classifier) -> dict:
    weights = classifier.weights()
    size = sum(value.size for value in weights.values())
    zeros = sum(int((value == 0).sum()) for value in weights.values())
    return {
        "weights": size,
        "sparsity": zeros / size if size else None,
        "sparsity_per_variable": {
            name: float((value == 0).mean()) for name, value in weights.items()
        },
    }


def _table(report: dict) -> str:
    sparsity = report["sparsity"]
    rows = [
        ("top-1 accuracy", f"{report['top1']:.2%}"),
        ("top-5 accuracy", f"{report['top5']:.2%}"),
        ("loss", f"{report['loss']:.4f}"),
        ("calibration error (ECE)", f"{report['calibration_error']:.4f}"),
        *(
            (f"images/s at batch {size}", f"{speed:,.0f}")
            for size, speed in report["images_per_second"].items()
        ),
        (
            f"zeros among {report['weights']:,} weights",
            "no variables" if sparsity is None else f"{sparsity:.2%}",
        ),
        *(
            (f"class {name}", "no images" if part is None else f"{part:.2%}")
            for name, part in report["per_class"].items()
        ),
    ]
    width = max(len(name) for name, _ in rows)
    head = (
        f"{Path(report['saved_model'])} on {report['images']:,} images of "
        f"{report['dataset']} ({report['split']})"
    )
    return "\n".join([head, *(f"  {name:<{width}}  {value:>10}" for name, value in rows)])


def run() -> None:
    """The command's entry point."""
    start(main)


if __name__ == "__main__":
    run()
