"""The growing penalty, driven through `fit`."""

import logging

import keras
import numpy as np
import pytest

import dlth_tf as dlth
from tests.library.models import BATCH, KINDS, X, Y, compiled, fit, sequential


def one_layer() -> keras.Model:
    return keras.Sequential([keras.Input((12,)), keras.layers.Dense(3)])


class Pulled(keras.callbacks.Callback):
    """Lambda in force at each step, read off weights that nothing else moves.

    For models with zero inputs and SGD(1): a weight of 1 becomes 1 - lambda.
    """

    def __init__(self, kernel, removed):
        super().__init__()
        self.kernel = kernel
        self.removed = removed
        self.lambdas = []

    def on_train_begin(self, logs=None):
        self.kernel.assign(np.ones(self.kernel.shape))

    def on_train_batch_end(self, batch, logs=None):
        value = keras.ops.convert_to_numpy(self.model.layers[0].kernel)
        self.lambdas.append(1.0 - float(value[self.removed][0]))
        self.kernel.assign(np.ones(self.kernel.shape))


def lambdas_through_fit(model, transformation, *others, steps=8, y=0.0, **options):
    removed = ~transformation.ticket.masks["dense"]
    pulled = Pulled(model.layers[0].kernel, removed)
    x, y = np.zeros((BATCH * steps, 12)), np.full((BATCH * steps, 3), y)
    fit(model, *others, transformation, pulled, x=x, y=y, **options)
    return np.array(pulled.lambdas)


def pullable(optimizer=None, **options) -> keras.Model:
    options = {"jit_compile": False} | options
    return compiled(one_layer, optimizer or keras.optimizers.SGD(1.0), **options)


def rst(model, **kwargs):
    kwargs = {"growth": 0.1, "every": 1, "bound": 0.5} | kwargs
    ticket = dlth.random_ticket(model, 0.5, seed=0)
    return dlth.RandomSparseTransformation(ticket, **kwargs)


GROWING = 0.1 * np.arange(1, 9)


@pytest.mark.every_backend
def test_the_gradient_is_that_of_the_penalty_and_of_coupled_l2():
    model = compiled(
        one_layer, keras.optimizers.SGD(0.1, momentum=0.9), jit_compile=False
    )
    transformation = rst(model, growth=0.3, every=2, bound=1.0)
    removed = ~transformation.ticket.masks["dense"]
    weight, bias = (v.astype("float64") for v in model.get_weights())
    velocities = [np.zeros_like(weight), np.zeros_like(bias)]
    fit(model, transformation, dlth.CoupledL2(0.05))
    for step, start in enumerate(range(0, len(X), BATCH)):
        x, y = X[start : start + BATCH], Y[start : start + BATCH]
        error = 2 * (x @ weight + bias - y) / y.size
        growing = 0.3 * (step // 2 + 1)
        pull = 0.05 * weight + growing * removed * weight
        velocities[0] = 0.9 * velocities[0] - 0.1 * (x.T @ error + pull)
        velocities[1] = 0.9 * velocities[1] - 0.1 * (error.sum(0) + 0.05 * bias)
        weight, bias = weight + velocities[0], bias + velocities[1]
    np.testing.assert_allclose(model.get_weights()[0], weight, atol=2e-6)
    np.testing.assert_allclose(model.get_weights()[1], bias, atol=2e-6)


@pytest.mark.every_backend
def test_coupled_l2_does_what_keras_regularizers_do():
    regularizer = keras.regularizers.L2(0.01 / 2)
    ours = compiled(jit_compile=False)
    theirs = compiled(
        lambda: sequential(kernel_regularizer=regularizer, bias_regularizer=regularizer),
        jit_compile=False,
    )
    fit(ours, dlth.CoupledL2(0.01)), fit(theirs)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_coupled_l2_must_not_be_negative():
    with pytest.raises(ValueError, match=r"`l2` must be 0 or more. Received: -1"):
        dlth.CoupledL2(-1)


@pytest.mark.every_backend
def test_reported_loss_is_the_datas_alone():
    model = pullable()
    history = fit(model, rst(model, growth=100.0, bound=1.0), x=X * 0, y=Y * 0)
    assert history.history["loss"] == [0.0]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, marks=pytest.mark.every_backend),
        {"jit_compile": True},
        {"run_eagerly": True},
    ],
)
def test_lambda_grows_once_per_step(options):
    model = pullable(**options)
    lambdas = lambdas_through_fit(model, rst(model, bound=0.45, every=2))
    expected = [0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4]
    np.testing.assert_allclose(lambdas, expected, atol=1e-6)


def test_lambda_may_grow_by_a_power_and_have_no_bound_to_reach():
    powers = [dlth.PenaltyGrowth(0.5, 1, 1.0, power=power) for power in (1, 2, 3)]
    assert [growth.values.tolist() for growth in powers] == [
        [0.5, 1.0, 1.5],
        [0.25, 1.0, 2.25],
        [0.125, 1.0, 3.375],
    ]
    assert dlth.PenaltyGrowth(0.5, 1, bound=0.0).values.tolist() == [0.5]


def test_lambda_stays_just_above_its_bound():
    model = pullable()
    lambdas = lambdas_through_fit(model, rst(model, bound=0.35))
    np.testing.assert_allclose(lambdas, np.minimum(GROWING, 0.4), atol=1e-6)


def test_lambda_starts_from_zero_after_an_earlier_fit():
    model = pullable()
    fit(model, epochs=3)
    lambdas = lambdas_through_fit(model, rst(model, bound=1.0))
    np.testing.assert_allclose(lambdas, GROWING, atol=1e-6)


@pytest.mark.every_backend
def test_lambda_starts_again_with_every_fit():
    model = pullable()
    transformation = rst(model, bound=1.0)
    for _ in range(2):
        lambdas = lambdas_through_fit(model, transformation)
        np.testing.assert_allclose(lambdas, GROWING, atol=1e-6)


def test_lambda_goes_on_over_epochs():
    model = pullable()
    lambdas = lambdas_through_fit(model, rst(model, bound=1.0), steps=4, epochs=2)
    np.testing.assert_allclose(lambdas, GROWING, atol=1e-6)


@pytest.mark.every_backend
def test_lambda_goes_on_from_initial_step():
    model = pullable()
    lambdas = lambdas_through_fit(model, rst(model, bound=2.0, initial_step=5))
    np.testing.assert_allclose(lambdas, GROWING + 0.5, atol=1e-6)


@pytest.mark.every_backend
def test_with_gradient_accumulation_lambda_grows_per_optimizer_step():
    model = pullable(keras.optimizers.SGD(1.0, gradient_accumulation_steps=2))
    lambdas = lambdas_through_fit(model, rst(model, bound=1.0))
    np.testing.assert_allclose(lambdas[1::2], GROWING[:4], atol=1e-6)
    np.testing.assert_array_equal(lambdas[::2], 0.0)


def test_with_several_steps_per_execution_lambda_grows_per_step():
    model = compiled(one_layer, keras.optimizers.SGD(1.0), steps_per_execution=3)
    transformation = rst(model, growth=0.01, bound=1.0)
    removed = ~transformation.ticket.masks["dense"]
    model.layers[0].kernel.assign(np.ones((12, 3)))
    fit(model, transformation, x=np.zeros((112, 12)), y=np.zeros((112, 3)))
    expected = np.prod(1.0 - 0.01 * np.arange(1, 8))
    np.testing.assert_allclose(model.get_weights()[0][removed], expected, rtol=1e-5)


@pytest.mark.every_backend
def test_loss_scaling_leaves_lambda_alone_and_a_skipped_step_does_not_count():
    scaled = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(1.0), initial_scale=2.0**127
    )
    model = pullable(scaled)
    transformation = rst(model, bound=2.0)
    transformation.schedule.values[:] *= 8.0
    # The gradient of the biases overflows at first.
    lambdas = lambdas_through_fit(model, transformation, y=100.0)
    taken = lambdas[lambdas != 0.0]
    assert 0 < len(taken) < len(lambdas)
    np.testing.assert_allclose(taken, 8 * GROWING[: len(taken)], atol=1e-5)


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "Adagrad", "Lion"])
def test_every_optimizer_drives_removed_weights_towards_zero(name):
    model = compiled(optimizer=getattr(keras.optimizers, name)(0.01), jit_compile=False)
    transformation = rst(model, growth=1.0, bound=20.0)
    fit(model, transformation, epochs=8)
    magnitudes = model.history.history["removed_magnitude"]
    assert magnitudes[-1] < 0.7 * magnitudes[0]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_model(kind):
    model = compiled(KINDS[kind], jit_compile=False)
    history = fit(model, rst(model, growth=1.0, bound=5.0), epochs=6).history
    assert history["removed_magnitude"][-1] < 0.5 * history["kept_magnitude"][-1]


@pytest.mark.every_backend
def test_with_ema_mixed_precision_and_a_learning_rate_schedule():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
        model = compiled(
            optimizer=keras.optimizers.SGD(schedule, use_ema=True), jit_compile=False
        )
    finally:
        keras.config.set_dtype_policy("float32")
    history = fit(model, rst(model, growth=1.0, bound=5.0), epochs=6).history
    assert history["removed_magnitude"][-1] < 0.2 * history["kept_magnitude"][-1]


@pytest.mark.every_backend
def test_the_users_own_regularizer_is_kept_and_added():
    class L1(keras.regularizers.L1):
        pass

    own = L1(0.02)
    build = lambda: keras.Sequential(  # noqa: E731
        [keras.Input((12,)), keras.layers.Dense(3, kernel_regularizer=own)]
    )
    model = compiled(build, keras.optimizers.SGD(1.0), jit_compile=False)
    lambdas = lambdas_through_fit(model, rst(model, bound=1.0))
    np.testing.assert_allclose(lambdas, GROWING + 0.02, atol=1e-6)
    assert model.layers[0].kernel.regularizer is own


@pytest.mark.every_backend
def test_epoch_logs_tell_penalty_and_magnitudes():
    model = compiled(jit_compile=False)
    transformation = rst(model, growth=0.01, bound=0.1)
    history = fit(model, transformation, epochs=2).history
    np.testing.assert_allclose(history["penalty"], [0.06, 0.11], rtol=1e-5)
    to_numpy, kernels = keras.ops.convert_to_numpy, transformation.ticket.pairs(model)
    kept = np.concatenate([to_numpy(k)[m] for _, k, m in kernels])
    removed = np.concatenate([to_numpy(k)[~m] for _, k, m in kernels])
    assert history["kept_magnitude"][-1] == pytest.approx(np.abs(kept).mean(), rel=1e-5)
    mean = np.abs(removed).mean()
    assert history["removed_magnitude"][-1] == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize(
    ("hold", "steps"),
    [(0, 5), (3, 8), pytest.param(9, 14, marks=pytest.mark.every_backend)],
)
def test_fit_stops_when_the_hold_is_over(hold, steps):
    model = compiled(jit_compile=False)
    transformation = rst(model, growth=0.1, bound=0.45, hold=hold)
    assert transformation.schedule.steps == steps
    fit(model, transformation, epochs=10)
    assert int(model.optimizer.iterations) == steps


def test_fit_that_ends_early_is_warned_of(caplog):
    model = compiled(jit_compile=False)
    with caplog.at_level(logging.WARNING):
        fit(model, rst(model, growth=0.01, bound=1.0))
    assert "ended after 6 steps at a penalty of 0.06" in caplog.text


def test_fit_that_reaches_the_bound_is_not_warned_of(caplog):
    model = compiled(jit_compile=False)
    with caplog.at_level(logging.WARNING):
        fit(model, rst(model, growth=0.2, bound=1.0))
    assert caplog.text == ""


@pytest.mark.every_backend
@pytest.mark.parametrize("restore_first", [True, False])
def test_a_transformation_goes_on_from_a_backup(tmp_path, restore_first):
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise RuntimeError("killed")

    def run(*more):
        model = compiled(jit_compile=False)
        callbacks = [rst(model, growth=0.01, bound=1.0, hold=5)]
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        callbacks.insert(0 if restore_first else 1, backup)
        fit(model, *callbacks, *more, epochs=4)
        return model, callbacks[restore_first]

    with pytest.raises(RuntimeError, match="killed"):
        run(Stop())
    resumed, transformation = run()
    assert transformation.step == 24
    whole = compiled(jit_compile=False)
    fit(whole, rst(whole, growth=0.01, bound=1.0), epochs=4)
    for a, b in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("growth", 0.0, "`growth` must be positive"),
        ("every", 0, "`every` must be at least 1"),
        ("bound", -1.0, "`bound` must be 0 or more"),
        ("hold", -1, "`hold` must be 0 or more"),
        ("power", 4, "`power` must be 1, 2 or 3"),
        ("initial_step", -1, "`initial_step` must be 0 or more"),
        ("growth", float("nan"), "`growth` must be positive"),
        ("growth", 1e-12, "`growth` must reach `bound`"),
    ],
)
def test_a_value_out_of_range_is_named(argument, value, message):
    with pytest.raises(ValueError, match=message) as error:
        rst(compiled(), **{argument: value})
    assert str(value) in str(error.value)


def test_a_penalty_grows_like_the_papers_unless_told_otherwise():
    usual = dlth.PenaltyGrowth(growth=1e-4, every=5, bound=1.0, hold=None, power=1)
    assert dlth.PenaltyGrowth() == usual
