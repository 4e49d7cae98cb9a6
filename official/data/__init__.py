"""Image data sets by name.

A source decodes a data set once, into arrays; `ImageData` makes normalised and
augmented batches of them; `feed` hands batches to `model.fit`.
"""

import importlib

from official.common.choices import choose
from official.data.image_data import Augmentation, ImageData, Normalization

__all__ = ["DATASETS", "Augmentation", "ImageData", "Normalization", "load"]

# Each source is a module with `load(name, *, data_dir, train_examples,
# validation_fraction)`, imported when one of its data sets is loaded.
_SOURCES = {
    "digits": "digits",
    "cifar10": "cifar",
    "cifar100": "cifar",
}

DATASETS = tuple(_SOURCES)


def load(
    name: str,
    *,
    data_dir: str | None = None,
    train_examples: int | None = None,
    validation_fraction: float = 0.0,
) -> ImageData:
    """Loads the data set called `name`.

    Args:
        name: one of `DATASETS`.
        data_dir: folder that holds, or is to hold, TensorFlow Datasets' copies;
            its own default if None. `digits` needs none.
        train_examples: use only this many training images, the first in stored
            order.
        validation_fraction: part of these training images that is held out of
            training, the same images for every seed, in [0, 1).

    Raises:
        ValueError: unknown name, or a number outside its range.
        FileNotFoundError: `data_dir` does not hold the data set, and it cannot be
            downloaded into it.

    Example:

        >>> data = load("digits", validation_fraction=0.1)
        >>> images, labels = next(iter(data.train_batches(64, seed=0)))
        >>> images.shape
        (64, 8, 8, 1)
    """
    source = _SOURCES[choose("dataset", name, DATASETS)]
    if train_examples is not None and train_examples < 1:
        raise ValueError(
            "`train_examples` must be at least 1. "
            f"Received: train_examples={train_examples}"
        )
    if not 0 <= validation_fraction < 1:
        raise ValueError(
            "`validation_fraction` must be in [0, 1). "
            f"Received: validation_fraction={validation_fraction}"
        )
    module = importlib.import_module(f"{__name__}.{source}")
    return module.load(
        name,
        data_dir=data_dir,
        train_examples=train_examples,
        validation_fraction=validation_fraction,
    )
