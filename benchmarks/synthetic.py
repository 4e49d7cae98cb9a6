"""Random images shaped like CIFAR-10's, so that nothing needs a download."""

import numpy as np

from official.data import presentation
from official.data.image_data import ImageData, image_data
from official.data.images import DecodedImages, ImageSet


def cifar_like(images: int = 20_000) -> ImageData:
    """Returns random training images with CIFAR-10's augmentation."""
    chance = np.random.default_rng(0)
    pixels = chance.integers(0, 256, (images, 32, 32, 3), np.uint8)
    train = DecodedImages(pixels, chance.integers(0, 10, images))
    random = ImageSet(train, train.take(slice(1)), tuple(map(str, range(10))))
    return image_data("cifar_like", random, presentation.small((32, 32)))
