"""Bookkeeping of channels: which are the same, which must stay, who holds them."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np


class LeftWhole(Exception):
    """A layer can't be analysed, for the reason given: all its channels stay."""


@dataclasses.dataclass(frozen=True)
class Channels:
    """The channels of one tensor, at each position of its channel axis.

    `vanishes` says whether the tensor is exactly zero there once the channel is removed.
    """

    ids: np.ndarray
    vanishes: np.ndarray
    axis: int
    shape: tuple[int | None, ...]


@dataclasses.dataclass(frozen=True)
class Use:
    """An axis of a variable along which channels lie, `masked` to remove one, or not."""

    variable: keras.Variable
    axis: int
    ids: np.ndarray
    masked: bool


class Couplings:
    """Channels, by number; coupled ones are removed together or not at all."""

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._reasons: dict[int, str] = {}
        self.uses: dict[tuple[int, int], Use] = {}
        """By variable and axis, in the order of the graph."""
        self.alike: list[list[np.ndarray]] = []
        """Rows of channels of which equally many must be left: one number counts them."""
        self._sized: dict[int, tuple[list[np.ndarray], Callable | None]] = {}

    def new(self, count: int) -> np.ndarray:
        """Channels coupled with nothing so far."""
        first = len(self._parents)
        self._parents.extend(range(first, first + count))
        return np.arange(first, first + count)

    def _root(self, channel: int) -> int:
        parents = self._parents
        while parents[channel] != channel:
            parents[channel] = parents[parents[channel]]
            channel = parents[channel]
        return channel

    def roots(self) -> np.ndarray:
        """For every channel the one that stands for all those coupled with it."""
        return np.array([self._root(channel) for channel in self._parents], np.int64)

    def couple(self, some: np.ndarray, others: np.ndarray) -> None:
        """Couples two rows of channels, position by position."""
        if len(some) != len(others):
            raise LeftWhole("it is used on different numbers of channels")
        for one, other in zip(some.tolist(), others.tolist(), strict=True):
            one, other = sorted((self._root(one), self._root(other)))
            self._parents[other] = one
            if one != other and other in self._reasons:
                self._reasons.setdefault(one, self._reasons.pop(other))

    def keep(self, ids: np.ndarray, reason: str, override: bool = False) -> None:
        """Channels that must stay; the first reason counts, or one that overrides it."""
        for channel in ids.tolist():
            root = self._root(channel)
            if override or root not in self._reasons:
                self._reasons[root] = reason

    def reason(self, channel: int) -> str | None:
        """Why a channel must stay; None if it need not."""
        return self._reasons.get(self._root(channel))

    def use(
        self, variable: keras.Variable, axis: int, ids: np.ndarray, masked: bool = False
    ) -> None:
        """Notes that channels lie along an axis of a variable, the same at every use."""
        axis %= len(variable.shape)
        use = Use(variable, axis, ids, masked)
        self.couple(self.uses.setdefault((id(variable), axis), use).ids, ids)

    def filters(self, variable: keras.Variable, axis: int) -> np.ndarray:
        """The channels that a kernel produces along an axis, the same at every use."""
        axis %= len(variable.shape)
        if (id(variable), axis) not in self.uses:
            self.use(variable, axis, self.new(variable.shape[axis]), masked=True)
        return self.uses[id(variable), axis].ids

    def size(
        self, layer: Any, ids: list[np.ndarray], resizing: Callable | None = None
    ) -> list[np.ndarray]:
        """Notes rows of channels whose number shapes a layer; returns its first use's.

        `resizing` is from the numbers left in each row to what changes in its config.
        """
        earlier, _ = self._sized.setdefault(id(layer), (ids, resizing))
        for some, others in zip(earlier, ids, strict=True):
            self.couple(some, others)
        return earlier

    def sized(self, layer: Any) -> tuple[list[np.ndarray], Callable | None]:
        """The rows of channels whose number shapes a layer, and how."""
        return self._sized.get(id(layer), ([], None))


@dataclasses.dataclass(frozen=True)
class Call:
    """One use of a layer, or of an operation that is none, in a graph."""

    layer: Any
    inputs: Sequence[Channels]
    output: keras.KerasTensor
    couplings: Couplings

    @property
    def x(self) -> Channels:
        """The only input."""
        if len(self.inputs) != 1:
            raise LeftWhole(f"it is called on {len(self.inputs)} tensors")
        return self.inputs[0]

    def along(self, axis: int, x: Channels | None = None) -> Channels:
        """An input, by default the only one, with another axis read as its channels."""
        x = self.x if x is None else x
        if axis == x.axis:
            return x
        reasons = {self.couplings.reason(channel) for channel in x.ids.tolist()}
        size = x.shape[axis]
        if None in reasons or size is None:
            raise LeftWhole("it takes another axis for that of the channels")
        ids = self.couplings.new(size)
        self.couplings.keep(ids, next(filter(None, reasons), "its size is not fixed"))
        return Channels(ids, np.zeros(len(ids), bool), axis, x.shape)

    def along_data_format(self) -> Channels:
        """The only input with the axis read as its channels that the layer takes."""
        first = getattr(self.layer, "data_format", None) == "channels_first"
        return self.along(1 if first else len(self.x.shape) - 1)

    def variable(self, name: str) -> keras.Variable:
        variable = getattr(self.layer, name)
        if not isinstance(variable, keras.Variable):
            raise LeftWhole("its kernel is computed from other variables")
        return variable

    def use(self, name: str, axis: int, ids: np.ndarray, masked: bool = False) -> None:
        """Notes that channels lie along an axis of one of the layer's variables."""
        self.couplings.use(self.variable(name), axis, ids, masked)

    def size(self, ids: list[np.ndarray], resizing: Callable) -> list[np.ndarray]:
        """Notes rows of channels whose number shapes the layer; see `Couplings.size`."""
        return self.couplings.size(self.layer, ids, resizing)


def joined(call: Call, vanishing: Callable) -> Channels:
    """The channels of tensors that are combined channel by channel, broadcast."""
    shape, couplings = call.output.shape, call.couplings
    if any(len(x.shape) != len(shape) for x in call.inputs):
        raise LeftWhole("it combines tensors of different ranks")
    axis = max(call.inputs, key=lambda x: len(x.ids)).axis
    inputs = [call.along(axis, x) for x in call.inputs]
    count = max(len(x.ids) for x in inputs)
    rows, zeros = [], []
    for x in inputs:
        if len(x.ids) == 1 < count:
            couplings.keep(x.ids, "it is spread over all channels of another tensor")
            zeros.append(np.zeros(count, bool))
        else:
            rows.append(x.ids)
            couplings.couple(rows[0], x.ids)
            zeros.append(x.vanishes)
    return Channels(rows[0], functools.reduce(vanishing, zeros), axis, shape)
