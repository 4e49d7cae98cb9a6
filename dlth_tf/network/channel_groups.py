"""Coupled channels: which filters of a network can only be removed together."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from dlth_tf.network.channel_couplings import Call, Channels, Couplings, LeftWhole
from dlth_tf.network.channel_rules import follow
from dlth_tf.network.graph import require_graph, run_graph
from dlth_tf.network.kernels import maskable_kernels, maskable_variables
from dlth_tf.network.stated_couplings import (
    follow_stated,
    graph_within,
    stated_couplings,
)

MODEL_INPUT = "its channels are those of the model's input"
MODEL_OUTPUT = "its channels are those of the model's output"
_NOT_REACHED = "the model's graph does not pass through it"


@dataclasses.dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Channels of the same layers, any of which can be removed from all of them at once.

    Attributes:
        kernels: names of the kernels whose filters are coupled, in the model's order.
        channels: per channel, variable name to the positions that hold it: filters of
            these kernels, and the elements of biases and normalisation parameters that
            must be zero as well for the removed channel to be zero.
    """

    kernels: tuple[str, ...]
    channels: tuple[Mapping[str, tuple[int, ...]], ...]

    def __len__(self) -> int:
        return len(self.channels)


@dataclasses.dataclass(frozen=True, eq=False)
class ChannelGroups:
    """The groups of coupled channels of a model.

    Attributes:
        groups: in the order of the model's kernels.
        whole: kernel name to the reason why none of its filters can be removed.
        axes: variable name to the axis on which the positions in the groups lie.
    """

    groups: tuple[ChannelGroup, ...]
    whole: Mapping[str, str]
    axes: Mapping[str, int]


def channel_groups(model: keras.Model, tables: Iterable[str] = ()) -> ChannelGroups:
    """Finds which filters, heads and hidden units can only be removed together.

    Channels that are added to or multiplied with each other are coupled, and so is the
    output of a depthwise convolution with its input; a residual network whose shortcuts
    pad channels with zeros has groups that run through one, two or three of its stages.
    Layers whose effect on channels is not known are left whole, with what is coupled to
    them, and a reason is given. Heads of attention go with their queries, keys, values
    and outputs; a layer of one's own says by a method `get_channel_couplings` what can be
    removed within it, see `docs/structured_tickets.md`.

    Args:
        model: a functional or Sequential model, nested at will.
        tables: as for `dlth_tf.maskable_kernels`; they are left whole.

    Raises:
        ValueError: the model has no graph (it is subclassed), or no kernels, or what a
            layer says of its couplings does not fit it.

    Example:

    >>> groups = dlth.channel_groups(keras.applications.ResNet50(weights=None))
    >>> [(len(group), group.kernels) for group in groups.groups][:1]
    [(64, ('conv1_conv',))]
    >>> groups.whole
    {'predictions': "its channels are those of the model's output"}
    """
    analysis = Analysis(model, tables)
    kernels = maskable_kernels(model, tables)
    places, reasons = analysis.removable_places()
    groups = _coupled_alike(places.values(), list(kernels))
    in_groups = {name for group in groups for name in group.kernels}
    whole = {
        name: reasons.get(name) or analysis.reasons.get(id(kernel)) or _NOT_REACHED
        for name, kernel in kernels.items()
        if name not in in_groups
    }
    return ChannelGroups(groups, whole, analysis.axes)


class Analysis:
    """Which channels of a model are coupled, where they lie, and which must stay."""

    def __init__(self, model: keras.Model, tables: Iterable[str] = ()):
        self.couplings = Couplings()
        self.reasons: dict[int, str] = {}
        """Why nothing is known of the channels of a layer or variable, by its id."""
        graph = require_graph(model)
        inputs = [self._whole(tensor, MODEL_INPUT) for tensor in graph.inputs]
        for outputs in self._visit(model, tuple(inputs), {}, graph.outputs):
            self.couplings.keep(outputs.ids, MODEL_OUTPUT, override=True)
        names = {id(v): name for name, v in maskable_variables(model, tables).items()}
        masked = [use for use in self.couplings.uses.values() if use.masked]
        self._masked = [(names[id(use.variable)], use) for use in masked]
        self.axes = {name: use.axis for name, use in self._masked}
        """The axis of each variable along which its channels lie."""

    def removable_places(self) -> tuple[dict[int, dict], dict[str, str]]:
        """Where removable channels lie, by root and variable; why others must stay."""
        places: dict[int, dict[str, list[int]]] = {}
        reasons: dict[str, str] = {}
        roots = self.couplings.roots()
        for name, use in self._masked:
            for position, root in enumerate(roots[use.ids].tolist()):
                reason = self.couplings.reason(root)
                if reason is None:
                    places.setdefault(root, {}).setdefault(name, []).append(position)
                else:
                    reasons.setdefault(name, reason)
        return places, reasons

    def _visit(self, operation: Any, args: tuple, kwargs: dict, outputs: list) -> list:
        values = keras.tree.flatten([args, kwargs])
        tensors = [value for value in values if isinstance(value, Channels)]
        graph = graph_within(operation)
        try:
            if id(operation) in self.reasons:
                raise LeftWhole(self.reasons[id(operation)])
            if graph is not None:
                self.couplings.size(operation, [x.ids for x in tensors])
                return run_graph(graph, tensors, self._visit)
            return self._follow(operation, tensors, values, outputs)
        except LeftWhole as reason:
            self.reasons[id(operation)] = str(reason)
            said = f"layer '{operation.name}' is left whole: {reason}"
            own = {id(variable) for variable in getattr(operation, "variables", ())}
            self.reasons.update(dict.fromkeys(own, said))
            for use in self.couplings.uses.values():
                if id(use.variable) in own:
                    self.couplings.keep(use.ids, said)
            for ids in self.couplings.sized(operation)[0]:
                self.couplings.keep(ids, said)
            return self._keep_width(tensors, outputs, said)

    def _follow(
        self, operation: Any, tensors: list[Channels], values: list, outputs: list
    ) -> list[Channels]:
        """The channels of the outputs of a layer or operation."""
        stated = stated_couplings(operation)
        if len(outputs) != 1 and not isinstance(operation, keras.Model):
            raise LeftWhole("it has several outputs")
        call = Call(operation, tensors, outputs[0], self.couplings)
        if stated is None:
            if hasattr(operation, "get_prunable_weights"):
                raise LeftWhole("it says itself which of its weights can be masked")
            return [follow(call, values)]
        if (passed := follow_stated(call, stated)) is not None:
            return [passed]
        said = f"no argument of layer '{operation.name}' counts its units alone"
        self.reasons.update({id(variable): said for variable in operation.variables})
        said = f"layer '{operation.name}' keeps its width"
        return self._keep_width(tensors, outputs, said)

    def _keep_width(
        self, tensors: list[Channels], outputs: list, said: str
    ) -> list[Channels]:
        for x in tensors:
            self.couplings.keep(x.ids, said)
        return [self._whole(tensor, said) for tensor in outputs]

    def _whole(self, tensor: keras.KerasTensor, reason: str) -> Channels:
        shape = tuple(tensor.shape)
        count = (shape[-1] if len(shape) > 1 else None) or 0
        ids = self.couplings.new(count)
        self.couplings.keep(ids, reason)
        return Channels(ids, np.zeros(count, bool), len(shape) - 1, shape)


def _coupled_alike(
    channels: Iterable[dict], kernels: list[str]
) -> tuple[ChannelGroup, ...]:
    """Channels that have equally many filters of the same kernels form a group."""
    order = {name: place for place, name in enumerate(kernels)}
    grouped: dict[tuple, list] = {}
    for places in channels:
        lengths = {name: len(positions) for name, positions in places.items()}
        filters = sorted((order[n], lengths[n]) for n in lengths if n in order)
        if filters:
            channel = {name: tuple(positions) for name, positions in places.items()}
            grouped.setdefault(tuple(filters), []).append(channel)
    return tuple(
        ChannelGroup(tuple(kernels[place] for place, _ in filters), tuple(of_group))
        for filters, of_group in sorted(grouped.items())
    )


def coupled_sums(
    model: keras.Model, groups: ChannelGroups, arrays: Mapping[str, np.ndarray]
) -> list[np.ndarray]:
    """For each group what stands in all kernels that go with a channel, summed up.

    Those are its filters in the kernels that make it, and its part of the kernels that
    take it in.
    """
    couplings = Analysis(model, arrays).couplings
    variables, roots = maskable_variables(model, arrays), couplings.roots()
    names = {id(variables[name]): name for name in arrays}
    sums = np.zeros(len(roots))
    for use in couplings.uses.values():
        if name := names.get(id(use.variable)):
            others = tuple(a for a in range(arrays[name].ndim) if a != use.axis)
            np.add.at(sums, roots[use.ids], arrays[name].sum(others, dtype=np.float64))

    def of_channel(places: Mapping[str, tuple[int, ...]]) -> float:
        name, (position, *_) = next(iter(places.items()))
        use = couplings.uses[id(variables[name]), groups.axes[name]]
        return sums[roots[use.ids[position]]]

    return [np.array([of_channel(c) for c in g.channels]) for g in groups.groups]
