"""The loss of a classifier that returns logits, its labels whole numbers."""

from typing import Any

import keras
from keras import ops


def cross_entropy(label_smoothing: float = 0.0) -> keras.losses.Loss:
    """Returns the cross-entropy; smoothed, so much of each label goes to all classes."""
    if not label_smoothing:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return _Smoothed(from_logits=True, label_smoothing=label_smoothing)


class _Smoothed(keras.losses.CategoricalCrossentropy):
    """Keras smooths labels that are given class by class only."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        labels = ops.one_hot(ops.cast(y_true, "int32"), y_pred.shape[-1])
        return super().call(labels, y_pred)
