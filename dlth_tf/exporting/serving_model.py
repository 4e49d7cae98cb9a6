"""The network as a user calls it: from images as they come to probabilities."""

from collections.abc import Sequence
from typing import Protocol

import keras

LOGITS, PROBABILITIES = "logits", "probabilities"


class Normalization(Protocol):
    """What the network's training images went through: (x / scale - mean) / std."""

    scale: float
    mean: Sequence[float]
    std: Sequence[float]


def serving_model(
    network: keras.Model, normalization: Normalization | None
) -> keras.Model:
    """A model from float32 images to logits and probabilities.

    Args:
        network: from normalised images to logits.
        normalization: done by the model itself; None: images must come normalised.
    """
    images = keras.Input(network.input_shape[1:], name="images", dtype="float32")
    x = images if normalization is None else _rescaling(normalization)(images)
    logits = network(x)
    softmax = keras.layers.Softmax(dtype="float32", name=PROBABILITIES)
    outputs = {LOGITS: logits, PROBABILITIES: softmax(logits)}
    return keras.Model(images, outputs, name=f"{network.name}_serving")


def _rescaling(normalization: Normalization) -> keras.layers.Layer:
    stds = normalization.std
    return keras.layers.Rescaling(
        scale=[1.0 / (normalization.scale * std) for std in stds],
        offset=[-mean / std for mean, std in zip(normalization.mean, stds, strict=True)],
        dtype="float32",
        name="normalization",
    )
