"""Of how much of a model a ticket can speak at all."""

import collections
import logging
import math
from collections.abc import Iterable

import keras

from dlth_tf.network.kernels import maskable_kernels, own_variables, walk_layers
from dlth_tf.tickets.sparsity import Shapes

_log = logging.getLogger(__name__)
_ENOUGH = 0.5


def shapes_at_hand(model: keras.Model, tables: Iterable[str] = ()) -> Shapes:
    """The kernels that a ticket is drawn for; says so where they are few.

    Args:
        model: a built model.
        tables: name patterns of the embeddings that are masked, too.

    Raises:
        ValueError: as `dlth_tf.maskable_kernels`.
    """
    kernels = maskable_kernels(model, tables)
    _warn_if_few(model, {id(kernel) for kernel in kernels.values()})
    return {name: tuple(kernel.shape) for name, kernel in kernels.items()}


def _warn_if_few(model: keras.Model, kernels: set[int]) -> None:
    rest = {id(v): v for v in model.trainable_variables if id(v) not in kernels}
    trainable = sum(math.prod(v.shape) for v in model.trainable_variables)
    unmaskable = sum(math.prod(v.shape) for v in rest.values())
    maskable = trainable - unmaskable
    if maskable >= _ENOUGH * trainable:
        return
    by_type: collections.Counter = collections.Counter()
    for _, layer in [("", model), *walk_layers(model)]:
        for variable in own_variables(layer).values():
            if rest.pop(id(variable), None) is not None:
                by_type[type(layer).__name__] += math.prod(variable.shape)
    _log.warning(
        "Ticket of model '%s': %s of its %s trainable weights can be masked (%.0f%%). "
        "Most of the others are of %s.",
        model.name,
        f"{maskable:,}",
        f"{trainable:,}",
        100 * maskable / trainable,
        ", ".join(f"{name} ({size:,})" for name, size in by_type.most_common(3)),
    )
