"""A data set of images for classification, and its batches."""

import abc
import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

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

    def steps_per_epoch(self, batch_size: int) -> int:
        """Returns the number of full batches in the training images.

        Raises:
            ValueError: there is not one.
        """
        if not 1 <= batch_size <= self.train_size:
            raise ValueError(
                f"`batch_size` must be from 1 to the {self.train_size} training "
                f"images of {self.name!r}. Received: batch_size={batch_size}"
            )
        return self.train_size // batch_size

    def train_batches(
        self, batch_size: int, *, seed: int, first_step: int = 0
    ) -> Iterable[Batch]:
        """Returns the endless training batches from global step `first_step` on.

        Images are shuffled anew in each epoch, in an order that follows from
        `seed` and the epoch alone; augmentation follows from `seed` and the step.
        The batch of a step is thus the same bits wherever training resumed. What
        does not fill a batch at an epoch's end is left out of that epoch.

        Each iteration over the result starts at `first_step` again: Keras draws a
        batch or two to learn their shape, then starts over.

        Args:
            batch_size: images per batch.
            seed: whole number, at least 0.
            first_step: step of the first batch, counted from the first epoch on.

        Raises:
            ValueError: an argument is out of range.
        """
        for argument, value in (("seed", seed), ("first_step", first_step)):
            if value < 0:
                raise ValueError(
                    f"`{argument}` must be at least 0. Received: {argument}={value}"
                )
        steps = self.steps_per_epoch(batch_size)
        return _TrainBatches(self, batch_size, seed, first_step, steps)

    @abc.abstractmethod
    def epoch_batches(
        self, batch_size: int, *, seed: int, epoch: int, first_step: int
    ) -> Iterator[Batch]:
        """Returns the training batches of one epoch from `first_step` in it on."""

    @abc.abstractmethod
    def evaluation_batches(self, split: str, batch_size: int) -> Iterator[Batch]:
        """Returns the images of a split once, in stored order, not augmented.

        Args:
            split: `"test"` or `"validation"`.
            batch_size: images per batch; the last batch may be smaller.

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

    def __iter__(self) -> Iterator[Batch]:
        epoch, first_step = divmod(self.first_step, self.steps_per_epoch)
        while True:
            yield from self.data.epoch_batches(
                self.batch_size, seed=self.seed, epoch=epoch, first_step=first_step
            )
            epoch, first_step = epoch + 1, 0
