"""Writing a network with all that belongs to it, whole or not at all."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from dlth_tf.exporting.artifacts import (
    FORMATS,
    ONLY_INFER,
    UINT8_SIGNATURE,
    check_plain,
)
from dlth_tf.exporting.serving_model import (
    LOGITS,
    PROBABILITIES,
    Normalization,
    serving_model,
)
from dlth_tf.files import atomic_folder
from dlth_tf.folding import fold_batch_norm
from dlth_tf.keras_internals import functional_graph
from dlth_tf.network.kernels import maskable_kernels

_METADATA = "metadata.json"
# Rounding, also of deep or half-precision networks, stays below; another graph does not.
_TOLERANCE = 0.01


class ExportFailed(RuntimeError):
    """A format could not be written, or what was written computes something else."""


def export(
    network: keras.Model,
    folder: str | os.PathLike,
    normalization: Normalization | None = None,
    formats: Sequence[str] = ("saved_model",),
    metadata: Mapping | None = None,
) -> dict:
    """Writes a network to a new folder.

    The folder is the SavedModel itself (`tf.saved_model.load(folder)`), the other
    formats and `metadata.json` lie beside `saved_model.pb`. Each takes images `[batch,
    height, width, channels]` as float32, the SavedModel as uint8 too, and gives `logits`
    and `probabilities`, `[batch, classes]`. The SavedModel's outputs are compared with
    the network's before the folder gets its name; `largest_difference` in the metadata
    says how far they are apart (1e-6 for a usual float32 network). BatchNorm is folded
    into the layers before it where there is one (`dlth_tf.fold_batch_norm`), but not in
    the `.keras` file, on which training may go on.

    Args:
        network: from normalised images to logits, made of Keras's own layers.
        folder: must not exist, or be empty.
        normalization: done inside, so that images are given as they come. None: they
            must come normalised.
        formats: some of `"saved_model"`, `"keras"`, `"litert"`.
        metadata: what is to be said of the network, ready for JSON.

    Returns:
        The metadata written: the given, and inputs, outputs, parameters, sparsity per
        layer as found in the weights.

    Raises:
        ValueError: the folder is not empty, an unknown format, a layer that is not
            Keras's own.
        ExportFailed: a converter failed, or what was written computes something else.
        RuntimeError: Keras does not run on TensorFlow.

    Example:

    >>> export(model, "exports/digits", formats=("saved_model", "keras"))
    """
    _check(formats)
    model = serving_model(network, normalization)
    if "keras" in formats:
        check_plain(model)
    description = {
        **(metadata or {}),
        **_interface(model, normalization),
        **_weights(network),
    }
    folded = model
    if ONLY_INFER.intersection(formats):
        folded = serving_model(_folded(network), normalization)
    with atomic_folder(folder) as temporary:
        for name in formats:
            _write(name, folded if name in ONLY_INFER else model, temporary)
        if "saved_model" in formats:
            description["largest_difference"] = _compare(temporary, model)
        description["bytes"] = _sizes(temporary)
        text = json.dumps(description, indent=1) + "\n"
        (temporary / _METADATA).write_text(text, encoding="utf-8")
    return description


def _check(formats: Sequence[str]) -> None:
    for name in formats:
        if name not in FORMATS:
            raise ValueError(f"Unknown format {name!r}. Available: {', '.join(FORMATS)}.")
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "Exporting needs Keras on TensorFlow (KERAS_BACKEND=tensorflow). The "
            f"backend is {keras.backend.backend()}."
        )


def _write(name: str, model: keras.Model, folder: Path) -> None:
    try:
        FORMATS[name](model, folder)
    except Exception as error:
        # Converters raise errors of every kind, some of many lines.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ExportFailed(
            f"Keras could not write the format {name}: {reason}"
        ) from error


def _folded(network: keras.Model) -> keras.Model:
    """The network with its BatchNorm folded, if its graph can be read."""
    return network if functional_graph(network) is None else fold_batch_norm(network)


def _compare(folder: Path, model: keras.Model) -> float:
    """The largest difference of the SavedModel from the model, relative above 1."""
    import tensorflow as tf

    chance = np.random.default_rng(0)
    images = chance.integers(0, 256, (4, *model.input_shape[1:])).astype(np.float32)
    expected = {name: y.numpy() for name, y in model(images, training=False).items()}
    found = tf.saved_model.load(str(folder)).signatures["serving_default"](
        images=tf.constant(images)
    )
    difference = 0.0
    for name, y in expected.items():
        largest = np.abs(found[name].numpy() - y).max() / max(1.0, np.abs(y).max())
        if not largest <= _TOLERANCE:
            raise ExportFailed(
                f"The exported {name} differ from the model's by {largest:.2g}."
            )
        difference = max(difference, float(largest))
    return difference


def _interface(model: keras.Model, normalization: Normalization | None) -> dict:
    shape = [None, *model.input_shape[1:]]
    inside = normalization is not None
    signatures = ["serving_default", "serve", *([UINT8_SIGNATURE] if inside else [])]
    return {
        "inputs": {"images": {"shape": shape, "dtype": "float32"}},
        "signatures": signatures,
        "outputs": [LOGITS, PROBABILITIES],
        "normalization": {
            "scale": normalization.scale,
            "mean": list(normalization.mean),
            "std": list(normalization.std),
        }
        if normalization
        else "not inside: images must come normalised",
    }


def _weights(network: keras.Model) -> dict:
    kernels = {
        name: keras.ops.convert_to_numpy(kernel)
        for name, kernel in maskable_kernels(network).items()
    }
    zeros = {name: int((kernel == 0).sum()) for name, kernel in kernels.items()}
    parameters = int(network.count_params())
    return {
        "parameters": parameters,
        "parameters_not_zero": parameters - sum(zeros.values()),
        "sparsity_per_layer": {
            name: zeros[name] / kernel.size for name, kernel in kernels.items()
        },
    }


def _sizes(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
