"""Which variables of a model can be masked."""

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

import keras
from keras import layers
from keras.layers import Layer

from dlth_tf.keras_internals import ConvLSTMCell
from dlth_tf.network.variables import (
    named_variables,
    own_variables,
    unused_name,
    walk_layers,
)

TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
CELLS = (layers.SimpleRNNCell, layers.GRUCell, layers.LSTMCell, ConvLSTMCell)
"""The cells of recurrent layers, which hold a `kernel` and a `recurrent_kernel`."""

_KERNELS = {
    (layers.Dense, layers.EinsumDense, *CONVOLUTIONS): ["kernel"],
    (*TRANSPOSED, *DEPTHWISE): ["kernel"],
    SEPARABLE: ["depthwise_kernel", "pointwise_kernel"],
    CELLS: ["kernel", "recurrent_kernel"],
}

_Kernel = tuple[str, keras.Variable, int | None]


def maskable_kernels(
    model: keras.Model, tables: Iterable[str] = ()
) -> dict[str, keras.Variable]:
    """The kernels of a model that can be masked, by stable name.

    They are those of dense, convolution and recurrent layers, and what a layer of one's
    own says by a method `get_prunable_weights`, which returns a list of the layer's
    variables and, where a layer has it, decides for this layer. Biases and normalisation
    parameters are not masked, tables of embeddings only on request.

    The name is the path of layer names from the model down (`"encoder/conv2d_1"`);
    automatic names are numbered anew within each parent, so that they depend on the
    architecture alone. (So is a given name that looks automatic, as
    `Dense(name="dense_7")`: a saved model has no other.) A layer with several kernels has
    their own names at the end: `".../depthwise_kernel"` and `".../pointwise_kernel"` of a
    separable convolution, `"lstm/kernel"` and `"lstm/recurrent_kernel"`, the gates side
    by side in one kernel as Keras has them, `"bidirectional/forward_lstm/kernel"`; a
    layer of one's own has its variable's name there.

    Args:
        model: a built model: Sequential, functional or subclassed, nested at will.
        tables: name patterns of the embeddings whose tables are masked as well; they come
            last. A sparsity names them by any of its patterns but `"*"`.

    Returns:
        Name to variable, in the order in which the model holds its layers.

    Raises:
        ValueError: the model is not built, has no such kernel, or has one that can't be
            masked because it is no plain variable (a LoRA or quantised kernel).

    Example:

    >>> model = keras.Sequential([keras.Input((5, 8)), keras.layers.LSTM(4)])
    >>> list(dlth.maskable_kernels(model))
    ['lstm/kernel', 'lstm/recurrent_kernel']
    """
    kernels = {name: kernel for name, kernel, _ in _distinct_kernels(model, tables)}
    if not kernels:
        types = sorted({type(layer).__name__ for _, layer in walk_layers(model)})
        raise ValueError(
            f"Model '{model.name}' has no kernel that could be masked: no Dense, Conv or "
            "recurrent layer, and none with `get_prunable_weights`. Its layers: "
            + (", ".join(types) or "none")
        )
    return kernels


def kernel_shapes(model: keras.Model, tables: Iterable[str] = ()) -> dict[str, tuple]:
    """The shapes of a model's maskable kernels by stable name."""
    kernels = maskable_kernels(model, tables)
    return {name: tuple(kernel.shape) for name, kernel in kernels.items()}


def input_axes(model: keras.Model, tables: Iterable[str] = ()) -> dict[str, int | None]:
    """The axis of each kernel that the layer's matrix product sums over, if known."""
    return {name: axis for name, _, axis in _distinct_kernels(model, tables)}


def maskable_variables(
    model: keras.Model, tables: Iterable[str] = ()
) -> dict[str, keras.Variable]:
    """What a ticket may have a mask for: kernels by their own names, then all others."""
    kernels = maskable_kernels(model, tables)
    ids = {id(kernel) for kernel in kernels.values()}
    others = {n: v for n, v in named_variables(model).items() if id(v) not in ids}
    return others | kernels


def _distinct_kernels(model: keras.Model, tables: Iterable[str]) -> Iterator[_Kernel]:
    """Name, kernel and input axis, a kernel that layers share only once."""
    if isinstance(tables, str):
        raise ValueError(f"`tables` must be a list of patterns. Received: {tables!r}")
    found = [("", model), *walk_layers(model)]
    # A recurrent layer's cell goes by the layer's name, or by what the layer says of it.
    cells = {id(layer.cell) for _, layer in found if isinstance(layer, layers.RNN)}
    found = [(path, layer) for path, layer in found if id(layer) not in cells]
    patterns, seen = tuple(tables), set()
    for find in (_own_kernels, lambda path, layer: _tables(path, layer, patterns)):
        for path, layer in found:
            for name, kernel, axis in find(path, layer):
                if id(kernel) not in seen:
                    seen.add(id(kernel))
                    yield name, kernel, axis


def _own_kernels(path: str, layer: Layer) -> Iterator[_Kernel]:
    if hasattr(layer, "get_prunable_weights"):
        yield from _prunable_weights(path, layer)
        return
    if isinstance(layer, layers.RNN):
        yield from _own_kernels(path, layer.cell)
    for types, names in _KERNELS.items():
        if isinstance(layer, types):
            for name in names:
                full = path if len(names) == 1 else f"{path}/{name}"
                yield _kernel(full, layer, name, path)


def _prunable_weights(path: str, layer: Layer) -> Iterator[_Kernel]:
    _require_built(path, layer)
    named = own_variables(layer)
    names = {id(variable): name for name, variable in named.items()}
    for variable in layer.get_prunable_weights():
        if not isinstance(variable, keras.Variable) or not variable.shape:
            raise ValueError(
                f"`get_prunable_weights` of layer '{path}' ({type(layer).__name__}) must "
                "return a list of keras Variables of one or more axes. Received in it: "
                f"{variable!r}"
            )
        if id(variable) not in names:
            name = names[id(variable)] = unused_name(variable, named)
            named[name] = variable
        yield f"{path}/{names[id(variable)]}".lstrip("/"), variable, None


def _tables(path: str, layer: Layer, patterns: Iterable[str]) -> Iterator[_Kernel]:
    said = hasattr(layer, "get_prunable_weights")
    if said or not isinstance(layer, layers.Embedding):
        return
    names = {path: "embeddings"}
    if hasattr(layer, "reverse_embeddings"):
        names[f"{path}/reverse_embeddings"] = "reverse_embeddings"
    for name, attribute in names.items():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            yield _kernel(name, layer, attribute, path)


def _kernel(name: str, layer: Layer, attribute: str, path: str) -> _Kernel:
    _require_built(path, layer)
    kernel = getattr(layer, attribute)
    if not isinstance(kernel, keras.Variable):
        raise ValueError(
            f"The {attribute} of layer '{path}' ({type(layer).__name__}) is computed "
            "from other variables (LoRA or quantisation) and can't be masked. Merge "
            "or dequantise it first."
        )
    return name, kernel, _input_axis(layer, attribute, len(kernel.shape))


def _require_built(path: str, layer: Layer) -> None:
    if not layer.built:
        raise ValueError(
            f"Layer '{path}' has no weights yet. Build the model first: give it an "
            "Input, call `model.build(input_shape)`, or call it once on a batch."
        )


def _input_axis(layer: Layer, attribute: str, rank: int) -> int | None:
    sums_over_none = isinstance(layer, (*DEPTHWISE, layers.Embedding))
    if sums_over_none or attribute == "depthwise_kernel":
        return None
    if isinstance(layer, TRANSPOSED):
        return rank - 1
    if isinstance(layer, layers.EinsumDense):
        _, kernel, outputs = re.split(",|->", layer.equation)
        return max(i for i, label in enumerate(kernel) if label not in outputs)
    return rank - 2
