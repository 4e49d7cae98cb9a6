"""Masks: the exact count, uniform, the same everywhere, cheap."""

import hashlib
import math
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dlth_tf.tickets.masks import highest_masks, random_masks, removed_count

SPARSITIES = st.floats(0.0, 1.0, exclude_max=True)
SHAPES = st.lists(st.integers(1, 12), min_size=1, max_size=4).map(tuple)


def random_mask(shape, sparsity, seed) -> np.ndarray:
    return random_masks([shape], sparsity, seed)[0]


def seed(*key) -> np.random.SeedSequence:
    return np.random.SeedSequence(0, spawn_key=key)


@given(shape=SHAPES, sparsity=SPARSITIES, key=st.integers(0, 1000))
def test_random_masks_remove_the_exact_count(shape, sparsity, key):
    mask = random_mask(shape, sparsity, seed(key))
    size = math.prod(shape)
    assert mask.shape == shape and mask.dtype == np.bool_
    assert np.count_nonzero(~mask) == min(math.ceil(sparsity * size), size - 1)


@given(
    sizes=st.lists(st.integers(1, 8), min_size=1, max_size=5),
    sparsities=st.tuples(SPARSITIES, SPARSITIES).map(sorted),
    key=st.integers(0, 1000),
)
def test_several_kernels_lose_the_exact_count_again_within_a_mask(sizes, sparsities, key):
    shapes, earlier = [(size,) for size in sizes], None
    for sparsity in sparsities:
        masks = random_masks(shapes, sparsity, seed(key), earlier)
        removed = sum(np.count_nonzero(~mask) for mask in masks)
        assert removed == removed_count(sum(sizes), sparsity, len(sizes))
        assert all(mask.any() for mask in masks)
        for mask, before in zip(masks, earlier or masks, strict=True):
            assert not (mask & ~before).any()
        earlier = masks


@given(
    scores=st.lists(st.floats(-4, 4, width=16), min_size=1, max_size=60),
    sparsity=SPARSITIES,
)
def test_the_lowest_scores_are_removed_to_the_exact_count(scores, sparsity):
    scores = np.array(scores, np.float32)
    (mask,) = highest_masks([scores.copy()], sparsity)
    assert np.count_nonzero(~mask) == removed_count(scores.size, sparsity)
    if not mask.all():
        assert scores[~mask].max() <= scores[mask].min()


EXTREMES = st.sampled_from([-math.inf, -1.0, 0.0, 1.0, math.inf])


@given(
    scores=st.lists(st.lists(EXTREMES, min_size=1, max_size=8), min_size=1, max_size=4),
    sparsity=SPARSITIES,
)
def test_infinite_scores_empty_no_kernel(scores, sparsity):
    arrays = [np.array(part, np.float32) for part in scores]
    masks = highest_masks(arrays, sparsity)
    removed = sum(np.count_nonzero(~mask) for mask in masks)
    assert removed == removed_count(sum(map(len, scores)), sparsity, len(scores))
    for values, mask in zip(arrays, masks, strict=True):
        assert mask.any() and values[mask].max() == values.max()


def test_whole_numbers_are_scores_too():
    (mask,) = highest_masks([np.array([3, 1, 4, 1, 5])], 0.6)
    assert mask.tolist() == [False, False, True, False, True]


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 1.5, float("nan")])
def test_a_sparsity_out_of_range_is_named(sparsity):
    message = rf"`sparsity` must be in \[0, 1\). Received: {sparsity}"
    with pytest.raises(ValueError, match=message):
        random_mask((4, 4), sparsity, seed(0))


@pytest.mark.parametrize(("size", "sparsity"), [(40, 0.5), (37, 0.9), (64, 0.25)])
def test_every_place_is_removed_equally_often(size, sparsity):
    draws = 1500
    removed = sum(~random_mask((size,), sparsity, seed(i)) for i in range(draws))
    share = removed_count(size, sparsity) / size
    # Draws without replacement: the sum of squares is scaled to be chi-square.
    spread = (removed - draws * share) ** 2 / (draws * share * (1 - share))
    statistic = spread.sum() * (size - 1) / size
    assert 1e-4 < stats.chi2.sf(statistic, size - 1) < 1 - 1e-4


def test_every_pair_is_removed_equally_often():
    size, sparsity, draws = 12, 0.5, 2500
    masks = np.array([~random_mask((size,), sparsity, seed(i)) for i in range(draws)])
    together = masks.T.astype(int) @ masks.astype(int)
    pairs = together[np.triu_indices(size, 1)]
    remove = removed_count(size, sparsity)
    share = remove * (remove - 1) / (size * (size - 1))
    deviations = (pairs - draws * share) / math.sqrt(draws * share * (1 - share))
    assert np.abs(deviations).max() < 4.5
    assert 0.5 < deviations.std() < 1.5


def test_every_mask_is_drawn_equally_often():
    draws = 2500
    drawn = [tuple(random_mask((5,), 0.4, seed(i)).tolist()) for i in range(draws)]
    _, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(counts) == math.comb(5, 2)
    assert stats.chisquare(counts).pvalue > 1e-4


def test_ties_within_one_key_are_broken_uniformly():
    """More weights than keys, hardly any removed: the removed ones share a key."""
    size = 1 << 17
    places = [np.flatnonzero(~random_mask((size,), 1e-9, seed(i)))[0] for i in range(400)]
    assert stats.kstest(np.array(places) / size, "uniform").pvalue > 1e-3


def test_the_stream_has_not_changed():
    """A seed means the same mask in every release. Never change these."""
    hashes = [
        hashlib.sha256(np.packbits(random_mask(shape, sparsity, seed(3))).tobytes())
        for shape, sparsity in [((3, 3, 16, 32), 0.9), ((1500, 1000), 0.5)]
    ]
    assert [h.hexdigest()[:16] for h in hashes] == STORED


STORED = ["3b37ab759382ca30", "fbce1c598cf6ad86"]


def test_a_hundred_million_weights_in_seconds_and_little_memory():
    size = 100_000_000
    tracemalloc.start()
    try:
        mask = random_mask((size,), 0.9, seed(1))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= 2.5 * mask.nbytes
    assert np.count_nonzero(mask) == size - removed_count(size, 0.9)
    # The processor's time: others may be using the machine.
    begin = time.thread_time()
    random_mask((size,), 0.9, seed(1))
    assert time.thread_time() - begin <= 3.0
