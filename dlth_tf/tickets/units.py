"""What a removed unit is: a single weight, N of M neighbours, or a whole filter."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import keras
import numpy as np

from dlth_tf.network import channel_groups as channels
from dlth_tf.network.kernels import input_axes, maskable_variables
from dlth_tf.network.variables import walk_layers
from dlth_tf.tickets.masks import (
    Masks,
    highest_masks,
    random_masks,
    removed_count,
    seed_of_draw,
)
from dlth_tf.tickets.sparsity import Pool, Shapes, check_filters, n_of_m

_log = logging.getLogger(__name__)
_GROUPS_AT_A_TIME = 1 << 18
_TOLERANCE = 1e-3


def unit_of(
    name: str,
    model: keras.Model,
    shapes: Shapes,
    pools: Sequence[Pool],
    round_to: int = 1,
    importance: str = "filter",
) -> "SingleWeights | GroupedWeights | Filters":
    """The unit of a name, for kernels of which the pools lose something."""
    check_filters(name, round_to, importance)
    if groups := n_of_m(name):
        return GroupedWeights(*groups, model, shapes, pools)
    if name == "filter":
        return Filters(model, pools, round_to, importance)
    return SingleWeights(shapes, pools)


class SingleWeights:
    """Weights one by one, as in the paper."""

    def __init__(self, shapes: Shapes, pools: Sequence[Pool]):
        self._shapes = shapes
        self._pools = pools

    def random_masks(self, seed: int, within: Masks | None = None) -> Masks:
        places = {name: place for place, name in enumerate(self._shapes)}
        masks: dict[str, np.ndarray] = {}
        for pool in self._pools:
            shapes = [self._shapes[name] for name in pool.names]
            earlier = None
            if within is not None:
                whole = {name: np.ones(self._shapes[name], bool) for name in pool.names}
                earlier = [within.get(name, whole[name]) for name in pool.names]
            place = places[pool.names[0]] if len(pool.names) == 1 else len(places)
            draw = seed_of_draw(seed, place, earlier)
            drawn = random_masks(shapes, pool.sparsity, draw, earlier)
            masks.update(zip(pool.names, drawn, strict=True))
        return masks

    def highest_masks(self, scores: Masks) -> Masks:
        masks: dict[str, np.ndarray] = {}
        for pool in self._pools:
            kept = highest_masks([scores[name] for name in pool.names], pool.sparsity)
            masks.update(zip(pool.names, kept, strict=True))
        return masks


class GroupedWeights:
    """N:M: of every M consecutive weights along the input axis N are kept.

    Source: Zhou et al., "Learning N:M Fine-grained Structured Sparse Neural Networks
    From Scratch", ICLR 2021; Mishra et al., "Accelerating Sparse Deep Neural Networks",
    2021, arXiv 2104.08378 (2:4).
    """

    def __init__(
        self, n: int, m: int, model: keras.Model, shapes: Shapes, pools: Sequence[Pool]
    ):
        self._n, self._m, self._shapes = n, m, shapes
        self._axes: Mapping[str, Any] = input_axes(model, shapes)
        sparsities = {name: pool.sparsity for pool in pools for name in pool.names}
        self._sparse = [name for name in shapes if sparsities[name]]
        for name in self._sparse:
            if abs(sparsities[name] - (1 - n / m)) > _TOLERANCE:
                raise ValueError(
                    f"With unit '{n}:{m}' the sparsity of a kernel must be "
                    f"{1 - n / m:.4g}, or 0. Received: {float(sparsities[name]):.4g} "
                    f"for '{name}'"
                )
            axis: Any = self._axes[name]
            inputs = 1 if axis is None else shapes[name][axis]
            if inputs % m:
                raise ValueError(
                    f"Unit '{n}:{m}' needs kernels whose inputs are a multiple of {m}. "
                    f"Received: {inputs} of '{name}', shape {shapes[name]}. Choose "
                    "layers by name patterns that leave it out"
                )

    def random_masks(self, seed: int, within: Masks | None = None) -> Masks:
        if within is not None:
            raise ValueError(
                "`within` needs single weights: N:M removes the same fraction always. "
                f"Received: unit '{self._n}:{self._m}'"
            )

        def draw(name: str) -> np.ndarray:
            bits = seed_of_draw(seed, list(self._shapes).index(name))
            return drawn_groups(math.prod(self._shapes[name]), self._n, self._m, bits)

        return self._masks(draw)

    def highest_masks(self, scores: Masks) -> Masks:
        def choose(name: str) -> np.ndarray:
            groups = np.moveaxis(scores[name], self._axes[name], -1)
            return highest_in_groups(groups.reshape(-1, self._m), self._n)

        return self._masks(choose)

    def _masks(self, groups: Callable[[str], np.ndarray]) -> Masks:
        whole = {name: np.ones(shape, np.bool_) for name, shape in self._shapes.items()}
        return whole | {
            name: laid_out(groups(name), self._shapes[name], self._axes[name])
            for name in self._sparse
        }


def drawn_groups(size: int, n: int, m: int, seed: np.random.SeedSequence) -> np.ndarray:
    """A random mask of a kernel's groups, made a block at a time to save memory."""
    bits = np.random.PCG64(seed)
    mask = np.empty((size // m, m), np.bool_)
    for start in range(0, len(mask), _GROUPS_AT_A_TIME):
        block = mask[start : start + _GROUPS_AT_A_TIME]
        block[:] = highest_in_groups(bits.random_raw(block.size).reshape(block.shape), n)
    return mask


def highest_in_groups(groups: np.ndarray, n: int) -> np.ndarray:
    """Of groups `[groups, m]` the n that are kept; of equal ones the last."""
    lowest_first = np.argsort(groups, axis=1, kind="stable")
    mask = np.ones(groups.shape, np.bool_)
    np.put_along_axis(mask, lowest_first[:, :-n], False, axis=1)
    return mask


def laid_out(groups: np.ndarray, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """The groups along an axis of a kernel."""
    inputs_last = (*shape[:axis], *shape[axis + 1 :], shape[axis])
    return np.ascontiguousarray(np.moveaxis(groups.reshape(inputs_last), -1, axis))


class Filters:
    """Whole filters, the same channels in all layers that are coupled.

    Of a group of c coupled channels min(ceil(s * c), c - 1) are removed, s being the
    lowest sparsity of the layers coupled in it. Groups whose kernels share one sparsity
    compete: of their n channels in k groups min(ceil(s * n), n - k) are removed. What a
    group keeps, unless it stays whole, is then rounded to the nearest multiple of
    `round_to`, halves up, from one of them to as many as there are; a group of fewer
    channels stays whole, and heads of attention are not rounded. The masks cover the
    filters, their biases, and what normalisation would make of a zero.

    Source: Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017. The importance
    of groups: Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023, section
    3.3, as in their Torch-Pruning (`GroupNormImportance`, normalised by the mean).
    """

    def __init__(
        self,
        model: keras.Model,
        pools: Sequence[Pool],
        round_to: int = 1,
        importance: str = "filter",
    ):
        self._model, self._round_to, self._importance = model, round_to, importance
        self._pools = {name: pool for pool in pools for name in pool.names}
        self._groups = channels.channel_groups(model, self._pools)
        self._heads = {
            name
            for name, layer in walk_layers(model)
            if isinstance(layer, keras.layers.EinsumDense) and len(layer.kernel.shape) > 2
        }
        self._say_what_stays()

    def random_masks(self, seed: int, within: Masks | None = None) -> Masks:
        groups = self._groups.groups
        kept = None if within is None else [s > 0 for s in self._filter_sums(within)]

        def draw(places: Sequence[int], sparsity: float | Fraction) -> list[np.ndarray]:
            earlier = None if kept is None else [kept[place] for place in places]
            shapes = [(len(groups[place]),) for place in places]
            alone = len(places) == 1
            bits = seed_of_draw(seed, places[0] if alone else len(groups), earlier)
            return random_masks(shapes, sparsity, bits, earlier)

        return self._masks(draw)

    def highest_masks(self, scores: Masks) -> Masks:
        """By the sums of the scores of all coupled filters; of magnitudes the L1 norm.

        The importance of a group sums up all that goes with a channel, relative to the
        mean of the group's channels.
        """
        if self._importance == "group":
            sums = channels.coupled_sums(self._model, self._groups, scores)
            sums = [of_group / (of_group.mean() or 1.0) for of_group in sums]
        else:
            sums = self._filter_sums(scores)

        def choose(places: Sequence[int], sparsity: float | Fraction) -> list[np.ndarray]:
            return highest_masks([sums[place] for place in places], sparsity)

        return self._masks(choose)

    def _masks(self, choose: Callable[..., list[np.ndarray]]) -> Masks:
        """Masks of the channels that a choice keeps of groups that compete."""
        axes, groups = self._groups.axes, self._groups.groups
        variables = maskable_variables(self._model, tables=self._pools)
        covered = {n for group in groups for places in group.channels for n in places}
        masks = {
            name: np.ones(tuple(variables[name].shape), np.bool_)
            for name in [*self._pools, *(n for n in axes if n in covered)]
        }
        for place, count in self._counts(choose):
            group = groups[place]
            (kept,) = choose([place], 1 - Fraction(count, len(group)))
            for channel in np.flatnonzero(~kept):
                for name, positions in group.channels[channel].items():
                    np.moveaxis(masks[name], axes[name], 0)[list(positions)] = False
        return masks

    def _counts(
        self, choose: Callable[..., list[np.ndarray]]
    ) -> Iterator[tuple[int, int]]:
        """The place of each group and how many channels it keeps."""
        groups = self._groups.groups
        for places, sparsity in self._rivals():
            if len(places) > 1:
                counts = [int(kept.sum()) for kept in choose(places, sparsity)]
            else:
                size = len(groups[places[0]])
                counts = [size - removed_count(size, sparsity)]
            for place, count in zip(places, counts, strict=True):
                yield place, self._rounded(groups[place], count)

    def _rivals(self) -> list[tuple[list[int], float | Fraction]]:
        """The groups that compete, by their places, and what they lose together."""
        rivals: dict[Any, tuple[list[int], float | Fraction]] = {}
        for place, group in enumerate(self._groups.groups):
            pools = [self._pools[name] for name in group.kernels]
            pool = min(pools, key=lambda pool: pool.sparsity)
            key = place if len(pool.names) == 1 else pool.names
            rivals.setdefault(key, ([], pool.sparsity))[0].append(place)
        return list(rivals.values())

    def _rounded(self, group: channels.ChannelGroup, kept: int) -> int:
        """How many channels a group keeps in place of so many."""
        step, most = self._round_to, len(group) // self._round_to
        if step == 1 or kept == len(group) or not self._heads.isdisjoint(group.kernels):
            return kept
        return step * min(max((2 * kept + step) // (2 * step), 1), most) or len(group)

    def _say_what_stays(self) -> None:
        whole = self._groups.whole.items()
        stay = {name: why for name, why in whole if self._pools[name].sparsity}
        if not self._groups.groups and stay:
            reasons = "; ".join(f"'{name}': {why}" for name, why in stay.items())
            raise ValueError(f"The model has no filter that could be removed. {reasons}")
        known = (channels.MODEL_INPUT, channels.MODEL_OUTPUT)
        unknown = {name: why for name, why in stay.items() if why not in known}
        if unknown:
            _log.warning(
                "%d of %d kernels keep all their filters (dlth_tf.channel_groups says "
                "why). The first is '%s': %s.",
                len(unknown),
                len(self._pools),
                *next(iter(unknown.items())),
            )

    def _filter_sums(self, arrays: Masks) -> list[np.ndarray]:
        """For each channel of each group the sum of what stands in all its filters."""
        axes = self._groups.axes
        of_filters = {}
        for name in {name for group in self._groups.groups for name in group.kernels}:
            others = tuple(a for a in range(arrays[name].ndim) if a != axes[name])
            of_filters[name] = arrays[name].sum(others, dtype=np.float64)
        return [
            np.array(
                [
                    sum(of_filters[n][list(places[n])].sum() for n in group.kernels)
                    for places in group.channels
                ]
            )
            for group in self._groups.groups
        ]
