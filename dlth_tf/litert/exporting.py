"""A Keras network as a LiteRT file that was run and compared before it has its name."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from dlth_tf.files import atomic_write
from dlth_tf.litert.rearranging import Rearranged, rearranged
from dlth_tf.litert.running import LiteRTFile
from dlth_tf.network.variables import walk_layers

if TYPE_CHECKING:
    from dlth_tf.litert.qualification import Qualification

# How far outputs may lie from Keras's: of float32 the largest part of the largest output,
# which rounding stays far below, of int8 the part of their root mean square.
STORAGES = {"float32": 1e-3, "float16": 0.1, "int8": 0.5}
_COMPARED = 16


@dataclasses.dataclass(frozen=True)
class LiteRTExport:
    """What was written; as a string, a report of some lines.

    Attributes:
        path: the file.
        storage: of its weights.
        bytes: its size.
        difference: of its outputs from Keras's, as a part of the largest of these, for
            int8 of their root mean square.
        qualification: whether its zeros make it faster, and what is in the way.
        unmirrored: why the network could not be mirrored to pad it evenly, if so.
    """

    path: Path
    storage: str
    bytes: int
    difference: float
    qualification: "Qualification"
    unmirrored: str = ""

    @property
    def report(self) -> str:
        """Whether its zeros make it faster, and what is in the way."""
        unmirrored = f"\n  Not mirrored: {self.unmirrored}." if self.unmirrored else ""
        return f"{self.qualification}{unmirrored}"

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.bytes:,} bytes, {self.storage}, differs from Keras by "
            f"{self.difference:.1g}\n{self.report}"
        )


def export_litert(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    storage: str = "float32",
    images: np.ndarray | None = None,
) -> LiteRTExport:
    """Writes a network for LiteRT, with its zeros stored so that they make it faster.

    XNNPACK, LiteRT's engine for CPUs, skips the zeros of 1x1 convolutions in a network
    that qualifies: RGB images, a 3x3 stem with stride 2, then 1x1 and depthwise
    convolutions, padded alike on all sides, global average pooling, and more than two
    thirds of the weights of the 1x1 convolutions zero. The network is rearranged so that
    it does where possible: one that pads as TensorFlow does is mirrored (images are
    reversed inside, kernels are flipped, outputs stay the same), and 1x1 convolutions
    behind the pooling become Dense. The result says whether it qualifies, and what is in
    the way. Browsers (LiteRT.js) and ARM gain by it; x86 runs the file as if it were
    dense. It takes one image at a time, and is run and compared before it is written.

    Source: Elsen et al., "Fast Sparse ConvNets", CVPR 2020; XNNPACK's
    `xnn_subgraph_rewrite_for_nchw` has the rules.

    Args:
        model: a functional or Sequential model of one input of a fixed size.
        path: of the file. One that is there is replaced.
        storage: of the weights: "float32"; "float16", half as large and as fast; or
            "int8", which computes in whole numbers, where zeros stay zeros but are not
            skipped: the fastest on x86.
        images: inputs like those that the network is made for, `[number, ...]`. int8
            takes the ranges of its numbers from them (some hundred training images) and
            needs them; all outputs are compared by the first of them, or by noise.

    Raises:
        ValueError: a storage that is not known, no images for int8, a model that has no
            graph or no fixed size.
        RuntimeError: it can't be converted or run, or computes something else.

    Example:

    >>> pointwise = {"*_expand": 0.9, "*_project": 0.9}
    >>> ticket = dlth.random_ticket(model, pointwise, seed=0)
    >>> model.fit(train, epochs=60, callbacks=[dlth.FixedTicket(ticket)])
    >>> print(dlth.export_litert(model, "model.tflite", storage="float16"))
    """
    _check(model, storage, images)
    from dlth_tf.litert import converting, qualification  # TensorFlow's alone

    # int8 skips no zeros, and needs no rearranging for it.
    network = Rearranged(model, False) if storage == "int8" else rearranged(model)
    content = converting.convert(network, storage, () if images is None else images)
    names, some = converting.output_names(model), _compared(model, images)
    difference = _difference(content, model, names, some, storage)
    with atomic_write(path) as file:
        file.write(content)
    report = qualification.qualification(
        content, [layer.name for _, layer in walk_layers(model)]
    )
    told = (difference, report, network.unmirrored)
    return LiteRTExport(Path(path), storage, len(content), *told)


def _check(model: keras.Model, storage: str, images: np.ndarray | None) -> None:
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "Exporting to LiteRT needs Keras on TensorFlow (KERAS_BACKEND=tensorflow). "
            f"The backend is {keras.backend.backend()}."
        )
    if storage not in STORAGES:
        raise ValueError(
            f"`storage` must be one of {', '.join(STORAGES)}. Received: {storage!r}"
        )
    if len(model.inputs) != 1 or None in model.inputs[0].shape[1:]:
        shapes = ", ".join(str(x.shape) for x in model.inputs)
        raise ValueError(
            f"`model` must have one input of a fixed size. Received: inputs {shapes}"
        )
    shape = tuple(model.inputs[0].shape[1:])
    if images is None and storage == "int8":
        raise ValueError('`storage="int8"` needs `images` to take its ranges from.')
    if images is not None and (not len(images) or images.shape[1:] != shape):
        raise ValueError(
            f"`images` must be at least one of shape {shape}. Received: shape "
            f"{tuple(images.shape)}"
        )


def _compared(model: keras.Model, images: np.ndarray | None) -> np.ndarray:
    """The inputs that a file is compared by."""
    if images is not None:
        return images[:_COMPARED]
    shape = (_COMPARED, *model.input_shape[1:])
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def _difference(
    content: bytes,
    model: keras.Model,
    names: Sequence[str],
    images: np.ndarray,
    storage: str,
) -> float:
    """How far a file's outputs lie from Keras's; raises if that is too far."""
    try:
        found = LiteRTFile(content)(images)
    except ValueError as error:
        raise RuntimeError(f"{error}. Nothing was written.") from error
    expected = keras.tree.flatten(model(images, training=False))
    largest = 0.0
    for name, output in zip(names, expected, strict=True):
        y = keras.ops.convert_to_numpy(output)
        distance, size = np.abs(found[name] - y), np.abs(y)
        if storage == "int8":
            distance, size = (np.sqrt(np.mean(x**2)) for x in (distance, size))
        difference = float(
            np.max(distance) / max(np.max(size), np.finfo(np.float32).tiny)
        )
        if not difference <= STORAGES[storage]:
            raise RuntimeError(
                f"The LiteRT file's {name} differ from Keras's by {difference:.2g} "
                f"({storage} may by {STORAGES[storage]:g}). Nothing was written."
            )
        largest = max(largest, difference)
    return largest
