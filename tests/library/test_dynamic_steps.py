"""SET and RigL by any optimizer, however steps are compiled and run."""

import keras
import pytest

import dlth_tf as dlth
from tests.library.dynamic_training import (
    ALGORITHMS,
    MOMENTUM,
    RATE,
    Recorder,
    assert_close,
    assert_counts_and_zeros,
    assert_same_masks,
    compiled,
    fit,
    ticket_for,
)

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


def assert_moves_within_its_counts(model, algorithm):
    ticket = ticket_for(model)
    training = ALGORITHMS[algorithm](ticket)
    recorder = Recorder(training)
    fit(model, training, recorder)
    assert_counts_and_zeros(recorder.steps, ticket)
    assert training.ticket.masks["head"].all()
    assert (training.ticket.masks["first"] != ticket.masks["first"]).any()


@pytest.mark.parametrize(
    ("algorithm", "optimizer"),
    [
        *(("rigl", optimizer) for optimizer in OPTIMIZERS),
        ("set", "nesterov"),
        ("set", "averages"),
        pytest.param("set", "accumulation", marks=pytest.mark.every_backend),
    ],
)
def test_counts_never_change_and_removed_weights_are_zero(algorithm, optimizer):
    assert_moves_within_its_counts(compiled(OPTIMIZERS[optimizer]()), algorithm)


@pytest.mark.every_backend
def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = compiled()
    finally:
        keras.config.set_dtype_policy("float32")
    assert_moves_within_its_counts(model, "rigl")


def test_set_compiled_by_xla():
    assert_moves_within_its_counts(compiled(jit_compile=True), "set")


@pytest.mark.parametrize(
    ("algorithm", "options", "tolerance"),
    [
        ("set", {"steps_per_execution": 4}, 0.0),
        ("rigl", {"steps_per_execution": 4}, 0.0),
        ("set", {"run_eagerly": True}, 1e-5),
        ("rigl", {"run_eagerly": True}, 1e-5),
        ("rigl", {"jit_compile": True, "steps_per_execution": 4}, 1e-5),
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


@pytest.mark.parametrize(
    ("algorithm", "optimizer", "options"),
    [
        pytest.param(
            *("rigl", {"gradient_accumulation_steps": 2}, {"batch_size": 8}),
            marks=pytest.mark.every_backend,
        ),
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


@pytest.mark.every_backend
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
