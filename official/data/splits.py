"""How many training images an epoch has, and which are held out of training."""

import numpy as np

from official.data import order

_VALIDATION_DRAW = 0


def check_fraction(validation_fraction: float) -> None:
    """Raises `ValueError` if `validation_fraction` is not in [0, 1)."""
    if not 0 <= validation_fraction < 1:
        raise ValueError(
            "`validation_fraction` must be in [0, 1). "
            f"Received: validation_fraction={validation_fraction}"
        )


def training_sizes(
    name: str, available: int, train_examples: int | None, validation_fraction: float
) -> tuple[int, int]:
    """Returns how many images are trained on and how many are held out.

    Args:
        name: the data set's, for the message.
        available: training images there are.
        train_examples: use only so many of them; None for all.
        validation_fraction: part of those used that is held out, in [0, 1).

    Raises:
        ValueError: there are not so many images, or a number is out of its range.

    Example:

        >>> training_sizes("cifar10", 50_000, None, 0.1)
        (45000, 5000)
    """
    check_fraction(validation_fraction)
    used = available if train_examples is None else train_examples
    if not 1 <= used <= available:
        raise ValueError(
            f"`train_examples` must be from 1 to the {available} training images of "
            f"{name!r}. Received: train_examples={train_examples}"
        )
    validation = round(validation_fraction * used)
    if validation_fraction and not 0 < validation < used:
        raise ValueError(
            f"`validation_fraction` must hold out some of the {used} training images of "
            f"{name!r}, not all. Received: validation_fraction={validation_fraction}"
        )
    return used - validation, validation


def validation_mask(labels: np.ndarray, validation_fraction: float) -> np.ndarray:
    """Marks what is held out for validation, the classes in proportion.

    Args:
        labels: the class of each training image that is used, `[images]`.
        validation_fraction: part of all of them to mark, in [0, 1).

    Returns:
        Booleans `[images]`, the same for every seed.
    """
    total = round(validation_fraction * len(labels))
    counts = _in_proportion(np.bincount(labels), total)
    return order.held_out(labels, counts, draw=_VALIDATION_DRAW)


def require_images(name: str, split: str, size: int) -> None:
    """Raises `ValueError` if a split holds none."""
    if not size:
        raise ValueError(f"The {split} split of {name!r} holds no images.")


def check_labels(name: str, split: str, labels: np.ndarray, classes: int) -> None:
    """Raises `ValueError` if a label of a split is none of 0 to `classes - 1`."""
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise ValueError(
            f"The labels of the {split} split of {name!r} must be 0 to {classes - 1}; -1 "
            f"says that an image has none. Received: {labels[wrong[0]]} for image "
            f"{wrong[0]}, and {len(wrong)} such labels in all"
        )


def steps_per_epoch(name: str, train_size: int, batch_size: int) -> int:
    """Returns the number of full batches in `train_size` images.

    Raises:
        ValueError: there is not one.
    """
    if not 1 <= batch_size <= train_size:
        raise ValueError(
            f"`batch_size` must be from 1 to the {train_size} training "
            f"images of {name!r}. Received: batch_size={batch_size}"
        )
    return train_size // batch_size


def starts(size: int, batch_size: int, shard: tuple[int, int]) -> range:
    """Returns where the batches of one of several workers begin in so many images."""
    index, count = shard
    return range(index * batch_size, size, count * batch_size)


def _in_proportion(sizes: np.ndarray, total: int) -> np.ndarray:
    """Shares `total` out by the method of largest remainders."""
    shares = sizes * (total / max(sizes.sum(), 1))
    counts = np.floor(shares).astype(int)
    neediest = np.argsort(counts - shares, kind="stable")
    counts[neediest[: total - counts.sum()]] += 1
    return counts
