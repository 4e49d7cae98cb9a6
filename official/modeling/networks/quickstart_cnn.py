"""A small convolutional network that learns 8x8 digits in seconds."""

import keras

from official.modeling.networks import blocks


def build(name: str, *, input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Builds three 3x3 convolutions of 16, 32 and 64 filters."""
    inputs = keras.Input(input_shape, name="images")
    x = _layer(inputs, 16, strides=1, place="stem")
    x = _layer(x, 32, strides=2, place="stage1")
    x = _layer(x, 64, strides=1, place="stage2")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, blocks.classifier(x, classes), name=name)


def _layer(
    x: keras.KerasTensor, filters: int, *, strides: int, place: str
) -> keras.KerasTensor:
    x = blocks.convolution(x, filters, strides=strides, name=f"{place}_conv")
    x = blocks.batch_norm(x, name=f"{place}_bn")
    return blocks.relu(x, name=f"{place}_relu")
