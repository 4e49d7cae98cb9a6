"""Residual networks for CIFAR (He et al., 2016, section 4.2).

A 3x3 stem of 16 filters, then three stages of 16, 32 and 64 filters with n blocks
of two convolutions each: 6n + 2 layers with the classifier. Shortcuts have no
parameters (the paper's option A).
"""

import keras

from official.modeling.networks import blocks

_BLOCKS_PER_STAGE = {
    "resnet20": 3,
    "resnet32": 5,
    "resnet44": 7,
    "resnet56": 9,
    "resnet110": 18,
}
_STAGE_FILTERS = (16, 32, 64)


def build(name: str, *, input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Builds one of the residual networks for small images."""
    inputs = keras.Input(input_shape, name="images")
    x = blocks.convolution(inputs, _STAGE_FILTERS[0], name="stem_conv")
    x = blocks.batch_norm(x, name="stem_bn")
    x = blocks.relu(x, name="stem_relu")
    for stage, filters in enumerate(_STAGE_FILTERS, start=1):
        for block in range(_BLOCKS_PER_STAGE[name]):
            x = _residual_block(x, filters, name=f"stage{stage}_block{block}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, blocks.classifier(x, classes), name=name)


def _residual_block(
    x: keras.KerasTensor, filters: int, *, name: str
) -> keras.KerasTensor:
    strides = 1 if x.shape[-1] == filters else 2
    shortcut = x if strides == 1 else _widening_shortcut(x, filters, name=name)
    x = blocks.convolution(x, filters, strides=strides, name=f"{name}_conv1")
    x = blocks.batch_norm(x, name=f"{name}_bn1")
    x = blocks.relu(x, name=f"{name}_relu1")
    x = blocks.convolution(x, filters, name=f"{name}_conv2")
    x = blocks.batch_norm(x, name=f"{name}_bn2")
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return blocks.relu(x, name=f"{name}_relu2")


def _widening_shortcut(
    x: keras.KerasTensor, filters: int, *, name: str
) -> keras.KerasTensor:
    """Every second pixel, with channels of zeros before and after the real ones."""
    x = keras.layers.MaxPooling2D(1, strides=2, name=f"{name}_shortcut_pool")(x)
    missing = filters - x.shape[-1]
    # Read as channels first, the last axis is a width, which Keras can pad.
    return keras.layers.ZeroPadding2D(
        ((0, 0), (missing // 2, missing - missing // 2)),
        data_format="channels_first",
        name=f"{name}_shortcut_pad",
    )(x)
