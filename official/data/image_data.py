"""A data set of images for classification, and its batches."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from official.common import choose
from official.data import splits
from official.data.images import DecodedImages, Draw, Images, ImageSet
from official.data.presentation import Normalization, Presentation

Batch = tuple[np.ndarray, np.ndarray]

_TEST, _VALIDATION = "test", "validation"


@dataclasses.dataclass(frozen=True)
class ImageData(Presentation):
    """Images with one class each, in a training, a validation and a test part.

    Batches are pairs of NumPy arrays: images, float32
    `[batch, height, width, channels]`, and labels, int32 `[batch]`.

    Attributes:
        name: what the data set is called.
        class_names: what the classes are called, by label.
        train: images trained on, validation images excluded.
        evaluation: images of each split that is only evaluated on.
    """

    name: str
    class_names: tuple[str, ...]
    train: Images = dataclasses.field(repr=False)
    evaluation: dict[str, Images] = dataclasses.field(repr=False)

    @property
    def train_size(self) -> int:
        """Images trained on in an epoch."""
        return len(self.train)

    def split_size(self, split: str) -> int:
        """How many images `"test"` or `"validation"` has."""
        return len(self._split(split))

    @property
    def classes(self) -> int:
        """How many classes the images have."""
        return len(self.class_names)

    def as_they_come(self) -> "ImageData":
        """The same images, not normalised."""
        channels = self.input_shape[-1]
        plain = Normalization(1.0, (0.0,) * channels, (1.0,) * channels)
        return dataclasses.replace(self, normalization=plain)

    def steps_per_epoch(self, batch_size: int) -> int:
        """Returns the number of full batches; raises `ValueError` if there is not one."""
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
                eight. Their parts of a step, one after another, are the batch that
                a single worker would get.

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

        def endless() -> Iterator[Batch]:
            epoch, first = divmod(first_step, steps)
            while True:
                yield from self.epoch_batches(
                    batch_size, seed=seed, epoch=epoch, first_step=first, rows=rows
                )
                epoch, first = epoch + 1, 0

        return _FromTheStart(endless)

    def epoch_batches(
        self, batch_size: int, *, seed: int, epoch: int, first_step: int, rows: slice
    ) -> Iterator[Batch]:
        """The `rows` of each batch of an epoch, from its `first_step` on."""
        steps = self.steps_per_epoch(batch_size)
        order = splits.epoch_order(seed, epoch, self.train_size)

        def draws() -> Iterator[Draw]:
            for step in range(first_step, steps):
                chosen = order[step * batch_size : (step + 1) * batch_size]
                bits = splits.augmentation_bits(seed, epoch * steps + step, batch_size)
                yield chosen[rows], bits[rows]

        for images, labels, bits in self.train.shown(draws(), self.train_view):
            yield self.shown(self.augmentation(images, bits)), labels

    def evaluation_batches(
        self, split: str, batch_size: int, shard: tuple[int, int] = (0, 1)
    ) -> Iterator[Batch]:
        """Returns the images of a split once, in stored order, not augmented.

        The last batch may be smaller. Several workers get different batches. Raises
        `ValueError` if the split, `"test"` or `"validation"`, has no images.
        """
        images = self._split(split)
        splits.require_images(self.name, split, len(images))
        index, count = shard
        starts = range(index * batch_size, len(images), count * batch_size)
        parts = (range(at, min(at + batch_size, len(images))) for at in starts)
        draws = ((np.array(part), np.zeros(len(part), np.uint64)) for part in parts)
        views = images.shown(draws, self.evaluation_view)
        return ((self.shown(pixels), labels) for pixels, labels, _ in views)

    def _split(self, split: str) -> Images:
        return self.evaluation[choose("split", split, self.evaluation)]


def image_data(
    name: str,
    images: ImageSet,
    presentation: Presentation,
    *,
    train_examples: int | None = None,
    validation_fraction: float = 0.0,
) -> ImageData:
    """Makes a data set of its images; see `official.data.load`."""
    _check(name, "train", images.train, len(images.class_names))
    _check(name, _TEST, images.test, len(images.class_names))
    splits.require_images(name, _TEST, len(images.test))
    splits.training_sizes(name, len(images.train), train_examples, validation_fraction)
    train = images.train.take(slice(train_examples))
    held_out = splits.validation_mask(train.labels, validation_fraction)
    return ImageData(
        **vars(presentation),
        name=name,
        class_names=images.class_names,
        train=train.take(~held_out) if held_out.any() else train,
        evaluation={_TEST: images.test, _VALIDATION: train.take(held_out)},
    )


def _check(name: str, split: str, images: Images, classes: int) -> None:
    """Raises `ValueError` if images are no arrays of pixels, or labels of no class."""
    labels = images.labels
    if isinstance(images, DecodedImages) and (
        images.pixels.dtype != np.uint8
        or images.pixels.ndim != 4
        or labels.dtype.kind not in "iu"
        or labels.shape != images.pixels.shape[:1]
    ):
        raise ValueError(
            f"The {split} split of {name!r} must be uint8 images [images, height, width, "
            "channels] and whole numbers [images] as labels. Received: "
            f"{images.pixels.dtype} {images.pixels.shape} and {labels.dtype} "
            f"{labels.shape}"
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise ValueError(
            f"The labels of the {split} split of {name!r} must be 0 to {classes - 1}; -1 "
            f"says that an image has none. Received: {labels[wrong[0]]} for image "
            f"{wrong[0]}, and {len(wrong)} such labels in all"
        )


@dataclasses.dataclass(frozen=True)
class _FromTheStart:
    """Begins anew with each iteration."""

    begin: Callable[[], Iterator[Batch]]

    def __iter__(self) -> Iterator[Batch]:
        return self.begin()


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
