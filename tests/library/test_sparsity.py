"""Where the sparsity goes: worked cases, exact totals, one clear line for mistakes."""

import math

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlth_tf as dlth
from dlth_tf.tfmot import magnitude_ticket as tfmot_magnitude_ticket
from dlth_tf.tickets.distributions import apportioned
from dlth_tf.tickets.sparsity import sparsity_per_kernel, sparsity_pools

# 2304, 4608 and 640 weights.
SHAPES = {"a": (3, 3, 16, 16), "b": (3, 3, 16, 32), "c": (64, 10)}
SPARSITIES = st.floats(0.0, 1.0, exclude_max=True)
SHAPE = st.lists(st.integers(1, 9), min_size=2, max_size=4).map(tuple)
NETWORKS = st.lists(SHAPE, min_size=1, max_size=6).map(
    lambda shapes: {f"layer{place}": shape for place, shape in enumerate(shapes)}
)
OVERALL = (dlth.ErdosRenyi, dlth.ErdosRenyiKernel)


def network(*widths: int) -> keras.Model:
    layers = [keras.layers.Dense(width, name=f"d{i}") for i, width in enumerate(widths)]
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((8,)), *layers])


def kept(shapes, sparsity) -> dict[str, int]:
    """Whole numbers of weights that stay, kernel by kernel."""
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    return {
        name: size - math.ceil(sparsity_per_kernel(shapes, sparsity)[name] * size)
        for name, size in sizes.items()
    }


def kept_in(ticket) -> dict[str, int]:
    return {name: np.count_nonzero(mask) for name, mask in ticket.masks.items()}


def test_erdos_renyi_kernel_by_hand():
    # Kept in proportion to the sums of the dimensions, 38 : 54 : 74, in all 755 of 7552:
    # 172.8, 245.6 and 336.6, of which the last is the nearest to its rounding point.
    assert kept(SHAPES, dlth.ErdosRenyiKernel(0.9)) == {"a": 173, "b": 246, "c": 336}


def test_a_layer_that_would_exceed_density_one_is_dense_and_others_keep_more():
    # 3776 * 74 / 166 exceeds 640; the other 3136 are shared out 38 : 54.
    assert kept(SHAPES, dlth.ErdosRenyiKernel(0.5)) == {"a": 1295, "b": 1841, "c": 640}


def test_erdos_renyi_by_hand():
    # Kept in proportion to 9 * 32 : 9 * 48 : 74, in all 3776.
    assert kept(SHAPES, dlth.ErdosRenyi(0.5)) == {"a": 1370, "b": 2054, "c": 352}


def densities(shapes, sparsity, raw) -> dict[str, float]:
    """The rule as Evci et al. state it, in real numbers: rescale until none exceeds 1."""
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    dense = set()
    while True:
        free = [name for name in shapes if name not in dense]
        budget = (1 - sparsity) * sum(sizes.values()) - sum(sizes[n] for n in dense)
        factor = budget / sum(raw(shapes[n]) * sizes[n] for n in free)
        over = {name for name in free if factor * raw(shapes[name]) > 1}
        if not over:
            return {
                name: 1.0 if name in dense else factor * raw(shapes[name])
                for name in shapes
            }
        dense |= over


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.9, 0.98])
def test_erdos_renyi_kernel_follows_the_papers_rule_on_a_residual_network(sparsity):
    model = keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3))
    shapes = {n: tuple(k.shape) for n, k in dlth.maskable_kernels(model).items()}
    expected = densities(shapes, sparsity, lambda shape: sum(shape) / math.prod(shape))
    for name, count in kept(shapes, dlth.ErdosRenyiKernel(sparsity)).items():
        assert abs(count - expected[name] * math.prod(shapes[name])) < 1.5


@pytest.mark.parametrize("distribution", OVERALL)
@given(shapes=NETWORKS, sparsity=SPARSITIES)
def test_the_overall_count_is_exact(distribution, shapes, sparsity):
    counts = kept(shapes, distribution(sparsity))
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    total = sum(sizes.values())
    removed = min(math.ceil(sparsity * total), total - len(shapes))
    assert sum(counts.values()) == total - removed
    assert all(1 <= counts[name] <= sizes[name] for name in shapes)


@pytest.mark.parametrize("distribution", OVERALL)
@given(shapes=NETWORKS, sparsities=st.tuples(SPARSITIES, SPARSITIES))
def test_no_kernel_keeps_more_at_a_higher_sparsity(distribution, shapes, sparsities):
    low, high = (kept(shapes, distribution(s)) for s in sorted(sparsities))
    assert all(high[name] <= low[name] for name in shapes)


@given(
    shares=st.lists(st.integers(1, 50), min_size=1, max_size=8),
    limits=st.data(),
)
def test_apportioned_numbers_have_the_sum(shares, limits):
    limits_ = [limits.draw(st.integers(1, 40)) for _ in shares]
    total = limits.draw(st.integers(len(shares), sum(limits_)))
    parts = apportioned(total, shares, limits_)
    assert sum(parts) == total
    assert all(1 <= part <= limit for part, limit in zip(parts, limits_, strict=True))


def test_tickets_of_a_distribution_are_exact_and_equal_by_either_engine():
    model = network(16, 12, 5)
    erk = dlth.ErdosRenyiKernel(0.7)
    shapes = {n: tuple(k.shape) for n, k in dlth.maskable_kernels(model).items()}
    ours = dlth.magnitude_ticket(model, erk)
    assert kept_in(ours) == kept(shapes, erk)
    assert kept_in(dlth.random_ticket(model, erk, seed=0)) == kept(shapes, erk)
    theirs = tfmot_magnitude_ticket(model, erk)
    for name, mask in ours.masks.items():
        np.testing.assert_array_equal(theirs.masks[name], mask)


def test_global_is_one_threshold():
    model = network(6, 4)
    model.get_layer("d1").kernel.assign(0.01 * np.ones((6, 4)))
    model.get_layer("d1").kernel.assign_add(
        np.eye(6, 4) * 10  # four large weights among small ones
    )
    ticket = dlth.magnitude_ticket(model, dlth.Global(0.5))
    magnitudes = np.concatenate(
        [np.abs(k.numpy()).ravel() for k in dlth.maskable_kernels(model).values()]
    )
    mask = np.concatenate([mask.ravel() for mask in ticket.masks.values()])
    assert np.count_nonzero(~mask) == 36
    assert magnitudes[~mask].max() <= magnitudes[mask].min()
    assert ticket.sparsity_per_kernel()["d1"] == pytest.approx(20 / 24)


def test_global_leaves_every_kernel_its_highest_score():
    model = network(30, 4)
    model.get_layer("d1").kernel.assign(1e-6 * np.arange(120).reshape(30, 4))
    ticket = dlth.magnitude_ticket(model, dlth.Global(0.9))
    assert np.flatnonzero(ticket.masks["d1"]).tolist() == [119]
    assert np.count_nonzero(ticket.masks["d0"]) == 360 - math.ceil(0.9 * 360) - 1


@given(sparsity=SPARSITIES, seed=st.integers(0, 100))
def test_global_random_tickets_are_exact_and_leave_no_kernel_empty(sparsity, seed):
    ticket = dlth.random_ticket(SMALL, dlth.Global(sparsity), seed)
    total = 8 * 2 + 2 * 1 + 1 * 20
    assert sum(kept_in(ticket).values()) == total - min(
        math.ceil(sparsity * total), total - 3
    )
    assert all(kept_in(ticket).values())


SMALL = network(2, 1, 20)


def test_global_random_tickets_draw_every_weight_equally_often():
    draws = 3000
    masks = [
        dlth.random_ticket(SMALL, dlth.Global(0.5), seed).masks for seed in range(draws)
    ]
    flat = [np.concatenate([mask.ravel() for mask in drawn.values()]) for drawn in masks]
    shares = np.mean(flat, axis=0)
    # Five standard deviations; "d1" gets back a little of what it would lose whole.
    assert np.abs(shares[:16] - 0.5).max() < 5 * 0.5 / math.sqrt(draws)
    assert np.abs(shares[18:] - 0.5).max() < 5 * 0.5 / math.sqrt(draws)
    assert len({mask.tobytes() for mask in flat}) == draws


@pytest.mark.parametrize("distribution", [*OVERALL, dlth.Global, dlth.Uniform])
def test_tickets_nest_whatever_the_distribution(distribution):
    model = network(16, 12, 5)
    first = dlth.random_ticket(model, distribution(0.4), seed=0)
    second = dlth.random_ticket(model, distribution(0.8), seed=0, within=first)
    for name, mask in second.masks.items():
        assert not (mask & ~first.masks[name]).any()
    if distribution is not dlth.Uniform:
        assert sum(kept_in(second).values()) == 380 - math.ceil(0.8 * 380)


@pytest.mark.parametrize("distribution", [*OVERALL, dlth.Global, dlth.Uniform])
def test_layers_that_are_not_chosen_stay_dense(distribution):
    model = network(16, 12, 5)
    ticket = dlth.random_ticket(model, distribution(0.5, layers=["d0", "d1"]), seed=0)
    assert ticket.masks["d2"].all()
    chosen = kept_in(ticket)["d0"] + kept_in(ticket)["d1"]
    assert chosen == (128 + 192) // 2


def test_uniform_is_what_a_number_means():
    model = network(16, 12)
    assert kept_in(dlth.random_ticket(model, dlth.Uniform(0.9), 3)) == kept_in(
        dlth.random_ticket(model, 0.9, 3)
    )


def test_ratios_by_number_of_a_layer():
    ticket = dlth.random_ticket(network(4, 4, 4, 4), dlth.PerLayer("0-1:0.5, 3:0.25"), 0)
    assert list(ticket.sparsity_per_kernel().values()) == [0.5, 0.5, 0.0, 0.25]


def stages(*names: str) -> dict:
    return dict.fromkeys(names, (4, 4))


def test_ratios_by_stage():
    within = ("stage1/conv", "widening", "stage2_b0", "stage2_b1")
    shapes = stages("stem_conv", *within, "classifier")
    found = sparsity_per_kernel(shapes, dlth.PerStage([0, 0.5, 0.9, 0.1]))
    assert list(found.values()) == [0, 0.5, 0.5, 0.9, 0.9, 0.1]


def test_distributions_are_values():
    assert dlth.Global(0.9, ["stage*"]) == dlth.Global(0.9, ("stage*",))
    assert len({dlth.PerStage([0, 0.5]), dlth.PerStage((0, 0.5))}) == 1
    assert repr(dlth.PerLayer("0:0.5")) == "PerLayer(ratios='0:0.5')"
    assert repr(dlth.ErdosRenyi(0.9)) == "ErdosRenyi(sparsity=0.9, layers=('*',))"


def test_competing_kernels_have_no_sparsity_of_their_own():
    with pytest.raises(ValueError, match=r"Global\(sparsity=0.9.* in which kernels"):
        sparsity_per_kernel(SHAPES, dlth.Global(0.9))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: dlth.ErdosRenyi(1.0), r"`sparsity` must be in \[0, 1\). Received: 1.0"),
        (lambda: dlth.Global("0.9"), r"`sparsity` must be in \[0, 1\). Received: 0.9"),
        (lambda: dlth.Uniform(0.5, "stage*"), "`layers` must be a sequence"),
        (lambda: dlth.Uniform(0.5, []), r"`layers` must be .* Received: \[\]"),
        (lambda: dlth.PerLayer("0-4=0.5"), "must look like '0-4:0.5,5:0.6'"),
        (lambda: dlth.PerLayer("0:half"), "Received: '0:half'"),
        (lambda: dlth.PerLayer("0-2:0.5,2:0.6"), "name each layer once"),
        (lambda: dlth.PerLayer("4-2:0.5"), "the first of a range before the last"),
        (lambda: dlth.PerLayer("0-4:1.5"), "Received: 1.5 for layer 0-4"),
        (lambda: dlth.PerStage([0, 1.5]), r"Received: 1.5 in \[0, 1.5\]"),
    ],
)
def test_bad_values_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("sparsity", "message"),
    [
        (
            dlth.ErdosRenyi(0.5, ["conv*"]),
            r"'conv\*' matches no kernel. Kernels: a, b, c",
        ),
        (dlth.PerLayer("0-3:0.5"), "names layer 3. The model's layers are 0 to 2: a, b"),
        (dlth.PerStage([0, 0.5, 0]), "need kernels with names such as 'stage1_conv'"),
        ({"a": "x"}, "Received: x for 'a'"),
    ],
)
def test_what_does_not_fit_the_model_is_named(sparsity, message):
    with pytest.raises(ValueError, match=message):
        sparsity_pools(SHAPES, sparsity)


def test_a_wrong_number_of_stages_is_named():
    shapes = stages("stem", "stage1_conv", "stage2_conv", "head")
    with pytest.raises(ValueError, match=r"must be 4 .*\(stem, stage1, stage2, class"):
        sparsity_pools(shapes, dlth.PerStage([0, 0.5, 0]))
