"""SET and RigL: what is dropped and grown, step by step, against plain numpy."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import dlth_tf as dlth
from dlth_tf.callbacks.drop_schedules import DropSchedule

_RNG = np.random.default_rng(0)
X = _RNG.normal(size=(128, 12)).astype("float32")
Y = (X[:, :3] + X[:, 3:6] ** 2).astype("float32")
STEPS = 8  # per epoch, in batches of 16
RATE, MOMENTUM = 0.05, 0.9


def compiled(optimizer=None, **options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((12,)),
            keras.layers.Dense(16, activation="tanh", name="first"),
            keras.layers.Dense(10, activation="tanh", name="second"),
            keras.layers.Dense(3, name="head"),
        ]
    )
    optimizer = optimizer or keras.optimizers.SGD(RATE, momentum=MOMENTUM)
    model.compile(optimizer, "mse", **options)
    return model


def ticket_for(model):
    return dlth.random_ticket(model, {"first": 0.8, "second": 0.6}, seed=0)


def fit(model, *callbacks, epochs=2, **options):
    options = {"batch_size": 16, **options}
    return model.fit(
        X, Y, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks, **options
    )


ALGORITHMS = {
    "set": lambda ticket: dlth.SparseEvolutionaryTraining(ticket, every=3, seed=5),
    "rigl": lambda ticket: dlth.RigL(ticket, until=13, every=3, fraction=0.5),
}


class Recorder(keras.callbacks.Callback):
    """Kernels, masks and momentum after every step."""

    def __init__(self, training):
        super().__init__()
        self.training = training
        self.steps = []

    def on_train_batch_end(self, batch, logs=None):
        optimizer = self.model.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        momenta = getattr(optimizer, "momentums", [])
        averages = optimizer._model_variables_moving_average if optimizer.use_ema else []
        found = {}
        for name, kernel, mask in self.training.ticket.pairs(self.model):
            place = optimizer._get_variable_index(kernel)
            found[name] = {
                "weights": keras.ops.convert_to_numpy(kernel).copy(),
                "mask": mask,
            }
            if momenta:
                found[name]["momentum"] = np.array(momenta[place])
            if averages:
                found[name]["average"] = np.array(averages[place])
        self.steps.append(found)


class PlainTraining:
    """The network above trained by numpy: tanh, tanh, linear, mean squared error."""

    names = ("first", "second", "head")

    def __init__(self, model, ticket):
        self.weights = [np.array(w, np.float64) for w in model.get_weights()]
        self.momenta = [np.zeros_like(w) for w in self.weights]
        self.masks = {name: ticket.masks[name].copy() for name in self.names}
        self.zero()

    def zero(self):
        for place, name in enumerate(self.names):
            self.weights[2 * place] *= self.masks[name]

    def gradients(self, x, y):
        k1, b1, k2, b2, k3, b3 = self.weights
        h1 = np.tanh(x @ k1 + b1)
        h2 = np.tanh(h1 @ k2 + b2)
        d3 = 2 * (h2 @ k3 + b3 - y) / y.size
        d2 = d3 @ k3.T * (1 - h2**2)
        d1 = d2 @ k2.T * (1 - h1**2)
        return [x.T @ d1, d1.sum(0), h1.T @ d2, d2.sum(0), h2.T @ d3, d3.sum(0)]

    def descend(self, gradients):
        for place, gradient in enumerate(gradients):
            momentum = MOMENTUM * self.momenta[place] - RATE * gradient
            self.momenta[place] = momentum
            self.weights[place] = self.weights[place] + momentum
        self.zero()

    def drop_and_grow(self, name, fraction, score):
        place = 2 * self.names.index(name)
        mask, weights = self.masks[name].ravel(), self.weights[place].ravel()
        active = np.flatnonzero(mask)
        count = int(fraction * len(active))
        dropped = active[np.argsort(np.abs(weights[active]), kind="stable")[:count]]
        stayed = np.setdiff1d(active, dropped)
        free = np.setdiff1d(np.arange(mask.size), stayed)
        grown = free[np.argsort(-score.ravel()[free], kind="stable")[:count]]
        moved = np.zeros_like(mask)
        moved[stayed] = moved[grown] = True
        new = (moved & ~mask).reshape(self.masks[name].shape)
        self.momenta[place][new] = 0.0
        self.masks[name] = moved.reshape(self.masks[name].shape)
        self.zero()


def batches(steps):
    for step in range(steps):
        start = step % STEPS * 16
        yield X[start : start + 16].astype("f8"), Y[start : start + 16].astype("f8")


def plain_rigl(plain, steps, until, every, fraction):
    for step, (x, y) in enumerate(batches(steps)):
        gradients = plain.gradients(x, y)
        if step % every or step >= until:
            plain.descend(gradients)
        else:
            part = fraction / 2 * (1 + np.cos(np.pi * step / until))
            for place, name in enumerate(("first", "second")):
                plain.drop_and_grow(name, part, np.abs(gradients[2 * place]))
        yield plain


def assert_same_course(recorded, expected):
    for step, (found, plain) in enumerate(zip(recorded, expected, strict=True)):
        for place, name in enumerate(plain.names):
            where = f"{name} after step {step}"
            values = found[name]
            np.testing.assert_array_equal(values["mask"], plain.masks[name], where)
            for kind, wanted in (("weights", plain.weights), ("momentum", plain.momenta)):
                message = f"{kind} of {where}"
                np.testing.assert_allclose(
                    values[kind], wanted[2 * place], atol=1e-5, err_msg=message
                )


def assert_counts_and_zeros(recorded, ticket):
    for step, found in enumerate(recorded):
        for name, values in found.items():
            kept = np.count_nonzero(values["mask"])
            assert kept == np.count_nonzero(ticket.masks[name]), (name, step)
            for kind in {"weights", "average"} & values.keys():
                assert not values[kind][~values["mask"]].any(), (kind, name, step)


def assert_same_masks(ticket, expected):
    for name, mask in expected.masks.items():
        np.testing.assert_array_equal(ticket.masks[name], mask, name)


def assert_close(model, expected, tolerance):
    for got, wanted in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance)


def test_rigl_is_algorithm_1_of_the_paper():
    model = compiled()
    ticket = ticket_for(model)
    plain = PlainTraining(model, ticket)
    training = dlth.RigL(ticket, until=13, every=3, fraction=0.5)
    recorder = Recorder(training)
    fit(model, training, recorder)
    expected = plain_rigl(plain, 2 * STEPS, until=13, every=3, fraction=0.5)
    assert_same_course(recorder.steps, expected)


def plain_set(plain, training, steps, every, fraction):
    for step, (x, y) in enumerate(batches(steps)):
        plain.descend(plain.gradients(x, y))
        if (step + 1) % every == 0:
            for place, name in enumerate(("first", "second")):
                like = np.zeros(plain.masks[name].shape, "float32")
                score = np.array(training.growth_score(step, place, like))
                plain.drop_and_grow(name, fraction, score)
        yield plain


def test_set_drops_small_weights_and_grows_the_drawn_ones():
    model = compiled()
    ticket = ticket_for(model)
    plain = PlainTraining(model, ticket)
    training = dlth.SparseEvolutionaryTraining(ticket, every=3, fraction=0.4, seed=5)
    recorder = Recorder(training)
    fit(model, training, recorder)
    expected = plain_set(plain, training, 2 * STEPS, every=3, fraction=0.4)
    assert_same_course(recorder.steps, expected)


def test_set_draws_uniformly_and_anew_for_each_seed_kernel_and_step():
    ticket = ticket_for(compiled())
    drawn = {}
    for seed in (0, 1):
        training = dlth.SparseEvolutionaryTraining(ticket, every=3, seed=seed)
        for place in (0, 1):
            for step in (2, 5):
                score = training.growth_score(step, place, np.zeros((100, 100), "f4"))
                drawn[seed, place, step] = np.array(score).ravel()
    for one, scores in drawn.items():
        shares, _ = np.histogram(scores, bins=10, range=(0, 1))
        assert np.abs(shares - 1000).max() < 5 * np.sqrt(900), one
        for other, others in drawn.items():
            if other != one:
                assert abs(np.corrcoef(scores, others)[0, 1]) < 0.05


OPTIMIZERS = {
    "nesterov": lambda: keras.optimizers.SGD(RATE, momentum=MOMENTUM, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(0.01),
    "adafactor": lambda: keras.optimizers.Adafactor(0.01),
    "decay and clipping": lambda: keras.optimizers.AdamW(
        0.01, weight_decay=0.1, clipnorm=1.0
    ),
    "averages": lambda: keras.optimizers.SGD(RATE, momentum=MOMENTUM, use_ema=True),
    "averages taken over": lambda: keras.optimizers.Adam(
        0.01, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2
    ),
    "accumulation": lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=2),
    "loss scale": lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.Adam(0.01)
    ),
}


@pytest.mark.parametrize(
    ("algorithm", "optimizer"),
    [
        *(("rigl", optimizer) for optimizer in OPTIMIZERS),
        ("set", "nesterov"),
        ("set", "averages"),
        ("set", "accumulation"),
    ],
)
def test_counts_never_change_and_removed_weights_are_zero(algorithm, optimizer):
    model = compiled(OPTIMIZERS[optimizer]())
    ticket = ticket_for(model)
    training = ALGORITHMS[algorithm](ticket)
    recorder = Recorder(training)
    fit(model, training, recorder)
    assert_counts_and_zeros(recorder.steps, ticket)
    assert training.ticket.masks["head"].all()
    assert (training.ticket.masks["first"] != ticket.masks["first"]).any()


def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = compiled(keras.optimizers.SGD(RATE, momentum=MOMENTUM))
    finally:
        keras.config.set_dtype_policy("float32")
    ticket = ticket_for(model)
    training = ALGORITHMS["rigl"](ticket)
    recorder = Recorder(training)
    fit(model, training, recorder)
    assert_counts_and_zeros(recorder.steps, ticket)
    assert (training.ticket.masks["first"] != ticket.masks["first"]).any()


@pytest.mark.parametrize(
    ("algorithm", "options", "tolerance"),
    [
        ("set", {"steps_per_execution": 4}, 0.0),
        ("rigl", {"steps_per_execution": 4}, 0.0),
        ("set", {"run_eagerly": True}, 1e-5),
        ("rigl", {"run_eagerly": True}, 1e-5),
        pytest.param(
            "rigl",
            {"jit_compile": True, "steps_per_execution": 4},
            1e-5,
            marks=pytest.mark.slow,
        ),
    ],
    ids=str,
)
def test_same_result_however_steps_run(algorithm, options, tolerance):
    plainly, otherwise = compiled(jit_compile=False), compiled(**options)
    ticket = ticket_for(plainly)
    expected, training = ALGORITHMS[algorithm](ticket), ALGORITHMS[algorithm](ticket)
    fit(plainly, expected)
    fit(otherwise, training)
    assert_same_masks(training.ticket, expected.ticket)
    assert_close(otherwise, plainly, tolerance)


@pytest.mark.slow
def test_set_compiled_by_xla():
    model = compiled(jit_compile=True)
    ticket = ticket_for(model)
    training = ALGORITHMS["set"](ticket)
    recorder = Recorder(training)
    fit(model, training, recorder)
    assert_counts_and_zeros(recorder.steps, ticket)
    assert (training.ticket.masks["first"] != ticket.masks["first"]).any()


@pytest.mark.parametrize(
    ("algorithm", "optimizer", "options"),
    [
        ("rigl", {"gradient_accumulation_steps": 2}, {"batch_size": 8}),
        ("set", {"gradient_accumulation_steps": 2}, {"batch_size": 8}),
        ("rigl", {"loss_scale_factor": 1024.0}, {}),
    ],
    ids=str,
)
def test_steps_and_gradients_are_those_of_the_whole_batch_unscaled(
    algorithm, optimizer, options
):
    plainly = compiled()
    otherwise = compiled(keras.optimizers.SGD(RATE, momentum=MOMENTUM, **optimizer))
    ticket = ticket_for(plainly)
    expected, training = ALGORITHMS[algorithm](ticket), ALGORITHMS[algorithm](ticket)
    fit(plainly, expected)
    fit(otherwise, training, **options)
    assert_same_masks(training.ticket, expected.ticket)
    assert_close(otherwise, plainly, 1e-5)


def test_adam_forgets_what_it_knew_of_grown_weights():
    model = compiled(keras.optimizers.Adam(0.01))
    ticket = ticket_for(model)
    training = dlth.RigL(ticket, until=13, every=3, fraction=0.5)
    fit(model, training, epochs=1, steps_per_epoch=4)
    new = training.ticket.masks["first"] & ~ticket.masks["first"]
    assert new.any()
    # Grown at step 0 or 3; the former have been trained at steps 1 and 2.
    at_step_0 = dlth.RigL(ticket, until=13, every=3, fraction=0.5)
    fit(compiled(keras.optimizers.Adam(0.01)), at_step_0, epochs=1, steps_per_epoch=1)
    just_grown = new & ~at_step_0.ticket.masks["first"]
    assert just_grown.any()
    place = model.optimizer._get_variable_index(model.layers[0].kernel)
    for slots in (model.optimizer._momentums, model.optimizer._velocities):
        values = keras.ops.convert_to_numpy(slots[place])
        assert not values[just_grown].any()
        assert values[~just_grown].any()


def state_of(model):
    return [
        keras.ops.convert_to_numpy(variable).copy()
        for variable in [*model.variables, *model.optimizer.variables]
    ]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_going_on_from_a_checkpoint_gives_the_same_bits(algorithm):
    undisturbed = compiled()
    ticket = ticket_for(undisturbed)
    expected = ALGORITHMS[algorithm](ticket)
    fit(undisturbed, expected, epochs=3)

    first = compiled()
    training = ALGORITHMS[algorithm](ticket)
    fit(first, training, epochs=1)
    saved, callback_state = state_of(first), training.get_state()

    resumed = compiled()
    resumed.optimizer.build(resumed.trainable_variables)
    for variable, value in zip(
        [*resumed.variables, *resumed.optimizer.variables], saved, strict=True
    ):
        variable.assign(value)
    training = ALGORITHMS[algorithm](ticket)
    training.set_state(callback_state)
    assert training.step == STEPS
    fit(resumed, training, epochs=3, initial_epoch=1)
    assert_same_masks(training.ticket, expected.ticket)
    assert training.step == 3 * STEPS
    for found, wanted in zip(state_of(resumed), state_of(undisturbed), strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_later_fit_knows_nothing_of_it(algorithm):
    model = compiled()
    training = ALGORITHMS[algorithm](ticket_for(model))
    fit(model, training)
    ticket, step = training.ticket, model.optimizer.iterations
    assert "_backend_update_step" not in vars(model.optimizer)
    assert all(variable.constraint is None for variable in model.trainable_variables)
    fit(model, epochs=1)
    assert int(step) == 3 * STEPS
    removed = ~ticket.masks["first"]
    assert keras.ops.convert_to_numpy(model.layers[0].kernel)[removed].all()
    assert_same_masks(training.ticket, ticket)


def test_nothing_stays_when_fit_raises():
    class Fails(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 4:
                raise KeyboardInterrupt

    model = compiled()
    training = ALGORITHMS["rigl"](ticket_for(model))
    with pytest.raises(KeyboardInterrupt):
        fit(model, training, Fails())
    assert training.step == 5
    assert "_backend_update_step" not in vars(model.optimizer)
    fit(model, epochs=1)
    removed = ~training.ticket.masks["first"]
    assert keras.ops.convert_to_numpy(model.layers[0].kernel)[removed].all()


def test_a_second_fit_with_it_goes_on_from_its_ticket():
    model = compiled()
    training = ALGORITHMS["set"](ticket_for(model))
    fit(model, training)
    reached = training.ticket
    fit(model, training, epochs=1, steps_per_epoch=2)  # before the first change
    assert_same_masks(training.ticket, reached)


@pytest.mark.parametrize("algorithm", ["set", "rigl"])
def test_after_until_the_mask_stays(algorithm):
    model = compiled()
    kind = {"set": dlth.SparseEvolutionaryTraining, "rigl": dlth.RigL}[algorithm]
    training = kind(ticket_for(model), every=2, until=6)
    recorder = Recorder(training)
    fit(model, training, recorder, epochs=1)
    moved = [
        (before["first"]["mask"] != after["first"]["mask"]).any()
        for before, after in zip(recorder.steps, recorder.steps[1:], strict=False)
    ]
    # SET after the second and the fourth step; RigL in the first, third and fifth.
    changes = {"set": [1, 3], "rigl": [2, 4]}[algorithm]
    assert [place + 1 for place, change in enumerate(moved) if change] == changes


def test_frozen_kernels_keep_their_mask():
    model = compiled()
    ticket = ticket_for(model)
    model.layers[0].trainable = False
    model.compile(keras.optimizers.SGD(RATE), "mse")
    training = ALGORITHMS["rigl"](ticket)
    fit(model, training)
    np.testing.assert_array_equal(training.ticket.masks["first"], ticket.masks["first"])
    assert (training.ticket.masks["second"] != ticket.masks["second"]).any()


def test_fractions_of_the_paper():
    schedule = DropSchedule(0.3, every=100, until=400, decay="cosine")
    np.testing.assert_allclose(
        schedule.fractions,
        [0.3, 0.15 * (1 + np.sqrt(0.5)), 0.15, 0.15 * (1 - np.sqrt(0.5))],
    )
    due = [step for step in range(1000) if schedule.is_due(step)]
    assert due == [0, 100, 200, 300]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fraction": 0.0}, r"`fraction` must be in \(0, 1\]. Received: 0.0"),
        ({"every": 0}, "`every` must be at least 1. Received: 0"),
        ({"until": -1}, "`until` must be 0 or more. Received: -1"),
        ({"until": None}, "`until` must be a number of steps. Received: None"),
        ({"initial_step": -1}, "`initial_step` must be 0 or more. Received: -1"),
    ],
    ids=str,
)
def test_bad_values(arguments, message):
    with pytest.raises(ValueError, match=message):
        dlth.RigL(ticket_for(compiled()), **{"until": 10, **arguments})


def test_bad_seed():
    with pytest.raises(ValueError, match=r"`seed` must be in .* Received: -1"):
        dlth.SparseEvolutionaryTraining(ticket_for(compiled()), every=3, seed=-1)


def test_a_ticket_of_another_network():
    other = keras.Sequential([keras.Input((12,)), keras.layers.Dense(3, name="first")])
    ticket = dlth.random_ticket(other, 0.5, seed=0)
    with pytest.raises(ValueError, match="does not fit"):
        fit(compiled(), ALGORITHMS["rigl"](ticket))


def test_a_ticket_of_whole_filters():
    model = compiled()
    ticket = dlth.random_ticket(model, {"first": 0.5}, seed=0, unit="filter")
    with pytest.raises(ValueError, match=r"moves single weights.*'first/bias'"):
        fit(model, ALGORITHMS["rigl"](ticket))


def test_a_ticket_that_keeps_everything():
    model = compiled()
    training = ALGORITHMS["set"](dlth.random_ticket(model, 0.0, seed=0))
    fit(model, training)
    assert training.ticket.sparsity == 0.0
    assert training.step == 2 * STEPS


def test_weights_restored_without_their_mask_are_refused(tmp_path):
    class Fails(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    model = compiled()
    ticket = ticket_for(model)
    backup = keras.callbacks.BackupAndRestore(str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        fit(model, ALGORITHMS["rigl"](ticket), backup, Fails())
    backup = keras.callbacks.BackupAndRestore(str(tmp_path))
    with pytest.raises(ValueError, match=r"`RigL` can't go on .* `initial_step`"):
        fit(compiled(), ALGORITHMS["rigl"](ticket), backup)


def in_another_process(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
def test_another_backend_is_refused():
    code = "import dlth_tf as dlth; dlth.RigL(dlth.Ticket({}), until=10)"
    result = in_another_process(code, KERAS_BACKEND="jax")
    assert result.stderr.strip().splitlines()[-1] == (
        "RuntimeError: `RigL` needs Keras on TensorFlow (KERAS_BACKEND=tensorflow). "
        "The backend is jax."
    )
