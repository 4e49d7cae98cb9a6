"""How pictures are shown to a network, as the papers' programs do it.

A view cuts an array of one size out of a picture, augmentation changes a whole batch of
them at random, normalization makes it float32.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import PIL.Image
from PIL.Image import Image, Resampling

from official.data.description import shape_text

# Makes raw pixels [height, width, channels] of a picture and 64 random bits.
View = Callable[[Image, int], np.ndarray]

# Decoded images that are kept rather than decoded anew in every epoch
MOST_BYTES_IN_MEMORY = 2 * 2**30

_LARGE = 224
_LARGE_SHORTER_SIDE = 256
_LARGEST_SMALL_SIDE = 96
_SIDE_PER_PADDING = 8

_ATTEMPTS = 10
_AREA = (0.08, 1.0)
_RATIO = (3 / 4, 4 / 3)
_BITS_OF_A_FLOAT = 53


@dataclasses.dataclass(frozen=True)
class Normalization:
    """Turns raw pixels x into `(x / scale - mean) / std`, channel by channel."""

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        width = images.shape[2]
        normalised = images.astype(np.float32)
        # A row of pixels at a time: NumPy is slow on an axis of three channels.
        rows = normalised.reshape(*images.shape[:2], -1)
        rows /= np.float32(self.scale)
        rows -= np.tile(np.asarray(self.mean, np.float32), width)
        rows /= np.tile(np.asarray(self.std, np.float32), width)
        return normalised


IMAGENET = Normalization(255.0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
_GREY = Normalization(255.0, mean=(0.5,), std=(0.5,))


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What is done to a training image.

    Attributes:
        pad: black pixels added on each side before a crop of the original size.
        flip: whether half of the images are mirrored left to right.
    """

    pad: int = 0
    flip: bool = False

    def __call__(self, images: np.ndarray, bits: np.ndarray) -> np.ndarray:
        """Changes images, whose black is zero, as 64 random bits for each decide."""
        if self.pad:
            images = self._crop(images, bits)
        if self.flip:
            mirrored = (bits & np.uint64(1)).astype(bool)
            images = images.copy()
            images[mirrored] = images[mirrored, :, ::-1]
        return images

    def _crop(self, images: np.ndarray, bits: np.ndarray) -> np.ndarray:
        sides = (self.pad, self.pad)
        padded = np.pad(images, ((0, 0), sides, sides, (0, 0)))
        # [batch, top, left, 1, height, width, channels], a view
        windows = np.lib.stride_tricks.sliding_window_view(
            padded, images.shape[1:], axis=(1, 2, 3)
        )
        offsets = np.uint64(2 * self.pad + 1)
        top = (bits >> np.uint64(32)) % offsets
        left = ((bits >> np.uint64(1)) & np.uint64(0x7FFFFFFF)) % offsets
        return windows[np.arange(len(images)), top.astype(int), left.astype(int), 0]


@dataclasses.dataclass(frozen=True)
class WholePicture:
    """The picture as it is, whose height and width must be the ones expected."""

    size: tuple[int, int]
    mode: str = "RGB"  # PIL's name of the colours, or "L" for grey values

    def __call__(self, picture: Image, bits: int) -> np.ndarray:
        if picture.size[::-1] != self.size:
            raise ValueError(
                "All images of a set must be of the size of its first ones, "
                f"{shape_text(self.size)}. Received: {shape_text(picture.size[::-1])}"
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

    def __call__(self, picture: Image, bits: int) -> np.ndarray:
        crop = _convert(picture.crop(_random_box(*picture.size, bits)), self.mode)
        return _array(crop.resize((self.size, self.size), Resampling.BILINEAR), self.mode)

    def of_size(self, side: int) -> "RandomResizedCrop":
        return dataclasses.replace(self, size=side)


@dataclasses.dataclass(frozen=True)
class CentreCrop:
    """A square out of the middle of the picture, its shorter side resized first."""

    shorter_side: int
    size: int
    mode: str = "RGB"

    def __call__(self, picture: Image, bits: int) -> np.ndarray:
        scale = self.shorter_side / min(picture.size)
        width, height = (max(int(x * scale), self.shorter_side) for x in picture.size)
        resized = _convert(picture, self.mode).resize(
            (width, height), Resampling.BILINEAR
        )
        left, top = (round((side - self.size) / 2) for side in resized.size)
        middle = resized.crop((left, top, left + self.size, top + self.size))
        return _array(middle, self.mode)

    def of_size(self, side: int) -> "CentreCrop":
        shorter_side = round(self.shorter_side * side / self.size)
        return dataclasses.replace(self, shorter_side=shorter_side, size=side)


def _random_box(width: int, height: int, bits: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a random part; the middle if none fits."""
    # Raw bits, whose stream NumPy promises never to change
    stream = np.random.Philox(np.random.SeedSequence(int(bits)))

    def between(low: float, high: float) -> float:
        return low + (high - low) * ((stream.random_raw() >> 11) / 2**_BITS_OF_A_FLOAT)

    for _ in range(_ATTEMPTS):
        area = width * height * between(*_AREA)
        ratio = math.exp(between(*map(math.log, _RATIO)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left = int(stream.random_raw() % (width - w + 1))
            top = int(stream.random_raw() % (height - h + 1))
            return left, top, left + w, top + h
    w = min(width, round(height * _RATIO[1]))
    h = min(height, round(width / _RATIO[0]))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def _convert(picture: Image, mode: str) -> Image:
    return picture if picture.mode == mode else picture.convert(mode)


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    picture = PIL.Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    resized = np.asarray(picture.resize(size[::-1], Resampling.BILINEAR))
    return resized.reshape(*size, pixels.shape[-1])


def _array(picture: Image, mode: str) -> np.ndarray:
    pixels = np.asarray(_convert(picture, mode))
    return pixels if pixels.ndim == 3 else pixels[..., None]


@dataclasses.dataclass(frozen=True)
class Presentation:
    """What a network gets to see of the images of a set, its views cut out of pictures.

    Augmentation is applied to training images, before normalization.
    """

    input_shape: tuple[int, int, int]
    normalization: Normalization
    augmentation: Augmentation
    train_view: View
    evaluation_view: View

    def of_size(self, side: int) -> Self:
        """The same, for images that are shown as squares with so many pixels a side.

        Views cut their parts out in this size; whole pictures are augmented as they
        are and resized then.
        """
        views = (self.train_view, self.evaluation_view)
        train, evaluation = (
            view.of_size(side)
            if isinstance(view, (RandomResizedCrop, CentreCrop))
            else view
            for view in views
        )
        shape = (side, side, self.input_shape[-1])
        return dataclasses.replace(
            self, input_shape=shape, train_view=train, evaluation_view=evaluation
        )

    def shown(self, images: np.ndarray) -> np.ndarray:
        """What the network gets of raw pixels: in its size, normalised."""
        size = self.input_shape[:2]
        if images.shape[1:3] != size:
            images = np.stack([_resized(image, size) for image in images])
        return self.normalization(images)


def fit_in_memory(images: int, shape: tuple[int, int, int]) -> bool:
    """Whether so many images of this shape are decoded once and kept."""
    return _are_small(shape[:2]) and images * math.prod(shape) <= MOST_BYTES_IN_MEMORY


def fitting(size: tuple[Any, Any], channels: int = 3) -> Presentation:
    """That of images of this height and width, None where they differ."""
    return small(size, channels) if _are_small(size) else large(channels)


def _are_small(size: tuple[Any, ...]) -> bool:
    return all(side is not None and side <= _LARGEST_SMALL_SIDE for side in size)


def small(size: tuple[int, int], channels: int = 3) -> Presentation:
    """Whole pictures; a black border, a random crop and a flip in training.

    The border is an eighth of the shorter side: 4 pixels for 32x32 (CIFAR), 8 for
    64x64 (Tiny-ImageNet). Grey values, digits and letters for the most part, are
    neither cropped nor flipped.
    """
    grey = channels == 1
    whole = WholePicture(size, "L" if grey else "RGB")
    padding = min(size) // _SIDE_PER_PADDING
    return Presentation(
        input_shape=(*size, channels),
        normalization=_GREY if grey else IMAGENET,
        augmentation=Augmentation() if grey else Augmentation(pad=padding, flip=True),
        train_view=whole,
        evaluation_view=whole,
    )


def large(channels: int = 3) -> Presentation:
    """ImageNet's: a random resized crop of 224x224 and a flip in training.

    In evaluation the shorter side is resized to 256, then the middle is taken.
    """
    mode = "L" if channels == 1 else "RGB"
    return Presentation(
        input_shape=(_LARGE, _LARGE, channels),
        normalization=_GREY if channels == 1 else IMAGENET,
        augmentation=Augmentation(flip=channels == 3),
        train_view=RandomResizedCrop(_LARGE, mode),
        evaluation_view=CentreCrop(_LARGE_SHORTER_SIDE, _LARGE, mode),
    )
