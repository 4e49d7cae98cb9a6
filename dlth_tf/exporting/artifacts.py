"""The files that a model is exported to, each by Keras's own means."""

from collections.abc import Callable
from pathlib import Path

import keras

UINT8_SIGNATURE = "serve_uint8"


def write_saved_model(model: keras.Model, folder: Path) -> None:
    """A TensorFlow SavedModel, by what `model.export` is made of.

    Signatures `serving_default` and `serve` take float32 images, `serve_uint8` takes
    uint8 images where the model normalises them itself. The batch size is free.

    `model.export` stores every variable twice, once as the model's and once as the
    signature's (keras-team/keras#23553, seen in Keras 3.15): the model is not tracked
    here, so that they are stored once.
    """
    import tensorflow as tf

    shape = (None, *model.input_shape[1:])
    archive = keras.export.ExportArchive()
    serve = archive.add_endpoint(
        "serve",
        lambda images: model(images, training=False),
        [tf.TensorSpec(shape, tf.float32, name="images")],
    )
    if _normalises(model):
        archive.add_endpoint(
            UINT8_SIGNATURE,
            lambda images: serve(tf.cast(images, tf.float32)),
            [tf.TensorSpec(shape, tf.uint8, name="images")],
        )
    archive.write_out(str(folder), verbose=False)


def check_plain(model: keras.Model) -> None:
    """Makes sure that all layers are Keras's own.

    Raises:
        ValueError: one is not; a `.keras` file with it could be loaded only where its
            code is known.
    """
    for layer in model._flatten_layers():
        if not type(layer).__module__.startswith("keras."):
            raise ValueError(
                f"Layer '{layer.name}' is a {type(layer).__name__}, which plain Keras "
                "does not know. Replace it by a layer of Keras, or leave out the "
                "format keras."
            )


def write_keras(model: keras.Model, folder: Path) -> None:
    """A `.keras` file, which Keras loads on any backend."""
    model.save(folder / "model.keras")


def write_litert(model: keras.Model, folder: Path) -> None:
    """A LiteRT (TensorFlow Lite) file for phones and small devices.

    Kernels with many zeros are stored without them, which makes the file smaller.
    """
    import tensorflow as tf

    model.export(
        str(folder / "model.tflite"),
        format="litert",
        verbose=False,
        optimizations=[tf.lite.Optimize.EXPERIMENTAL_SPARSITY],
    )


FORMATS: dict[str, Callable[[keras.Model, Path], None]] = {
    "saved_model": write_saved_model,
    "keras": write_keras,
    "litert": write_litert,
}

ONLY_INFER = frozenset({"saved_model", "litert"})
"""Formats that nobody trains on: BatchNorm is folded before them."""


def _normalises(model: keras.Model) -> bool:
    return any(layer.name == "normalization" for layer in model.layers)
