"""Data sets small enough to be kept in memory, decoded."""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from official.common.choices import choose
from official.data.augmentation import Augmentation
from official.data.image_data import (
    TEST_SPLIT,
    VALIDATION_SPLIT,
    Batch,
    ImageData,
    Normalization,
)
from official.data.splits import check_labels, starts, training_sizes, validation_mask


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
        self, batch_size: int, *, seed: int, epoch: int, first_step: int, rows: slice
    ) -> Iterator[Batch]:
        for indices, bits in self.epoch_draws(
            batch_size, seed=seed, epoch=epoch, first_step=first_step, rows=rows
        ):
            images = self.augmentation(self.train.images[indices], bits)
            yield self.normalization(images), self.train.labels[indices]

    def evaluation_batches(
        self, split: str, batch_size: int, shard: tuple[int, int] = (0, 1)
    ) -> Iterator[Batch]:
        images, labels = self._split(split)
        self.require_images(split)
        return (
            (
                self.normalization(images[start : start + batch_size]),
                labels[start : start + batch_size],
            )
            for start in starts(len(labels), batch_size, shard)
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

    See `official.data.load` for `train_examples` and `validation_fraction`; labels
    are 0 to the number of classes less one.

    Raises:
        ValueError: the arrays are no such images and labels, or `train_examples`
            exceeds the number of training images.
    """
    train = _checked(name, "train", train, len(class_names))
    test = _checked(name, TEST_SPLIT, test, len(class_names))
    training_sizes(name, len(train.labels), train_examples, validation_fraction)
    train = LabelledImages(train.images[:train_examples], train.labels[:train_examples])
    held_out = validation_mask(train.labels, validation_fraction)
    validation = LabelledImages(train.images[held_out], train.labels[held_out])
    if held_out.any():
        train = LabelledImages(train.images[~held_out], train.labels[~held_out])
    return ArrayImageData(
        name=name,
        input_shape=train.images.shape[1:],
        class_names=class_names,
        train_size=len(train.labels),
        normalization=normalization,
        augmentation=augmentation,
        train=train,
        evaluation={TEST_SPLIT: test, VALIDATION_SPLIT: validation},
    )


def _checked(name: str, split: str, part: LabelledImages, classes: int) -> LabelledImages:
    images, labels = part
    if (
        images.dtype != np.uint8
        or images.ndim != 4
        or labels.dtype.kind not in "iu"
        or labels.shape != images.shape[:1]
    ):
        raise ValueError(
            f"The {split} split of {name!r} must be uint8 images [images, height, width, "
            "channels] and whole numbers [images] as labels. Received: "
            f"{images.dtype} {images.shape} and {labels.dtype} {labels.shape}"
        )
    check_labels(name, split, labels, classes)
    return LabelledImages(images, labels.astype(np.int32))
