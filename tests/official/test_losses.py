import keras
import numpy as np
import pytest
from scipy.special import log_softmax

from official.training.losses import cross_entropy

LABELS = np.array([2, 0, 1, 1])


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("dtype", ["int32", "uint8"])
def test_so_much_of_each_label_goes_to_all_classes(smoothing, dtype):
    logits = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    wanted = (1 - smoothing) * np.eye(3)[LABELS] + smoothing / 3
    expected = -(wanted * log_softmax(logits, axis=1)).sum(axis=1).mean()
    found = cross_entropy(smoothing)(LABELS.astype(dtype), logits)
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_without_smoothing_it_is_keras_own():
    assert type(cross_entropy()) is keras.losses.SparseCategoricalCrossentropy
