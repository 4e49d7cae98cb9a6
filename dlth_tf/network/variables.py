"""All variables of a model by stable name: how weights are stored and put back.

Keras numbers automatic layer names with a counter that lives as long as the process
(`conv2d_7`), so its names differ between two builds of one architecture. Here a variable
is called after its layer's place in the model.
"""

import itertools
import re
from collections.abc import Container, Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras.layers import Layer

from dlth_tf import keras_internals


def walk_layers(parent: Layer, path: str = "") -> Iterator[tuple[str, Layer]]:
    """Every layer below a model or layer, with its stable path, parents first."""
    taken: set[str] = set()
    for layer in keras_internals.layers_within(parent):
        name = _not_taken(_name_without_counter(layer, parent), taken)
        taken.add(name)
        yield path + name, layer
        yield from walk_layers(layer, f"{path}{name}/")


def _name_without_counter(layer: Layer, parent: Layer) -> str:
    # A Bidirectional layer puts a word before the names of its two.
    bidirectional = isinstance(parent, keras.layers.Bidirectional)
    first = "(forward_|backward_)?" if bidirectional else ""
    automatic = f"{first}{re.escape(automatic_name(layer))}"
    return re.sub(rf"^({automatic})_\d+$", r"\1", layer.name)


def automatic_name(thing: Any) -> str:
    """What Keras calls a layer or operation that is given no name, but for the number."""
    automatic = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", type(thing).__name__)
    return re.sub("([a-z])([A-Z])", r"\1_\2", automatic).lower()


def own_variables(layer: Layer) -> dict[str, keras.Variable]:
    """A layer's variables without those of the layers below it, by name."""
    named: dict[str, keras.Variable] = {}
    for variable in keras_internals.own_variables(layer):
        named[unused_name(variable, named)] = variable
    return named


def unused_name(variable: keras.Variable, taken: Container[str]) -> str:
    """A variable's name, or what comes after it if that is taken."""
    unnumbered = rf"^{automatic_name(variable)}(_\d+)?$"
    return _not_taken(re.sub(unnumbered, "variable", variable.name), taken)


def _not_taken(name: str, taken: Container[str]) -> str:
    numbered = (f"{name}_{count}" for count in itertools.count(1))
    return next(n for n in itertools.chain([name], numbered) if n not in taken)


def named_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Every variable of a model (weights, moving statistics, random seeds) by name."""
    named: dict[str, keras.Variable] = {}
    seen: set[int] = set()
    for path, layer in [("", model), *walk_layers(model)]:
        for name, variable in own_variables(layer).items():
            if id(variable) not in seen:
                seen.add(id(variable))
                named[f"{path}/{name}".lstrip("/")] = variable
    return named


def get_weights(model: keras.Model) -> dict[str, np.ndarray]:
    """The values of all variables of a model, by stable name."""
    return {
        name: keras.ops.convert_to_numpy(variable).copy()
        for name, variable in named_variables(model).items()
    }


def set_weights(model: keras.Model, weights: Mapping[str, np.ndarray]) -> None:
    """Puts stored values into a model of the same architecture, all of them or none."""
    check_fit(model, {name: np.shape(value) for name, value in weights.items()})
    for name, variable in named_variables(model).items():
        variable.assign(weights[name])


def check_fit(model: keras.Model, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuses stored values of these shapes, by the first that does not fit a model."""
    variables = named_variables(model)
    misfit = f"The stored weights do not fit model '{model.name}':"
    for name in [*variables, *shapes]:
        if name not in shapes or name not in variables:
            holder = "model" if name in variables else "stored weights"
            raise ValueError(f"{misfit} only the {holder} has a variable '{name}'.")
        expected, received = tuple(variables[name].shape), shapes[name]
        if expected != received:
            raise ValueError(
                f"{misfit} variable '{name}' has shape {expected}, the stored one "
                f"{received}."
            )
