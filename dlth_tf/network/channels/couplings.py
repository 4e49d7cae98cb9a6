"""Bookkeeping of channels: which are the same, which must stay, who holds them."""

import dataclasses
from collections.abc import Callable, Iterator

import keras
import numpy as np


class LeftWhole(Exception):
    """A layer can't be analysed, for the reason given: all its channels stay."""


@dataclasses.dataclass(frozen=True)
class Channels:
    """The channels of one tensor.

    Attributes:
        ids: the channel (see `Couplings`) at each position of the channel axis.
        vanishes: per position, whether the tensor is exactly zero there once the channel
            is removed.
        axis: the channel axis, counted from 0.
        shape: shape of the tensor, None for a free size.
    """

    ids: np.ndarray
    vanishes: np.ndarray
    axis: int
    shape: tuple[int | None, ...]


@dataclasses.dataclass(frozen=True)
class Use:
    """An axis of a variable whose positions belong to channels.

    Attributes:
        masked: the positions are set to zero to remove a channel. Otherwise they only
            go with it.
    """

    variable: keras.Variable
    axis: int
    ids: np.ndarray
    masked: bool


class Couplings:
    """Channels under an equivalence: coupled ones are removed together or not at all.

    A channel is a number. `root` gives the one that stands for all those coupled with it.
    """

    def __init__(self):
        self._parents: list[int] = []
        self._reasons: dict[int, str] = {}
        self._uses: dict[tuple[int, int], Use] = {}
        self._sized: dict[int, list[np.ndarray]] = {}
        self._resizing: dict[int, Callable] = {}

    def new(self, count: int) -> np.ndarray:
        """Channels coupled with nothing so far."""
        first = len(self._parents)
        self._parents.extend(range(first, first + count))
        return np.arange(first, first + count)

    def root(self, channel: int) -> int:
        """The channel that stands for all those coupled with this one."""
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
        """Couples two rows of channels, position by position.

        Raises:
            LeftWhole: the rows differ in length; nothing is coupled then.
        """
        if len(some) != len(others):
            raise LeftWhole("it is used on different numbers of channels")
        for one, other in zip(some.tolist(), others.tolist(), strict=True):
            one, other = sorted((self.root(one), self.root(other)))
            if one == other:
                continue
            self._parents[other] = one
            reason = self._reasons.pop(other, None)
            if reason is not None:
                self._reasons.setdefault(one, reason)

    def keep(self, ids: np.ndarray, reason: str, override: bool = False) -> None:
        """Channels that must not be removed, and why.

        The first reason counts, unless a later one is to override it.
        """
        for channel in ids.tolist():
            root = self.root(channel)
            if override or root not in self._reasons:
                self._reasons[root] = reason

    def reason(self, channel: int) -> str | None:
        """Why a channel must stay; None if it need not."""
        return self._reasons.get(self.root(channel))

    def use(self, variable, axis: int, ids: np.ndarray, masked: bool = False) -> None:
        """Notes that channels lie along an axis of a variable.

        A variable that is used twice couples the channels of both uses.
        """
        axis %= len(variable.shape)
        earlier = self._uses.setdefault(
            (id(variable), axis), Use(variable, axis, ids, masked)
        )
        if earlier.ids is not ids:
            self.couple(earlier.ids, ids)

    def filters(self, variable, axis: int) -> np.ndarray:
        """The channels that a kernel produces along an axis, the same at every use."""
        axis %= len(variable.shape)
        earlier = self._uses.get((id(variable), axis))
        if earlier is None:
            self.use(variable, axis, self.new(variable.shape[axis]), masked=True)
        return self._uses[id(variable), axis].ids

    @property
    def uses(self) -> Iterator[Use]:
        """All axes of variables along which channels lie, in the order of the graph."""
        return iter(self._uses.values())

    def size(self, layer, ids: list[np.ndarray], resizing: Callable | None = None):
        """Notes rows of channels whose number shapes a layer, the same at every use.

        Args:
            layer: the layer or nested model.
            ids: the rows.
            resizing: from the numbers of channels left in each row to what changes in
                the layer's config.

        Returns:
            The rows of the first use.
        """
        earlier = self._sized.setdefault(id(layer), ids)
        self._resizing.setdefault(id(layer), resizing)
        for some, others in zip(earlier, ids, strict=True):
            self.couple(some, others)
        return earlier

    def sized(self, layer) -> list[np.ndarray]:
        """The rows of channels whose number shapes a layer."""
        return self._sized.get(id(layer), [])

    def resized_config(self, layer, counts: list[int]) -> dict:
        """What changes in a layer's config when so many channels are left."""
        resizing = self._resizing.get(id(layer))
        return resizing(*counts) if resizing else {}
