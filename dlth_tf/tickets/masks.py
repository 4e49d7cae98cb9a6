"""Masks: boolean arrays, True where a weight is kept (the paper's m, section 3.1).

Plain numpy, no Keras: a mask is drawn once, on the host, and must be the same on every
machine.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

import numpy as np

from dlth_tf.tickets.sparsity import check_sparsity

Masks = Mapping[str, np.ndarray]
"""One array for each of some kernels, by name, in the kernel's shape."""

_CHUNK = 1 << 20
_KEY_BITS = 16


def removed_count(size: int, sparsity: float | Fraction, kernels: int = 1) -> int:
    """min(ceil(sparsity * size), size - kernels): no kernel loses all its weights."""
    check_sparsity(sparsity)
    return max(0, min(math.ceil(sparsity * size), size - kernels))


def random_masks(
    shapes: Sequence[tuple[int, ...]],
    sparsity: float | Fraction,
    seed: np.random.SeedSequence,
    within: Sequence[np.ndarray] | None = None,
) -> list[np.ndarray]:
    """Draws masks that together remove exactly the count, and what `within` removes."""
    sizes = [math.prod(shape) for shape in shapes]
    remove = removed_count(sum(sizes), sparsity, len(sizes))
    candidates = sizes if within is None else [int(mask.sum()) for mask in within]
    removed_before = sum(sizes) - sum(candidates)
    if remove < removed_before:
        raise ValueError(
            f"`within` must remove no more than sparsity {float(sparsity)} does: "
            f"{remove} of {sum(sizes)} weights. Received: a mask that removes "
            f"{removed_before}"
        )
    kept = _without(sum(candidates), remove - removed_before, seed)
    _leave_none_empty(kept, candidates, seed)
    parts = np.split(kept, np.cumsum(candidates)[:-1])
    if within is None:
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
    masks = [np.zeros(shape, np.bool_) for shape in shapes]
    for mask, earlier, part in zip(masks, within, parts, strict=True):
        mask[earlier] = part
    return masks


def seed_of_draw(
    seed: int, place: int, within: Sequence[np.ndarray] | None = None
) -> np.random.SeedSequence:
    """Where a draw's bits come from; a nested one's are not those that it refines."""
    removed = sum(int(mask.size - np.count_nonzero(mask)) for mask in within or ())
    return np.random.SeedSequence(seed, spawn_key=(place, removed)[: 1 + bool(removed)])


def highest_masks(
    scores: Sequence[np.ndarray], sparsity: float | Fraction
) -> list[np.ndarray]:
    """Removes the weights of the lowest scores, from several kernels taken together.

    The highest score of each kernel stays. Of equals those that come first are removed.
    """
    ends = np.cumsum([part.size for part in scores])
    flat = np.concatenate([part.ravel() for part in scores])
    if np.isnan(flat).any():
        raise ValueError("Scores must be numbers. One is NaN, or sums up to it.")
    remove = removed_count(flat.size, sparsity, len(scores))
    mask = np.ones(flat.size, np.bool_)
    if remove:
        from_end = [int(np.argmax(part.ravel()[::-1])) + 1 for part in scores]
        last_highest = np.subtract(ends, from_end, dtype=np.int64)
        rivals = np.delete(flat, last_highest)
        threshold = np.partition(rivals, remove - 1)[remove - 1]
        kept = rivals >= threshold
        still_to_remove = remove - int(rivals.size - np.count_nonzero(kept))
        kept[np.flatnonzero(rivals == threshold)[:still_to_remove]] = False
        mask = np.insert(kept, last_highest - np.arange(len(scores)), True)
    masks = np.split(mask, ends[:-1])
    return [part.reshape(of.shape) for part, of in zip(masks, scores, strict=True)]


def _without(size: int, remove: int, seed: np.random.SeedSequence) -> np.ndarray:
    """A flat mask with `remove` of `size` places False, uniformly at random.

    The smallest of random keys are removed, further bits tell equal ones apart: whole
    numbers of PCG64, which NumPy keeps stable. Made twice, they take no memory.
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
    further_bits = np.random.PCG64(_child(seed, 0)).random_raw(tied.size)
    order = np.argsort(further_bits, kind="stable")
    mask[tied[order[:still_to_remove]]] = False
    return mask


def _key_chunks(
    size: int, seed: np.random.SeedSequence
) -> Iterator[tuple[int, np.ndarray]]:
    bits = np.random.PCG64(seed)
    for start in range(0, size, _CHUNK):
        count = min(_CHUNK, size - start)
        words = bits.random_raw(-(-count // 4)).astype("<u8", copy=False)
        yield start, words.view("<u2")[:count]


def _leave_none_empty(
    kept: np.ndarray, sizes: Sequence[int], seed: np.random.SeedSequence
) -> None:
    """Gives each part that kept nothing a random place back, taken from the others."""
    starts = np.cumsum([0, *sizes[:-1]])
    parts = np.split(kept, starts[1:])
    empty = [part for part in parts if not part.any()]
    if not empty:
        return
    bits = np.random.PCG64(_child(seed, 1))
    for part in empty:
        part[bits.random_raw() % part.size] = True
    others = []
    for start, part in zip(starts, parts, strict=True):
        places = start + np.flatnonzero(part)
        others.append(np.delete(places, int(bits.random_raw() % places.size)))
    spare = np.concatenate(others)
    kept[spare[~_without(spare.size, len(empty), _child(seed, 2))]] = False


def _child(seed: np.random.SeedSequence, number: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, number))
