"""What a classifier's outputs are worth: the one measure of all programs here."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.special import log_softmax

_BINS = 15
_SMALLEST = np.finfo(np.float32).tiny


@dataclasses.dataclass(frozen=True)
class Metrics:
    """Measured on a number of labelled images.

    Attributes:
        top1: fraction of the images whose class has the highest output.
        top5: fraction whose class is among the five highest.
        loss: mean cross-entropy, in nats; like `calibration_error` NaN if an output is.
        per_class: fraction right by class name; None for a class without images.
        calibration_error: expected calibration error, in [0, 1]: how far confidence is
            from accuracy, see `expected_calibration_error`.
        images: how many there were.
    """

    top1: float
    top5: float
    loss: float
    per_class: dict[str, float | None]
    calibration_error: float
    images: int


def measure(
    outputs: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> Metrics:
    """Measures outputs against labels.

    Args:
        outputs: logits or probabilities `[images, classes]`; which of the two is seen
            from their values.
        labels: classes `[images]`.
        class_names: by label.
    """
    log_probabilities = _log_probabilities(outputs.astype(np.float64))
    rank = ranks(outputs, labels)
    right = rank < 1
    return Metrics(
        top1=float(right.mean()),
        top5=float((rank < 5).mean()),
        loss=float(losses(log_probabilities, labels).mean()),
        per_class={
            name: float(right[labels == label].mean())
            if (labels == label).any()
            else None
            for label, name in enumerate(class_names)
        },
        calibration_error=expected_calibration_error(
            np.exp(log_probabilities.max(axis=1)), right
        ),
        images=len(labels),
    )


def ranks(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many classes each image's own does not beat; among k are those below k.

    What can't be told counts against the network: an equal output of another class, and
    NaN. (scikit-learn's `top_k_accuracy_score` settles ties by the classes' order, and
    takes no NaN.)

    Args:
        outputs: logits or probabilities `[images, classes]`.
        labels: classes `[images]`.
    """
    own = outputs[np.arange(len(labels)), labels]
    rank = (~(outputs < own[:, None])).sum(axis=1) - 1
    rank[np.isnan(own)] = np.iinfo(rank.dtype).max
    return rank


def losses(log_probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cross-entropy of each image, in nats."""
    return -log_probabilities[np.arange(len(labels)), labels]


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Mean distance of confidence from accuracy over 15 bins of equal width.

    The sum over bins of (images in it / images) * |accuracy - mean confidence|; bin m of
    M has the confidences in ((m - 1) / M, m / M].

    Args:
        confidence: probability of the class predicted, `[images]`.
        right: whether that is the image's class, `[images]`.

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
