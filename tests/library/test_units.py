"""N:M: of every M consecutive weights along a kernel's inputs exactly N are kept."""

import math

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

import dlth_tf as dlth
from dlth_tf.network.kernels import input_axes
from dlth_tf.tickets.units import drawn_groups, highest_in_groups, laid_out


def model_of(layer, *input_shape: int) -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input(input_shape), layer])


def inputs_last(model) -> np.ndarray:
    """The one kernel's values, its input axis at the end."""
    ((name, kernel),) = dlth.maskable_kernels(model).items()
    return np.moveaxis(keras.ops.convert_to_numpy(kernel), input_axes(model)[name], -1)


# Each with the axis of its kernel along which the layer's inputs lie.
LAYERS = {
    "dense": (layers.Dense(3), (8,), 0),
    "conv1d": (layers.Conv1D(3, 2), (5, 8), 1),
    "conv2d": (layers.Conv2D(3, (2, 3)), (5, 5, 8), 2),
    "grouped": (layers.Conv2D(4, 2, groups=2), (5, 5, 16), 2),
    "transposed": (layers.Conv2DTranspose(3, 2), (5, 5, 8), 3),
    "einsum": (layers.EinsumDense("abc,cde->abde", (None, 3, 5)), (4, 8), 0),
    "einsum_out": (layers.EinsumDense("abcd,cde->abe", (None, 5)), (4, 3, 8), 1),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_groups_lie_along_the_inputs(kind):
    layer, input_shape, axis = LAYERS[kind]
    model = model_of(layer.__class__.from_config(layer.get_config()), *input_shape)
    ((name, found),) = input_axes(model).items()
    assert found == axis
    for ticket in (
        dlth.random_ticket(model, 0.5, seed=0, unit="2:4"),
        dlth.magnitude_ticket(model, 0.5, unit="2:4"),
    ):
        along = np.moveaxis(ticket.masks[name], axis, -1).reshape(-1, 4)
        assert (along.sum(axis=1) == 2).all()


def test_the_input_axis_is_the_one_that_the_layer_sums_over():
    # A group of inputs reaches every output through its own weights: removing all of one
    # input's weights must make the output independent of that input.
    for layer, input_shape, axis in LAYERS.values():
        copy = layer.__class__.from_config(layer.get_config())
        model = model_of(copy, *input_shape)
        kernel = np.ones(copy.kernel.shape, np.float32)
        np.moveaxis(kernel, axis, 0)[1] = 0.0
        copy.kernel.assign(kernel)
        groups = getattr(copy, "groups", 1)
        x = np.zeros((1, *input_shape), np.float32)
        x[..., 1 :: input_shape[-1] // groups] = 1.0
        assert not keras.ops.convert_to_numpy(model(x)).any()


def test_the_largest_of_each_group_stay():
    model = model_of(layers.Dense(2, use_bias=False), 8)
    model.set_weights(
        [np.array([[4, 1], [-3, 2], [2, 3], [1, -4], [5, 5], [5, 5], [5, 6], [5, 7]])]
    )
    mask = dlth.magnitude_ticket(model, 0.5, unit="2:4").masks["dense"]
    # Of equal ones the first are removed, as for single weights.
    expected = [[1, 0], [1, 0], [0, 1], [0, 1], [0, 0], [0, 0], [1, 1], [1, 1]]
    np.testing.assert_array_equal(mask, np.array(expected, bool))


@given(
    n=st.integers(1, 7),
    more=st.integers(1, 4),
    groups=st.integers(1, 4),
    outputs=st.integers(1, 5),
    seed=st.integers(0, 50),
)
def test_counts_are_exact_for_every_n_and_m(n, more, groups, outputs, seed):
    m = n + more
    shape = (2, m * groups, outputs)
    masks = masks_of_conv1d(shape, f"{n}:{m}", seed)
    for mask in masks:
        per_group = mask.reshape(2, groups, m, outputs).sum(axis=2)
        assert (per_group == n).all()


def masks_of_conv1d(shape, unit, seed):
    n, m = map(int, unit.split(":"))
    scores = np.random.default_rng(seed).normal(size=shape)
    drawn = drawn_groups(math.prod(shape), n, m, np.random.SeedSequence(seed))
    highest = highest_in_groups(np.moveaxis(scores, 1, -1).reshape(-1, m), n)
    return [laid_out(groups, shape, 1) for groups in (drawn, highest)]


def test_every_choice_within_a_group_is_equally_likely():
    model = model_of(layers.Dense(3000), 4)
    mask = dlth.random_ticket(model, 0.5, seed=0, unit="2:4").masks["dense"]
    kinds, counts = np.unique(mask.T, axis=0, return_counts=True)
    assert len(kinds) == math.comb(4, 2)
    # Four standard deviations of a count of 3000 / 6.
    assert np.abs(counts - 500).max() < 4 * math.sqrt(500 * 5 / 6)


def test_random_tickets_depend_on_the_seed_alone():
    model = model_of(layers.Dense(8), 8)
    again = model_of(layers.Dense(8), 8)
    first, same, other = (
        dlth.random_ticket(m, 0.5, seed=seed, unit="2:4").masks["dense"]
        for m, seed in ((model, 0), (again, 0), (model, 1))
    )
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_a_transformation_needs_only_the_masks():
    x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    model = model_of(layers.Dense(8), 8)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    ticket = dlth.random_ticket(model, 0.5, seed=0, unit="2:4")
    pull = dlth.RandomSparseTransformation(ticket, growth=0.5, every=1, hold=40)
    model.fit(x, x, batch_size=8, epochs=6, verbose=0, callbacks=[pull])
    magnitudes, mask = np.abs(model.layers[0].kernel.numpy()), ticket.masks["dense"]
    assert magnitudes[~mask].mean() < 0.2 * magnitudes[mask].mean()
    model.fit(x, x, verbose=0, callbacks=[dlth.FixedTicket(ticket)])
    kernel = model.layers[0].kernel.numpy().reshape(2, 4, 8)
    assert (np.count_nonzero(kernel, axis=1) <= 2).all()


def two_layers() -> keras.Model:
    model = keras.Sequential([keras.Input((6,)), layers.Dense(8), layers.Dense(3)])
    return model


def test_layers_left_out_stay_dense():
    ticket = dlth.random_ticket(two_layers(), {"dense_1": 0.5}, seed=0, unit="2:4")
    assert ticket.sparsity_per_kernel() == {"dense": 0.0, "dense_1": 0.5}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sparsity": 0.5}, r"multiple of 4. Received: 6 of 'dense', shape \(6, 8\)"),
        (
            {"sparsity": {"dense_1": 0.9}},
            "must be 0.5, or 0. Received: 0.9 for 'dense_1'",
        ),
        ({"sparsity": 0.5, "unit": "4:2"}, "1 <= N < M. Received: 4:2"),
        ({"sparsity": 0.5, "unit": "0:2"}, "1 <= N < M. Received: 0:2"),
        ({"sparsity": 0.5, "unit": "weights"}, "`unit` must be .* Received: 'weights'"),
    ],
)
def test_what_can_not_be_had_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        dlth.random_ticket(two_layers(), **{"seed": 0, "unit": "2:4", **arguments})


def test_a_depthwise_kernel_has_no_inputs_to_group():
    model = model_of(layers.DepthwiseConv2D(2), 4, 4, 8)
    with pytest.raises(ValueError, match="Received: 1 of 'depthwise_conv2d'"):
        dlth.random_ticket(model, 0.5, seed=0, unit="2:4")


def test_nested_tickets_are_of_single_weights():
    model = model_of(layers.Dense(8), 8)
    ticket = dlth.random_ticket(model, 0.5, seed=0, unit="2:4")
    with pytest.raises(ValueError, match="`within` needs single weights"):
        dlth.random_ticket(model, 0.5, seed=0, within=ticket, unit="2:4")
