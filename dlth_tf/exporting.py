"""Networks to ship: SavedModel, `.keras`, LiteRT. Needs Keras on TensorFlow.

What is written needs nothing of this project to be loaded. A sparse network is as large
here as a dense one, for these formats store zeros; `dlth_tf.save` stores it compactly.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from dlth_tf.files import atomic_folder
from dlth_tf.keras_internals import functional_graph
from dlth_tf.litert.exporting import export_litert
from dlth_tf.network.kernels import maskable_kernels, walk_layers
from dlth_tf.rebuilding import fold_batch_norm
from official.data import Normalization

_LOGITS, _PROBABILITIES = "logits", "probabilities"
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
    litert: Mapping | None = None,
) -> dict:
    """Writes a network to a new folder, and returns the metadata it wrote there.

    The folder is the SavedModel itself, the other formats and `metadata.json` lie beside
    `saved_model.pb`. Each takes images `[batch, height, width, channels]` as float32, the
    SavedModel as uint8 too, and gives `logits` and `probabilities`, `[batch, classes]`.
    The SavedModel's outputs are compared with the network's before the folder gets its
    name: `largest_difference` in the metadata. BatchNorm is folded (`fold_batch_norm`)
    but in the `.keras` file, on which training may go on.

    Args:
        network: from normalised images to logits, made of Keras's own layers.
        folder: must not exist, or be empty.
        normalization: done inside, so that images are given as they come, if not None.
        formats: some of `FORMATS`.
        metadata: what else is to be said of the network, ready for JSON.
        litert: arguments of `dlth_tf.export_litert`, which writes that format.

    Raises:
        ValueError: the folder is not empty, an unknown format, a layer not of Keras.
        ExportFailed: a converter failed, or what was written computes something else.
        RuntimeError: Keras does not run on TensorFlow.
    """
    _check(formats, network)
    model = folded = _serving_model(network, normalization)
    if set(formats) != {"keras"} and functional_graph(network) is not None:
        folded = _serving_model(fold_batch_norm(network), normalization)
    description = {**(metadata or {}), **_description(network, normalization)}
    with atomic_folder(folder) as temporary:
        for name in formats:
            written = model if name == "keras" else folded
            options = litert or {} if name == "litert" else {}
            description |= _write(name, written, temporary, options) or {}
        if "saved_model" in formats:
            description["largest_difference"] = _compare(temporary, model)
        files = sorted(path for path in temporary.rglob("*") if path.is_file())
        description["bytes"] = {
            str(path.relative_to(temporary)): path.stat().st_size for path in files
        }
        text = json.dumps(description, indent=1) + "\n"
        (temporary / "metadata.json").write_text(text, encoding="utf-8")
    return description


def _check(formats: Sequence[str], network: keras.Model) -> None:
    for name in formats:
        if name not in FORMATS:
            raise ValueError(f"Unknown format {name!r}. Available: {', '.join(FORMATS)}.")
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "Exporting needs Keras on TensorFlow (KERAS_BACKEND=tensorflow). The "
            f"backend is {keras.backend.backend()}."
        )
    # A `.keras` file with a foreign layer is loaded only where its code is known.
    layers = [network, *(layer for _, layer in walk_layers(network))]
    for layer in layers if "keras" in formats else ():
        if not type(layer).__module__.startswith("keras."):
            raise ValueError(
                f"Layer '{layer.name}' is a {type(layer).__name__}, which plain Keras "
                "does not know. Replace it by a layer of Keras, or leave out the "
                "format keras."
            )


def _serving_model(
    network: keras.Model, normalization: Normalization | None
) -> keras.Model:
    """From float32 images as they come to logits and probabilities."""
    x = images = keras.Input(network.input_shape[1:], name="images", dtype="float32")
    if normalization:
        mean, std = np.array(normalization.mean), np.array(normalization.std)
        x = keras.layers.Rescaling(
            scale=(1.0 / (normalization.scale * std)).tolist(),
            offset=(-mean / std).tolist(),
            dtype="float32",
            name="normalization",
        )(images)
    logits = network(x)
    softmax = keras.layers.Softmax(dtype="float32", name=_PROBABILITIES)
    outputs = {_LOGITS: logits, _PROBABILITIES: softmax(logits)}
    return keras.Model(images, outputs, name=f"{network.name}_serving")


def _write(name: str, model: keras.Model, folder: Path, options: Mapping) -> dict | None:
    """Writes a format, and returns what is to be said of it."""
    try:
        return FORMATS[name](model, folder, **options)
    except Exception as error:
        # Converters raise errors of every kind, some of many lines.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ExportFailed(
            f"Keras could not write the format {name}: {reason}"
        ) from error


def _write_saved_model(model: keras.Model, folder: Path) -> None:
    """Writes what takes images as float32, and as uint8 if they need no normalising.

    The model is not tracked: `model.export` stores every variable twice, as the model's
    and as the signature's (keras-team/keras#23553, seen in Keras 3.15).
    """
    floats, pixels = (
        keras.InputSpec(shape=model.input_shape, dtype=dtype, name="images")
        for dtype in ("float32", "uint8")
    )
    archive = keras.export.ExportArchive()
    serve = archive.add_endpoint("serve", lambda x: model(x, training=False), [floats])
    if any(layer.name == "normalization" for layer in model.layers):
        archive.add_endpoint(
            "serve_uint8", lambda x: serve(keras.ops.cast(x, "float32")), [pixels]
        )
    archive.write_out(str(folder), verbose=False)


def _write_litert(model: keras.Model, folder: Path, **options: Any) -> dict:
    done = export_litert(model, folder / "model.tflite", **options)
    told = {"storage": done.storage, "difference": done.difference, "report": done.report}
    return {"litert": {**told, "qualifies": done.qualification.qualifies}}


FORMATS: dict[str, Callable[..., dict | None]] = {
    "saved_model": _write_saved_model,
    "keras": lambda model, folder: model.save(folder / "model.keras"),
    "litert": _write_litert,
}


def _compare(folder: Path, model: keras.Model) -> float:
    """The largest difference of the SavedModel from the model, relative above 1."""
    chance = np.random.default_rng(0)
    images = chance.integers(0, 256, (4, *model.input_shape[1:])).astype(np.float32)
    expected = model(images, training=False)
    saved = keras.layers.TFSMLayer(str(folder), call_endpoint="serving_default")(images)
    difference = 0.0
    for name in (_LOGITS, _PROBABILITIES):
        y, found = (keras.ops.convert_to_numpy(of[name]) for of in (expected, saved))
        largest = np.abs(found - y).max() / max(1.0, np.abs(y).max())
        if not largest <= _TOLERANCE:
            raise ExportFailed(
                f"The exported {name} differ from the model's by {largest:.2g}."
            )
        difference = max(difference, float(largest))
    return difference


def _description(network: keras.Model, normalization: Normalization | None) -> dict:
    """What is said of every network: how it is called, and how sparse it is."""
    images = {"shape": [None, *network.input_shape[1:]], "dtype": "float32"}
    inside: dict | str = "not inside: images must come normalised"
    signatures = ["serving_default", "serve"]
    if normalization:
        mean, std = list(normalization.mean), list(normalization.std)
        inside = {"scale": normalization.scale, "mean": mean, "std": std}
        signatures.append("serve_uint8")
    kernels = maskable_kernels(network).items()
    removed = {name: keras.ops.convert_to_numpy(kernel) == 0 for name, kernel in kernels}
    parameters = int(network.count_params())
    zeros = sum(int(gone.sum()) for gone in removed.values())
    return {
        "inputs": {"images": images},
        "signatures": signatures,
        "outputs": [_LOGITS, _PROBABILITIES],
        "normalization": inside,
        "parameters": parameters,
        "parameters_not_zero": parameters - zeros,
        "sparsity_per_layer": {name: float(g.mean()) for name, g in removed.items()},
    }
