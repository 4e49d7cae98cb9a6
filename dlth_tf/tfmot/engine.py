"""TFMOT's schedules and its mask-updating engine, and magnitude tickets by it."""

import importlib
import os
from collections.abc import Callable
from fractions import Fraction
from types import ModuleType
from typing import Any, Literal

import keras
import numpy as np

from dlth_tf.network.kernels import maskable_kernels
from dlth_tf.tickets.masks import removed_count
from dlth_tf.tickets.selection import shapes_at_hand
from dlth_tf.tickets.sparsity import Sparsity, name_patterns, sparsity_per_kernel
from dlth_tf.tickets.ticket import Ticket

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

_HOME = "tensorflow_model_optimization.python.core.sparsity.keras"
_COUNTINGS = ("reference", "tfmot")


def check_installed() -> None:
    """Makes sure that what is here can be used: packages and Keras's backend."""
    _module("pruning_impl")


def pruning_engine(variables: list[tuple], schedule: Any, step: Callable) -> Any:
    """TFMOT's engine, for (weights, mask, threshold) each; the step counts from 1."""
    return _module("pruning_impl").Pruning(
        training_step_fn=step,
        pruning_vars=variables,
        pruning_schedule=schedule,
        block_size=(1, 1),
        block_pooling_type="AVG",
    )


def as_schedule(schedule: Any, pattern: str = "*") -> Any:
    """A TFMOT schedule as it is; a number as the schedule that prunes once, at step 1."""
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
    return schedules.ConstantSparsity(float(schedule), 1, end_step=1, frequency=1)


def gradual_schedule(final_sparsity: float, end_step: int, every: int) -> Any:
    """TFMOT's schedule from dense to a sparsity; `end_step` is a multiple of `every`."""
    schedules = _module("pruning_schedule")
    return schedules.PolynomialDecay(0.0, final_sparsity, 0, end_step, frequency=every)


def magnitude_ticket(
    model: keras.Model,
    sparsity: Sparsity,
    counting: Literal["reference", "tfmot"] = "reference",
) -> Ticket:
    """Removes the smallest magnitudes of each kernel, by TFMOT's engine.

    With `counting="reference"` the result is `dlth_tf.magnitude_ticket`'s, weight for
    weight: min(ceil(sparsity * n), n - 1) of a kernel's n weights are removed. The engine
    is given the sparsity at which its own rounding keeps the rest; of equal magnitudes at
    the threshold it keeps all, and the surplus is removed, first in memory order first.
    It takes some ten times as long as `dlth_tf.magnitude_ticket`: the engine sorts.

    With `counting="tfmot"` it is what TFMOT's wrapper would remove at this sparsity:
    max(round(n * (1 - sparsity)), 1) weights stay, in float32 and half to even, and all
    that equal the smallest of these. It differs from the reference in this count alone:
    of 10 weights at sparsity 0.75 TFMOT keeps 2 (2.5 to even), as the reference does; at
    sparsity 0.72 TFMOT keeps 3 and the reference 2.

    Args:
        model: the trained model.
        sparsity: fraction removed, fractions by kernel name pattern, or a distribution
            that gives each kernel its own.
        counting: how many a sparsity removes, `"reference"` or `"tfmot"`.

    Raises:
        ImportError: TFMOT or `tf_keras` is not installed.
        RuntimeError: Keras runs on another backend than TensorFlow.
        ValueError: a sparsity outside [0, 1), a pattern that matches no kernel, a
            distribution in which kernels compete, an unknown counting, or a kernel that
            holds NaN.

    Example:

    >>> from dlth_tf.tfmot import magnitude_ticket
    >>> model.fit(train)
    >>> ticket = magnitude_ticket(model, sparsity=0.9)

    Source: Zhu and Gupta, 2017, arXiv 1710.01878, section 3; Han et al., NeurIPS 2015.
    """
    if counting not in _COUNTINGS:
        raise ValueError(
            f"`counting` must be one of {', '.join(_COUNTINGS)}. Received: {counting!r}"
        )
    kernels = maskable_kernels(model, name_patterns(sparsity))
    shapes = shapes_at_hand(model, name_patterns(sparsity))
    sparsities = sparsity_per_kernel(shapes, sparsity)
    make_mask = _reference_mask if counting == "reference" else _engine_mask
    masks = {}
    for name, kernel in kernels.items():
        weights = keras.ops.convert_to_numpy(kernel)
        if np.isnan(weights).any():
            raise ValueError(f"Kernel '{name}' must hold numbers. It holds NaN.")
        masks[name] = make_mask(weights, sparsities[name])
    return Ticket(masks)


def _reference_mask(weights: np.ndarray, sparsity: float | Fraction) -> np.ndarray:
    removed = removed_count(weights.size, sparsity)
    if removed == 0:
        return np.ones(weights.shape, np.bool_)
    kept = weights.size - removed
    mask = _engine_mask(weights, _sparsity_keeping(weights.size, kept)).ravel()
    places = np.flatnonzero(mask)
    smallest_first = np.argsort(np.abs(weights.ravel()[places]), kind="stable")
    mask[places[smallest_first[: places.size - kept]]] = False
    return mask.reshape(weights.shape)


def _sparsity_keeping(size: int, kept: int) -> float:
    """The sparsity at which TFMOT keeps `kept` of `size` weights, or a few more."""
    sparsity = np.float32(min(1 - kept / size, 1 - 2**-24))
    while _engine_count(size, sparsity) < kept:
        sparsity = np.float32(sparsity - np.float32(2**-24))
    return float(sparsity) if _engine_count(size, sparsity) <= size else 0.0


def _engine_count(size: int, sparsity: np.float32) -> int:
    return max(int(np.rint(np.float32(size) * (np.float32(1) - sparsity))), 1)


def _engine_mask(weights: np.ndarray, sparsity: float | Fraction) -> np.ndarray:
    mask = tf.Variable(tf.ones_like(weights), trainable=False)
    threshold = tf.Variable(tf.zeros([], mask.dtype), trainable=False)
    variables = [(tf.constant(weights), mask, threshold)]
    first_step = tf.constant(1, tf.int64)
    engine = pruning_engine(variables, as_schedule(float(sparsity)), lambda: first_step)
    engine.conditional_mask_update()
    return mask.numpy().astype(np.bool_)


def _module(name: str) -> ModuleType:
    """A module of TFMOT's pruning, imported so that nothing else changes by it.

    TFMOT sets a variable by which TensorFlow decides whether `tf.keras` is Keras 2 or 3.
    So that is decided before, as the user has it, and the variable put back.
    """
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "Pruning by TFMOT needs Keras on TensorFlow (KERAS_BACKEND=tensorflow). "
            f"The backend is {keras.backend.backend()}; `dlth_tf.magnitude_ticket` "
            "works on any."
        )
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
