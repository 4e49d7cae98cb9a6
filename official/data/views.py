"""What a network is shown of a picture: crops of one size."""

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

_ATTEMPTS = 10
_AREA = (0.08, 1.0)
_RATIO = (3 / 4, 4 / 3)
_BITS_OF_A_FLOAT = 53


@dataclasses.dataclass(frozen=True)
class WholePicture:
    """The picture as it is, whose size must be the one expected.

    Attributes:
        size: height and width.
        mode: PIL's name of the colours, `"RGB"` or `"L"` for grey values.
    """

    size: tuple[int, int]
    mode: str = "RGB"

    def __call__(self, picture: "Image", bits: int) -> np.ndarray:
        if picture.size[::-1] != self.size:
            raise ValueError(
                "All images of a set must be of the size of its first ones, "
                f"{_pixels(self.size)}. Received: {_pixels(picture.size[::-1])}"
            )
        return _array(picture, self.mode)


@dataclasses.dataclass(frozen=True)
class RandomResizedCrop:
    """A random part of the picture, 8 to 100% of its area, resized to a square.

    Its ratio of width to height lies between 3/4 and 4/3 (Szegedy et al., 2015,
    section 6, as torchvision's `RandomResizedCrop` carries it out).
    """

    size: int
    mode: str = "RGB"

    def __call__(self, picture: "Image", bits: int) -> np.ndarray:
        import PIL.Image

        crop = picture.crop(_random_box(*picture.size, bits))
        square = (self.size, self.size)
        return _array(_convert(crop, self.mode).resize(square, PIL.Image.BILINEAR))


@dataclasses.dataclass(frozen=True)
class CentreCrop:
    """The middle of the picture, its shorter side resized first.

    Attributes:
        shorter_side: pixels of the shorter side after resizing.
        size: height and width of the square cut out of the middle.
    """

    shorter_side: int
    size: int
    mode: str = "RGB"

    def __call__(self, picture: "Image", bits: int) -> np.ndarray:
        import PIL.Image

        scale = self.shorter_side / min(picture.size)
        resized = _convert(picture, self.mode).resize(
            tuple(max(int(side * scale), self.shorter_side) for side in picture.size),
            PIL.Image.BILINEAR,
        )
        left, top = (round((side - self.size) / 2) for side in resized.size)
        return _array(resized.crop((left, top, left + self.size, top + self.size)))


def _random_box(width: int, height: int, bits: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a random part; the middle if none fits."""
    draw = _Draw(bits)
    for _ in range(_ATTEMPTS):
        area = width * height * draw.between(*_AREA)
        ratio = math.exp(draw.between(*map(math.log, _RATIO)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = draw.below(width - w + 1), draw.below(height - h + 1)
            return left, top, left + w, top + h
    w = min(width, round(height * _RATIO[1]))
    h = min(height, round(width / _RATIO[0]))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


class _Draw:
    """Numbers that follow from 64 bits, the same on every machine."""

    def __init__(self, bits: int):
        self._stream = np.random.Philox(np.random.SeedSequence(int(bits)))

    def between(self, low: float, high: float) -> float:
        fraction = (self._stream.random_raw() >> 11) / 2**_BITS_OF_A_FLOAT
        return low + (high - low) * fraction

    def below(self, count: int) -> int:
        return int(self._stream.random_raw() % count)


def _convert(picture: "Image", mode: str) -> "Image":
    return picture if picture.mode == mode else picture.convert(mode)


def _array(picture: "Image", mode: str | None = None) -> np.ndarray:
    pixels = np.asarray(_convert(picture, mode or picture.mode))
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _pixels(size: tuple[int, int]) -> str:
    return "x".join(map(str, size))
