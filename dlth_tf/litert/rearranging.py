"""A network made anew so that XNNPACK runs it with the channels first, if it can be.

TensorFlow pads a 3x3 convolution with stride 2 by nothing on the top and the left and by
one on the bottom and the right, XNNPACK's sparse kernels by one on each side. On mirrored
images, with mirrored kernels, the first becomes the second without another result: the
row too many is never looked at, and global pooling does not see the mirror.
"""

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import layers, tree

from dlth_tf.keras_internals import functional_graph
from dlth_tf.litert.windows import Sides, Window, windows_of
from dlth_tf.network.graph import copy_layer, rebuild, require_graph, run_graph

_CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D)
_POSITION_BY_POSITION = (
    *(layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU, layers.Softmax),
    *(layers.BatchNormalization, layers.Normalization, layers.Rescaling),
    *(layers.Dropout, layers.Identity, layers.Add, layers.Subtract, layers.Multiply),
)
_OPERATIONS = ("Add", "Subtract", "Multiply", "TrueDivide", "Divide")
_FLATTENING = (layers.Flatten, layers.Reshape)
_NO_PADDING = ((0, 0), (0, 0))


@dataclasses.dataclass(frozen=True)
class Rearranged:
    """A network that computes the same, of mirrored images if `mirrored`.

    `unmirrored` says why it was not mirrored though its padding would have needed it.
    """

    model: keras.Model
    mirrored: bool
    unmirrored: str = ""


def rearranged(model: keras.Model) -> Rearranged:
    """Makes a model anew: paddings alike on all sides, a classifier of Dense layers.

    One that needs no change is returned itself. The paddings of convolutions with strides
    become layers of their own. A 1x1 convolution after
    `GlobalAveragePooling2D(keepdims=True)` becomes Dense if nothing but the classifier
    follows.

    Raises:
        ValueError: the model has no graph (it is subclassed).
    """
    graph = require_graph(model)
    analysis = _Analysis()
    inputs = [_Tensor(tuple(tensor.shape)) for tensor in graph.inputs]
    for output in run_graph(graph, inputs, analysis.visit):
        output.uses += 1
        analysis.note_end(output)
    as_it_is, mirrored = (analysis.uneven(mirror) for mirror in (False, True))
    obstacle = analysis.obstacle
    mirror = mirrored < as_it_is and not obstacle and len(inputs) == 1
    unmirrored = obstacle if mirrored < as_it_is else ""
    if not (mirror or analysis.classifiers or analysis.hidden_paddings):
        return Rearranged(model, False, unmirrored)
    changes = _Changes(analysis, mirror)
    new, pairs = rebuild(model, changes.counterpart)
    for layer, copy in pairs:
        copy.set_weights(changes.weights(layer))
        if isinstance(copy, layers.Normalization):
            copy.finalize_state()
    return Rearranged(new, mirror, unmirrored)


class _Tensor:
    """An output in the graph: its shape and where it comes from."""

    def __init__(
        self, shape: tuple, padded_by: Any = None, pools: frozenset = frozenset()
    ):
        self.shape = shape
        self.padded_by = padded_by
        self.pools = pools  # what made it 1x1, if nothing else came in since
        self.uses = 0

    @property
    def is_image(self) -> bool:
        return len(self.shape) == 4 and self.shape[1:3] != (1, 1)

    @property
    def sizes(self) -> Sides:
        return self.shape[1], self.shape[2]


class _Analysis:
    def __init__(self) -> None:
        self.windows: dict[int, list[Window]] = {}
        self.paddings: dict[Any, tuple[Any, _Tensor]] = {}
        self.hidden_paddings: set[int] = set()  # by the layer that has strides, too
        self._obstacle = ""
        self.classifiers: dict[int, list] = {}
        self._called: set[int] = set()

    def visit(self, operation: Any, args: tuple, kwargs: dict, outputs: list) -> list:
        tensors = [x for x in tree.flatten([args, kwargs]) if isinstance(x, _Tensor)]
        for tensor in tensors:
            tensor.uses += 1
        nested = functional_graph(operation)
        if nested is not None:
            return run_graph(nested, tensors, self.visit)
        repeated = id(operation) in self._called
        self._called.add(id(operation))
        if any(tensor.is_image for tensor in tensors):
            self._look(operation, tensors, outputs, repeated)
        pools = self._pools(operation, tensors)
        padded = isinstance(operation, layers.ZeroPadding2D)
        by = (operation, tensors[0]) if padded else None
        return [_Tensor(tuple(output.shape), by, pools) for output in outputs]

    @property
    def obstacle(self) -> str:
        """What would compute something else of mirrored images, if anything."""
        shared = [pad.name for pad, (_, x) in self.paddings.items() if x.uses > 1]
        return self._obstacle or (f"'{shared[0]}' pads for several" if shared else "")

    def uneven(self, mirror: bool) -> int:
        """How many windows with strides are not padded alike on all sides."""
        windows = [x for pair in self.windows.values() for x in pair if x.stride > 1]
        turned = (window.mirrored() if mirror else window for window in windows)
        return sum(window.padding != window.symmetric for window in turned)

    def note_end(self, output: _Tensor) -> None:
        """Nothing flattens this: its layers have to keep their axes."""
        for pool in output.pools:
            self.classifiers.pop(pool, None)

    def _look(
        self, layer: Any, tensors: list[_Tensor], outputs: list, repeated: bool
    ) -> None:
        """Notes what a layer does with positions of the image."""
        if isinstance(layer, layers.GlobalAveragePooling2D):
            seen = layer.data_format == "channels_first"
        elif isinstance(layer, layers.ZeroPadding2D):
            seen = layer.data_format == "channels_first" or repeated
        elif type(layer) in _CONVOLUTIONS:
            seen = not self._add_windows(layer, tensors[0]) or repeated
        elif isinstance(layer, layers.Layer):
            last = getattr(layer, "axis", -1) in (-1, 3, (-1,), (3,), [-1], [3])
            seen = not isinstance(layer, _POSITION_BY_POSITION) or not last
        else:
            seen = type(layer).__name__ not in _OPERATIONS
        if seen and not self._obstacle:
            self._obstacle = (
                f"'{layer.name}' ({type(layer).__name__}) would see the mirror"
            )

    def _add_windows(self, layer: layers.Layer, tensor: _Tensor) -> bool:
        if layer.data_format == "channels_first" or None in tensor.sizes:
            return False
        padding, sizes = _NO_PADDING, tensor.sizes
        if tensor.padded_by and layer.padding == "valid":
            source, before = tensor.padded_by
            padding, sizes = source.padding, before.sizes
            self.paddings[source] = (layer, tensor)
        windows = windows_of(layer, padding, sizes)
        self.windows[id(layer)] = windows
        strides = any(window.stride > 1 and window.width > 1 for window in windows)
        if strides and layer.padding == "same":
            self.hidden_paddings.add(id(layer))
        return all(window.mirrored().before >= 0 for window in windows)

    def _pools(self, operation: Any, tensors: list[_Tensor]) -> frozenset:
        """Notes layers between a pooling that keeps its axes and what drops them."""
        pools = frozenset().union(*(tensor.pools for tensor in tensors))
        if isinstance(operation, layers.GlobalAveragePooling2D) and operation.keepdims:
            self.classifiers[id(operation)] = [operation]
            return frozenset([id(operation)])
        known = isinstance(operation, (*_POSITION_BY_POSITION, *_FLATTENING))
        pointwise = _is_pointwise(operation)
        if len(tensors) > 1 or not (known or pointwise):
            for pool in pools:
                self.classifiers.pop(pool, None)
            return frozenset()
        for pool in pools & set(self.classifiers):
            self.classifiers[pool].append(operation)
        return frozenset() if isinstance(operation, _FLATTENING) else pools


def _is_pointwise(layer: Any) -> bool:
    return (
        type(layer) is layers.Conv2D
        and layer.groups == 1
        and tuple(layer.kernel_size) == tuple(layer.strides) == (1, 1)
    )


class _Changes:
    """What becomes of each layer."""

    def __init__(self, analysis: _Analysis, mirror: bool):
        self._windows, self._mirror = analysis.windows, mirror
        self._hidden = analysis.hidden_paddings
        self._following = {id(pad): x for pad, (x, _) in analysis.paddings.items()}
        self._classifier = {id(x) for part in analysis.classifiers.values() for x in part}

    def counterpart(self, layer: layers.Layer) -> layers.Layer:
        if id(layer) in self._classifier:
            return _without_axes(layer)
        if isinstance(layer, layers.ZeroPadding2D) and self._mirror:
            following = self._following.get(id(layer))
            reversed_sides = [sides[::-1] for sides in layer.padding]
            padding = self._padding(following) if following else reversed_sides
            return copy_layer(layer, {"padding": padding})
        if id(layer) not in self._hidden:
            return copy_layer(layer, {})
        return keras.Sequential(
            [
                layers.ZeroPadding2D(self._padding(layer), name=f"{layer.name}_padding"),
                copy_layer(layer, {"padding": "valid"}),
            ],
            name=layer.name,
        )

    def weights(self, layer: layers.Layer) -> list[np.ndarray]:
        """The weights that the counterpart of a layer has."""
        weights = layer.get_weights()
        if id(layer) in self._classifier and _is_pointwise(layer):
            return [weights[0][0, 0], *weights[1:]]
        if self._mirror and type(layer) in _CONVOLUTIONS:
            return [weights[0][::-1, ::-1], *weights[1:]]
        return weights

    def _padding(self, layer: layers.Layer) -> list[Sides]:
        windows = self._windows[id(layer)]
        turned = (window.mirrored() if self._mirror else window for window in windows)
        return [window.padding for window in turned]


def _without_axes(layer: layers.Layer) -> layers.Layer:
    """What takes the place of a layer in a classifier, where an image is one position."""
    if isinstance(layer, layers.GlobalAveragePooling2D):
        return copy_layer(layer, {"keepdims": False})
    if not isinstance(layer, layers.Conv2D):
        return copy_layer(layer, {"axis": -1} if hasattr(layer, "axis") else {})
    return layers.Dense(
        layer.filters,
        activation=layer.activation,
        use_bias=layer.use_bias,
        dtype=layer.dtype_policy,
        name=layer.name,
    )
