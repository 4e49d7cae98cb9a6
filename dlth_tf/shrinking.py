"""From a ticket of whole filters to a network that is physically smaller."""

import keras
import numpy as np

from dlth_tf.network.channels.groups import Analysis, removable_places
from dlth_tf.network.graph import copy_layer, rebuild, require_graph
from dlth_tf.network.kernels import maskable_variables
from dlth_tf.tickets.ticket import Ticket


def shrink(model: keras.Model, ticket: Ticket) -> keras.Model:
    """A smaller dense model that computes what the masked model does.

    Channels that the ticket removes from all layers coupled in them are left out, with
    the weights that only took them in; the other weights are copied, the ticket's masks
    applied. Layers are of the same types and have the same names, inputs and outputs
    keep their shapes, and what can't be analysed keeps its size
    (`dlth_tf.channel_groups(model).whole` says why). `model` itself is not changed.

    Args:
        model: a functional or Sequential model, nested at will.
        ticket: must fit the model; `random_ticket` and `magnitude_ticket` with
            `unit="filter"` make such that shrink. Another one is applied, and the model
            keeps its size.

    Returns:
        A new model, not compiled.

    Raises:
        ValueError: the model has no graph (it is subclassed), or the ticket does not fit.

    Example: transform, shrink, finetune the small network.

    >>> ticket = dlth.random_ticket(model, sparsity=0.5, seed=0, unit="filter")
    >>> model.fit(train, epochs=30, callbacks=[dlth.RandomSparseTransformation(ticket)])
    >>> small = dlth.shrink(model, ticket)
    >>> small.compile("sgd", "sparse_categorical_crossentropy")
    >>> small.fit(train, epochs=60)
    """
    require_graph(model)
    masks = {id(variable): mask for _, variable, mask in ticket.pairs(model)}
    kept = _KeptChannels(model, ticket)
    smaller, layers = rebuild(
        model, lambda layer: copy_layer(layer, kept.resized_config(layer))
    )
    for layer, counterpart in layers:
        for source, target in zip(layer.variables, counterpart.variables, strict=True):
            value = keras.ops.convert_to_numpy(source)
            if id(source) in masks:
                value = np.where(masks[id(source)], value, np.zeros((), value.dtype))
            target.assign(kept.part_of(source, value))
    return smaller


class _KeptChannels:
    """Which channels of a model are left when a ticket is applied."""

    def __init__(self, model: keras.Model, ticket: Ticket):
        analysis = Analysis(model)
        self._couplings = analysis.couplings
        self._roots = analysis.couplings.roots()
        self._kept = np.ones(len(self._roots), np.bool_)
        self._uses: dict[int, list] = {}
        for use in self._couplings.uses:
            self._uses.setdefault(id(use.variable), []).append(use)

        names = {id(v): name for name, v in maskable_variables(model).items()}
        filters = self._kept_filters(names, ticket)
        places, _ = removable_places(analysis, names)
        for root, of_channel in places.items():
            self._kept[root] = any(
                name not in filters or filters[name][positions].any()
                for name, positions in of_channel.items()
            )
        for use in self._couplings.uses:
            # A ticket made elsewhere may remove all filters of a layer.
            if not self._of(use.ids).any():
                self._kept[self._roots[use.ids[0]]] = True

    def _kept_filters(
        self, names: dict[int, str], ticket: Ticket
    ) -> dict[str, np.ndarray]:
        """Per masked variable, in which positions of its channel axis something stays."""
        filters = {}
        for use in self._couplings.uses:
            mask = ticket.masks.get(names[id(use.variable)])
            if use.masked and mask is not None:
                others = tuple(axis for axis in range(mask.ndim) if axis != use.axis)
                filters[names[id(use.variable)]] = np.asarray(mask.any(others))
        return filters

    def _of(self, ids: np.ndarray) -> np.ndarray:
        return self._kept[self._roots[ids]]

    def part_of(self, variable: keras.Variable, value: np.ndarray) -> np.ndarray:
        """What is left of a variable's value."""
        for use in self._uses.get(id(variable), ()):
            value = np.compress(self._of(use.ids), value, use.axis)
        return value

    def resized_config(self, layer: keras.layers.Layer) -> dict:
        """What changes in a layer's config for the channels that are left."""
        rows, resizing = self._couplings.sized(layer)
        return resizing(*(int(self._of(ids).sum()) for ids in rows)) if resizing else {}
