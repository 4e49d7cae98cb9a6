"""What a removed unit is: a single weight, or several that only go together."""

import abc
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dlth_tf.tickets.masks import highest_masks, random_masks
from dlth_tf.tickets.sparsity import Pool

if TYPE_CHECKING:
    import keras

Arrays = Mapping[str, np.ndarray]
"""One array for each of some kernels, by name, in the kernel's shape."""


class Unit(abc.ABC):
    """Base of what is removed as a whole: makes masks by chance and by score."""

    @abc.abstractmethod
    def random_masks(
        self,
        model: "keras.Model",
        pools: Sequence[Pool],
        seed: int,
        within: Arrays | None = None,
    ) -> Arrays:
        """Draws masks uniformly at random.

        Args:
            model: a built model.
            pools: which kernels lose how much.
            seed: a non-negative integer.
            within: masks of kernels; what they remove stays removed.

        Raises:
            ValueError: there are no such masks.
        """

    @abc.abstractmethod
    def highest_masks(
        self, model: "keras.Model", pools: Sequence[Pool], scores: Arrays
    ) -> Arrays:
        """Keeps the units of the highest scores.

        Args:
            model: a built model.
            pools: which kernels lose how much.
            scores: the score of each weight, no NaN.

        Raises:
            ValueError: there are no such masks.
        """


class SingleWeights(Unit):
    """Weights one by one, as in the paper."""

    def random_masks(self, model, pools, seed, within=None):
        from dlth_tf.network.kernels import kernel_shapes

        shapes = kernel_shapes(model, [name for pool in pools for name in pool.names])
        places = {name: place for place, name in enumerate(shapes)}
        masks = {}
        for pool in pools:
            together = len(pool.names) > 1
            spawn_key = [len(places) if together else places[pool.names[0]]]
            earlier = None
            if within is not None:
                earlier = [
                    within.get(name, np.ones(shapes[name], np.bool_))
                    for name in pool.names
                ]
                removed = sum(mask.size - np.count_nonzero(mask) for mask in earlier)
                # A nested draw must not repeat the bits of the draw that it refines.
                spawn_key += [int(removed)] if removed else []
            drawn = random_masks(
                [shapes[name] for name in pool.names],
                pool.sparsity,
                np.random.SeedSequence(seed, spawn_key=spawn_key),
                earlier,
            )
            masks.update(zip(pool.names, drawn, strict=True))
        return masks

    def highest_masks(self, model, pools, scores):
        masks = {}
        for pool in pools:
            kept = highest_masks([scores[name] for name in pool.names], pool.sparsity)
            masks.update(zip(pool.names, kept, strict=True))
        return masks


def unit_named(name: str) -> Unit:
    """The unit that a text stands for.

    Args:
        name: `"weight"`; or N:M, such as `"2:4"`: of every 4 consecutive weights along
            a kernel's input axis 2 are kept; or `"filter"`: coupled filters together.

    Raises:
        ValueError: the text is something else.
    """
    if name == "weight":
        return SingleWeights()
    if name == "filter":
        from dlth_tf.tickets.filter_tickets import Filters

        return Filters()
    if found := re.fullmatch(r"(\d+):(\d+)", name):
        from dlth_tf.tickets.grouped_weights import GroupedWeights

        return GroupedWeights(int(found[1]), int(found[2]))
    raise ValueError(
        f"`unit` must be 'weight', 'filter' or N:M such as '2:4'. Received: {name!r}"
    )
