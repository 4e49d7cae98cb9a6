"""Tickets of whole filters, which make a network smaller (see `dlth_tf.shrink`)."""

import logging
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np

from dlth_tf.network.channels import ChannelGroup, ChannelGroups, channel_groups
from dlth_tf.network.channels.analysis import MODEL_INPUT, MODEL_OUTPUT
from dlth_tf.network.variables import maskable_variables
from dlth_tf.tickets.masks import highest_masks, random_masks
from dlth_tf.tickets.sparsity import Pool
from dlth_tf.tickets.units import Unit

_log = logging.getLogger(__name__)

Choice = Callable[[int, ChannelGroup, float], np.ndarray]
"""From place, group and sparsity to a boolean array: which of its channels are kept."""


class Filters(Unit):
    """Whole filters, the same channels in all layers that are coupled.

    Of a group of c coupled channels (see `dlth_tf.channel_groups`), exactly
    min(ceil(s * c), c - 1) are removed, s being the lowest sparsity of the layers coupled
    in it: a layer that shall stay dense does. A removed channel is exactly zero from its
    layer to the next, because the masks cover the filters, their biases, and what
    normalisation would make of a zero. Recurrent layers, embeddings and layers that have
    a method `get_prunable_weights` are left whole.

    Source: Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017.
    """

    def random_masks(self, model, pools, seed, within=None):
        groups = _groups(model, pools)

        def draw(place, group, sparsity):
            earlier = None
            spawn_key = [place]
            if within is not None:
                earlier = _kept_channels(group, groups.axes, within)
                removed = int(np.count_nonzero(~earlier))
                # A nested draw must not repeat the bits of the draw that it refines.
                spawn_key += [removed] if removed else []
            (kept,) = random_masks(
                [(len(group),)],
                sparsity,
                np.random.SeedSequence(seed, spawn_key=spawn_key),
                None if earlier is None else [earlier],
            )
            return kept

        return _masks(model, groups, pools, draw)

    def highest_masks(self, model, pools, scores):
        """Keeps the channels of the highest scores.

        A channel's score is the sum of its weights' scores over all coupled filters; for
        magnitudes it is their L1 norm.
        """
        groups = _groups(model, pools)
        per_filter = {
            name: values.sum(_other_axes(values, groups.axes[name]), dtype=np.float64)
            for name, values in scores.items()
            if name in groups.axes
        }

        def choose(place, group, sparsity):
            of_channels = [
                sum(per_filter[name][list(places[name])].sum() for name in group.kernels)
                for places in group.channels
            ]
            (kept,) = highest_masks([np.array(of_channels)], sparsity)
            return kept

        return _masks(model, groups, pools, choose)


def _groups(model: keras.Model, pools: Sequence[Pool]) -> ChannelGroups:
    return channel_groups(model, [name for pool in pools for name in pool.names])


def _masks(
    model: keras.Model, groups: ChannelGroups, pools: Sequence[Pool], choice: Choice
) -> dict[str, np.ndarray]:
    sparsities = _sparsity_per_kernel(pools)
    _say_what_stays(groups, sparsities)
    variables = maskable_variables(model, tables=sparsities)
    covered = {n for g in groups.groups for places in g.channels for n in places}
    masks = {
        name: np.ones(tuple(variables[name].shape), np.bool_)
        for name in [*sparsities, *(n for n in groups.axes if n in covered)]
    }
    for place, group in enumerate(groups.groups):
        sparsity = min(sparsities[name] for name in group.kernels)
        kept = choice(place, group, sparsity)
        for channel in np.flatnonzero(~kept):
            for name, positions in group.channels[channel].items():
                along = np.moveaxis(masks[name], groups.axes[name], 0)
                along[list(positions)] = False
    return masks


def _sparsity_per_kernel(pools: Sequence[Pool]) -> dict[str, float]:
    sparsities = {}
    for pool in pools:
        if len(pool.names) > 1:
            raise ValueError(
                "With unit 'filter' every kernel needs a sparsity of its own. Received: "
                f"one of {float(pool.sparsity):.4g} for {len(pool.names)} kernels "
                "together (a global sparsity)"
            )
        sparsities[pool.names[0]] = pool.sparsity
    return sparsities


def _say_what_stays(groups: ChannelGroups, sparsities: Mapping[str, float]) -> None:
    stay = {name: why for name, why in groups.whole.items() if sparsities[name]}
    if not groups.groups and stay:
        reasons = "; ".join(f"'{name}': {why}" for name, why in stay.items())
        raise ValueError(f"The model has no filter that could be removed. {reasons}")
    unknown = {
        n: why for n, why in stay.items() if why not in (MODEL_INPUT, MODEL_OUTPUT)
    }
    if unknown:
        name, why = next(iter(unknown.items()))
        _log.warning(
            "%d of %d kernels keep all their filters (dlth_tf.channel_groups says why). "
            "The first is '%s': %s.",
            len(unknown),
            len(sparsities),
            name,
            why,
        )


def _kept_channels(
    group: ChannelGroup, axes: Mapping[str, int], masks: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Which channels of a group have a filter in which a mask keeps something."""
    filters = {
        name: masks[name].any(_other_axes(masks[name], axes[name]))
        for name in group.kernels
    }
    return np.array(
        [
            any(filters[name][list(places[name])].any() for name in group.kernels)
            for places in group.channels
        ]
    )


def _other_axes(array: np.ndarray, axis: int) -> tuple[int, ...]:
    return tuple(other for other in range(array.ndim) if other != axis)
