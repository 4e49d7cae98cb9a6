"""Which variables of a model can be masked, and what they are called.

Keras numbers automatic layer names with a counter that lives as long as the process
(`conv2d_7`), so its names differ between two builds of one architecture. A ticket needs
names that do not: here a kernel is called after its layer's place in the model.
"""

import re
from collections.abc import Iterator

import keras

_TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
_ONE_KERNEL = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    *_TRANSPOSED,
    *_DEPTHWISE,
)
_TWO_KERNELS = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)


def maskable_kernels(model: keras.Model) -> dict[str, keras.Variable]:
    """The kernels of a model's convolution and dense layers, by stable name.

    Biases and normalisation parameters are never masked. The name is the path of layer
    names from the model down (`"encoder/conv2d_1"`); automatic names are numbered anew
    within each parent, so that they depend on the architecture alone. (So is a given
    name that looks automatic, as `Dense(name="dense_7")`: a saved model has no other.)
    A separable convolution has two kernels, `".../depthwise_kernel"` and
    `".../pointwise_kernel"`.

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
    kernels = {name: kernel for name, kernel, _ in _distinct_kernels(model)}
    if not kernels:
        raise ValueError(
            f"Model '{model.name}' has no Dense or Conv kernel that could be masked. "
            "Its layers: " + (", ".join(_layer_types(model)) or "none")
        )
    return kernels


def kernel_shapes(model: keras.Model) -> dict[str, tuple[int, ...]]:
    """The shapes of a model's maskable kernels by stable name."""
    return {name: tuple(kernel.shape) for name, kernel in maskable_kernels(model).items()}


def input_axes(model: keras.Model) -> dict[str, int | None]:
    """The axis of each maskable kernel along which its inputs lie.

    It is the one that the layer's matrix product sums over: of a dense kernel [in, out]
    axis 0, of a convolution [height, width, in, out] axis 2. A depthwise convolution sums
    over no channels: None.
    """
    return {name: axis for name, _, axis in _distinct_kernels(model)}


def _distinct_kernels(model) -> Iterator[tuple[str, keras.Variable, int | None]]:
    """Name, kernel and input axis, a kernel that layers share only once."""
    seen: set[int] = set()
    for path, layer in walk_layers(model):
        for name, attribute in _own_kernels(path, layer):
            kernel = _kernel(layer, attribute, path)
            if id(kernel) not in seen:
                seen.add(id(kernel))
                yield name, kernel, _input_axis(layer, attribute, len(kernel.shape))


def walk_layers(parent, path: str = "") -> Iterator[tuple[str, keras.layers.Layer]]:
    """Every layer below a model or layer, with its stable path, parents first."""
    taken: set[str] = set()
    for layer in parent._layers:
        own_name = name = _name_without_counter(layer)
        count = 0
        while name in taken:
            count += 1
            name = f"{own_name}_{count}"
        taken.add(name)
        yield path + name, layer
        yield from walk_layers(layer, f"{path}{name}/")


def _name_without_counter(layer) -> str:
    automatic = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__)
    automatic = re.sub("([a-z])([A-Z])", r"\1_\2", automatic).lower()
    return re.sub(rf"^{re.escape(automatic)}_\d+$", automatic, layer.name)


def _own_kernels(path: str, layer) -> Iterator[tuple[str, str]]:
    if isinstance(layer, _ONE_KERNEL):
        yield path, "kernel"
    elif isinstance(layer, _TWO_KERNELS):
        for attribute in ("depthwise_kernel", "pointwise_kernel"):
            yield f"{path}/{attribute}", attribute


def _input_axis(layer, attribute: str, rank: int) -> int | None:
    if isinstance(layer, _DEPTHWISE) or attribute == "depthwise_kernel":
        return None
    if isinstance(layer, _TRANSPOSED):
        return rank - 1
    if isinstance(layer, keras.layers.EinsumDense):
        _, kernel, outputs = re.split(",|->", layer.equation)
        return max(i for i, label in enumerate(kernel) if label not in outputs)
    return rank - 2


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
