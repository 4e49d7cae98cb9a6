"""Measuring a network on images it was not trained on."""

import dataclasses

import keras
import numpy as np

from official.distribution.workers import ALONE, Workers

_IMAGES_AT_ONCE = 500
_PIXELS_AT_ONCE = 500 * 64 * 64  # 40 images of ImageNet


@dataclasses.dataclass(frozen=True)
class Measured:
    """Accuracies are fractions of the images; the loss is their mean cross-entropy."""

    accuracy: float
    top5: float
    loss: float
    images: int


def evaluate(model: keras.Model, data, split: str, workers: Workers = ALONE) -> Measured:
    """Measures a model that returns logits on one split of the data.

    Args:
        model: on one device, the same on all workers.
        data: the images.
        split: `"test"` or `"validation"`.
        workers: each measures its share; all learn the result.
    """
    height, width, _ = data.input_shape
    batch_size = max(1, min(_IMAGES_AT_ONCE, _PIXELS_AT_ONCE // (height * width)))
    right = right5 = images = 0
    loss = 0.0
    for x, y in data.evaluation_batches(split, batch_size, workers.shard):
        logits = np.asarray(model.predict_on_batch(x), np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        of_label = logits[np.arange(len(y)), y]
        rank = (logits > of_label[:, None]).sum(axis=1)
        right += int((rank == 0).sum())
        right5 += int((rank < 5).sum())
        loss += float((np.log(np.exp(logits).sum(axis=1)) - of_label).sum())
        images += len(y)
    right, right5, loss, images = workers.sum([right, right5, loss, images]).tolist()
    return Measured(right / images, right5 / images, loss / images, int(images))
