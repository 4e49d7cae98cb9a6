"""Which images are trained on, in what order, and which are held out.

Chance is repeatable: everything comes from the raw bits of a Philox generator, whose
stream NumPy promises never to change, unlike what its `permutation` and `integers` make
of it.
"""

import numpy as np

# What a stream of random bits is for: equal seeds give unrelated streams.
_ORDER, _AUGMENTATION, _SPLIT = range(3)
_VALIDATION_DRAW = 0


def _bits(purpose: int, seed: int, index: int, count: int) -> np.ndarray:
    sequence = np.random.SeedSequence((purpose, seed, index))
    return np.random.Philox(sequence).random_raw(count)


def epoch_order(seed: int, epoch: int, size: int) -> np.ndarray:
    """The indices 0 to `size - 1` in the order `epoch` visits them."""
    return np.argsort(_bits(_ORDER, seed, epoch, size), kind="stable")


def augmentation_bits(seed: int, step: int, batch_size: int) -> np.ndarray:
    """64 random bits for each image of the batch of `step`."""
    return _bits(_AUGMENTATION, seed, step, batch_size)


def held_out(labels: np.ndarray, counts: np.ndarray, *, draw: int) -> np.ndarray:
    """Marks `counts` images of each class; for different `draw` they are unrelated."""
    rank = np.argsort(_bits(_SPLIT, draw, 0, len(labels)), kind="stable")
    mask = np.zeros(len(labels), bool)
    for label, count in enumerate(counts):
        members = rank[labels[rank] == label]
        mask[members[:count]] = True
    return mask


def validation_mask(labels: np.ndarray, validation_fraction: float) -> np.ndarray:
    """Marks so large a part of all images, the classes in proportion."""
    total = round(validation_fraction * len(labels))
    # The method of largest remainders
    shares = np.bincount(labels) * (total / max(len(labels), 1))
    counts = np.floor(shares).astype(int)
    neediest = np.argsort(counts - shares, kind="stable")
    counts[neediest[: total - counts.sum()]] += 1
    return held_out(labels, counts, draw=_VALIDATION_DRAW)


def training_sizes(
    name: str, available: int, train_examples: int | None, validation_fraction: float
) -> tuple[int, int]:
    """How many images are trained on and held out; `ValueError` if they can't be."""
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


def steps_per_epoch(name: str, train_size: int, batch_size: int) -> int:
    """Returns the number of full batches; raises `ValueError` if there is not one."""
    if not 1 <= batch_size <= train_size:
        raise ValueError(
            f"`batch_size` must be from 1 to the {train_size} training "
            f"images of {name!r}. Received: batch_size={batch_size}"
        )
    return train_size // batch_size


def check_fraction(validation_fraction: float) -> None:
    """Raises `ValueError` if `validation_fraction` is not in [0, 1)."""
    if not 0 <= validation_fraction < 1:
        raise ValueError(
            "`validation_fraction` must be in [0, 1). "
            f"Received: validation_fraction={validation_fraction}"
        )


def require_images(name: str, split: str, size: int) -> None:
    """Raises `ValueError` if a split holds none."""
    if not size:
        raise ValueError(f"The {split} split of {name!r} holds no images.")
