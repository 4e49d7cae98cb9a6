"""Repeatable chance: the order of images, and what is held out.

Everything comes from the raw bits of a Philox generator, whose stream NumPy
promises never to change, unlike what its `permutation` and `integers` make of it.
"""

from collections.abc import Sequence

import numpy as np

# What a stream of random bits is for: equal seeds give unrelated streams.
_ORDER, _AUGMENTATION, _SPLIT = range(3)


def _bits(purpose: int, seed: int, index: int, count: int) -> np.ndarray:
    sequence = np.random.SeedSequence((purpose, seed, index))
    return np.random.Philox(sequence).random_raw(count)


def epoch_order(seed: int, epoch: int, size: int) -> np.ndarray:
    """Returns the indices 0 to `size - 1` in the order `epoch` visits them."""
    return np.argsort(_bits(_ORDER, seed, epoch, size), kind="stable")


def augmentation_bits(seed: int, step: int, batch_size: int) -> np.ndarray:
    """Returns 64 random bits for each image of the batch of `step`."""
    return _bits(_AUGMENTATION, seed, step, batch_size)


def held_out(labels: np.ndarray, counts: Sequence[int], *, draw: int) -> np.ndarray:
    """Marks so many images of each class, by a rule without a seed.

    Args:
        labels: the class of each image, `[images]`.
        counts: how many images to mark of each class, by label.
        draw: which draw it is; different numbers mark unrelated images.

    Returns:
        Booleans `[images]`, true where an image is held out.
    """
    rank = np.argsort(_bits(_SPLIT, draw, 0, len(labels)), kind="stable")
    mask = np.zeros(len(labels), bool)
    for label, count in enumerate(counts):
        members = rank[labels[rank] == label]
        mask[members[:count]] = True
    return mask
