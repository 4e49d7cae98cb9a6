"""What a removed unit is: a single weight, N of M neighbours, or a whole filter."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from dlth_tf.network import channel_groups as channels
from dlth_tf.network.kernels import input_axes, maskable_variables
from dlth_tf.tickets.masks import Masks, highest_masks, random_masks, seed_of_draw
from dlth_tf.tickets.sparsity import Pool, Shapes, n_of_m

_log = logging.getLogger(__name__)
_GROUPS_AT_A_TIME = 1 << 18
_TOLERANCE = 1e-3


def unit_of(
    name: str, model: keras.Model, shapes: Shapes, pools: Sequence[Pool]
) -> "SingleWeights | GroupedWeights | Filters":
    """The unit of a name, for kernels of which the pools lose something."""
    if groups := n_of_m(name):
        return GroupedWeights(*groups, model, shapes, pools)
    return Filters(model, pools) if name == "filter" else SingleWeights(shapes, pools)


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
    lowest sparsity of the layers coupled in it. The masks cover the filters, their
    biases, and what normalisation would make of a zero.

    Source: Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017.
    """

    def __init__(self, model: keras.Model, pools: Sequence[Pool]):
        self._model = model
        names = [name for pool in pools for name in pool.names]
        self._groups = channels.channel_groups(model, names)
        for pool in pools:
            if len(pool.names) > 1:
                raise ValueError(
                    "With unit 'filter' every kernel needs a sparsity of its own. "
                    f"Received: one of {float(pool.sparsity):.4g} for "
                    f"{len(pool.names)} kernels together (a global sparsity)"
                )
        self._sparsities = {pool.names[0]: pool.sparsity for pool in pools}
        self._say_what_stays()

    def random_masks(self, seed: int, within: Masks | None = None) -> Masks:
        def draw(place: int, group: channels.ChannelGroup, sparsity: Any) -> np.ndarray:
            earlier = None if within is None else [self._sums(group, within) > 0]
            draw = seed_of_draw(seed, place, earlier)
            return random_masks([(len(group),)], sparsity, draw, earlier)[0]

        return self._masks(draw)

    def highest_masks(self, scores: Masks) -> Masks:
        """By the sums of the scores of all coupled filters; of magnitudes the L1 norm."""

        def choose(place: int, group: channels.ChannelGroup, sparsity: Any) -> np.ndarray:
            return highest_masks([self._sums(group, scores)], sparsity)[0]

        return self._masks(choose)

    def _masks(self, choice: Callable[..., np.ndarray]) -> Masks:
        """Masks of the channels that a choice keeps of each group."""
        axes, groups = self._groups.axes, self._groups.groups
        variables = maskable_variables(self._model, tables=self._sparsities)
        covered = {n for group in groups for places in group.channels for n in places}
        masks = {
            name: np.ones(tuple(variables[name].shape), np.bool_)
            for name in [*self._sparsities, *(n for n in axes if n in covered)]
        }
        for place, group in enumerate(groups):
            sparsity = min(self._sparsities[name] for name in group.kernels)
            for channel in np.flatnonzero(~choice(place, group, sparsity)):
                for name, positions in group.channels[channel].items():
                    np.moveaxis(masks[name], axes[name], 0)[list(positions)] = False
        return masks

    def _say_what_stays(self) -> None:
        stay = {n: why for n, why in self._groups.whole.items() if self._sparsities[n]}
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
                len(self._sparsities),
                *next(iter(unknown.items())),
            )

    def _sums(self, group: channels.ChannelGroup, arrays: Masks) -> np.ndarray:
        """For each channel of a group the sum of what stands in all its filters."""
        of_filters = {}
        for name in group.kernels:
            axis = self._groups.axes[name]
            others = tuple(a for a in range(arrays[name].ndim) if a != axis)
            of_filters[name] = arrays[name].sum(others, dtype=np.float64)
        of_channels = [
            sum(of_filters[name][list(places[name])].sum() for name in group.kernels)
            for places in group.channels
        ]
        return np.array(of_channels)
