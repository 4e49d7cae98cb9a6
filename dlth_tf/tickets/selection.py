"""How tickets are chosen: by chance, by magnitude, or by any other score."""

import collections
import logging
import math
from collections.abc import Iterable, Mapping
from typing import Literal

import keras
import numpy as np

from dlth_tf.network.kernels import maskable_kernels
from dlth_tf.network.variables import own_variables, walk_layers
from dlth_tf.tickets.sparsity import Shapes, Sparsity, name_patterns, sparsity_pools
from dlth_tf.tickets.ticket import Ticket
from dlth_tf.tickets.units import unit_of

_log = logging.getLogger(__name__)
_ENOUGH = 0.5


def random_ticket(
    model: keras.Model,
    sparsity: Sparsity,
    seed: int,
    within: Ticket | None = None,
    unit: str = "weight",
    round_to: int = 1,
) -> Ticket:
    """Draws a ticket uniformly at random, kernel by kernel.

    Of each kernel of n weights exactly min(ceil(sparsity * n), n - 1) are removed. The
    ticket depends on the seed and the architecture alone: it is the same in every
    process and on every machine. A warning is logged where the kernels hold less than
    half of the model's trainable weights.

    Args:
        model: a built model; its weights do not matter.
        sparsity: fraction removed; or fractions by kernel name pattern; or how the
            sparsity is shared out: `Uniform`, `ErdosRenyi`, `ErdosRenyiKernel`,
            `Global`, `PerLayer`, `PerStage`. An embedding stays dense unless a pattern
            other than `"*"` names it: `{"embedding": 0.5, "*": 0.9}`.
        seed: a non-negative integer.
        within: an earlier ticket of the model; what it removes stays removed, and the
            rest is drawn from what it keeps (nested tickets of growing sparsity).
        unit: what is removed as a whole: `"weight"`; or N:M such as `"2:4"`, where of
            every 4 consecutive weights along a kernel's input axis 2 are kept; its
            sparsity is 1 - N/M; or `"filter"`: filters, heads and hidden units, coupled
            as `dlth_tf.channel_groups` finds them. Of every group that fraction is
            removed, and with `Global` all groups compete.
        round_to: of filters, what is kept of a group is rounded to the nearest multiple
            of so many, at least one, for hardware that likes multiples of 8. A group of
            fewer channels, or of which nothing is removed, stays whole; heads of
            attention go whole and are not rounded.

    Raises:
        ValueError: a sparsity outside [0, 1) or below that of `within`, a `within` that
            keeps nothing of a kernel, a pattern that matches no kernel, a distribution
            or a unit that does not fit the model, a `round_to` below 1 or of another unit
            than filters, or a model without maskable kernels.

    Example:

    >>> mobilenet = keras.applications.MobileNetV2(weights=None, classes=10)
    >>> ticket = dlth.random_ticket(mobilenet, sparsity=0.9, seed=0)

    Source: Bai et al., "Dual Lottery Ticket Hypothesis", ICLR 2022, section 3.2.
    """
    earlier = None if within is None else {n: m for n, _, m in within.pairs(model)}
    for name, mask in (earlier or {}).items():
        if not mask.any():
            raise ValueError(
                "`within` must keep some of every kernel. Received: a ticket that keeps "
                f"nothing of '{name}'"
            )
    shapes = shapes_at_hand(model, [*name_patterns(sparsity), *(earlier or ())])
    pools = sparsity_pools(shapes, sparsity)
    masks = unit_of(unit, model, shapes, pools, round_to).random_masks(seed, earlier)
    return Ticket({name: masks[name] for name in [*shapes, *masks]})


def magnitude_ticket(
    model: keras.Model,
    sparsity: Sparsity,
    unit: str = "weight",
    round_to: int = 1,
    importance: Literal["filter", "group"] = "filter",
) -> Ticket:
    """Removes the smallest magnitudes of each kernel of a trained model.

    Args:
        model: the trained model.
        sparsity: as for `random_ticket`, and counted as there. With `Global` there is
            one threshold for the magnitudes of all kernels.
        unit: what is removed as a whole, as for `random_ticket`.
        round_to: as for `random_ticket`.
        importance: what the magnitude of a channel is, where whole filters go:
            `"filter"`, the L1 norm of all coupled filters that make it; or `"group"`, the
            squared L2 norm of these and of the parts of all kernels that take it in,
            relative to the mean of the channels coupled alike. Only the latter can be
            compared between layers, as `Global` does.

    Raises:
        ValueError: as for `random_ticket`, or a kernel holds NaN.

    Example: the lottery ticket hypothesis in four lines.

    >>> initial = model.get_weights()
    >>> model.fit(train)
    >>> ticket = dlth.magnitude_ticket(model, sparsity=0.9)
    >>> model.set_weights(initial)

    Half of the filters of a whole network, wherever they matter least:

    >>> half = dlth.Global(0.5)
    >>> ticket = magnitude_ticket(model, half, "filter", round_to=8, importance="group")

    Source: Han et al., "Learning both Weights and Connections", NeurIPS 2015; filters: Li
    et al., "Pruning Filters for Efficient ConvNets", ICLR 2017; groups: Fang et al.,
    "DepGraph: Towards Any Structural Pruning", CVPR 2023, section 3.3.
    """
    kernels = maskable_kernels(model, name_patterns(sparsity))
    scores = {n: np.abs(keras.ops.convert_to_numpy(k)) for n, k in kernels.items()}
    if importance == "group":
        scores = {name: np.square(score) for name, score in scores.items()}
    return _highest(model, sparsity, scores, unit, round_to, importance)


def highest_ticket(
    model: keras.Model,
    sparsity: Sparsity,
    scores: Mapping[str, np.ndarray],
    unit: str = "weight",
    round_to: int = 1,
) -> Ticket:
    """Keeps the weights of the highest scores: what all pruning by a score has in common.

    Among equal scores those that come first in memory order are removed first.

    Args:
        model: a built model.
        sparsity: as for `random_ticket`, and counted as there.
        scores: for each kernel an array of its shape; infinities are numbers, too.
            (Those of embeddings that the sparsity names are among
            `maskable_kernels(model, tables=patterns)`.)
        unit: what is removed as a whole, as for `random_ticket`; filters by the sums of
            their scores.
        round_to: as for `random_ticket`.

    Raises:
        ValueError: as for `random_ticket`, or a kernel has no scores, or scores of
            another shape, or one that is not a number.

    Example: a criterion of one's own, here magnitudes relative to the kernel's largest.

    >>> kernels = {n: np.abs(k) for n, k in dlth.maskable_kernels(model).items()}
    >>> scores = {name: kernel / kernel.max() for name, kernel in kernels.items()}
    >>> ticket = dlth.highest_ticket(model, dlth.Global(0.9), scores)
    """
    return _highest(model, sparsity, scores, unit, round_to, "filter")


def _highest(
    model: keras.Model,
    sparsity: Sparsity,
    scores: Mapping[str, np.ndarray],
    unit: str,
    round_to: int,
    importance: str,
) -> Ticket:
    shapes = shapes_at_hand(model, name_patterns(sparsity))
    checked = {name: _checked(name, shape, scores) for name, shape in shapes.items()}
    pools = sparsity_pools(shapes, sparsity)
    chosen = unit_of(unit, model, shapes, pools, round_to, importance)
    masks = chosen.highest_masks(checked)
    return Ticket({name: masks[name] for name in [*shapes, *masks]})


def _checked(name: str, shape: tuple[int, ...], scores: Mapping) -> np.ndarray:
    """A kernel's scores, as numbers of which each has a place."""
    if name not in scores:
        raise ValueError(
            f"`scores` must have an array for every kernel. It has none for '{name}', "
            f"only for {', '.join(scores) or 'nothing'}"
        )
    values = np.asarray(scores[name])
    if values.shape != shape:
        raise ValueError(
            f"`scores` of '{name}' must have the kernel's shape {shape}. "
            f"Received: {values.shape}"
        )
    if values.dtype.kind not in "biuf":
        # Types that NumPy does not know by itself, such as bfloat16, are numbers, too.
        values = values.astype(np.float32)
    if np.isnan(values).any():
        raise ValueError(f"Kernel '{name}' must have numbers as scores. It has NaN.")
    return values


def shapes_at_hand(model: keras.Model, tables: Iterable[str] = ()) -> Shapes:
    """The kernels that a ticket is drawn for; says so where they are few."""
    kernels = maskable_kernels(model, tables)
    rest = {id(v): v for v in model.trainable_variables}
    for kernel in kernels.values():
        rest.pop(id(kernel), None)
    trainable = sum(math.prod(v.shape) for v in model.trainable_variables)
    maskable = trainable - sum(math.prod(v.shape) for v in rest.values())
    if maskable < _ENOUGH * trainable:
        by_type: collections.Counter = collections.Counter()
        for _, layer in [("", model), *walk_layers(model)]:
            for variable in own_variables(layer).values():
                if rest.pop(id(variable), None) is not None:
                    by_type[type(layer).__name__] += math.prod(variable.shape)
        _log.warning(
            "Ticket of model '%s': %s of its %s trainable weights can be masked "
            "(%.0f%%). Most of the others are of %s.",
            model.name,
            f"{maskable:,}",
            f"{trainable:,}",
            100 * maskable / trainable,
            ", ".join(f"{name} ({size:,})" for name, size in by_type.most_common(3)),
        )
    return {name: tuple(kernel.shape) for name, kernel in kernels.items()}
