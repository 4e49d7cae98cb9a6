"""A data set that a function of one's own gives, as arrays."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from official.data import presentation
from official.data.description import Description
from official.data.images import DecodedImages, ImageSet
from official.data.presentation import Presentation

Arrays = tuple[tuple[Any, Any], tuple[Any, Any]]


@dataclasses.dataclass(frozen=True)
class OwnSet:
    """A source of images: `arrays(data_dir)` gives those to train and to test on."""

    arrays: Callable[[str | None], Arrays]

    def load(self, name: str, data_dir: str | None) -> tuple[ImageSet, Presentation]:
        """Loads it; a ValueError says what is no image or no label."""
        train, test = (_images(name, *part) for part in self.arrays(data_dir))
        classes = 1 + int(max(part.labels.max() for part in (train, test)))
        *size, channels = train.pixels.shape[1:]
        images = ImageSet(train, test, tuple(map(str, range(classes))))
        return images, presentation.small((size[0], size[1]), channels)

    def describe(self, name: str, data_dir: str | None) -> Description:
        """Describes it, once loaded: there is no other way to know."""
        images, shown = self.load(name, data_dir)
        sizes, classes = (len(images.train), len(images.test)), len(images.class_names)
        return Description(name, name, *sizes, shown.input_shape, classes)

    def encoded(self, name: str, data_dir: str | None) -> None:
        """None: it is arrays."""


def _images(name: str, pixels: Any, labels: Any) -> DecodedImages:
    pixels, labels = np.asarray(pixels), np.asarray(labels).reshape(-1)
    shape = pixels.shape
    if len(shape) != 4 or shape[-1] not in (1, 3) or len(labels) != len(pixels):
        raise ValueError(
            f"The images of {name!r} must be [images, height, width, 1 or 3], with a "
            f"label each. Received: images {list(shape)}, {len(labels)} labels"
        )
    if not len(pixels) or pixels.min() < 0 or not 1 < pixels.max() <= 255:
        raise ValueError(f"The pixels of {name!r} must be 0 to 255, as they are stored.")
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise ValueError(f"The labels of {name!r} must be whole numbers from 0.")
    return DecodedImages(np.rint(pixels).astype("uint8"), labels.astype("int64"))
