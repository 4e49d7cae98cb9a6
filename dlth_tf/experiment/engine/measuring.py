"""Measuring a network on images it was not trained on."""

import dataclasses

import keras
import numpy as np
from scipy.special import log_softmax

from dlth_tf.metrics import losses, ranks
from official.data import ImageData
from official.distribution.cluster import ALONE, Workers

_IMAGES_AT_ONCE = 500
_PIXELS_AT_ONCE = 500 * 64 * 64  # 40 images of ImageNet


@dataclasses.dataclass(frozen=True)
class Measured:
    """Accuracies are fractions of the images; the loss is their mean cross-entropy.

    `not_finite` of the images have an output that is NaN or infinite.
    """

    accuracy: float
    top5: float
    loss: float
    images: int
    not_finite: int


def evaluate(
    model: keras.Model, data: ImageData, split: str, workers: Workers = ALONE
) -> Measured:
    """Measures a model that returns logits on one split of the data.

    Args:
        model: on one device, the same on all workers.
        data: the images.
        split: `"test"` or `"validation"`.
        workers: each measures its share; all learn the result.
    """
    height, width, _ = data.input_shape
    batch_size = max(1, min(_IMAGES_AT_ONCE, _PIXELS_AT_ONCE // (height * width)))
    sums = np.zeros(5)
    for x, y in data.evaluation_batches(split, batch_size, workers.shard):
        logits = np.asarray(model.predict_on_batch(x), np.float64)
        rank = ranks(logits, y)
        loss = losses(log_softmax(logits, axis=1), y).sum()
        finite = np.isfinite(logits).all(axis=1)
        sums += [(rank < 1).sum(), (rank < 5).sum(), loss, len(y), (~finite).sum()]
    right, right5, loss, images, not_finite = workers.sum(sums).tolist()
    return Measured(
        right / images, right5 / images, loss / images, int(images), int(not_finite)
    )
