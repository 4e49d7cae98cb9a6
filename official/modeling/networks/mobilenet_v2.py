"""MobileNetV2 (Sandler et al., 2018, table 2), at width 1."""

import keras

from official.modeling.networks import blocks

# Expansion, filters, blocks and first stride of each stage
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_STEM_FILTERS, _HEAD_FILTERS = 32, 1280


def build(name: str, *, input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Builds the network for images of any size, 224x224 in the paper."""
    inputs = keras.Input(input_shape, name="images")
    x = _convolution(inputs, _STEM_FILTERS, size=3, strides=2, name="stem_{}")
    for stage, (expansion, filters, count, stride) in enumerate(_STAGES, start=1):
        for block in range(count):
            x = _inverted_residual(
                x,
                filters,
                expansion=expansion,
                strides=stride if block == 0 else 1,
                name=f"stage{stage}_block{block}",
            )
    x = _convolution(x, _HEAD_FILTERS, size=1, name="head_{}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, blocks.classifier(x, classes), name=name)


def _inverted_residual(
    x: keras.KerasTensor, filters: int, *, expansion: int, strides: int, name: str
) -> keras.KerasTensor:
    """Widen, filter each channel by itself, narrow without an activation."""
    shortcut = x
    if expansion > 1:
        x = _convolution(x, expansion * x.shape[-1], size=1, name=f"{name}_expand_{{}}")
    x = blocks.depthwise_convolution(x, strides=strides, name=f"{name}_depthwise_conv")
    x = _normalised(x, name=f"{name}_depthwise_{{}}")
    x = blocks.convolution(x, filters, size=1, fan="fan_out", name=f"{name}_project_conv")
    x = blocks.batch_norm(x, name=f"{name}_project_bn")
    if x.shape == shortcut.shape and strides == 1:
        x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return x


def _convolution(
    x: keras.KerasTensor, filters: int, *, size: int, name: str, strides: int = 1
) -> keras.KerasTensor:
    x = blocks.convolution(
        x,
        filters,
        size=size,
        strides=strides,
        fan="fan_out",
        name=name.format("conv"),
    )
    return _normalised(x, name=name)


def _normalised(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    x = blocks.batch_norm(x, name=name.format("bn"))
    return keras.layers.ReLU(6.0, name=name.format("relu"))(x)
