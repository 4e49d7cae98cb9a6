"""Residual networks for ImageNet (He et al., 2016, table 1): ResNet-18, 34 and 50.

In the blocks of three convolutions the 3x3 one has the stride, as in PyTorch's and the
papers' programs; `keras.applications.ResNet50` gives it to the first 1x1 one.
"""

import keras

from official.modeling.networks import blocks

_BLOCKS_PER_STAGE = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
}
_WITH_BOTTLENECKS = ("resnet50",)
_STAGE_FILTERS = (64, 128, 256, 512)
_EXPANSION = 4


def build(name: str, *, input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Builds one of the residual networks for large images."""
    inputs = keras.Input(input_shape, name="images")
    x = _layer(inputs, 64, size=7, strides=2, name="stem_{}")
    x = blocks.relu(x, name="stem_relu")
    x = keras.layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
    x = keras.layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)
    branch = _bottleneck if name in _WITH_BOTTLENECKS else _two_convolutions
    stages = zip(_STAGE_FILTERS, _BLOCKS_PER_STAGE[name], strict=True)
    for stage, (filters, count) in enumerate(stages, start=1):
        for block in range(count):
            strides = 2 if stage > 1 and block == 0 else 1
            place = f"stage{stage}_block{block}"
            y = branch(x, filters, strides=strides, name=place)
            shortcut = _shortcut(x, y.shape[-1], strides=strides, name=place)
            x = keras.layers.Add(name=f"{place}_add")([y, shortcut])
            x = blocks.relu(x, name=f"{place}_relu")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, blocks.classifier(x, classes), name=name)


def _two_convolutions(
    x: keras.KerasTensor, filters: int, *, strides: int, name: str
) -> keras.KerasTensor:
    x = _layer(x, filters, strides=strides, name=f"{name}_{{}}1")
    x = blocks.relu(x, name=f"{name}_relu1")
    return _layer(x, filters, name=f"{name}_{{}}2")


def _bottleneck(
    x: keras.KerasTensor, filters: int, *, strides: int, name: str
) -> keras.KerasTensor:
    x = _layer(x, filters, size=1, name=f"{name}_{{}}1")
    x = blocks.relu(x, name=f"{name}_relu1")
    x = _layer(x, filters, strides=strides, name=f"{name}_{{}}2")
    x = blocks.relu(x, name=f"{name}_relu2")
    return _layer(x, _EXPANSION * filters, size=1, name=f"{name}_{{}}3")


def _shortcut(
    x: keras.KerasTensor, filters: int, *, strides: int, name: str
) -> keras.KerasTensor:
    if strides == 1 and x.shape[-1] == filters:
        return x
    return _layer(x, filters, size=1, strides=strides, name=f"{name}_shortcut_{{}}")


def _layer(
    x: keras.KerasTensor, filters: int, *, name: str, size: int = 3, strides: int = 1
) -> keras.KerasTensor:
    """A convolution and its normalization, `name` with a place for which it is."""
    x = blocks.convolution(
        x,
        filters,
        size=size,
        strides=strides,
        fan="fan_out",
        name=name.format("conv"),
    )
    return blocks.batch_norm(x, name=name.format("bn"))
