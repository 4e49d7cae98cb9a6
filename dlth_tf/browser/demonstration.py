"""The page that runs a dense and a sparse network in turns, in a folder of its own.

index.html, style.css, page.js, engine.js   the page
litert/                                     LiteRT.js
dense/, sparse/                             model.tflite, metadata.json, and outputs.bin:
                                            Keras's logits of the images, float32
demo.json, images.bin                       what the images are; their pixels, uint8
"""

import dataclasses
import os
import shutil
from pathlib import Path

import keras
import numpy as np

from dlth_tf.browser import litert_js
from dlth_tf.experiment.engine.folder import write_json
from dlth_tf.experiment.results.results import FinishedRun
from dlth_tf.experiment.running import export_run, trained_network
from dlth_tf.files import atomic_folder
from dlth_tf.litert.exporting import STORAGES
from official.data import ImageData

DESCRIPTION = "demo.json"
PAGE = Path(__file__).with_name("page")
_BATCH = 50


def write(
    folder: str | os.PathLike,
    dense: FinishedRun,
    sparse: FinishedRun,
    data: ImageData,
    images: int = 200,
    storage: str = "float32",
) -> dict[str, dict]:
    """Writes the page of two runs on so many test images, drawn at random.

    Returns:
        What is said of the two networks, `dense` and `sparse`.

    Raises:
        ValueError: the folder is not empty, the runs have different networks or data.
        RuntimeError: there is no npm, or a network can't be exported.
    """
    runs = {"dense": dense, "sparse": sparse}
    tasks = {(run.task.network, run.task.dataset) for run in runs.values()}
    if len(tasks) > 1:
        told = ", ".join(sorted(" on ".join(task) for task in tasks))
        raise ValueError(
            f"Both runs must be of one network and one data set. Received: {told}"
        )
    some = _some_of_the_test_images(data, images)
    with atomic_folder(folder) as temporary:
        litert_js.fetch(temporary / "litert")
        shutil.copytree(PAGE, temporary, dirs_exist_ok=True)
        batches = list(some.as_they_come().evaluation_batches("test", _BATCH))
        pixels, labels = map(np.concatenate, zip(*batches, strict=True))
        pixels.astype(np.uint8).tofile(temporary / "images.bin")
        written = {}
        for name, run in runs.items():
            written[name] = export_run(
                run, temporary / name, data, ["litert"], litert_storage=storage
            )
            outputs = _logits(trained_network(run, data), some)
            outputs.astype("<f4").tofile(temporary / name / "outputs.bin")
        description = {
            "shape": some.input_shape,
            "labels": labels.tolist(),
            "storage": storage,
            "tolerance": STORAGES[storage],
            "engine": f"LiteRT.js {litert_js.VERSION}",
        }
        write_json(temporary / DESCRIPTION, description)
    return written


def _some_of_the_test_images(data: ImageData, number: int) -> ImageData:
    """The same data with a few test images, of all classes however they are stored."""
    order = np.random.default_rng(0).permutation(data.split_size("test"))
    test = data.evaluation["test"].take(np.sort(order[:number]))
    return dataclasses.replace(data, evaluation={"test": test})


def _logits(network: keras.Model, data: ImageData) -> np.ndarray:
    batches = data.evaluation_batches("test", _BATCH)
    return np.concatenate([network.predict_on_batch(images) for images, _ in batches])
