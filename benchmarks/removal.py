"""Taking a ticket out of a network: which values its weights go on with."""

import keras
import numpy as np
from keras import ops

import dlth_tf as dlth
from benchmarks.candidate_list import Candidate
from benchmarks.short_training import ShortTraining

_IMAGES = 128
_RIDGE = 1e-3


def remove(
    training: ShortTraining,
    ticket: dlth.Ticket,
    candidate: Candidate,
    initial: dict[str, np.ndarray],
) -> None:
    """Leaves the ticket's weights alone, as a candidate wants them.

    `initial` are all kernels as they were at first, by name.
    """
    model = training.model
    if candidate.kept == "reconstructed":
        _reconstruct(training, ticket)
    for name, kernel, mask in ticket.pairs(model):
        if mask.all():
            continue
        weights = ops.convert_to_numpy(kernel)
        if candidate.kept == "initial":
            weights = initial[name]
        kept = np.where(mask, weights, 0)
        if candidate.scale == "fan":
            kept *= mask.mean() ** -0.5
        elif candidate.scale == "norm":
            kept *= np.linalg.norm(initial[name][mask]) / np.linalg.norm(kept)
        else:
            kept *= candidate.scale
        kernel.assign(kept)


def _reconstruct(training: ShortTraining, ticket: dlth.Ticket) -> None:
    """Each layer's kept weights by least squares, from the first layer to the last.

    The outputs to come near to are those of the whole network, the inputs those that the
    layers before it give as they are by then. A little ridge helps where inputs are
    alike.
    """
    model = training.model
    masked = [(name, k, m) for name, k, m in ticket.pairs(model) if not m.all()]
    layers = [model.get_layer(name) for name, _, _ in masked]
    ((images, _),) = training.batches(_IMAGES, 1)
    wanted = keras.Model(model.input, [layer.output for layer in layers])
    outputs = wanted(images, training=True)
    training.seen += _IMAGES
    for layer, (_, kernel, mask), output in zip(layers, masked, outputs, strict=True):
        inputs = keras.Model(model.input, layer.input)(images, training=True)
        training.seen += _IMAGES
        patches = ops.image.extract_patches(
            ops.cast(inputs, "float32"),
            layer.kernel_size,
            layer.strides,
            padding=layer.padding,
        )
        x = ops.convert_to_numpy(ops.reshape(patches, (-1, patches.shape[-1])))
        y = np.reshape(ops.convert_to_numpy(ops.cast(output, "float32")), (len(x), -1))
        kernel.assign(_least_squares(x, y, mask))


def _least_squares(x: np.ndarray, y: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A kernel that is zero where a mask removes, of patches and their outputs."""
    gram, target = (x.T @ x).astype("float64"), (x.T @ y).astype("float64")
    kept = mask.reshape(gram.shape[0], -1)
    kernel = np.zeros(kept.shape)
    for column, rows in enumerate(kept.T):
        part = gram[np.ix_(rows, rows)]
        part += _RIDGE * np.trace(gram) / len(gram) * np.eye(len(part))
        kernel[rows, column] = np.linalg.solve(part, target[rows, column])
    return kernel.reshape(mask.shape)


def statistics_anew(training: ShortTraining, batch_size: int, count: int) -> None:
    """BatchNorm's averages become the means over so many batches of training."""
    model = training.model
    norms = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    momentum = [layer.momentum for layer in norms]
    for place, (images, _) in enumerate(training.batches(batch_size, count)):
        for layer in norms:
            layer.momentum = place / (place + 1)
        model(images, training=True)
    for layer, value in zip(norms, momentum, strict=True):
        layer.momentum = value
    training.seen += count * batch_size
