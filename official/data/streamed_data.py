"""Data sets too big to be kept in memory: read and decoded while training."""

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from official.common.choices import choose
from official.data.encoded_images import EncodedImages, View, thread_pool
from official.data.image_data import TEST_SPLIT, VALIDATION_SPLIT, Batch, ImageData
from official.data.presentation import Presentation
from official.data.splits import check_labels, starts, training_sizes, validation_mask

# Decoded images that are kept rather than decoded anew in every epoch
MOST_BYTES_IN_MEMORY = 2 * 2**30
_BATCHES_AHEAD = 2
_NO_CHANCE = itertools.repeat(0)


@dataclasses.dataclass(frozen=True)
class StreamedImageData(ImageData):
    """Encoded images, decoded by several threads some batches ahead.

    The order is that of `ImageData`: images are read from wherever they lie, so that
    an epoch is shuffled as a whole and training resumes at any step at once.

    Attributes:
        train: images trained on.
        evaluation: images of each split that is only evaluated on.
        train_view: what is shown of an image in training, before `augmentation`.
        evaluation_view: what is shown of it in evaluation.
    """

    train: EncodedImages
    evaluation: dict[str, EncodedImages]
    train_view: View
    evaluation_view: View

    def epoch_batches(
        self, batch_size: int, *, seed: int, epoch: int, first_step: int, rows: slice
    ) -> Iterator[Batch]:
        draws = self.epoch_draws(
            batch_size, seed=seed, epoch=epoch, first_step=first_step, rows=rows
        )
        for images, labels, bits in _decoded(self.train, self.train_view, draws):
            yield self.normalization(self.augmentation(images, bits)), labels

    def evaluation_batches(
        self, split: str, batch_size: int, shard: tuple[int, int] = (0, 1)
    ) -> Iterator[Batch]:
        encoded = self._split(split)
        self.require_images(split)
        draws = (
            (np.arange(start, min(start + batch_size, len(encoded))), _NO_CHANCE)
            for start in starts(len(encoded), batch_size, shard)
        )
        decoded = _decoded(encoded, self.evaluation_view, draws)
        return ((self.normalization(images), labels) for images, labels, _ in decoded)

    def split_size(self, split: str) -> int:
        return len(self._split(split))

    def _split(self, split: str) -> EncodedImages:
        return self.evaluation[choose("split", split, self.evaluation)]


def streamed_data(
    name: str,
    *,
    train: EncodedImages,
    test: EncodedImages,
    class_names: tuple[str, ...],
    presentation: Presentation,
    train_examples: int | None,
    validation_fraction: float,
) -> StreamedImageData:
    """Makes a data set that streams, with part of the training images held out.

    See `official.data.load` for `train_examples` and `validation_fraction`.

    Raises:
        ValueError: a label is not that of a class, or `train_examples` exceeds the
            number of training images.
    """
    for split, images in (("train", train), (TEST_SPLIT, test)):
        check_labels(name, split, images.labels, len(class_names))
    training_sizes(name, len(train), train_examples, validation_fraction)
    train = train.take(slice(train_examples))
    held_out = validation_mask(train.labels, validation_fraction)
    return StreamedImageData(
        name=name,
        input_shape=presentation.input_shape,
        class_names=class_names,
        train_size=int(np.count_nonzero(~held_out)),
        normalization=presentation.normalization,
        augmentation=presentation.augmentation,
        train=train.take(~held_out),
        evaluation={TEST_SPLIT: test, VALIDATION_SPLIT: train.take(held_out)},
        train_view=presentation.train_view,
        evaluation_view=presentation.evaluation_view,
    )


def _decoded(
    encoded: EncodedImages, view: View, draws: Iterable[tuple[np.ndarray, Iterable[int]]]
) -> Iterator[tuple[np.ndarray, np.ndarray, Iterable[int]]]:
    """Raw pixels, labels and chance of each draw, decoded some draws ahead."""
    pool = thread_pool()
    ahead = collections.deque()

    def next_batch():
        indices, bits, views = ahead.popleft()
        labels = encoded.labels[indices].astype(np.int32)
        return np.stack([view.result() for view in views]), labels, bits

    try:
        for indices, bits in draws:
            chances = zip(indices, bits, strict=False)
            views = [pool.submit(encoded.view, i, view, chance) for i, chance in chances]
            ahead.append((indices, bits, views))
            if len(ahead) > _BATCHES_AHEAD:
                yield next_batch()
        while ahead:
            yield next_batch()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
