"""The operators of a LiteRT file: what XNNPACK's choice of kernels depends on."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

from dlth_tf.litert.windows import Sides

_NAMES = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
_TYPES = {v: k for k, v in vars(schema.TensorType).items() if isinstance(v, int)}
_DTYPES = {"FLOAT32": np.float32, "FLOAT16": np.float16, "INT8": np.int8}
_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


@dataclasses.dataclass(frozen=True)
class Operator:
    """One operator; what belongs to another kind of operator keeps its default.

    Attributes:
        name: LiteRT's: CONV_2D.
        label: the name of its output, which tells the layers that it was made of.
        inputs: numbers of the tensors it takes that are no constants.
        outputs: numbers of its tensors.
        shapes: of what it takes, constants included.
        input_type: of the first of these.
        kernel: height and width.
        groups: of a convolution.
        padding: ((top, bottom), (left, right)); None: LiteRT's "same" with strides.
        zeros: of its kernel's `weights`.
    """

    name: str
    label: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    input_type: str
    kernel: Sides = (0, 0)
    input_channels: int = 0
    groups: int = 1
    multiplier: int = 1
    stride: Sides = (1, 1)
    dilated: bool = False
    padding: tuple[Sides, ...] | None = None
    weights: int = 0
    zeros: int = 0
    is_stored_sparse: bool = False
    averages_images: bool = False
    keeps_axes: bool = False

    @property
    def is_pointwise(self) -> bool:
        return self.name == "CONV_2D" and self.kernel == (1, 1)


def read(content: bytes) -> Any:
    """The objects of a LiteRT file.

    Raises:
        ValueError: it is none.
    """
    try:
        if content[4:8] != b"TFL3":
            raise ValueError("it does not begin like one")
        return flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    except Exception as error:
        raise ValueError(f"This is no LiteRT file: {error}") from error


def name_of(model: Any, operator: Any) -> str:
    code = model.operatorCodes[operator.opcodeIndex]
    return _NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]


def shape_of(tensor: Any) -> tuple[int, ...]:
    return () if tensor.shape is None else tuple(int(size) for size in tensor.shape)


def operators_of(content: bytes) -> list[Operator]:
    """The operators of a file, in order; a padding is part of the convolution after it.

    Raises:
        ValueError: it is no LiteRT file.
    """
    return list(_Reading(read(content)).operators())


class _Reading:
    def __init__(self, model: Any):
        self._model = model
        self._graph = model.subgraphs[0]
        self._sources: dict[int, int] = {}  # of constants that are unpacked or padded
        self._paddings: dict[int, np.ndarray] = {}

    def operators(self) -> Any:
        for raw in self._graph.operators:
            name = name_of(self._model, raw)
            first, *_ = raw.inputs
            if name in ("DENSIFY", "DEQUANTIZE") and self._values(first).size:
                self._sources[raw.outputs[0]] = self._sources.get(first, first)
            elif name == "PAD" and self._is_for_convolution(raw):
                self._sources[raw.outputs[0]] = first
                self._paddings[raw.outputs[0]] = self._values(raw.inputs[1])
            else:
                yield self._operator(name, raw)

    def _operator(self, name: str, raw: Any) -> Operator:
        taken = [tensor for tensor in raw.inputs if tensor >= 0]
        constants = {tensor for tensor in taken if self._values(tensor).size}
        inputs = [self._sources.get(t, t) for t in taken if t not in constants]
        first = self._graph.tensors[taken[0]]
        return Operator(
            name,
            self._graph.tensors[raw.outputs[0]].name.decode(),
            tuple(inputs),
            tuple(raw.outputs),
            tuple(shape_of(self._graph.tensors[tensor]) for tensor in taken),
            _TYPES[first.type],
            **(self._of_convolution(name, raw) if name in _CONVOLUTIONS else {}),
            **(self._of_mean(raw) if name == "MEAN" else {}),
        )

    def _of_convolution(self, name: str, raw: Any) -> dict:
        options = raw.builtinOptions
        image, kernel = (self._graph.tensors[tensor] for tensor in raw.inputs[:2])
        shape, values = shape_of(kernel), self._values(raw.inputs[1])
        depthwise = name == "DEPTHWISE_CONV_2D"
        channels = shape_of(image)[-1]
        source = self._sources.get(raw.inputs[1], raw.inputs[1])
        return {
            "kernel": shape[1:3],
            "input_channels": channels,
            "groups": 1 if depthwise else channels // shape[3],
            "multiplier": options.depthMultiplier if depthwise else 1,
            "stride": (options.strideH, options.strideW),
            "dilated": (options.dilationHFactor, options.dilationWFactor) != (1, 1),
            "padding": self._padding(raw, shape[1:3]),
            "weights": math.prod(shape),
            "zeros": math.prod(shape) - int(np.count_nonzero(values)),
            "is_stored_sparse": self._graph.tensors[source].sparsity is not None,
        }

    def _padding(self, raw: Any, kernel: Sequence[int]) -> tuple[Sides, ...] | None:
        options = raw.builtinOptions
        if options.padding == schema.Padding.SAME:
            even = (options.strideH, options.strideW) == (1, 1) or set(kernel) == {1}
            return tuple(((n - 1) // 2, n // 2) for n in kernel) if even else None
        padding = self._paddings.get(raw.inputs[0])
        if padding is None:
            return ((0, 0), (0, 0))
        return tuple((int(before), int(after)) for before, after in padding[1:3])

    def _of_mean(self, raw: Any) -> dict:
        axes = self._values(raw.inputs[1])
        image = len(shape_of(self._graph.tensors[raw.inputs[0]])) == 4
        return {
            "averages_images": image and sorted(axes.ravel() % 4) == [1, 2],
            "keeps_axes": bool(raw.builtinOptions.keepDims),
        }

    def _is_for_convolution(self, raw: Any) -> bool:
        """Whether XNNPACK makes a padding part of the convolution that it is for."""
        consumers = [x for x in self._graph.operators if raw.outputs[0] in x.inputs]
        padding = self._values(raw.inputs[1])
        if len(consumers) != 1 or not padding.size or padding[[0, 3]].any():
            return False
        (consumer,) = consumers
        return (
            name_of(self._model, consumer) in _CONVOLUTIONS
            and consumer.builtinOptions.padding == schema.Padding.VALID
        )

    def _values(self, number: int) -> np.ndarray:
        """A constant's values, if it is one; stored sparse, only those that are."""
        tensor = self._graph.tensors[self._sources.get(number, number)]
        data = self._model.buffers[tensor.buffer].data
        if data is None or not len(data):
            return np.zeros(0)
        name = _TYPES[tensor.type]
        return _values(bytes(data), name, shape_of(tensor), tensor.sparsity is None)


def _values(data: bytes, type_: str, shape: Sequence[int], whole: bool) -> np.ndarray:
    dtype = _DTYPES.get(type_, np.int32 if type_ == "INT32" else np.uint8)
    values = np.frombuffer(data, dtype)
    return values.reshape(shape) if whole and values.size == math.prod(shape) else values
