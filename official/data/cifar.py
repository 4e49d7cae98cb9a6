"""CIFAR-10 and CIFAR-100: 50,000 + 10,000 colour images of 32x32 pixels.

Augmentation and normalization are those of Bai et al. (2022): four black pixels on
each side, a random crop, a flip; CIFAR-10 with ImageNet's mean and deviation.
"""

from official.data import tfds_arrays
from official.data.array_data import ArrayImageData, image_data
from official.data.augmentation import Augmentation
from official.data.image_data import Normalization

_NORMALIZATIONS = {
    "cifar10": Normalization(
        scale=255.0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    ),
    "cifar100": Normalization(
        scale=255.0, mean=(0.5071, 0.4867, 0.4408), std=(0.2675, 0.2565, 0.2761)
    ),
}


def load(
    name: str,
    *,
    data_dir: str | None,
    train_examples: int | None,
    validation_fraction: float,
) -> ArrayImageData:
    """Loads `cifar10` or `cifar100` through TensorFlow Datasets."""
    train, test, class_names = tfds_arrays.read(name, data_dir)
    return image_data(
        name,
        train=train,
        test=test,
        class_names=class_names,
        normalization=_NORMALIZATIONS[name],
        augmentation=Augmentation(pad=4, flip=True),
        train_examples=train_examples,
        validation_fraction=validation_fraction,
    )
