"""The small sets of the papers: MNIST, Fashion-MNIST, CIFAR-10, CIFAR-100.

MNIST and Fashion-MNIST (LeCun et al., 1998; Xiao et al., 2017) have 60,000 + 10,000 grey
images of 28x28 pixels. They are padded with black to 32x32, the 1024 inputs of the
papers' networks, and not augmented. The CIFAR sets (Krizhevsky, 2009) have 50,000 +
10,000 colour images of 32x32 pixels. Augmentation and normalization are those of Bai et
al. (2022): four black pixels on each side, a random crop, a flip; CIFAR-10 with
ImageNet's mean and deviation.
"""

import dataclasses

import numpy as np

from official.data import array_file, tfds_arrays
from official.data.array_data import ArrayImageData, LabelledImages, image_data
from official.data.augmentation import Augmentation
from official.data.description import Description
from official.data.image_data import Normalization
from official.data.known import KNOWN, check_known


@dataclasses.dataclass(frozen=True)
class _SmallSet:
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentation: Augmentation
    border: int = 0

    def padded(self, images: LabelledImages) -> LabelledImages:
        """With so many black pixels on every side."""
        if not self.border:
            return images
        sides = (self.border, self.border)
        padding = ((0, 0), sides, sides, (0, 0))
        return images._replace(images=np.pad(images.images, padding))


_CROP_AND_FLIP = Augmentation(pad=4, flip=True)
_SETS = {
    "mnist": _SmallSet((0.1307,), (0.3081,), Augmentation(), border=2),
    "fashion_mnist": _SmallSet((0.2860,), (0.3530,), Augmentation(), border=2),
    "cifar10": _SmallSet((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), _CROP_AND_FLIP),
    "cifar100": _SmallSet(
        (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761), _CROP_AND_FLIP
    ),
}


def load(
    name: str,
    *,
    data_dir: str | None,
    train_examples: int | None,
    validation_fraction: float,
) -> ArrayImageData:
    """Loads one of them through TensorFlow Datasets, or from an array file."""
    small = _SETS[name]
    train, test, class_names = tfds_arrays.read(name, data_dir)
    train, test = small.padded(train), small.padded(test)
    check_known(name, train.images.shape[1:], len(class_names))
    return image_data(
        name,
        train=train,
        test=test,
        class_names=class_names,
        normalization=Normalization(scale=255.0, mean=small.mean, std=small.std),
        augmentation=small.augmentation,
        train_examples=train_examples,
        validation_fraction=validation_fraction,
    )


def describe(name: str, data_dir: str | None) -> Description:
    """Describes one of them, or what an array file in `data_dir` has of it."""
    if not data_dir or not array_file.array_file(name, data_dir).exists():
        return KNOWN[name]
    train, test, _ = tfds_arrays.read(name, data_dir)
    sizes = {"train_size": len(train.labels), "test_size": len(test.labels)}
    return dataclasses.replace(KNOWN[name], **sizes)
