"""Which flag a setting comes from."""

_OTHERWISE_CALLED = {
    "task.network": "model",
    "transformation.batch_size": "transform_batch_size",
    "transformation.learning_rate": "transform_learning_rate",
    "transformation.growth.growth": "penalty_growth",
    "transformation.growth.every": "penalty_every",
    "transformation.growth.bound": "penalty_bound",
    "transformation.growth.hold": "penalty_hold",
    "transformation.growth.power": "penalty_power",
    "cycles.count": "cycles",
    "cycles.transformation.growth.every": "cycle_penalty_every",
    "cycles.transformation.growth.hold": "cycle_penalty_hold",
    "cycles.zero_between": "zero_between_cycles",
    "rewind_to.epochs": "rewind_to",
    "rewind_to.steps": "rewind_to",
    "mask_changes.every": "mask_every",
    "mask_changes.until": "mask_until",
}


def flag_of(path: str) -> str:
    """The flag that sets what lies at a path in an experiment's settings.

    Example:

    >>> flag_of("task.network")
    '--model'
    """
    if path not in _OTHERWISE_CALLED:
        path = path.removeprefix("cycles.")
    return f"--{_OTHERWISE_CALLED.get(path, path.rpartition('.')[2])}"
