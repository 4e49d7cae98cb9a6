"""Tickets: which weights of a network stay. Written to files, with the weights or not."""

import dataclasses
import math
import os
from collections.abc import Mapping

import keras
import numpy as np

from dlth_tf.network.kernels import maskable_kernels, maskable_variables
from dlth_tf.network.variables import check_fit, named_variables, set_weights
from dlth_tf.tickets import ticket_file

FILTER_COMPANIONS = ("bias", "gamma", "beta", "moving_mean")
"""The variables beside kernels that a ticket of whole filters masks."""

_LARGEST = 1 << 28


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
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

    Tickets of the same names and masks are equal.
    """

    masks: Mapping[str, np.ndarray]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ticket):
            return NotImplemented
        return self.masks.keys() == other.masks.keys() and all(
            np.array_equal(mask, other.masks[name]) for name, mask in self.masks.items()
        )

    def __hash__(self) -> int:
        return hash(frozenset((n, m.shape, m.sum()) for n, m in self.masks.items()))

    def __repr__(self) -> str:
        kernels = self._kernel_masks().values()
        weights = sum(mask.size for mask in kernels)
        return (
            f"<Ticket: {len(kernels)} kernels, {weights:,} weights, "
            f"sparsity {weights and self.sparsity:.4g}>"
        )

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
        def is_kernel(name: str) -> bool:
            layer, _, variable = name.rpartition("/")
            # The bias of an attention's projection has two axes, as kernels have.
            alone = self.masks[name].ndim > 1 and layer not in self.masks
            return alone or variable not in FILTER_COMPANIONS

        return {name: mask for name, mask in self.masks.items() if is_kernel(name)}

    def pairs(self, model: keras.Model) -> list[tuple[str, keras.Variable, np.ndarray]]:
        """Name, variable and mask for each mask, of a model that this ticket fits.

        Raises:
            ValueError: the ticket does not fit, naming the first kernel that differs.
        """
        kernels = maskable_kernels(model, tables=self.masks)
        variables = maskable_variables(model, tables=self.masks)
        misfit = f"The ticket does not fit model '{model.name}':"
        for name in [*self.masks, *kernels]:
            if name not in variables:
                raise ValueError(
                    f"{misfit} it has a mask for kernel '{name}', which the model lacks. "
                    f"The model's kernels: {', '.join(kernels)}"
                )
            shape = tuple(variables[name].shape)
            if name not in self.masks:
                raise ValueError(
                    f"{misfit} it has no mask for kernel '{name}' of shape {shape}. "
                    f"The ticket's kernels: {', '.join(self.masks)}"
                )
            if (received := self.masks[name].shape) != shape:
                raise ValueError(
                    f"{misfit} kernel '{name}' has shape {shape}, its mask {received}."
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
        """Writes the ticket to one small file, `NAME.ticket` by custom.

        It is safetensors, compressed by xz (see `docs/ticket_format.md`). The file
        appears whole or not at all. `Ticket.load` reads it back.
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
    """The ticket, if it is one, and not, for instance, the path of a ticket's file."""
    if not isinstance(ticket, Ticket):
        raise TypeError(
            "`ticket` must be a `dlth_tf.Ticket`; `Ticket.load(path)` reads one from a "
            f"file. Received: {ticket!r}"
        )
    return ticket


def save(
    path: str | os.PathLike,
    model: keras.Model,
    ticket: Ticket | None = None,
    dtype: str | None = None,
) -> None:
    """Writes a sparse model's weights to one small file.

    Masked kernels are stored as their mask, a bit for each weight, and the kept values
    alone, all other variables (biases, statistics) as they are: safetensors, compressed
    by xz (see `docs/ticket_format.md`). The architecture is not stored: build the model
    by the same code, then call `dlth_tf.load`. The file appears whole or not at all.

    Args:
        path: of the file, any extension.
        model: a built model.
        ticket: what is kept. What it removes is not stored, zero or not. None: all
            weights of maskable kernels that are not zero are kept.
        dtype: of the kept kernel weights, `"float32"` or `"float16"` (half the size,
            about three decimal digits). None: as they are.

    Raises:
        ValueError: the ticket does not fit the model, another `dtype`, or a kept weight
            that is too large for float16.

    Example:

    >>> dlth.save("model.ticket", model, ticket, dtype="float16")
    >>> fresh = build_model()
    >>> ticket = dlth.load("model.ticket", fresh)
    """
    if dtype not in (None, "float32", "float16"):
        raise ValueError(
            f"`dtype` must be None, 'float32' or 'float16'. Received: {dtype!r}"
        )
    if ticket is None:
        kernels = maskable_kernels(model)
        to_numpy = keras.ops.convert_to_numpy
        ticket = Ticket({name: to_numpy(kernel) != 0 for name, kernel in kernels.items()})
    mask_of = {id(variable): name for name, variable, _ in ticket.pairs(model)}
    variables = []
    for name, variable in named_variables(model).items():
        mask = mask_of.get(id(variable))
        values = keras.ops.convert_to_numpy(variable)
        if mask is not None and dtype is not None:
            values = _converted(name, values, ticket.masks[mask], dtype)
        variables.append((name, values, mask))
    ticket_file.write(path, ticket.masks, variables)


def load(path: str | os.PathLike, model: keras.Model) -> Ticket:
    """Puts the weights that `save` wrote into a freshly built model.

    Safe for files from strangers: nothing in them is executed, damage is found by a
    checksum, and before memory is taken for values they are compared with the model.

    Args:
        path: of the file.
        model: a built model of the same architecture.

    Returns:
        The ticket: what is kept. `dlth_tf.FixedTicket` trains on with it.

    Raises:
        ValueError: the file is damaged or not a sparse model, or it does not fit the
            model, naming the first variable that differs; the model is then left as it
            was.
    """
    file = ticket_file.TicketFile(path)
    if not file.variables:
        raise ValueError(
            f"'{path}' holds a ticket but no weights. Use `Ticket.load`, or write "
            "the weights too with `dlth_tf.save`."
        )
    check_fit(model, file.variables)
    masks, values = file.read()
    set_weights(model, file.in_full(masks, values))
    return Ticket(masks)


def _converted(name: str, values: np.ndarray, mask: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        converted = values.astype(dtype)
    if np.isinf(converted[mask]).any() and not np.isinf(values[mask]).any():
        raise ValueError(
            f"`dtype` {dtype} can't hold the weights of '{name}': the largest is "
            f"{np.abs(values[mask]).max():.3g}."
        )
    return converted
