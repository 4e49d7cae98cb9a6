"""What a classifier's outputs are worth: the one measure of all programs here."""

from collections.abc import Sequence

import numpy as np
from scipy.special import log_softmax

_BINS = 15
_SMALLEST = np.finfo(np.float32).tiny


def measure(outputs: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> dict:
    """Measures outputs `[images, classes]`, logits or probabilities, against labels.

    `top1` and `top5` are fractions of the images whose class has the highest output, or
    is among the five highest; `loss` is the mean cross-entropy in nats; `per_class` the
    fraction right by class name, None for a class without images. Loss and
    `calibration_error` are NaN if an output is.
    """
    log_probabilities = _log_probabilities(outputs.astype(np.float64))
    rank = ranks(outputs, labels)
    right = rank < 1
    confidence = np.exp(log_probabilities.max(axis=1))
    per_class: dict[str, float | None] = dict.fromkeys(class_names)
    for label in np.unique(labels):
        per_class[class_names[label]] = float(right[labels == label].mean())
    return {
        "top1": float(right.mean()),
        "top5": float((rank < 5).mean()),
        "loss": float(losses(log_probabilities, labels).mean()),
        "per_class": per_class,
        "calibration_error": expected_calibration_error(confidence, right),
        "images": len(labels),
    }


def ranks(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many classes each image's own does not beat; among k are those below k.

    What can't be told counts against the network: an equal output of another class, and
    NaN. (scikit-learn's `top_k_accuracy_score` settles ties by the classes' order, and
    takes no NaN.)
    """
    own = outputs[np.arange(len(labels)), labels]
    rank = (~(outputs < own[:, None])).sum(axis=1) - 1
    rank[np.isnan(own)] = np.iinfo(rank.dtype).max
    return rank


def losses(log_probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cross-entropy of each image, in nats."""
    return -log_probabilities[np.arange(len(labels)), labels]


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Mean distance of confidence from accuracy over 15 bins ((m - 1) / 15, m / 15].

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, eq. 3.
    """
    bins = np.ceil(np.nan_to_num(confidence) * _BINS).astype(int) - 1
    bins = np.clip(bins, 0, _BINS - 1)
    surplus = np.bincount(bins, confidence - right, minlength=_BINS)
    return float(np.abs(surplus).sum() / len(confidence))


def _log_probabilities(outputs: np.ndarray) -> np.ndarray:
    sums = outputs.sum(axis=1)
    if (outputs >= 0).all() and np.allclose(sums, 1.0, atol=1e-3):
        return np.log(np.maximum(outputs, _SMALLEST))
    return log_softmax(outputs, axis=1)
