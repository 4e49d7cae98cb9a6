"""scikit-learn's handwritten digits: 1,797 images of 8x8 grey values 0 to 16.

They come with scikit-learn and need no download (Alpaydin and Kaynak, 1998).
"""

import numpy as np

from official.data import order
from official.data.array_data import ArrayImageData, LabelledImages, image_data
from official.data.augmentation import Augmentation
from official.data.image_data import Normalization

_TEST_FRACTION = 0.25
_TEST_DRAW = 1


def load(
    name: str,
    *,
    data_dir: str | None,
    train_examples: int | None,
    validation_fraction: float,
) -> ArrayImageData:
    """Loads the digits, a quarter of each class for the test; `data_dir` unused."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = digits.images[..., None].astype("uint8")
    counts = [round(_TEST_FRACTION * size) for size in np.bincount(digits.target)]
    test = order.held_out(digits.target, counts, draw=_TEST_DRAW)
    return image_data(
        name,
        train=LabelledImages(images[~test], digits.target[~test]),
        test=LabelledImages(images[test], digits.target[test]),
        class_names=tuple(map(str, digits.target_names)),
        normalization=Normalization(scale=16.0, mean=(0.0,), std=(1.0,)),
        augmentation=Augmentation(),
        train_examples=train_examples,
        validation_fraction=validation_fraction,
    )
