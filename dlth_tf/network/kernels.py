"""Which variables of a model can be masked, and what they are called.

Keras numbers automatic layer names with a counter that lives as long as the process
(`conv2d_7`), so its names differ between two builds of one architecture. A ticket needs
names that do not: here a kernel is called after its layer's place in the model.
"""

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

import keras
from keras.src.layers.rnn.conv_lstm import ConvLSTMCell  # Keras exports its layers alone

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
_SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
CELLS = (
    keras.layers.SimpleRNNCell,
    keras.layers.GRUCell,
    keras.layers.LSTMCell,
    ConvLSTMCell,
)
"""The cells of recurrent layers, which hold a `kernel` and a `recurrent_kernel`."""

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
    >>> list(maskable_kernels(model))
    ['lstm/kernel', 'lstm/recurrent_kernel']
    """
    kernels = {name: kernel for name, kernel, _ in _distinct_kernels(model, tables)}
    if not kernels:
        raise ValueError(
            f"Model '{model.name}' has no kernel that could be masked: no Dense, Conv or "
            "recurrent layer, and none with `get_prunable_weights`. Its layers: "
            + (", ".join(_layer_types(model)) or "none")
        )
    return kernels


def kernel_shapes(
    model: keras.Model, tables: Iterable[str] = ()
) -> dict[str, tuple[int, ...]]:
    """The shapes of a model's maskable kernels by stable name."""
    kernels = maskable_kernels(model, tables)
    return {name: tuple(kernel.shape) for name, kernel in kernels.items()}


def input_axes(model: keras.Model, tables: Iterable[str] = ()) -> dict[str, int | None]:
    """The axis of each maskable kernel along which its inputs lie.

    It is the one that the layer's matrix product sums over: of a dense kernel [in, out]
    axis 0, of a convolution [height, width, in, out] axis 2. A depthwise convolution sums
    over no channels, an embedding over nothing, and of a layer of one's own it is not
    known: None.
    """
    return {name: axis for name, _, axis in _distinct_kernels(model, tables)}


def _distinct_kernels(model, tables: Iterable[str]) -> Iterator[_Kernel]:
    """Name, kernel and input axis, a kernel that layers share only once."""
    layers = [("", model), *walk_layers(model)]
    # A recurrent layer's cell goes by the layer's name, or by what the layer says of it.
    cells = {id(x.cell) for _, x in layers if isinstance(x, keras.layers.RNN)}
    layers = [(path, layer) for path, layer in layers if id(layer) not in cells]
    if isinstance(tables, str):
        raise ValueError(f"`tables` must be a list of patterns. Received: {tables!r}")
    tables = tuple(tables)
    seen: set[int] = set()
    for find in (_own_kernels, lambda path, layer: _tables(path, layer, tables)):
        for path, layer in layers:
            for name, kernel, axis in find(path, layer):
                if id(kernel) not in seen:
                    seen.add(id(kernel))
                    yield name, kernel, axis


def walk_layers(parent, path: str = "") -> Iterator[tuple[str, keras.layers.Layer]]:
    """Every layer below a model or layer, with its stable path, parents first."""
    taken: set[str] = set()
    for layer in parent._layers:
        own_name = name = _name_without_counter(layer, parent)
        count = 0
        while name in taken:
            count += 1
            name = f"{own_name}_{count}"
        taken.add(name)
        yield path + name, layer
        yield from walk_layers(layer, f"{path}{name}/")


def _name_without_counter(layer, parent) -> str:
    # A Bidirectional layer puts a word before the names of its two.
    bidirectional = isinstance(parent, keras.layers.Bidirectional)
    first = "(forward_|backward_)?" if bidirectional else ""
    automatic = f"{first}{re.escape(_automatic_name(layer))}"
    return re.sub(rf"^({automatic})_\d+$", r"\1", layer.name)


def _automatic_name(thing) -> str:
    automatic = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", type(thing).__name__)
    return re.sub("([a-z])([A-Z])", r"\1_\2", automatic).lower()


def own_variables(layer) -> dict[str, keras.Variable]:
    """A layer's variables without those of the layers below it.

    Weights without a name, which Keras numbers throughout the process, are numbered
    within the layer.
    """
    own = layer._trainable_variables + layer._non_trainable_variables
    own = own + [generator.state for generator in layer._seed_generators]
    named: dict[str, keras.Variable] = {}
    for variable in own:
        named[_unused_name(variable, named)] = variable
    return named


def _unused_name(variable, taken) -> str:
    unnumbered = rf"^{_automatic_name(variable)}(_\d+)?$"
    own_name = name = re.sub(unnumbered, "variable", variable.name)
    count = 0
    while name in taken:
        count += 1
        name = f"{own_name}_{count}"
    return name


def _own_kernels(path: str, layer) -> Iterator[_Kernel]:
    if hasattr(layer, "get_prunable_weights"):
        yield from _prunable_weights(path, layer)
    elif isinstance(layer, keras.layers.RNN):
        yield from _own_kernels(path, layer.cell)
    elif isinstance(layer, _ONE_KERNEL):
        yield _kernel(path, layer, "kernel", path)
    elif isinstance(layer, _SEPARABLE):
        for attribute in ("depthwise_kernel", "pointwise_kernel"):
            yield _kernel(f"{path}/{attribute}", layer, attribute, path)
    elif isinstance(layer, CELLS):
        for attribute in ("kernel", "recurrent_kernel"):
            yield _kernel(f"{path}/{attribute}", layer, attribute, path)


def _prunable_weights(path: str, layer) -> Iterator[_Kernel]:
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
            name = names[id(variable)] = _unused_name(variable, named)
            named[name] = variable
        yield f"{path}/{names[id(variable)]}".lstrip("/"), variable, None


def _tables(path: str, layer, patterns: Iterable[str]) -> Iterator[_Kernel]:
    said = hasattr(layer, "get_prunable_weights")
    if said or not isinstance(layer, keras.layers.Embedding):
        return
    names = {path: "embeddings"}
    if hasattr(layer, "reverse_embeddings"):
        names[f"{path}/reverse_embeddings"] = "reverse_embeddings"
    for name, attribute in names.items():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            yield _kernel(name, layer, attribute, path)


def _kernel(name: str, layer, attribute: str, path: str) -> _Kernel:
    _require_built(path, layer)
    kernel = getattr(layer, attribute)
    if not isinstance(kernel, keras.Variable):
        raise ValueError(
            f"The {attribute} of layer '{path}' ({type(layer).__name__}) is computed "
            "from other variables (LoRA or quantisation) and can't be masked. Merge "
            "or dequantise it first."
        )
    return name, kernel, _input_axis(layer, attribute, len(kernel.shape))


def _require_built(path: str, layer) -> None:
    if not layer.built:
        raise ValueError(
            f"Layer '{path}' has no weights yet. Build the model first: give it an "
            "Input, call `model.build(input_shape)`, or call it once on a batch."
        )


def _input_axis(layer, attribute: str, rank: int) -> int | None:
    if isinstance(layer, (*_DEPTHWISE, keras.layers.Embedding)):
        return None
    if attribute == "depthwise_kernel":
        return None
    if isinstance(layer, _TRANSPOSED):
        return rank - 1
    if isinstance(layer, keras.layers.EinsumDense):
        _, kernel, outputs = re.split(",|->", layer.equation)
        return max(i for i, label in enumerate(kernel) if label not in outputs)
    return rank - 2


def _layer_types(model) -> list[str]:
    return sorted({type(layer).__name__ for _, layer in walk_layers(model)})
