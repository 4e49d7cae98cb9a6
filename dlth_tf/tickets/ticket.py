"""Tickets: which weights of a network stay."""

import dataclasses
import math
import os
from collections.abc import Mapping

import keras
import numpy as np

from dlth_tf.network.kernels import maskable_kernels
from dlth_tf.network.variables import maskable_variables
from dlth_tf.storage import ticket_file
from dlth_tf.tickets.coverage import shapes_at_hand
from dlth_tf.tickets.sparsity import Sparsity, name_patterns, sparsity_pools
from dlth_tf.tickets.units import unit_named

FILTER_COMPANIONS = ("bias", "gamma", "beta", "moving_mean")
"""The variables beside kernels that a ticket of whole filters masks."""

_LARGEST = 1 << 28


@dataclasses.dataclass(frozen=True, eq=False)
class Ticket:
    """A mask for every maskable kernel of a network.

    Together with the network's initial weights this is a lottery ticket (Frankle and
    Carbin, ICLR 2019), or, drawn at random, the subject of the dual lottery ticket
    hypothesis (Bai et al., ICLR 2022).

    Attributes:
        masks: kernel name (see `dlth_tf.maskable_kernels`) to boolean array of the
            kernel's shape, True where the weight is kept. A ticket of whole filters has
            further masks, for the biases and the normalisation parameters that go with
            a filter, named `"stage1_bn/gamma"`.
    """

    masks: Mapping[str, np.ndarray]

    @property
    def sparsity(self) -> float:
        """Fraction of the kernels' weights, taken together, that is removed."""
        kernels = self._kernel_masks().values()
        size = sum(mask.size for mask in kernels)
        return 1.0 - sum(np.count_nonzero(mask) for mask in kernels) / size

    def sparsity_per_kernel(self) -> dict[str, float]:
        """Fraction removed, kernel by kernel."""
        return {
            name: 1.0 - np.count_nonzero(mask) / mask.size
            for name, mask in self._kernel_masks().items()
        }

    def _kernel_masks(self) -> dict[str, np.ndarray]:
        return {
            name: mask
            for name, mask in self.masks.items()
            if mask.ndim > 1 or name.rpartition("/")[2] not in FILTER_COMPANIONS
        }

    def pairs(self, model: keras.Model) -> list[tuple[str, keras.Variable, np.ndarray]]:
        """Name, variable and mask for each mask, of a model that this ticket fits.

        Raises:
            ValueError: the ticket does not fit, naming the first kernel that differs.
        """
        kernels = maskable_kernels(model, tables=self.masks)
        variables = maskable_variables(model, tables=self.masks)
        for name in [*self.masks, *kernels]:
            if name not in variables:
                raise ValueError(
                    f"The ticket does not fit model '{model.name}': it has a mask for "
                    f"kernel '{name}', which the model lacks. The model's kernels: "
                    f"{', '.join(kernels)}"
                )
            if name not in self.masks:
                raise ValueError(
                    f"The ticket does not fit model '{model.name}': it has no mask for "
                    f"kernel '{name}' of shape {tuple(kernels[name].shape)}. "
                    f"The ticket's kernels: {', '.join(self.masks)}"
                )
            if self.masks[name].shape != tuple(variables[name].shape):
                raise ValueError(
                    f"The ticket does not fit model '{model.name}': kernel '{name}' "
                    f"has shape {tuple(variables[name].shape)}, its mask "
                    f"{self.masks[name].shape}."
                )
        return [(name, variables[name], mask) for name, mask in self.masks.items()]

    def apply(self, model: keras.Model) -> None:
        """Sets the removed weights of a model to zero, once.

        To keep them at zero while training, use `dlth_tf.FixedTicket`.

        Raises:
            ValueError: the ticket does not fit the model.
        """
        for _, kernel, mask in self.pairs(model):
            weights = keras.ops.convert_to_tensor(kernel)
            kernel.assign(keras.ops.where(mask, weights, 0.0))

    def save(self, path: str | os.PathLike) -> None:
        """Writes the ticket to one small file, whatever its extension.

        It is safetensors, compressed by xz: `ticket.safetensors.xz` says so (see
        `docs/ticket_format.md`). The file appears whole or not at all. `Ticket.load`
        reads it back.
        """
        ticket_file.write(path, self.masks)

    @classmethod
    def load(cls, path: str | os.PathLike, max_weights: int = _LARGEST) -> "Ticket":
        """Reads a ticket that `save` or `dlth_tf.save` wrote.

        Safe for files from strangers: nothing in them is executed, damage is found by
        a checksum, and no memory is taken for more than was asked for.

        Args:
            path: of the file.
            max_weights: refuse a file with masks of more weights than this, or with
                values of more bytes; reading takes three bytes of memory for each.

        Raises:
            ValueError: the file is damaged, too large or not a ticket.
        """
        file = ticket_file.TicketFile(path)
        weights = sum(map(math.prod, file.masks.values()))
        if max(weights, file.size) > max_weights:
            raise ValueError(
                f"'{path}' says it has {weights:,} weights and {file.size:,} bytes of "
                f"values, more than `max_weights` ({max_weights:,}). Raise it if you "
                "trust the file."
            )
        return cls(file.read()[0])


def as_ticket(ticket: Ticket) -> Ticket:
    """The ticket, if it is one.

    Raises:
        TypeError: it is something else, such as the path of a ticket's file.
    """
    if not isinstance(ticket, Ticket):
        raise TypeError(
            "`ticket` must be a `dlth_tf.Ticket`; `Ticket.load(path)` reads one from a "
            f"file. Received: {ticket!r}"
        )
    return ticket


def random_ticket(
    model: keras.Model,
    sparsity: Sparsity,
    seed: int,
    within: Ticket | None = None,
    unit: str = "weight",
) -> Ticket:
    """Draws a ticket uniformly at random, kernel by kernel.

    Of each kernel of n weights exactly min(ceil(sparsity * n), n - 1) are removed. The
    ticket depends on the seed and the architecture alone: it is the same in every
    process and on every machine. A warning is logged where the kernels hold less than
    half of the model's trainable weights.

    Args:
        model: a built model; its weights do not matter.
        sparsity: fraction removed; or fractions by kernel name pattern; or how the
            sparsity is shared out: `Uniform`, `ErdosRenyi`, `ErdosRenyiKernel`,
            `Global`, `PerLayer`, `PerStage`. An embedding stays dense unless a pattern
            other than `"*"` names it: `{"embedding": 0.5, "*": 0.9}`.
        seed: a non-negative integer.
        within: an earlier ticket of the model; what it removes stays removed, and the
            rest is drawn from what it keeps (nested tickets of growing sparsity).
        unit: what is removed as a whole: `"weight"`; or N:M such as `"2:4"`, where of
            every 4 consecutive weights along a kernel's input axis 2 are kept; its
            sparsity is 1 - N/M; or `"filter"`, see `dlth_tf.channel_groups`.

    Raises:
        ValueError: a sparsity outside [0, 1) or below that of `within`, a `within` that
            keeps nothing of a kernel, a pattern that matches no kernel, a distribution
            or a unit that does not fit the model, or a model without maskable kernels.

    Example:

    >>> model = keras.applications.MobileNetV2(weights=None, classes=10)
    >>> ticket = random_ticket(model, sparsity=0.9, seed=0)

    Source: Bai et al., "Dual Lottery Ticket Hypothesis", ICLR 2022, section 3.2.
    """
    earlier = None if within is None else {n: m for n, _, m in within.pairs(model)}
    for name, mask in (earlier or {}).items():
        if not mask.any():
            raise ValueError(
                "`within` must keep some of every kernel. Received: a ticket that keeps "
                f"nothing of '{name}'"
            )
    shapes = shapes_at_hand(model, [*name_patterns(sparsity), *(earlier or ())])
    pools = sparsity_pools(shapes, sparsity)
    masks = unit_named(unit).random_masks(model, pools, seed, earlier)
    return Ticket({name: masks[name] for name in [*shapes, *masks]})


def magnitude_ticket(
    model: keras.Model, sparsity: Sparsity, unit: str = "weight"
) -> Ticket:
    """Removes the smallest magnitudes of each kernel of a trained model.

    Args:
        model: the trained model.
        sparsity: as for `random_ticket`, and counted as there. With `Global` there is
            one threshold for the magnitudes of all kernels.
        unit: what is removed as a whole, as for `random_ticket`.

    Raises:
        ValueError: as for `random_ticket`, or a kernel holds NaN.

    Example: the lottery ticket hypothesis in four lines.

    >>> initial = model.get_weights()
    >>> model.fit(train)
    >>> ticket = magnitude_ticket(model, sparsity=0.9)
    >>> model.set_weights(initial)

    Source: Han et al., "Learning both Weights and Connections", NeurIPS 2015.
    """
    scores = {
        name: np.abs(keras.ops.convert_to_numpy(kernel))
        for name, kernel in maskable_kernels(model, name_patterns(sparsity)).items()
    }
    return highest_ticket(model, sparsity, scores, unit)


def highest_ticket(
    model: keras.Model,
    sparsity: Sparsity,
    scores: Mapping[str, np.ndarray],
    unit: str = "weight",
) -> Ticket:
    """Keeps the weights of the highest scores: what all pruning by a score has in common.

    Among equal scores those that come first in memory order are removed first.

    Args:
        model: a built model.
        sparsity: as for `random_ticket`, and counted as there.
        scores: for each kernel an array of its shape; infinities are numbers, too.
            (Those of embeddings that the sparsity names are among
            `maskable_kernels(model, tables=patterns)`.)
        unit: what is removed as a whole, as for `random_ticket`.

    Raises:
        ValueError: as for `random_ticket`, or a kernel has no scores, or scores of
            another shape, or one that is not a number.

    Example: a criterion of one's own, here magnitudes relative to the kernel's largest.

    >>> kernels = {n: np.abs(k) for n, k in dlth.maskable_kernels(model).items()}
    >>> scores = {name: kernel / kernel.max() for name, kernel in kernels.items()}
    >>> ticket = dlth.highest_ticket(model, dlth.Global(0.9), scores)
    """
    shapes = shapes_at_hand(model, name_patterns(sparsity))
    checked = {name: _checked(name, shape, scores) for name, shape in shapes.items()}
    pools = sparsity_pools(shapes, sparsity)
    masks = unit_named(unit).highest_masks(model, pools, checked)
    return Ticket({name: masks[name] for name in [*shapes, *masks]})


def _checked(name: str, shape: tuple[int, ...], scores: Mapping) -> np.ndarray:
    """A kernel's scores, as numbers of which each has a place."""
    if name not in scores:
        raise ValueError(
            f"`scores` must have an array for every kernel. It has none for '{name}', "
            f"only for {', '.join(scores) or 'nothing'}"
        )
    values = np.asarray(scores[name])
    if values.shape != shape:
        raise ValueError(
            f"`scores` of '{name}' must have the kernel's shape {shape}. "
            f"Received: {values.shape}"
        )
    if values.dtype.kind not in "biuf":
        # Types that NumPy does not know by itself, such as bfloat16, are numbers, too.
        values = values.astype(np.float32)
    if np.isnan(values).any():
        raise ValueError(f"Kernel '{name}' must have numbers as scores. It has NaN.")
    return values
