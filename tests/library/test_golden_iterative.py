"""Equality with the iterative trajectories that the authors' program produced."""

import keras
import numpy as np
import pytest

import dlth_tf as dlth
from dlth_tf import tfmot
from tests.library import golden
from tests.library.golden import Golden, assert_state, load

TRAJECTORIES = [found for found in golden.read_all() if found.cycles]
TRANSFORMED = [found for found in TRAJECTORIES if "lambda" in found.arrays]
REWOUND = [found for found in TRAJECTORIES if "lambda" not in found.arrays]


def of(trajectories: list[Golden]):
    return pytest.mark.parametrize("trajectory", trajectories, ids=lambda t: t.name)


def test_the_folder_has_both_kinds_of_iterative_trajectory():
    assert TRANSFORMED, f"no iterative transformation in {golden.FOLDER}"
    assert REWOUND, f"no iterative magnitude pruning in {golden.FOLDER}"


def fit_cycle(trajectory: Golden, weights, steps: slice, callbacks) -> keras.Model:
    """Trains a network from given weights on the batches of some steps."""
    config = trajectory.config
    model = trajectory.compiled_network(config["learning_rate"], jit_compile=False)
    load(model, weights)
    images, labels, batch_size = trajectory.batches("batch_indices")
    rows = slice(steps.start * batch_size, steps.stop * batch_size)
    model.fit(
        images[rows],
        labels[rows],
        batch_size=batch_size,
        shuffle=False,
        verbose=0,
        callbacks=[*callbacks, dlth.CoupledL2(config["l2"])],
    )
    return model


def weights_of(model: keras.Model, names) -> dict[str, np.ndarray]:
    to_numpy = keras.ops.convert_to_numpy
    return {name: to_numpy(golden.variable(model, name)) for name in names}


@of(TRANSFORMED)
def test_lambda_starts_again_in_every_cycle(trajectory):
    measured = [
        golden.lambdas_in_step(trajectory.transformation(f"cycle{cycle}_mask"))
        for cycle in range(1, trajectory.cycles + 1)
    ]
    ends = np.cumsum([len(values) for values in measured])
    assert ends.tolist() == trajectory.arrays["cycle_end_steps"].tolist()
    error = abs(np.concatenate(measured) - trajectory.lambdas).max()
    assert error <= golden.LAMBDA_TOLERANCE


@pytest.mark.every_backend
@of(TRANSFORMED)
def test_every_cycle_of_transformation_ends_in_the_recorded_weights(trajectory):
    weights, start = trajectory.state("init"), 0
    for cycle, end in enumerate(trajectory.arrays["cycle_end_steps"], start=1):
        transformation = trajectory.transformation(f"cycle{cycle}_mask")
        model = fit_cycle(trajectory, weights, slice(start, end), [transformation])
        where = f"{trajectory.name}, cycle {cycle}"
        assert_state(model, trajectory.state(f"cycle{cycle}"), where)
        weights, start = weights_of(model, weights), end


@of(REWOUND)
@pytest.mark.parametrize("prune", [dlth.magnitude_ticket, tfmot.magnitude_ticket])
def test_iterative_magnitude_pruning_finds_the_recorded_ticket(trajectory, prune):
    config, initial = trajectory.config, trajectory.state("init")
    steps = config["epochs_per_cycle"] * config["steps_per_epoch"]
    weights, callbacks = initial, []
    for cycle in range(1, trajectory.cycles + 1):
        batches = slice((cycle - 1) * steps, cycle * steps)
        model = fit_cycle(trajectory, weights, batches, callbacks)
        where = f"{trajectory.name}, cycle {cycle}"
        assert_state(model, trajectory.state(f"cycle{cycle}_trained"), where)
        kept = cycle / trajectory.cycles
        ticket = prune(
            model, {k: 1 - (1 - s) ** kept for k, s in config["sparsity"].items()}
        )
        recorded = trajectory.ticket(f"cycle{cycle}_mask")
        for name, mask in recorded.masks.items():
            # What stays dense is an all-ones mask there, and no mask here.
            ours = ticket.masks.get(name, np.ones_like(mask))
            np.testing.assert_array_equal(ours, mask, f"{where}, {name}")
        callbacks = [dlth.FixedTicket(ticket)]
        load(model, initial)
        ticket.apply(model)
        weights = weights_of(model, initial)
    assert_state(model, trajectory.state("ticket"), f"{trajectory.name}, ticket")
