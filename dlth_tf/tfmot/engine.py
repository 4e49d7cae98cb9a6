"""TFMOT's schedules and its mask-updating engine, loaded when first used."""

import importlib
import os
from collections.abc import Callable

import keras
import numpy as np

_HOME = "tensorflow_model_optimization.python.core.sparsity.keras"


def check_installed() -> None:
    """Makes sure that what is here can be used.

    Raises:
        ImportError: TFMOT or `tf_keras` is not installed.
        RuntimeError: Keras runs on another backend than TensorFlow.
    """
    _module("pruning_impl")


def pruning_engine(variables, schedule, step: Callable):
    """TFMOT's engine, which updates masks when a schedule says so.

    Args:
        variables: (weights, mask, threshold) for each kernel, as TensorFlow variables.
        schedule: when to update, and to which sparsity.
        step: gives the current step, counted from 1, as an int64 tensor.
    """
    return _module("pruning_impl").Pruning(
        training_step_fn=step,
        pruning_vars=variables,
        pruning_schedule=schedule,
        block_size=(1, 1),
        block_pooling_type="AVG",
    )


def as_schedule(schedule, pattern: str = "*"):
    """A TFMOT schedule as it is; a number as the schedule that prunes once, at step 1.

    Args:
        schedule: the schedule or the number.
        pattern: which kernels it is for, to be named in errors.

    Raises:
        ValueError: neither a schedule nor a number in [0, 1).
    """
    schedules = _module("pruning_schedule")
    if isinstance(schedule, schedules.PruningSchedule):
        return schedule
    where = "" if pattern == "*" else f" for '{pattern}'"
    if not isinstance(schedule, int | float | np.number):
        raise ValueError(
            "`schedule` must be a number in [0, 1) or a tfmot.sparsity.keras schedule. "
            f"Received: {schedule!r}{where}"
        )
    if not 0.0 <= schedule < 1.0:
        raise ValueError(f"`schedule` must be in [0, 1). Received: {schedule}{where}")
    return schedules.ConstantSparsity(
        float(schedule), begin_step=1, end_step=1, frequency=1
    )


def gradual_schedule(final_sparsity: float, end_step: int, every: int):
    """TFMOT's schedule from dense to a sparsity, fast at first (to the third power).

    Args:
        final_sparsity: reached at `end_step`, in [0, 1).
        end_step: a multiple of `every`; steps count from 1.
        every: steps from one mask update to the next.
    """
    schedules = _module("pruning_schedule")
    return schedules.PolynomialDecay(0.0, final_sparsity, 0, end_step, frequency=every)


def _module(name: str):
    """A module of TFMOT's pruning, imported so that nothing else changes by it.

    TFMOT sets an environment variable by which TensorFlow decides whether `tf.keras` is
    Keras 2 or 3, here and in every process started from here. So the decision is made
    before, as the user has it, and the variable put back.
    """
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "Pruning by TFMOT needs Keras on TensorFlow (KERAS_BACKEND=tensorflow). "
            f"The backend is {keras.backend.backend()}; `dlth_tf.magnitude_ticket` "
            "works on any."
        )
    import tensorflow as tf

    chosen = os.environ.get("TF_USE_LEGACY_KERAS")
    dir(tf.keras)
    try:
        return importlib.import_module(f"{_HOME}.{name}")
    except ImportError as error:
        raise ImportError(
            "Pruning by TFMOT needs the packages tensorflow-model-optimization and "
            f"tf_keras (pip install tensorflow-model-optimization tf_keras): {error}"
        ) from error
    finally:
        if chosen is None:
            os.environ.pop("TF_USE_LEGACY_KERAS", None)
        else:
            os.environ["TF_USE_LEGACY_KERAS"] = chosen
