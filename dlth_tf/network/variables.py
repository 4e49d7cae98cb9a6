"""All variables of a model by stable name: how weights are stored and put back."""

from collections.abc import Iterable, Mapping

import keras
import numpy as np

from dlth_tf.network.kernels import maskable_kernels, own_variables, walk_layers


def named_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Every variable of a model (weights, moving statistics, random seeds) by name.

    Like the names of kernels, these depend on the architecture alone.
    """
    named: dict[str, keras.Variable] = {}
    seen: set[int] = set()
    for path, layer in [("", model), *walk_layers(model)]:
        for name, variable in own_variables(layer).items():
            if id(variable) not in seen:
                seen.add(id(variable))
                named[f"{path}/{name}".lstrip("/")] = variable
    return named


def maskable_variables(
    model: keras.Model, tables: Iterable[str] = ()
) -> dict[str, keras.Variable]:
    """What a ticket may have a mask for: kernels by their own names, then all others."""
    kernels = maskable_kernels(model, tables)
    ids = {id(kernel) for kernel in kernels.values()}
    others = {n: v for n, v in named_variables(model).items() if id(v) not in ids}
    return others | kernels


def get_weights(model: keras.Model) -> dict[str, np.ndarray]:
    """The values of all variables of a model, by stable name."""
    return {
        name: keras.ops.convert_to_numpy(variable).copy()
        for name, variable in named_variables(model).items()
    }


def set_weights(model: keras.Model, weights: Mapping[str, np.ndarray]) -> None:
    """Puts stored values into a model of the same architecture.

    Raises:
        ValueError: the values do not fit, naming the first variable that differs; the
            model is then left as it was.
    """
    check_fit(model, {name: np.shape(value) for name, value in weights.items()})
    for name, variable in named_variables(model).items():
        variable.assign(weights[name])


def check_fit(model: keras.Model, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Makes sure that stored values of these shapes fit a model.

    Raises:
        ValueError: they do not, naming the first variable that differs.
    """
    variables = named_variables(model)
    for name in [*variables, *shapes]:
        if name not in shapes or name not in variables:
            holder = "model" if name in variables else "stored weights"
            raise ValueError(
                f"The stored weights do not fit model '{model.name}': only the {holder} "
                f"has a variable '{name}'."
            )
        expected, received = tuple(variables[name].shape), shapes[name]
        if expected != received:
            raise ValueError(
                f"The stored weights do not fit model '{model.name}': variable '{name}' "
                f"has shape {expected}, the stored one {received}."
            )
