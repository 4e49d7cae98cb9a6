"""SNIP, GraSP and SynFlow against their definitions, written out in plain numpy."""

import keras
import numpy as np
import pytest
from keras import layers

import dlth_tf as dlth
from dlth_tf.saliency.gradients import TrainingLoss

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 6)).astype("float32")
Y = RNG.integers(0, 4, size=24)
OF_FLOAT64 = keras.backend.result_type("float64")
CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def softmax_regression() -> keras.Model:
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [keras.Input((6,)), layers.Dense(4, use_bias=False, name="only")]
    )


def normalized() -> keras.Model:
    """A network with everything that a forward pass in training would change."""
    keras.utils.set_random_seed(2)
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(10, name="first"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.3, seed=1),
            layers.Dense(4, name="last"),
        ]
    )


def values(variable) -> np.ndarray:
    return keras.ops.convert_to_numpy(variable).copy()


def gradient_and_product(weights, temperature=1.0):
    """g = dL/dW and H g of softmax regression, by hand."""
    logits = X.astype(np.float64) @ weights / temperature
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    gradient = X.T @ (p - np.eye(4)[Y]) / (len(X) * temperature)
    along = X @ gradient / temperature
    change = p * along - p * (p * along).sum(axis=1, keepdims=True)
    return gradient, X.T @ change / (len(X) * temperature)


def keeping_highest(scores: np.ndarray, kept: int) -> np.ndarray:
    mask = np.zeros(scores.size, bool)
    mask[np.argsort(scores.ravel())[-kept:]] = True
    return mask.reshape(scores.shape)


@pytest.mark.every_backend
def test_snip_keeps_the_highest_sensitivity():
    model = softmax_regression()
    weights = values(model.layers[0].kernel)
    gradient, _ = gradient_and_product(weights)
    ticket = dlth.snip_ticket(model, 0.5, X, Y, CROSS_ENTROPY)
    expected = keeping_highest(np.abs(gradient * weights), 12)
    np.testing.assert_array_equal(ticket.masks["only"], expected)


@pytest.mark.every_backend
@pytest.mark.parametrize("temperature", [1.0, 200.0])
def test_grasp_removes_what_frees_the_most_gradient_flow(temperature):
    model = softmax_regression()
    model.layers[0].kernel.assign(2 * values(model.layers[0].kernel))
    weights = values(model.layers[0].kernel)
    _, product = gradient_and_product(weights, temperature)
    ticket = dlth.grasp_ticket(model, 0.5, X, Y, CROSS_ENTROPY, temperature=temperature)
    removed = ~ticket.masks["only"]
    papers_score = -weights * product
    np.testing.assert_array_equal(removed, keeping_highest(papers_score, 12))


def test_removing_the_highest_grasp_score_raises_the_gradient_norm():
    weights = values(softmax_regression().layers[0].kernel)
    gradient, product = gradient_and_product(weights)
    score = -weights * product
    place = np.unravel_index(score.argmax(), score.shape)
    assert score[place] > 0
    fewer = weights.copy()
    fewer[place] *= 1 - 1e-4
    gain = (gradient_and_product(fewer)[0] ** 2).sum() - (gradient**2).sum()
    assert gain == pytest.approx(1e-4 * 2 * score[place], rel=1e-2)


def tanh_network() -> keras.Model:
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(5, activation="tanh", name="first"),
            layers.Dense(4, name="last"),
        ]
    )


def normalized_tanh_network() -> keras.Model:
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(5, activation="tanh", name="first"),
            layers.Dense(5, name="second"),
            layers.BatchNormalization(),
            layers.Dense(4, name="last"),
        ]
    )


@pytest.mark.every_backend
@pytest.mark.parametrize("build", [tanh_network, normalized_tanh_network])
def test_the_hessian_couples_all_kernels(build):
    model = build()
    loss = TrainingLoss(model, X, Y, CROSS_ENTROPY, batch_size=24)
    direction = loss.gradient()
    product = loss.hessian_product(direction)
    step = 1e-2
    sides = []
    for sign in (1, -1):
        moved = build()
        for name, kernel in dlth.maskable_kernels(moved).items():
            kernel.assign(values(kernel) + sign * step * direction[name])
        sides.append(TrainingLoss(moved, X, Y, CROSS_ENTROPY, 24).gradient())
    for name, found in product.items():
        expected = (sides[0][name] - sides[1][name]) / (2 * step)
        np.testing.assert_allclose(found, expected, atol=0.01 * np.abs(expected).max())


FIND = {
    "snip": lambda model, s=0.5, **o: dlth.snip_ticket(
        model, s, X, Y, CROSS_ENTROPY, **o
    ),
    "grasp": lambda model, s=0.5, **o: dlth.grasp_ticket(
        model, s, X, Y, CROSS_ENTROPY, **o
    ),
    "synflow": lambda model, s=0.5, **o: dlth.synflow_ticket(model, s, **o),
}


@pytest.mark.parametrize("criterion", ["snip", "grasp"])
def test_examples_may_be_looked_at_in_parts(criterion):
    whole, parts = (FIND[criterion](tanh_network(), batch_size=n) for n in (24, 7))
    for name, mask in whole.masks.items():
        np.testing.assert_array_equal(parts.masks[name], mask)


@pytest.mark.parametrize("criterion", ["snip_ticket", "grasp_ticket"])
def test_examples_may_come_in_batches(criterion):
    find, model = getattr(dlth, criterion), tanh_network()
    batches = [(X[:20], Y[:20]), (X[20:], Y[20:])]
    whole = find(model, 0.5, X, Y, CROSS_ENTROPY)
    for name, mask in find(model, 0.5, batches, None, CROSS_ENTROPY).masks.items():
        np.testing.assert_array_equal(whole.masks[name], mask)


def test_batches_sum_up_to_the_mean_over_all_examples():
    batches = [(X[:20], Y[:20]), (X[20:], Y[20:])]
    whole = TrainingLoss(tanh_network(), X, Y, CROSS_ENTROPY, 24)
    parts = TrainingLoss(tanh_network(), batches, None, CROSS_ENTROPY, 24)
    for name, gradient in whole.gradient().items():
        np.testing.assert_allclose(parts.gradient()[name], gradient, atol=1e-6)


def flows(first, bias, last):
    """Synaptic flow of x -> W2 (W1 x + b) for an input of ones: |w| * dR/d|w|."""
    through = last.sum(axis=1)
    hidden = first.sum(axis=0) + bias
    return first * through, hidden[:, None] * last


def linear_network() -> keras.Model:
    keras.utils.set_random_seed(4)
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(5, name="first", bias_initializer="random_normal"),
            layers.Dense(4, name="last", use_bias=False),
        ]
    )


def magnitudes(model):
    first, last = model.get_layer("first"), model.get_layer("last")
    return [np.abs(values(v)) for v in (first.kernel, first.bias, last.kernel)]


@pytest.mark.every_backend
def test_synflow_in_one_round_has_a_closed_form():
    model = linear_network()
    of_first, of_last = flows(*magnitudes(model))
    ticket = dlth.synflow_ticket(model, 0.5, rounds=1)
    np.testing.assert_array_equal(ticket.masks["first"], keeping_highest(of_first, 15))
    np.testing.assert_array_equal(ticket.masks["last"], keeping_highest(of_last, 10))


@pytest.mark.every_backend
def test_synflow_computes_the_flow_anew_in_every_round():
    model, rounds, total = linear_network(), 7, 50
    first, bias, last = magnitudes(model)
    mask = np.ones(total, bool)
    for done in range(1, rounds + 1):
        kept = np.split(mask, [first.size])
        found = flows(
            first * kept[0].reshape(first.shape),
            bias,
            last * kept[1].reshape(last.shape),
        )
        scores = np.concatenate([part.ravel() for part in found])
        removed = np.ceil((1 - 0.2 ** (done / rounds)) * total - 1e-9)
        mask = keeping_highest(scores, total - int(removed))
    ticket = dlth.synflow_ticket(model, dlth.Global(0.8), rounds=rounds)
    found = np.concatenate([part.ravel() for part in ticket.masks.values()])
    np.testing.assert_array_equal(found, mask)
    once = dlth.synflow_ticket(model, dlth.Global(0.8), rounds=1)
    assert any((once.masks[n] != ticket.masks[n]).any() for n in once.masks)


def test_normalization_of_an_untrained_network_does_not_matter_to_synflow():
    model = normalized()
    plain = keras.Sequential(
        [keras.Input((6,)), layers.Dense(10, name="first"), layers.Dense(4, name="last")]
    )
    for name in ("first", "last"):
        plain.get_layer(name).set_weights(model.get_layer(name).get_weights())
    ticket = dlth.synflow_ticket(model, 0.7, rounds=5)
    for name, mask in dlth.synflow_ticket(plain, 0.7, rounds=5).masks.items():
        np.testing.assert_array_equal(ticket.masks[name], mask)


@pytest.mark.every_backend
def test_synflow_goes_through_networks_in_which_float32_overflows():
    deep = [layers.Dense(8, kernel_initializer="ones", name=f"d{i}") for i in range(60)]
    body = [part for dense in deep for part in (dense, layers.BatchNormalization())]
    model = keras.Sequential([keras.Input((8,)), *body])
    # What flows through is 8 ** 61; float32 ends at about 8 ** 42.
    ticket = dlth.synflow_ticket(model, dlth.Global(0.5), rounds=2)
    assert ticket.sparsity == 0.5
    assert keras.backend.result_type("float64") == OF_FLOAT64


@pytest.mark.every_backend
@pytest.mark.parametrize("criterion", FIND)
def test_the_model_is_left_as_it_is(criterion):
    model = normalized()
    model.compile("sgd", CROSS_ENTROPY)
    model.fit(X, Y, epochs=1, verbose=0)
    before = [values(v) for v in model.variables]
    policies = [layer.dtype_policy for layer in model.layers]
    FIND[criterion](model)
    for variable, expected in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(values(variable), expected, err_msg=variable.path)
    assert [layer.dtype_policy for layer in model.layers] == policies
    model.fit(X, Y, epochs=1, verbose=0)


@pytest.mark.parametrize("criterion", FIND)
def test_the_model_is_left_as_it_is_when_something_fails(criterion):
    model = normalized()
    policies = [layer.dtype_policy for layer in model.layers]
    model.layers[-1].call = None
    with pytest.raises(TypeError):
        FIND[criterion](model)
    assert [layer.dtype_policy for layer in model.layers] == policies


@pytest.mark.every_backend
@pytest.mark.parametrize("criterion", FIND)
def test_half_precision_does_not_blur_the_scores(criterion):
    expected = FIND[criterion](tanh_network())
    keras.config.set_dtype_policy("mixed_float16")
    try:
        half = tanh_network()
    finally:
        keras.config.set_dtype_policy("float32")
    half.set_weights(tanh_network().get_weights())
    for name, mask in FIND[criterion](half).masks.items():
        np.testing.assert_array_equal(expected.masks[name], mask)


@pytest.mark.parametrize("criterion", FIND)
@pytest.mark.parametrize(
    ("sparsity", "removed"),
    [
        (0.75, [45, 30]),
        ({"last": 0.5}, [0, 20]),
        (dlth.Global(0.75), None),
        (dlth.ErdosRenyiKernel(0.75), [47, 28]),
    ],
    ids=str,
)
def test_sparsity_goes_where_it_is_said(criterion, sparsity, removed):
    masks = FIND[criterion](normalized(), sparsity).masks
    found = [np.count_nonzero(~mask) for mask in masks.values()]
    assert found == removed if removed else sum(found) == 75


def test_global_lets_layers_compete():
    model = normalized()
    scaled = model.get_layer("last").kernel
    scaled.assign(values(scaled) * 0.01)
    found = dlth.snip_ticket(model, dlth.Global(0.75), X, Y, CROSS_ENTROPY)
    sparsity = found.sparsity_per_kernel()
    assert sparsity["first"] != pytest.approx(sparsity["last"], abs=0.05)


@pytest.mark.parametrize("criterion", ["snip", "grasp"])
def test_other_units_than_single_weights(criterion):
    model = normalized()
    masks = FIND[criterion](model, 0.5, unit="1:2").masks
    assert (masks["first"].reshape(3, 2, 10).sum(axis=1) == 1).all()


def no_fixed_input() -> keras.Model:
    inputs = keras.Input((None, 6))
    pooled = layers.GlobalAveragePooling1D()(inputs)
    return keras.Model(inputs, layers.Dense(4)(pooled))


def test_an_input_shape_can_be_given():
    assert dlth.synflow_ticket(no_fixed_input(), 0.5, input_shape=(3, 6)).sparsity == 0.5


def ending_in_softmax() -> keras.Model:
    return keras.Sequential([keras.Input((6,)), layers.Dense(4, activation="softmax")])


@pytest.mark.parametrize(
    ("find", "message"),
    [
        (
            lambda: FIND["synflow"](tanh_network(), rounds=0),
            "`rounds` must be at least 1",
        ),
        (lambda: FIND["synflow"](no_fixed_input()), "`input_shape` must be given"),
        (lambda: FIND["synflow"](ending_in_softmax()), "without a softmax"),
        (lambda: FIND["grasp"](tanh_network(), temperature=0), "`temperature` must be"),
        (lambda: FIND["snip"](tanh_network(), 1.0), r"must be in \[0, 1\)"),
        (
            lambda: dlth.snip_ticket(tanh_network(), 0.5, X, Y[:3], CROSS_ENTROPY),
            "equally many examples, at least one. Received: 24 and 3",
        ),
        (
            lambda: dlth.grasp_ticket(
                tanh_network(), 0.5, iter([(X, Y)]), None, CROSS_ENTROPY
            ),
            "`x` must give its batches each time",
        ),
        (
            lambda: dlth.snip_ticket(tanh_network(), 0.5, X * np.nan, Y, CROSS_ENTROPY),
            "Kernel 'first' must have numbers as scores",
        ),
    ],
)
def test_mistakes_are_named(find, message):
    with pytest.raises(ValueError, match=message):
        find()


def test_a_backend_without_these_derivatives_is_named(monkeypatch):
    monkeypatch.setattr("dlth_tf.saliency.gradients._BACKEND", "numpy")
    with pytest.raises(RuntimeError, match=r"The backend is numpy"):
        FIND["snip"](tanh_network(), 0.5)
