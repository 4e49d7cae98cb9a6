"""A data set of images for classification, and its batches."""

import abc
import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from official.data import order, splits
from official.data.augmentation import Augmentation

Batch = tuple[np.ndarray, np.ndarray]

TEST_SPLIT = "test"
VALIDATION_SPLIT = "validation"


@dataclasses.dataclass(frozen=True)
class Normalization:
    """Turns raw pixels x into `(x / scale - mean) / std`, channel by channel."""

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Returns normalised float32 images `[batch, height, width, channels]`."""
        width = images.shape[2]
        normalised = images.astype(np.float32)
        # A row of pixels at a time: NumPy is slow on an axis of three channels.
        rows = normalised.reshape(*images.shape[:2], -1)
        rows /= np.float32(self.scale)
        rows -= np.tile(np.asarray(self.mean, np.float32), width)
        rows /= np.tile(np.asarray(self.std, np.float32), width)
        return normalised


@dataclasses.dataclass(frozen=True)
class ImageData(abc.ABC):
    """Images with one class each, in a training, a validation and a test part.

    Batches are pairs of NumPy arrays: images, float32
    `[batch, height, width, channels]`, and labels, int32 `[batch]`.

    Attributes:
        name: what the data set is called.
        input_shape: height, width and channels of an image.
        class_names: what the classes are called, by label.
        train_size: images trained on in an epoch, validation images excluded.
        normalization: applied to every image.
        augmentation: applied to training images, before normalization.
    """

    name: str
    input_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    train_size: int
    normalization: Normalization
    augmentation: Augmentation

    @property
    def classes(self) -> int:
        """How many classes the images have."""
        return len(self.class_names)

    def steps_per_epoch(self, batch_size: int) -> int:
        """Returns the number of full batches in the training images.

        Raises:
            ValueError: there is not one.
        """
        return splits.steps_per_epoch(self.name, self.train_size, batch_size)

    def train_batches(
        self,
        batch_size: int,
        *,
        seed: int,
        first_step: int = 0,
        shard: tuple[int, int] = (0, 1),
    ) -> Iterable[Batch]:
        """Returns the endless training batches from global step `first_step` on.

        Images are shuffled anew in each epoch, in an order that follows from
        `seed` and the epoch alone; augmentation follows from `seed` and the step.
        The batch of a step is thus the same bits wherever training resumed. What
        does not fill a batch at an epoch's end is left out of that epoch.

        Each iteration over the result starts at `first_step` again: Keras draws a
        batch or two to learn their shape, then starts over.

        Args:
            batch_size: images per batch, those of all workers together.
            seed: whole number, at least 0.
            first_step: step of the first batch, counted from the first epoch on.
            shard: which of how many workers this is, `(2, 8)` being the third of
                eight. Each gets its part of the same batches, the images in order:
                put one after another, the parts of a step are the batch that a
                single worker would get.

        Raises:
            ValueError: an argument is out of range.
        """
        for argument, value in (("seed", seed), ("first_step", first_step)):
            if value < 0:
                raise ValueError(
                    f"`{argument}` must be at least 0. Received: {argument}={value}"
                )
        steps = self.steps_per_epoch(batch_size)
        rows = _rows(batch_size, shard)
        return _TrainBatches(self, batch_size, seed, first_step, steps, rows)

    def epoch_draws(
        self, batch_size: int, *, seed: int, epoch: int, first_step: int, rows: slice
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Returns, for each step of an epoch, which images to take and their chance.

        Args:
            batch_size: images per batch.
            seed: of order and augmentation.
            epoch: counted from 0.
            first_step: step in the epoch to begin at.
            rows: which part of each batch is wanted.

        Returns:
            Pairs of indices of training images and 64 random bits for each.
        """
        steps = self.steps_per_epoch(batch_size)
        indices = order.epoch_order(seed, epoch, self.train_size)
        for step in range(first_step, steps):
            chosen = indices[step * batch_size : (step + 1) * batch_size]
            bits = order.augmentation_bits(seed, epoch * steps + step, batch_size)
            yield chosen[rows], bits[rows]

    def require_images(self, split: str) -> None:
        """Raises `ValueError` if a split holds none."""
        splits.require_images(self.name, split, self.split_size(split))

    @abc.abstractmethod
    def epoch_batches(
        self, batch_size: int, *, seed: int, epoch: int, first_step: int, rows: slice
    ) -> Iterator[Batch]:
        """Returns the training batches of one epoch; see `epoch_draws`."""

    @abc.abstractmethod
    def evaluation_batches(
        self, split: str, batch_size: int, shard: tuple[int, int] = (0, 1)
    ) -> Iterator[Batch]:
        """Returns the images of a split once, in stored order, not augmented.

        Args:
            split: `"test"` or `"validation"`.
            batch_size: images per batch; the last batch may be smaller.
            shard: which of how many workers this is. Each gets its part of the batches.

        Raises:
            ValueError: unknown split, or one without images.
        """

    @abc.abstractmethod
    def split_size(self, split: str) -> int:
        """Returns the number of images in `"test"` or `"validation"`."""


@dataclasses.dataclass(frozen=True)
class _TrainBatches:
    data: ImageData
    batch_size: int
    seed: int
    first_step: int
    steps_per_epoch: int
    rows: slice

    def __iter__(self) -> Iterator[Batch]:
        epoch, first_step = divmod(self.first_step, self.steps_per_epoch)
        while True:
            yield from self.data.epoch_batches(
                self.batch_size,
                seed=self.seed,
                epoch=epoch,
                first_step=first_step,
                rows=self.rows,
            )
            epoch, first_step = epoch + 1, 0


def _rows(batch_size: int, shard: tuple[int, int]) -> slice:
    """The part of every batch that belongs to one of several workers."""
    index, count = shard
    if not 0 <= index < count:
        raise ValueError(
            "`shard` must be (index, count) with index from 0 to count - 1. "
            f"Received: shard={shard}"
        )
    if batch_size % count:
        raise ValueError(
            f"`batch_size` must be a multiple of the {count} workers that share a "
            f"batch. Received: batch_size={batch_size}"
        )
    size = batch_size // count
    return slice(index * size, (index + 1) * size)
