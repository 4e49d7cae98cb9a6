"""Wide residual networks (Zagoruyko and Komodakis, 2016), without dropout.

`wrn-28-10` has 28 layers and is 10 times as wide as the first residual networks. A
depth of 6n + 4 makes n blocks of two convolutions in each of three stages.
Normalization and activation come before a convolution, not after it.
"""

import re

import keras

from official.modeling.networks import blocks

_STAGE_FILTERS = (16, 32, 64)


def check(name: str) -> None:
    """Finds out whether there is a network of that depth and width.

    Raises:
        ValueError: there is none.
    """
    _dimensions(name)


def build(name: str, *, input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Builds the network whose name says its depth and its width.

    Raises:
        ValueError: as for `check`.
    """
    blocks_per_stage, width = _dimensions(name)
    inputs = keras.Input(input_shape, name="images")
    x = _convolution(inputs, 16, name="stem_conv")
    for stage, filters in enumerate(_STAGE_FILTERS, start=1):
        for block in range(blocks_per_stage):
            strides = 2 if stage > 1 and block == 0 else 1
            place = f"stage{stage}_block{block}"
            x = _residual_block(x, filters * width, strides=strides, name=place)
    x = blocks.batch_norm(x, name="final_bn")
    x = blocks.relu(x, name="final_relu")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, blocks.classifier(x, classes), name=name)


def _dimensions(name: str) -> tuple[int, int]:
    """Blocks per stage, and width."""
    depth, width = map(int, re.findall(r"\d+", name))
    if depth < 10 or depth % 6 != 4 or width < 1:
        raise ValueError(
            "A wide residual network is called wrn-DEPTH-WIDTH, with a depth of 10, 16, "
            f"22, 28, ... and a width of at least 1. Received: {name!r}"
        )
    return (depth - 4) // 6, width


def _residual_block(
    x: keras.KerasTensor, filters: int, *, strides: int, name: str
) -> keras.KerasTensor:
    activated = blocks.batch_norm(x, name=f"{name}_bn1")
    activated = blocks.relu(activated, name=f"{name}_relu1")
    shortcut = x
    if x.shape[-1] != filters:
        shortcut = _convolution(
            activated,
            filters,
            size=1,
            strides=strides,
            name=f"{name}_shortcut_conv",
        )
    x = _convolution(activated, filters, strides=strides, name=f"{name}_conv1")
    x = blocks.batch_norm(x, name=f"{name}_bn2")
    x = blocks.relu(x, name=f"{name}_relu2")
    x = _convolution(x, filters, name=f"{name}_conv2")
    return keras.layers.Add(name=f"{name}_add")([x, shortcut])


def _convolution(x: keras.KerasTensor, filters: int, **arguments) -> keras.KerasTensor:
    return blocks.convolution(x, filters, fan="fan_out", **arguments)
