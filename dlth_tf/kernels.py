"""Which variables of a model can be masked, and what they are called.

Keras numbers automatic layer names with a counter that lives as long as the process
(`conv2d_7`), so its names differ between two builds of one architecture. A ticket needs
names that do not: here a kernel is called after its layer's place in the model.
"""

import re
from collections.abc import Iterator

import keras

_ONE_KERNEL = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
)
_TWO_KERNELS = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)


def maskable_kernels(model: keras.Model) -> dict[str, keras.Variable]:
    """The kernels of a model's convolution and dense layers, by stable name.

    Biases and normalisation parameters are never masked. The name is the path of layer
    names from the model down (`"encoder/conv2d_1"`); automatic names are numbered anew
    within each parent, so that they depend on the architecture alone. A separable
    convolution has two kernels, `".../depthwise_kernel"` and `".../pointwise_kernel"`.

    Args:
        model: a built model: Sequential, functional or subclassed, nested at will.

    Returns:
        Name to variable, in the order in which the model holds its layers.

    Raises:
        ValueError: the model is not built, has no such kernel, or has one that can't be
            masked because it is no plain variable (a LoRA or quantised kernel).

    Example:

    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> list(maskable_kernels(model))
    ['dense']
    """
    kernels: dict[str, keras.Variable] = {}
    seen: set[int] = set()
    for path, layer in walk_layers(model):
        for name, kernel in _own_kernels(path, layer):
            if id(kernel) not in seen:
                seen.add(id(kernel))
                kernels[name] = kernel
    if not kernels:
        raise ValueError(
            f"Model '{model.name}' has no Dense or Conv kernel that could be masked. "
            "Its layers: " + (", ".join(_layer_types(model)) or "none")
        )
    return kernels


def walk_layers(parent, path: str = "") -> Iterator[tuple[str, keras.layers.Layer]]:
    """Every layer below a model or layer, with its stable path, parents first."""
    taken: dict[str, int] = {}
    for layer in parent._layers:
        name = _name_without_counter(layer)
        count = taken.get(name, 0)
        taken[name] = count + 1
        here = path + (f"{name}_{count}" if count else name)
        yield here, layer
        yield from walk_layers(layer, here + "/")


def _name_without_counter(layer) -> str:
    automatic = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__)
    automatic = re.sub("([a-z])([A-Z])", r"\1_\2", automatic).lower()
    return re.sub(rf"^{re.escape(automatic)}_\d+$", automatic, layer.name)


def _own_kernels(path: str, layer) -> Iterator[tuple[str, keras.Variable]]:
    if isinstance(layer, _ONE_KERNEL):
        yield path, _kernel(layer, "kernel", path)
    elif isinstance(layer, _TWO_KERNELS):
        for attribute in ("depthwise_kernel", "pointwise_kernel"):
            yield f"{path}/{attribute}", _kernel(layer, attribute, path)


def _kernel(layer, attribute: str, path: str) -> keras.Variable:
    if not layer.built:
        raise ValueError(
            f"Layer '{path}' has no weights yet. Build the model first: give it an "
            "Input, call `model.build(input_shape)`, or call it once on a batch."
        )
    kernel = getattr(layer, attribute)
    if not isinstance(kernel, keras.Variable):
        raise ValueError(
            f"The {attribute} of layer '{path}' ({type(layer).__name__}) is computed "
            "from other variables (LoRA or quantisation) and can't be masked. Merge "
            "or dequantise it first."
        )
    return kernel


def _layer_types(model) -> list[str]:
    return sorted({type(layer).__name__ for _, layer in walk_layers(model)})
