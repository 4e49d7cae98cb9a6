"""Tickets: which weights of a network stay."""

import dataclasses
import json
import os
import zipfile
from collections.abc import Mapping

import keras
import numpy as np

from dlth_tf.files import atomic_write
from dlth_tf.kernels import maskable_kernels
from dlth_tf.masks import magnitude_mask, random_mask
from dlth_tf.sparsity import Sparsity, sparsity_per_kernel


@dataclasses.dataclass(frozen=True, eq=False)
class Ticket:
    """A mask for every maskable kernel of a network.

    Together with the network's initial weights this is a lottery ticket (Frankle and
    Carbin, ICLR 2019), or, drawn at random, the subject of the dual lottery ticket
    hypothesis (Bai et al., ICLR 2022).

    Attributes:
        masks: kernel name (see `dlth_tf.maskable_kernels`) to boolean array of the
            kernel's shape, True where the weight is kept.
    """

    masks: Mapping[str, np.ndarray]

    @property
    def sparsity(self) -> float:
        """Fraction of all maskable weights that are removed."""
        size = sum(mask.size for mask in self.masks.values())
        return 1.0 - sum(np.count_nonzero(m) for m in self.masks.values()) / size

    def sparsity_per_kernel(self) -> dict[str, float]:
        """Fraction removed, kernel by kernel."""
        return {
            name: 1.0 - np.count_nonzero(mask) / mask.size
            for name, mask in self.masks.items()
        }

    def pairs(self, model: keras.Model) -> list[tuple[str, keras.Variable, np.ndarray]]:
        """Name, kernel and mask for each kernel of a model that this ticket fits.

        Raises:
            ValueError: the ticket does not fit, naming the first kernel that differs.
        """
        kernels = maskable_kernels(model)
        for name in [*self.masks, *kernels]:
            if name not in kernels:
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
            if self.masks[name].shape != tuple(kernels[name].shape):
                raise ValueError(
                    f"The ticket does not fit model '{model.name}': kernel '{name}' "
                    f"has shape {tuple(kernels[name].shape)}, its mask "
                    f"{self.masks[name].shape}."
                )
        return [(name, kernels[name], mask) for name, mask in self.masks.items()]

    def apply(self, model: keras.Model) -> None:
        """Sets the removed weights of a model to zero, once.

        To keep them at zero while training, use `dlth_tf.FixedTicket`.

        Raises:
            ValueError: the ticket does not fit the model.
        """
        for _, kernel, mask in self.pairs(model):
            kernel.assign(keras.ops.where(mask, kernel, 0.0))

    def save(self, path: str | os.PathLike) -> None:
        """Writes the ticket to one `.npz` file, eight weights to the byte.

        The file appears whole or not at all. `Ticket.load` reads it back.
        """
        shapes = {name: mask.shape for name, mask in self.masks.items()}
        arrays = {f"mask/{n}": np.packbits(m) for n, m in self.masks.items()}
        with atomic_write(path) as file:
            np.savez_compressed(file, shapes=json.dumps(shapes), **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Ticket":
        """Reads a ticket that `save` wrote.

        Raises:
            ValueError: the file is damaged or is not a ticket.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                shapes = json.loads(str(file["shapes"]))
                masks = {
                    name: np.unpackbits(file[f"mask/{name}"], count=int(np.prod(shape)))
                    .astype(np.bool_)
                    .reshape(shape)
                    for name, shape in shapes.items()
                }
        except (zipfile.BadZipFile, KeyError, ValueError, TypeError, EOFError) as error:
            raise ValueError(f"'{path}' is not a readable ticket: {error}") from error
        return cls(masks)


def random_ticket(
    model: keras.Model, sparsity: Sparsity, seed: int, within: Ticket | None = None
) -> Ticket:
    """Draws a ticket uniformly at random, kernel by kernel.

    Of each kernel of n weights exactly min(ceil(sparsity * n), n - 1) are removed. The
    ticket depends on the seed and the architecture alone: it is the same in every
    process and on every machine.

    Args:
        model: a built model; its weights do not matter.
        sparsity: fraction removed, or fractions by kernel name pattern.
        seed: a non-negative integer.
        within: an earlier ticket of the model; what it removes stays removed, and the
            rest is drawn from what it keeps (nested tickets of growing sparsity).

    Raises:
        ValueError: a sparsity outside [0, 1) or below that of `within`, a pattern that matches no kernel, or a
            model without maskable kernels.

    Example:

    >>> model = keras.applications.MobileNetV2(weights=None, classes=10)
    >>> ticket = random_ticket(model, sparsity=0.9, seed=0)

    Source: Bai et al., "Dual Lottery Ticket Hypothesis", ICLR 2022, section 3.2.
    """
    kernels = maskable_kernels(model)
    sparsities = sparsity_per_kernel(list(kernels), sparsity)
    earlier = {} if within is None else {n: m for n, _, m in within.pairs(model)}
    masks = {}
    for place, (name, kernel) in enumerate(kernels.items()):
        nested_in = earlier.get(name)
        # A nested draw must not repeat the bits of the draw that it refines.
        removed = 0 if nested_in is None else nested_in.size - np.count_nonzero(nested_in)
        spawn_key = (place, int(removed)) if removed else (place,)
        masks[name] = random_mask(
            tuple(kernel.shape),
            sparsities[name],
            np.random.SeedSequence(seed, spawn_key=spawn_key),
            nested_in,
        )
    return Ticket(masks)


def magnitude_ticket(model: keras.Model, sparsity: Sparsity) -> Ticket:
    """Removes the smallest magnitudes of each kernel of a trained model.

    Args:
        model: the trained model.
        sparsity: fraction removed, or fractions by kernel name pattern; counted per
            kernel as in `random_ticket`.

    Raises:
        ValueError: as for `random_ticket`, or a kernel holds NaN.

    Example: the lottery ticket hypothesis in four lines.

    >>> initial = model.get_weights()
    >>> model.fit(train)
    >>> ticket = magnitude_ticket(model, sparsity=0.9)
    >>> model.set_weights(initial)

    Source: Han et al., "Learning both Weights and Connections", NeurIPS 2015.
    """
    kernels = maskable_kernels(model)
    sparsities = sparsity_per_kernel(list(kernels), sparsity)
    return Ticket(
        {
            name: magnitude_mask(keras.ops.convert_to_numpy(kernel), sparsities[name])
            for name, kernel in kernels.items()
        }
    )
