"""Data sets small enough to be kept in memory, decoded."""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from official.common.choices import choose
from official.data import order
from official.data.augmentation import Augmentation
from official.data.image_data import (
    TEST_SPLIT,
    VALIDATION_SPLIT,
    Batch,
    ImageData,
    Normalization,
)

_VALIDATION_DRAW = 0


class LabelledImages(NamedTuple):
    """Raw pixels `[images, height, width, channels]` and labels `[images]`."""

    images: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class ArrayImageData(ImageData):
    """Images kept in memory as raw pixels; see `ImageData` for what it offers.

    Attributes:
        train: images trained on.
        evaluation: images of each split that is only evaluated on.
    """

    train: LabelledImages = dataclasses.field(repr=False)
    evaluation: dict[str, LabelledImages] = dataclasses.field(repr=False)

    def epoch_batches(
        self, batch_size: int, *, seed: int, epoch: int, first_step: int
    ) -> Iterator[Batch]:
        steps = self.steps_per_epoch(batch_size)
        indices = order.epoch_order(seed, epoch, self.train_size)
        for step in range(first_step, steps):
            chosen = indices[step * batch_size : (step + 1) * batch_size]
            bits = order.augmentation_bits(seed, epoch * steps + step, batch_size)
            images = self.augmentation(self.train.images[chosen], bits)
            yield self.normalization(images), self.train.labels[chosen]

    def evaluation_batches(self, split: str, batch_size: int) -> Iterator[Batch]:
        images, labels = self._split(split)
        if not len(labels):
            raise ValueError(f"The {split} split of {self.name!r} holds no images.")
        return (
            (
                self.normalization(images[start : start + batch_size]),
                labels[start : start + batch_size],
            )
            for start in range(0, len(labels), batch_size)
        )

    def split_size(self, split: str) -> int:
        return len(self._split(split).labels)

    def _split(self, split: str) -> LabelledImages:
        return self.evaluation[choose("split", split, self.evaluation)]


def image_data(
    name: str,
    *,
    train: LabelledImages,
    test: LabelledImages,
    class_names: tuple[str, ...],
    normalization: Normalization,
    augmentation: Augmentation,
    train_examples: int | None,
    validation_fraction: float,
) -> ArrayImageData:
    """Makes a data set of its arrays, with part of the training images held out.

    See `official.data.load` for `train_examples` and `validation_fraction`.

    Raises:
        ValueError: `train_examples` exceeds the number of training images.
    """
    if train_examples is not None and train_examples > len(train.labels):
        raise ValueError(
            f"`train_examples` must be at most the {len(train.labels)} training "
            f"images of {name!r}. Received: train_examples={train_examples}"
        )
    train = _labelled(train.images[:train_examples], train.labels[:train_examples])
    held_out = order.held_out(train.labels, validation_fraction, draw=_VALIDATION_DRAW)
    validation = _labelled(train.images[held_out], train.labels[held_out])
    if held_out.any():
        train = _labelled(train.images[~held_out], train.labels[~held_out])
    return ArrayImageData(
        name=name,
        input_shape=train.images.shape[1:],
        class_names=class_names,
        train_size=len(train.labels),
        normalization=normalization,
        augmentation=augmentation,
        train=train,
        evaluation={TEST_SPLIT: _labelled(*test), VALIDATION_SPLIT: validation},
    )


def _labelled(images: np.ndarray, labels: np.ndarray) -> LabelledImages:
    return LabelledImages(images, labels.astype(np.int32))
