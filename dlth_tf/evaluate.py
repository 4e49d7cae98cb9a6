"""Evaluates a SavedModel on a data set: accuracy, calibration, speed, sparsity.

    python -m dlth_tf.evaluate --saved_model=exports/1 --dataset=digits

Nothing but the SavedModel is needed; another program may have made it.
"""

import dataclasses
import json
import statistics
import timeit
from collections.abc import Callable
from pathlib import Path

import numpy as np
from absl import flags

from dlth_tf.experiment import command_line
from dlth_tf.experiment import flags as program_flags
from dlth_tf.experiment.command_line import (
    start_tensorflow_quietly,
)
from dlth_tf.files import atomic_write
from dlth_tf.metrics import measure
from official import data
from official.common import DEFINE_path

program_flags.register()
FLAGS = program_flags.FLAGS
Classifier = Callable[[np.ndarray], np.ndarray]

for of_training in ("dataset", "data_dir", "train_examples", "validation_fraction"):
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


def main(argv: list[str]) -> int:
    try:
        command_line.reject_arguments(argv)
        if not FLAGS.saved_model:
            raise ValueError("--saved_model is needed. See --help.")
        if FLAGS.split == "validation" and not FLAGS.validation_fraction:
            raise ValueError(
                "--split=validation needs the --validation_fraction that was held out in "
                f"training. Received: {FLAGS.validation_fraction}"
            )
        return _evaluate()
    except (ValueError, FileNotFoundError) as error:
        return command_line.say(error, command_line.USAGE)
    except (OSError, RuntimeError) as error:
        return command_line.say(error, command_line.FAILURE)


def _evaluate() -> int:
    start_tensorflow_quietly()
    from dlth_tf.saved_classifier import SavedClassifier

    classifier = SavedClassifier(FLAGS.saved_model, FLAGS.signature, FLAGS.output_name)
    if FLAGS.normalize and classifier.takes_whole_numbers:
        raise ValueError("--normalize: this SavedModel takes pixels, whole numbers.")
    images = _images()
    batches = images.evaluation_batches(FLAGS.split, 500)
    outputs, labels = map(
        np.concatenate, zip(*((classifier(x), y) for x, y in batches), strict=True)
    )
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
        **measure(outputs, labels, images.class_names),
        "images_per_second": _speeds(classifier, classifier.batch_size, images),
        **_sparsity(classifier.weights()),
    }
    if FLAGS.json:
        with atomic_write(FLAGS.json) as file:
            file.write((json.dumps(report, indent=1) + "\n").encode())
    command_line.show(_table(report))
    return 0


def _images() -> data.ImageData:
    images = data.load(
        FLAGS.dataset,
        data_dir=FLAGS.data_dir,
        train_examples=FLAGS.train_examples,
        validation_fraction=FLAGS.validation_fraction,
    )
    if FLAGS.normalize:
        return images
    channels = images.input_shape[-1]
    as_they_come = data.Normalization(1.0, (0.0,) * channels, (1.0,) * channels)
    return dataclasses.replace(images, normalization=as_they_come)


def _speeds(
    classifier: Classifier, batch_size: int | None, images: data.ImageData
) -> dict[str, float]:
    speeds = {}
    for size in [batch_size] if batch_size else [1, 128]:
        some, _ = next(iter(images.evaluation_batches(FLAGS.split, size)))
        batch = np.resize(some, (size, *some.shape[1:]))
        speeds[str(size)] = images_per_second(classifier, batch)
    return speeds


def images_per_second(
    classifier: Classifier, images: np.ndarray, seconds: float = 1.0
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
    head = (
        f"{Path(report['saved_model'])} on {report['images']:,} images of "
        f"{report['dataset']} ({report['split']})"
    )
    width = max(map(len, rows))
    return "\n".join([head, *(f"  {name:<{width}}  {rows[name]:>10}" for name in rows)])


if __name__ == "__main__":
    command_line.start(main)
