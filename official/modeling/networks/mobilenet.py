"""MobileNets of any width for images of any size.

- `mobilenetv1-ALPHA` (Howard et al., 2017, table 1): depthwise and 1x1 convolutions in
  turn.
- `mobilenetv2-ALPHA` (Sandler et al., 2018, table 2): inverted residual blocks.

`mobilenetv1-0.25` has a quarter of the filters. Strided convolutions pad the same number
of pixels on every side, as in PyTorch. Images below 128 pixels are too small for the
published strides, so the first of those after the stem's are left out until at least 4x4
positions are left to be averaged; that changes no parameter.
"""

import re
from collections.abc import Iterator

import keras

from official.modeling import layers
from official.modeling.layers import Tensor

_LEAST_POSITIONS = 4
# Filters and stride of each block
_V1_BLOCKS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1),) * 5,
    *((1024, 2), (1024, 1)),
)
# Expansion, filters, number of blocks and stride of the first
_V2_STAGES = (
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)


def check(name: str) -> None:
    """Raises `ValueError` if the name says no width."""
    _width(name)


def build(name: str, *, input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Builds the network whose name says its generation and its width."""
    width = _width(name)
    images = keras.Input(input_shape, name="images")
    body = _v1 if name.startswith("mobilenetv1") else _v2
    x = body(images, width, _left_out(input_shape))
    return keras.Model(images, layers.averaged_classifier(x, classes), name=name)


def _width(name: str) -> float:
    width = float(re.sub("^mobilenetv[12]-", "", name))
    if not 0.1 <= width <= 4:
        raise ValueError(
            "A MobileNet's width must be from 0.1 to 4, such as 0.25, 0.5 or 1.0. "
            f"Received: {name!r}"
        )
    return width


def _left_out(input_shape: tuple[int, int, int]) -> int:
    """How many of the four strides after the stem's an image is too small for."""
    side = min(input_shape[:2])
    fit = (n for n in range(4) if side >= _LEAST_POSITIONS * 2 ** (5 - n))
    return next(fit, 4)


def _strides(strides: list[int], left_out: int) -> Iterator[int]:
    """The strides, of which the first above 1 become 1."""
    for stride in strides:
        yield 1 if stride > 1 and left_out > 0 else stride
        left_out -= stride > 1


def _v1(x: Tensor, width: float, left_out: int) -> Tensor:
    x = _activated(x, int(32 * width), strides=2, name="stem_{}")
    strides = _strides([stride for _, stride in _V1_BLOCKS], left_out)
    for block, (filters, _) in enumerate(_V1_BLOCKS):
        x = _depthwise(x, next(strides), name=f"block{block}_depthwise_{{}}")
        place = f"block{block}_pointwise_{{}}"
        x = _activated(x, int(filters * width), size=1, name=place)
    return x


def _v2(x: Tensor, width: float, left_out: int) -> Tensor:
    x = _activated(x, _multiple_of_8(32 * width), strides=2, name="stem_{}")
    strides = _strides([stride for *_, stride in _V2_STAGES], left_out)
    for stage, (expansion, filters, blocks, _) in enumerate(_V2_STAGES, start=1):
        stride, filters = next(strides), _multiple_of_8(filters * width)
        for block in range(blocks):
            place = f"stage{stage}_block{block}"
            x = _inverted_residual(x, expansion, filters, stride, place)
            stride = 1
    return _activated(x, _multiple_of_8(1280 * max(1, width)), size=1, name="head_{}")


def _inverted_residual(
    x: Tensor, expansion: int, filters: int, strides: int, name: str
) -> Tensor:
    y = x
    if expansion > 1:
        expanded = expansion * x.shape[-1]
        y = _activated(y, expanded, size=1, name=f"{name}_expand_{{}}")
    y = _depthwise(y, strides, name=f"{name}_depthwise_{{}}")
    linear = f"{name}_project_{{}}"
    y = layers.normalised(y, filters, size=1, activated=False, name=linear)
    if strides == 1 and x.shape[-1] == filters:
        y = keras.layers.Add(name=f"{name}_add")([x, y])
    return y


def _activated(
    x: Tensor, filters: int, *, name: str, size: int = 3, strides: int = 1
) -> Tensor:
    x = layers.normalised(
        x, filters, size=size, strides=strides, activated=False, name=name
    )
    return keras.layers.ReLU(6.0, name=name.format("relu"))(x)


def _depthwise(x: Tensor, strides: int, *, name: str) -> Tensor:
    place = name.format("conv")
    if strides > 1:
        x = keras.layers.ZeroPadding2D(1, name=f"{place}_pad")(x)
    x = keras.layers.DepthwiseConv2D(
        3,
        strides=strides,
        padding="same" if strides == 1 else "valid",
        use_bias=False,
        # Each filter sees one channel, which Keras's own scaling does not know.
        depthwise_initializer=keras.initializers.RandomNormal(stddev=(2 / 9) ** 0.5),
        name=place,
    )(x)
    x = layers.batch_norm(x, name=name.format("bn"))
    return keras.layers.ReLU(6.0, name=name.format("relu"))(x)


def _multiple_of_8(filters: float) -> int:
    """The nearest multiple of 8, unless it is less than nine tenths."""
    rounded = max(8, int(filters + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * filters else rounded + 8
