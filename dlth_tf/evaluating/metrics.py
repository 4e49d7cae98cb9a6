"""What a classifier's outputs are worth, in plain NumPy."""

import dataclasses
from collections.abc import Sequence

import numpy as np

_BINS = 15
_SMALLEST = np.finfo(np.float32).tiny


@dataclasses.dataclass(frozen=True)
class Metrics:
    """Measured on a number of labelled images.

    Attributes:
        top1: fraction of the images whose class has the highest output.
        top5: fraction whose class is among the five highest.
        loss: mean cross-entropy, in nats.
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
    of_label = log_probabilities[np.arange(len(labels)), labels]
    # Like the accuracy of a training run: an equal output counts for the label.
    rank = (log_probabilities > of_label[:, None]).sum(axis=1)
    right = rank == 0
    return Metrics(
        top1=float(right.mean()),
        top5=float((rank < 5).mean()),
        loss=float(-of_label.mean()),
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


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Mean distance of confidence from accuracy over 15 bins of equal width.

    The sum over bins of (images in it / images) * |accuracy - mean confidence|; bin m of
    M has the confidences in ((m - 1) / M, m / M].

    Args:
        confidence: probability of the class predicted, `[images]`.
        right: whether that is the image's class, `[images]`.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, eq. 3.
    """
    bins = np.clip(np.ceil(confidence * _BINS).astype(int) - 1, 0, _BINS - 1)
    surplus = np.bincount(bins, confidence - right, minlength=_BINS)
    return float(np.abs(surplus).sum() / len(confidence))


def _log_probabilities(outputs: np.ndarray) -> np.ndarray:
    sums = outputs.sum(axis=1)
    if (outputs >= 0).all() and np.allclose(sums, 1.0, atol=1e-3):
        return np.log(np.maximum(outputs, _SMALLEST))
    shifted = outputs - outputs.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
