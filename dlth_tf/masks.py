"""Masks: boolean arrays, True where a weight is kept (the paper's m, section 3.1).

Plain numpy, no Keras: a mask is drawn once, on the host, and must be the same on every
machine.
"""

import math

import numpy as np

_CHUNK = 1 << 20
_KEY_BITS = 16


def removed_count(size: int, sparsity: float) -> int:
    """How many of `size` weights are removed: min(ceil(sparsity * size), size - 1).

    A kernel never loses all its weights.

    Raises:
        ValueError: `sparsity` is outside [0, 1).
    """
    if not 0.0 <= sparsity < 1.0:
        raise ValueError(f"`sparsity` must be in [0, 1). Received: {sparsity}")
    return max(0, min(math.ceil(sparsity * size), size - 1))


def random_mask(
    shape: tuple[int, ...],
    sparsity: float,
    seed: np.random.SeedSequence,
    within: np.ndarray | None = None,
) -> np.ndarray:
    """Draws a mask uniformly from all masks with exactly the count removed.

    The same seed means the same mask on every machine.

    Args:
        shape: shape of the kernel.
        sparsity: fraction removed, in [0, 1).
        seed: where the random bits come from.
        within: an earlier mask. What it removes is removed here too, the rest is drawn
            from what it keeps.

    Returns:
        Boolean array of `shape`, True where a weight is kept.

    Raises:
        ValueError: `within` removes more than `sparsity` asks for.
    """
    size = math.prod(shape)
    remove = removed_count(size, sparsity)
    if within is None:
        return _without(size, remove, seed).reshape(shape)
    survivors = np.flatnonzero(within)
    further = remove - (size - survivors.size)
    if further < 0:
        raise ValueError(
            f"`within` must remove no more than sparsity {sparsity} does: {remove} of "
            f"{size} weights. Received: a mask that removes {size - survivors.size}"
        )
    mask = np.zeros(size, np.bool_)
    mask[survivors] = _without(survivors.size, further, seed)
    return mask.reshape(shape)


def _without(size: int, remove: int, seed: np.random.SeedSequence) -> np.ndarray:
    """A flat mask with `remove` of `size` places False, uniformly at random.

    Every place gets a random 16-bit key and the smallest keys are removed; places that
    share the last key are told apart by further random bits. Only whole numbers from the
    bit stream of PCG64 are used, which NumPy keeps stable. Keys are made twice rather
    than kept: beyond the mask itself this takes a few megabytes, whatever the size.
    """
    histogram = np.zeros(1 << _KEY_BITS, np.int64)
    for _, keys in _key_chunks(size, seed):
        histogram += np.bincount(keys, minlength=1 << _KEY_BITS)
    below = np.cumsum(histogram)
    last_key = int(np.searchsorted(below, remove))
    still_to_remove = remove - int(below[last_key] - histogram[last_key])

    mask = np.empty(size, np.bool_)
    ties = []
    for start, keys in _key_chunks(size, seed):
        np.greater_equal(keys, last_key, out=mask[start : start + keys.size])
        ties.append(start + np.flatnonzero(keys == last_key))
    tied = np.concatenate(ties)
    tie_seed = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, 0))
    further_bits = np.random.PCG64(tie_seed).random_raw(tied.size)
    order = np.argsort(further_bits, kind="stable")
    mask[tied[order[:still_to_remove]]] = False
    return mask


def _key_chunks(size: int, seed: np.random.SeedSequence):
    bits = np.random.PCG64(seed)
    for start in range(0, size, _CHUNK):
        count = min(_CHUNK, size - start)
        words = bits.random_raw(-(-count // 4)).astype("<u8", copy=False)
        yield start, words.view("<u2")[:count]


def magnitude_mask(weights: np.ndarray, sparsity: float) -> np.ndarray:
    """Removes the smallest magnitudes of one kernel.

    Among equal magnitudes those that come first in memory order are removed first, so
    that the count is exact also where many weights are zero.

    Args:
        weights: the kernel, any shape.
        sparsity: fraction removed, in [0, 1).

    Returns:
        Boolean array of the same shape, True where a weight is kept.

    Raises:
        ValueError: a weight is not a number.
    """
    magnitudes = np.abs(np.asarray(weights)).ravel()
    if np.isnan(magnitudes).any():
        raise ValueError("`weights` must be numbers. Received: an array with NaN.")
    remove = removed_count(magnitudes.size, sparsity)
    if remove == 0:
        return np.ones(np.shape(weights), np.bool_)
    threshold = np.partition(magnitudes, remove - 1)[remove - 1]
    mask = magnitudes >= threshold
    still_to_remove = remove - int(magnitudes.size - np.count_nonzero(mask))
    mask[np.flatnonzero(magnitudes == threshold)[:still_to_remove]] = False
    return mask.reshape(np.shape(weights))
