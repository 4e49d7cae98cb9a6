"""Bookkeeping of channels: which are the same, which must stay, who holds them."""

import dataclasses
from collections.abc import Callable, Collection
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
    """An axis of a variable whose positions belong to channels.

    They are `masked`, set to zero to remove a channel, or only go with it.
    """

    variable: keras.Variable
    axis: int
    ids: np.ndarray
    masked: bool


class Couplings:
    """Channels under an equivalence: coupled ones are removed together or not at all.

    A channel is a number. Its root is the one that stands for all those coupled with it.
    """

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._reasons: dict[int, str] = {}
        self._uses: dict[tuple[int, int], Use] = {}
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
        """The root of every channel there is."""
        parents = np.array(self._parents, np.int64)
        while (parents != parents[parents]).any():
            parents = parents[parents]
        return parents

    def couple(self, some: np.ndarray, others: np.ndarray) -> None:
        """Couples two rows of channels, position by position."""
        if len(some) != len(others):
            raise LeftWhole("it is used on different numbers of channels")
        for one, other in zip(some.tolist(), others.tolist(), strict=True):
            one, other = sorted((self._root(one), self._root(other)))
            if one == other:
                continue
            self._parents[other] = one
            reason = self._reasons.pop(other, None)
            if reason is not None:
                self._reasons.setdefault(one, reason)

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
        earlier = self._uses.setdefault((id(variable), axis), use)
        if earlier.ids is not ids:
            self.couple(earlier.ids, ids)

    def filters(self, variable: keras.Variable, axis: int) -> np.ndarray:
        """The channels that a kernel produces along an axis, the same at every use."""
        axis %= len(variable.shape)
        if (id(variable), axis) not in self._uses:
            self.use(variable, axis, self.new(variable.shape[axis]), masked=True)
        return self._uses[id(variable), axis].ids

    @property
    def uses(self) -> Collection[Use]:
        """All axes of variables along which channels lie, in the order of the graph."""
        return self._uses.values()

    def size(
        self, layer: Any, ids: list[np.ndarray], resizing: Callable | None = None
    ) -> list[np.ndarray]:
        """Notes rows of channels whose number shapes a layer, coupled at all its uses.

        `resizing` is from the numbers of channels left in each row to what changes in the
        layer's config. Returned are the rows of the first use.
        """
        earlier, _ = self._sized.setdefault(id(layer), (ids, resizing))
        for some, others in zip(earlier, ids, strict=True):
            self.couple(some, others)
        return earlier

    def sized(self, layer: Any) -> tuple[list[np.ndarray], Callable | None]:
        """The rows of channels whose number shapes a layer, and how."""
        return self._sized.get(id(layer), ([], None))
