"""From a Keras network to the bytes of a LiteRT file."""

import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree
from tensorflow.lite.tools import flatbuffer_utils
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from dlth_tf.keras_internals import input_name
from dlth_tf.litert.operators import name_of, read, shape_of
from dlth_tf.litert.rearranging import Rearranged
from dlth_tf.network.graph import require_graph


def convert(network: Rearranged, storage: str, images: Iterable = ()) -> bytes:
    """Converts a network, for one example at a time.

    Args:
        network: what is to be run, on images as they come: they are mirrored inside.
        storage: "float32", "float16" or "int8".
        images: those that int8's ranges are found by.

    Raises:
        RuntimeError: TensorFlow's converter can't.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            _save_frozen(network, folder)
            return _with_scalars_of_four_axes(_convert(folder, storage, images))
        except Exception as error:
            # The converter raises errors of every kind, some of many lines.
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise RuntimeError(
                f"'{network.model.name}' can't be converted to LiteRT: {reason}"
            ) from error


def _convert(folder: str, storage: str, images: Iterable) -> bytes:
    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
    if storage == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([x[None]] for x in images)
    else:
        converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    if storage == "float16":
        # Without these types DEFAULT means int8 weights, which can't be sparse.
        converter.optimizations.append(tf.lite.Optimize.DEFAULT)
        converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


def _save_frozen(network: Rearranged, folder: str) -> None:
    """Saves a function of one image, its weights constants.

    Those that stay variables are never stored sparse.
    """
    model, mirrored = network.model, network.mirrored
    structure = require_graph(model).input
    (tensor,) = model.inputs

    @tf.function(autograph=False)
    def serve(images: tf.Tensor) -> Any:
        seen = tf.reverse(images, [1, 2]) if mirrored else images
        return model(tree.pack_sequence_as(structure, [seen]), training=False)

    spec = tf.TensorSpec((1, *tensor.shape[1:]), tensor.dtype, input_name(tensor))
    frozen = convert_variables_to_constants_v2(serve.get_concrete_function(spec))

    @tf.function(input_signature=[spec], autograph=False)
    def with_names(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(zip(output_names(model), tree.flatten(frozen(images)), strict=True))

    # Swish brings a gradient that can't be saved once it is frozen.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(tf.Module(), folder, {"serving_default": with_names}, options)


def output_names(model: keras.Model) -> list[str]:
    """What the file calls a model's outputs, in the order that Keras flattens them to."""
    outputs = require_graph(model).output
    if isinstance(outputs, Mapping):
        return sorted(outputs)
    return [f"output_{number}" for number in range(len(model.outputs))]


def _with_scalars_of_four_axes(content: bytes) -> bytes:
    """Gives scalars that an image is added to or multiplied by the image's axes.

    XNNPACK's sparse path takes no others: MobileNetV3's hard sigmoid has such a scalar.
    """
    model = read(content)
    for graph in model.subgraphs:
        others = {
            index
            for operator in graph.operators
            for index in operator.inputs
            if not _joins_an_image(model, graph, operator)
        }
        stored = {
            operator.outputs[0]: operator.inputs[0]
            for operator in graph.operators
            if name_of(model, operator) == "DEQUANTIZE"
        }
        for operator in graph.operators:
            for index in set(operator.inputs) - others:
                scalar = graph.tensors[stored.get(index, index)]
                if not shape_of(scalar) and model.buffers[scalar.buffer].data is not None:
                    graph.tensors[index].shape = scalar.shape = np.ones(4, np.int32)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _joins_an_image(model: Any, graph: Any, operator: Any) -> bool:
    binary = name_of(model, operator) in ("ADD", "SUB", "MUL", "DIV")
    return binary and any(
        len(shape_of(graph.tensors[index])) == 4 for index in operator.inputs
    )
