"""Sparse networks in small files: what is kept, and where it stands."""

import os

import keras
import numpy as np

from dlth_tf.network.kernels import maskable_kernels
from dlth_tf.network.variables import check_fit, named_variables, set_weights
from dlth_tf.storage import ticket_file
from dlth_tf.tickets.ticket import Ticket

_DTYPES = (None, "float32", "float16")


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

    >>> dlth.save("model.safetensors.xz", model, ticket, dtype="float16")
    >>> fresh = build_the_same_model()
    >>> ticket = dlth.load("model.safetensors.xz", fresh)
    """
    if dtype not in _DTYPES:
        raise ValueError(
            f"`dtype` must be None, 'float32' or 'float16'. Received: {dtype!r}"
        )
    ticket = _nonzero(model) if ticket is None else ticket
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


def _nonzero(model: keras.Model) -> Ticket:
    kernels = maskable_kernels(model)
    return Ticket(
        {name: keras.ops.convert_to_numpy(k) != 0 for name, k in kernels.items()}
    )


def _converted(name: str, values: np.ndarray, mask: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        converted = values.astype(dtype)
    if np.isinf(converted[mask]).any() and not np.isinf(values[mask]).any():
        raise ValueError(
            f"`dtype` {dtype} can't hold the weights of '{name}': the largest is "
            f"{np.abs(values[mask]).max():.3g}."
        )
    return converted
