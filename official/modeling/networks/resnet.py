"""Residual networks: for CIFAR and for ImageNet (He et al., 2016), and wide ones.

- For CIFAR (section 4.2) a 3x3 stem of 16 filters, then three stages of 16, 32 and 64
  filters with n blocks of two convolutions each: 6n + 2 layers with the classifier.
  Shortcuts have no parameters (the paper's option A).
- For ImageNet (table 1) ResNet-18, 34 and 50. In the blocks of three convolutions the
  3x3 one has the stride, as in PyTorch's and the papers' programs;
  `keras.applications.ResNet50` gives it to the first 1x1 one.
- Wide ones (Zagoruyko and Komodakis, 2016), without dropout: `wrn-28-10` has 28 layers
  and is 10 times as wide as the first residual networks. A depth of 6n + 4 makes n blocks
  of two convolutions in each of three stages. Normalization and activation come before a
  convolution, not after it.
"""

import functools
import re
from collections.abc import Iterator

import keras

from official.modeling import layers
from official.modeling.layers import Tensor

_CIFAR_BLOCKS = dict(resnet20=3, resnet32=5, resnet44=7, resnet56=9, resnet110=18)
_CIFAR_FILTERS = (16, 32, 64)
_IMAGENET_BLOCKS = dict(
    resnet18=(2, 2, 2, 2), resnet34=(3, 4, 6, 3), resnet50=(3, 4, 6, 3)
)
_IMAGENET_FILTERS = (64, 128, 256, 512)
_EXPANSION = 4
_convolution = functools.partial(layers.convolution, fan="fan_out")
_normalised = functools.partial(layers.normalised, fan="fan_out")
_linear = functools.partial(_normalised, activated=False)


def check(name: str) -> None:
    """Raises `ValueError` if there is no wide network of that depth and width."""
    _depth_and_width(name)


def build(name: str, *, input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Builds one of the networks; the name of a wide one says its depth and its width."""
    inputs = keras.Input(input_shape, name="images")
    if name in _CIFAR_BLOCKS:
        x = _cifar(inputs, _CIFAR_BLOCKS[name])
    elif name in _IMAGENET_BLOCKS:
        x = _imagenet(inputs, _IMAGENET_BLOCKS[name], name == "resnet50")
    else:
        x = _wide(inputs, *_depth_and_width(name))
    return keras.Model(inputs, layers.averaged_classifier(x, classes), name=name)


def _places(
    filters: tuple[int, ...], counts: tuple[int, ...]
) -> Iterator[tuple[str, int, int]]:
    """Name, filters and stride of each block, by the blocks of each stage."""
    for stage, (number, count) in enumerate(zip(filters, counts, strict=True), start=1):
        for block in range(count):
            strides = 2 if stage > 1 and block == 0 else 1
            yield f"stage{stage}_block{block}", number, strides


def _cifar(x: Tensor, blocks_per_stage: int) -> Tensor:
    x = layers.normalised(x, _CIFAR_FILTERS[0], name="stem_{}")
    for place, filters, strides in _places(_CIFAR_FILTERS, (blocks_per_stage,) * 3):
        shortcut = x if strides == 1 else _widening_shortcut(x, filters, name=place)
        x = _two_convolutions(x, filters, strides, place, fan="fan_in")
        x = keras.layers.Add(name=f"{place}_add")([x, shortcut])
        x = keras.layers.ReLU(name=f"{place}_relu2")(x)
    return x


def _widening_shortcut(x: Tensor, filters: int, *, name: str) -> Tensor:
    """Every second pixel, with channels of zeros before and after the real ones."""
    x = keras.layers.MaxPooling2D(1, strides=2, name=f"{name}_shortcut_pool")(x)
    missing = filters - x.shape[-1]
    # Read as channels first, the last axis is a width, which Keras can pad.
    return keras.layers.ZeroPadding2D(
        ((0, 0), (missing // 2, missing - missing // 2)),
        data_format="channels_first",
        name=f"{name}_shortcut_pad",
    )(x)


def _imagenet(x: Tensor, counts: tuple[int, ...], with_bottlenecks: bool) -> Tensor:
    x = _normalised(x, 64, size=7, strides=2, name="stem_{}")
    x = keras.layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
    x = keras.layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)
    branch = _bottleneck if with_bottlenecks else _two_convolutions
    for place, filters, strides in _places(_IMAGENET_FILTERS, counts):
        y = branch(x, filters, strides, place)
        if strides > 1 or x.shape[-1] != y.shape[-1]:
            name = f"{place}_shortcut_{{}}"
            x = _linear(x, y.shape[-1], size=1, strides=strides, name=name)
        x = keras.layers.Add(name=f"{place}_add")([y, x])
        x = keras.layers.ReLU(name=f"{place}_relu")(x)
    return x


def _two_convolutions(
    x: Tensor, filters: int, strides: int, name: str, fan: str = "fan_out"
) -> Tensor:
    x = _normalised(x, filters, strides=strides, fan=fan, name=f"{name}_{{}}1")
    return _linear(x, filters, fan=fan, name=f"{name}_{{}}2")


def _bottleneck(x: Tensor, filters: int, strides: int, name: str) -> Tensor:
    x = _normalised(x, filters, size=1, name=f"{name}_{{}}1")
    x = _normalised(x, filters, strides=strides, name=f"{name}_{{}}2")
    return _linear(x, _EXPANSION * filters, size=1, name=f"{name}_{{}}3")


def _depth_and_width(name: str) -> tuple[int, int]:
    depth, width = map(int, re.findall(r"\d+", name))
    if depth < 10 or depth % 6 != 4 or width < 1:
        raise ValueError(
            "A wide residual network is called wrn-DEPTH-WIDTH, with a depth of 10, 16, "
            f"22, 28, ... and a width of at least 1. Received: {name!r}"
        )
    return depth, width


def _wide(x: Tensor, depth: int, width: int) -> Tensor:
    x = _convolution(x, 16, name="stem_conv")
    widths = tuple(filters * width for filters in _CIFAR_FILTERS)
    for place, filters, strides in _places(widths, ((depth - 4) // 6,) * 3):
        x = _preactivated_block(x, filters, strides, place)
    x = layers.batch_norm(x, name="final_bn")
    return keras.layers.ReLU(name="final_relu")(x)


def _preactivated_block(x: Tensor, filters: int, strides: int, name: str) -> Tensor:
    activated = layers.batch_norm(x, name=f"{name}_bn1")
    activated = keras.layers.ReLU(name=f"{name}_relu1")(activated)
    shortcut = x
    if x.shape[-1] != filters:
        place = f"{name}_shortcut_conv"
        shortcut = _convolution(activated, filters, size=1, strides=strides, name=place)
    x = _convolution(activated, filters, strides=strides, name=f"{name}_conv1")
    x = layers.batch_norm(x, name=f"{name}_bn2")
    x = keras.layers.ReLU(name=f"{name}_relu2")(x)
    x = _convolution(x, filters, name=f"{name}_conv2")
    return keras.layers.Add(name=f"{name}_add")([x, shortcut])
