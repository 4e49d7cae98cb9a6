"""Random images shaped like CIFAR-10's, so that nothing needs a download."""

import numpy as np

from official.data.array_data import ArrayImageData, LabelledImages, image_data
from official.data.augmentation import Augmentation
from official.data.image_data import Normalization


def cifar_like(images: int = 20_000) -> ArrayImageData:
    """Returns random training images with CIFAR-10's augmentation."""
    chance = np.random.default_rng(0)
    pixels = chance.integers(0, 256, (images, 32, 32, 3), np.uint8)
    labels = chance.integers(0, 10, images)
    return image_data(
        "cifar_like",
        train=LabelledImages(pixels, labels),
        test=LabelledImages(pixels[:1], labels[:1]),
        class_names=tuple(map(str, range(10))),
        normalization=Normalization(255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        augmentation=Augmentation(pad=4, flip=True),
        train_examples=None,
        validation_fraction=0.0,
    )
