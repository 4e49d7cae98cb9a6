"""MNIST and Fashion-MNIST: 60,000 + 10,000 grey images of 28x28 pixels.

They are padded with black to 32x32, the 1024 inputs of the papers' networks, and not
augmented (LeCun et al., 1998; Xiao et al., 2017).
"""

import numpy as np

from official.data import tfds_arrays
from official.data.array_data import ArrayImageData, LabelledImages, image_data
from official.data.augmentation import Augmentation
from official.data.image_data import Normalization

_PADDING = ((0, 0), (2, 2), (2, 2), (0, 0))
_NORMALIZATIONS = {
    "mnist": Normalization(scale=255.0, mean=(0.1307,), std=(0.3081,)),
    "fashion_mnist": Normalization(scale=255.0, mean=(0.2860,), std=(0.3530,)),
}


def load(
    name: str,
    *,
    data_dir: str | None,
    train_examples: int | None,
    validation_fraction: float,
) -> ArrayImageData:
    """Loads `mnist` or `fashion_mnist` through TensorFlow Datasets."""
    train, test, class_names = tfds_arrays.read(name, data_dir)
    return image_data(
        name,
        train=_padded(train),
        test=_padded(test),
        class_names=class_names,
        normalization=_NORMALIZATIONS[name],
        augmentation=Augmentation(),
        train_examples=train_examples,
        validation_fraction=validation_fraction,
    )


def _padded(images: LabelledImages) -> LabelledImages:
    return images._replace(images=np.pad(images.images, _PADDING))
