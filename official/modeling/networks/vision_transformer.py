"""Vision transformers for small images: `vit-DEPTH-WIDTH`.

Those of Dosovitskiy et al. (2021), equations 1 to 4, with heads of 64 channels and four
hidden units to a channel. `vit-12-192` is ViT-Ti (Touvron et al., 2021, table 1: 5.7M
parameters for ImageNet), `vit-12-384` ViT-S (22M); `vit-4-128` learns on a CPU. What an
image is told by is the mean of its tokens, not a token of its own (Beyer et al., 2022,
"Better plain ViT baselines"). Weights begin as in the program of Touvron et al.: normal
with a deviation of 0.02, biases zero.

Patches have 4 pixels to a side on images of up to 64, and the published 16 on larger
ones. Projecting a patch and adding what stands for its place is one dense layer whose
bias differs from place to place: a patch needs no bias beside it.
"""

import re

import keras
from keras import layers

from official.modeling.layers import Tensor

_SMALL_SIDE = 64
_HEAD = 64
_HIDDEN = 4


def check(name: str) -> None:
    """Raises `ValueError` if there is no network so deep and wide."""
    _depth_and_width(name)


def build(name: str, *, input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Builds the network whose name says its depth and width."""
    depth, width = _depth_and_width(name)
    images = keras.Input(input_shape, name="images")
    x = _patches(images, width)
    for block in range(depth):
        x = _attention(x, f"block{block}_{{}}")
        x = _mlp(x, f"block{block}_{{}}")
    x = _normalised(x, "norm")
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    logits = layers.Dense(
        classes, kernel_initializer=_small(), dtype="float32", name="classifier"
    )(x)
    return keras.Model(images, logits, name=name)


def _depth_and_width(name: str) -> tuple[int, int]:
    depth, width = map(int, re.findall(r"\d+", name))
    if depth < 1 or width < 1 or width % _HEAD:
        raise ValueError(
            "A vision transformer needs a depth of at least 1 and a width of 64, 128, "
            f"192, ..., as in vit-12-192. Received: {name!r}"
        )
    return depth, width


def _small() -> keras.initializers.Initializer:
    # The original cuts it at 2, a hundred deviations away.
    return keras.initializers.RandomNormal(stddev=0.02)


def _patches(images: Tensor, width: int) -> Tensor:
    """The tokens of an image: its patches, projected, and where they are."""
    _, height, across, channels = images.shape
    side = 4 if max(height, across) <= _SMALL_SIDE else 16
    if height % side or across % side:
        raise ValueError(
            f"`input_shape` must be a multiple of the {side} pixels of a patch high and "
            f"wide for a vision transformer. Received: input_shape={images.shape[1:]}"
        )
    rows, columns = height // side, across // side
    x = layers.Reshape((rows, side, columns, side * channels), name="rows")(images)
    x = layers.Permute((1, 3, 2, 4), name="columns")(x)
    x = layers.Reshape((rows * columns, side * side * channels), name="patches")(x)
    return layers.EinsumDense(
        "bpi,io->bpo",
        output_shape=(rows * columns, width),
        bias_axes="po",
        kernel_initializer=_small(),
        bias_initializer=_small(),
        name="embedding",
    )(x)


def _normalised(x: Tensor, name: str) -> Tensor:
    return layers.LayerNormalization(epsilon=1e-6, name=name)(x)


def _attention(x: Tensor, name: str) -> Tensor:
    y = _normalised(x, name.format("norm1"))
    y = layers.MultiHeadAttention(
        x.shape[-1] // _HEAD,
        _HEAD,
        kernel_initializer=_small(),
        name=name.format("attention"),
    )(y, y)
    return layers.Add(name=name.format("add1"))([x, y])


def _mlp(x: Tensor, name: str) -> Tensor:
    width = x.shape[-1]
    y = _normalised(x, name.format("norm2"))
    y = layers.Dense(
        _HIDDEN * width,
        activation="gelu",
        kernel_initializer=_small(),
        name=name.format("hidden"),
    )(y)
    y = layers.Dense(width, kernel_initializer=_small(), name=name.format("output"))(y)
    return layers.Add(name=name.format("add2"))([x, y])
