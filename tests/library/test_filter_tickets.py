"""Tickets of whole filters: how many, which, and zero all the way."""

import keras
import numpy as np
import pytest
from keras import layers

import dlth_tf as dlth
from official.modeling.networks import build_network
from tests.library import channel_models as models


def resnet():
    return build_network("resnet20", input_shape=(8, 8, 3), classes=10)


def removed_filters(ticket, name):
    mask = ticket.masks[name]
    filters = mask.reshape(-1, mask.shape[-1])
    assert (filters.all(axis=0) | ~filters.any(axis=0)).all()
    return set(np.flatnonzero(~filters.any(axis=0)))


@pytest.mark.parametrize(("sparsity", "of_16"), [(0.5, 8), (0.55, 9), (0.98, 15), (0, 0)])
def test_exactly_so_many_filters_are_removed(sparsity, of_16):
    ticket = dlth.random_ticket(resnet(), sparsity, seed=0, unit="filter")
    assert len(removed_filters(ticket, "stage1_block0_conv1")) == of_16
    assert len(removed_filters(ticket, "stem_conv")) == of_16
    assert not removed_filters(ticket, "classifier")


def test_coupled_layers_lose_the_same_channels_with_their_normalisation():
    ticket = dlth.random_ticket(resnet(), 0.5, seed=0, unit="filter")
    removed = removed_filters(ticket, "stem_conv")
    assert removed == removed_filters(ticket, "stage1_block2_conv2")
    in_stage_2 = removed_filters(ticket, "stage2_block1_conv2")
    assert {channel + 8 for channel in removed} <= in_stage_2
    assert len(in_stage_2) == 16
    for name in ("stem_bn/gamma", "stem_bn/beta"):
        assert set(np.flatnonzero(~ticket.masks[name])) == removed


@pytest.mark.parametrize("build", models.COUPLED)
def test_a_removed_channel_is_exactly_zero_where_it_is_used(build):
    model = models.randomized(build())
    ticket = dlth.random_ticket(model, 0.5, seed=0, unit="filter")
    ticket.apply(model)
    classifier = model.layers[-1]
    taken_in = models.outputs(keras.Model(model.inputs[0], classifier.input))
    kept = dlth.shrink(model, ticket).layers[-1].kernel.shape[0]
    assert kept < taken_in.shape[1]
    assert np.count_nonzero(taken_in.any(axis=0)) <= kept


def test_a_layer_asked_to_stay_dense_keeps_what_is_coupled_with_it():
    ticket = dlth.random_ticket(resnet(), {"stage*": 0.5}, seed=0, unit="filter")
    assert not removed_filters(ticket, "stem_conv")
    assert not removed_filters(ticket, "stage1_block0_conv2")
    assert len(removed_filters(ticket, "stage1_block0_conv1")) == 8
    assert len(removed_filters(ticket, "stage2_block0_conv2")) == 8


def test_the_seed_decides():
    first, again, other = (
        dlth.random_ticket(resnet(), 0.5, seed=seed, unit="filter") for seed in (3, 3, 4)
    )
    assert all((mask == again.masks[name]).all() for name, mask in first.masks.items())
    assert any((mask != other.masks[name]).any() for name, mask in first.masks.items())


def test_nested_tickets_keep_what_was_removed():
    first = dlth.random_ticket(resnet(), 0.3, seed=0, unit="filter")
    second = dlth.random_ticket(resnet(), 0.6, seed=0, within=first, unit="filter")
    for name, mask in first.masks.items():
        assert not (second.masks[name] & ~mask).any()
    assert len(removed_filters(second, "stage3_block0_conv1")) == 39


def test_magnitude_keeps_the_channels_of_the_largest_sum():
    inputs = keras.Input((2,))
    left = layers.Dense(4, use_bias=False, name="left")
    right = layers.Dense(4, use_bias=False, name="right")
    joined = layers.Add()([left(inputs), right(inputs)])
    model = keras.Model(inputs, layers.Dense(1, name="out")(joined))
    left.kernel.assign([[1, 0, -3, 0], [1, 0, 0, 2]])
    right.kernel.assign([[0, 4, 0, 0], [-1.5, 0, 0, 0]])
    ticket = dlth.magnitude_ticket(model, 0.5, unit="filter")
    assert removed_filters(ticket, "left") == removed_filters(ticket, "right") == {2, 3}


def test_what_is_sparse_is_counted_in_kernels_only():
    model = models.normalized_without_gamma()
    ticket = dlth.random_ticket(model, 0.5, seed=0, unit="filter")
    assert ticket.sparsity_per_kernel() == {"conv2d": 0.5, "dense": 0.0}
    assert "batch_normalization/moving_mean" in ticket.masks


def test_a_ticket_of_filters_is_saved_and_loaded(tmp_path):
    ticket = dlth.random_ticket(resnet(), 0.5, seed=0, unit="filter")
    ticket.save(tmp_path / "ticket")
    loaded = dlth.Ticket.load(tmp_path / "ticket")
    assert list(loaded.masks) == list(ticket.masks)
    assert all((loaded.masks[name] == mask).all() for name, mask in ticket.masks.items())


def _trained(model, *callbacks):
    model.compile(keras.optimizers.SGD(0.005), "mse")
    x = models.images(model, 16)
    y = np.ones((16, *model.output_shape[1:]))
    model.fit(x, y, batch_size=4, epochs=2, verbose=0, callbacks=list(callbacks))


@pytest.mark.parametrize(
    "build",
    [
        models.residual,
        pytest.param(models.normalized_without_gamma, marks=pytest.mark.every_backend),
    ],
)
def test_training_a_ticket_of_filters_keeps_its_channels_at_zero(build):
    model = models.randomized(build())
    ticket = dlth.random_ticket(model, 0.5, seed=0, unit="filter")
    _trained(model, dlth.FixedTicket(ticket))
    for _, variable, mask in ticket.pairs(model):
        assert not keras.ops.convert_to_numpy(variable)[~mask].any()
    trained = models.outputs(model)
    np.testing.assert_allclose(
        models.outputs(dlth.shrink(model, ticket)), trained, atol=1e-5
    )


def test_the_transformation_extrudes_normalisation_parameters_too():
    model = models.randomized(models.residual())
    ticket = dlth.random_ticket(model, 0.5, seed=0, unit="filter")
    (gamma, mask), *_ = (
        (variable, mask)
        for name, variable, mask in ticket.pairs(model)
        if name == "batch_normalization/gamma"
    )
    before = keras.ops.convert_to_numpy(gamma)
    growth = dlth.RandomSparseTransformation(ticket, growth=50.0, every=1, bound=40.0)
    _trained(model, growth)
    left = keras.ops.convert_to_numpy(gamma) / before
    assert left[~mask].max() < 0.5 < left[mask].min()


# Counts that hardware likes


def hidden(*units):
    wide = [layers.Dense(count, name=f"of_{count}") for count in units]
    return keras.Sequential([keras.Input((3,)), *wide, layers.Dense(2, name="out")])


def left(ticket):
    """How many filters are left of each kernel."""
    kernels = {name: mask for name, mask in ticket.masks.items() if mask.ndim > 1}
    return {n: m.reshape(-1, m.shape[-1]).any(axis=0).sum() for n, m in kernels.items()}


@pytest.mark.parametrize(
    ("units", "sparsity", "kept"),
    [
        *[(64, 0.7, 16), (16, 0.98, 8), (12, 0.5, 8), (20, 0.1, 16)],
        *[(40, 0.5, 24), (22, 0.05, 16), (6, 0.5, 6), (20, 0.0, 20)],
    ],
)
def test_what_is_kept_of_a_group_is_rounded(units, sparsity, kept):
    model = hidden(units)
    drawn = dlth.random_ticket(model, sparsity, seed=0, unit="filter", round_to=8)
    highest = dlth.magnitude_ticket(model, sparsity, unit="filter", round_to=8)
    assert left(drawn)[f"of_{units}"] == left(highest)[f"of_{units}"] == kept


def test_rounding_keeps_the_best():
    model = hidden(12)
    model.layers[0].kernel.assign(np.tile(np.arange(12.0), (3, 1)))
    ticket = dlth.magnitude_ticket(model, 0.5, unit="filter", round_to=8)
    assert removed_filters(ticket, "of_12") == {0, 1, 2, 3}


def test_rounded_tickets_are_nested():
    first = dlth.random_ticket(resnet(), 0.3, seed=0, unit="filter", round_to=4)
    again = {"within": first, "unit": "filter", "round_to": 4}
    second = dlth.random_ticket(resnet(), 0.6, seed=0, **again)
    for name, mask in first.masks.items():
        assert not (second.masks[name] & ~mask).any()
    assert left(second)["stage3_block0_conv1"] == 24


def test_a_rounded_ticket_may_remove_more_than_its_sparsity_within_another():
    filters = {"unit": "filter", "round_to": 8}
    first = dlth.random_ticket(hidden(40), 0.325, seed=0, **filters)
    second = dlth.random_ticket(hidden(40), 0.35, seed=0, within=first, **filters)
    assert left(first)["of_40"] == left(second)["of_40"] == 24


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"round_to": 8}, r"for unit 'filter'.*round_to=8 with unit 'weight'"),
        ({"unit": "2:4", "round_to": 2}, "round_to=2 with unit '2:4'"),
        ({"unit": "filter", "round_to": 0}, "whole number of 1 or more. Received: 0"),
        ({"unit": "filter", "round_to": 8.0}, "whole number of 1 or more. Received: 8.0"),
        ({"importance": "group"}, "importance='group' with unit 'weight'"),
        ({"unit": "filter", "importance": "l2"}, "'filter' or 'group'. Received: 'l2'"),
    ],
)
def test_what_makes_no_sense_of_filters_is_refused(how, said):
    with pytest.raises(ValueError, match=said):
        dlth.magnitude_ticket(hidden(8), 0.5, **how)


# Groups that compete


def test_filters_of_the_whole_network_compete_and_depth_is_not_touched():
    model = hidden(8, 4)
    scores = {name: np.ones(k.shape) for name, k in dlth.maskable_kernels(model).items()}
    scores["of_8"] *= np.array([5, 6, 7, 8, 9, 10, 11, 12])
    for sparsity, kept in ((0.5, (5, 1)), (0.75, (2, 1)), (0.99, (1, 1))):
        chosen = {"sparsity": dlth.Global(sparsity, ("of_*",)), "unit": "filter"}
        ticket = dlth.highest_ticket(model, scores=scores, **chosen)
        assert (left(ticket)["of_8"], left(ticket)["of_4"]) == kept
        assert left(ticket)["out"] == 2
        drawn = left(dlth.random_ticket(model, seed=0, **chosen))
        assert drawn["of_8"] + drawn["of_4"] == sum(kept)


def test_filters_that_compete_are_rounded_and_nested():
    model, half = hidden(64, 32, 16), dlth.Global(0.5, ("of_*",))
    first = dlth.random_ticket(model, half, seed=1, unit="filter", round_to=8)
    kept = left(first)
    assert not any(kept[f"of_{n}"] % 8 for n in (64, 32, 16))
    assert len({kept[f"of_{n}"] / n for n in (64, 32, 16)}) > 1
    more = dlth.Global(0.7, ("of_*",))
    second = dlth.random_ticket(model, more, 1, first, unit="filter", round_to=8)
    assert not any((second.masks[n] & ~mask).any() for n, mask in first.masks.items())


def test_a_layer_that_does_not_compete_keeps_what_is_coupled_with_it():
    model = resnet()
    ticket = dlth.random_ticket(model, dlth.Global(0.5, ("stage*",)), 0, unit="filter")
    assert not removed_filters(ticket, "stem_conv")
    assert not removed_filters(ticket, "stage1_block0_conv2")
    inner = [left(ticket)[f"stage3_block{n}_conv1"] for n in range(3)]
    assert len({*inner}) > 1


def test_the_importance_of_a_group_is_of_all_that_goes_with_a_channel():
    model = hidden(3)
    first, last = model.layers
    first.kernel.assign([[1, 2, 3], [0, 0, 0], [0, 0, 0]])
    last.kernel.assign([[3, 1], [0, 0], [0, 0]])
    # Squared: 1 + 9 + 1, 4, 9; the L1 norms of the filters: 1, 2, 3.
    by_group = dlth.magnitude_ticket(model, 0.5, "filter", importance="group")
    assert removed_filters(by_group, "of_3") == {1, 2}
    assert removed_filters(dlth.magnitude_ticket(model, 0.5, "filter"), "of_3") == {0, 1}


def test_groups_are_compared_relative_to_their_mean():
    inputs = keras.Input((3,))
    wide, narrow = (layers.Dense(n, name=f"of_{n}") for n in (32, 8))
    joined = [layers.Dense(2)(wide(inputs)), layers.Dense(2)(narrow(inputs))]
    model = models.randomized(keras.Model(inputs, layers.Add()(joined)))
    chosen = {"sparsity": dlth.Global(0.5), "unit": "filter", "importance": "group"}
    before = dlth.magnitude_ticket(model, **chosen)
    assert left(before)["of_32"] + left(before)["of_8"] == 20
    for kernel in (wide.kernel, model.layers[3].kernel):
        kernel.assign(kernel * 100.0)
    after = dlth.magnitude_ticket(model, **chosen)
    assert all((after.masks[name] == mask).all() for name, mask in before.masks.items())


@pytest.mark.every_backend
def test_a_ticket_of_groups_that_competed_shrinks():
    model = models.randomized(models.residual())
    ticket = dlth.magnitude_ticket(model, dlth.Global(0.5), "filter", 2, "group")
    small = models.outputs(dlth.shrink(model, ticket))
    ticket.apply(model)
    np.testing.assert_allclose(small, models.outputs(model), atol=1e-5)


def test_a_model_without_removable_filters_is_refused():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    with pytest.raises(ValueError, match="no filter that could be removed"):
        dlth.random_ticket(model, 0.5, seed=0, unit="filter")


def test_kernels_that_stay_whole_are_told(caplog):
    inputs = keras.Input((4,))
    x = layers.LayerNormalization()(layers.Dense(5)(inputs))
    model = keras.Model(inputs, layers.Dense(2)(layers.Dense(6)(x)))
    dlth.random_ticket(model, 0.5, seed=0, unit="filter")
    assert "1 of 3 kernels keep all their filters" in caplog.text
    assert "'dense': layer 'layer_normalization" in caplog.text
