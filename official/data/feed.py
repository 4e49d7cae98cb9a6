"""Handing NumPy batches to `model.fit`."""

import contextlib
import re
from collections.abc import Iterable, Iterator

import keras

from official.data.image_data import Batch

_BATCHES_AHEAD = 4


def feed(
    batches: Iterable[Batch],
    *,
    batch_size: int,
    input_shape: tuple[int, int, int],
):
    """Returns what `model.fit` should be given to train on endless `batches`.

    On the TensorFlow backend that is a `tf.data.Dataset`, which prepares batches
    while the step before runs; on others a generator. Call `fit` with
    `steps_per_epoch`, and with `shuffle=False`, as the batches are shuffled already.

    Args:
        batches: pairs of images and labels, as `ImageData.train_batches` makes
            them. Keras may iterate over them more than once.
        batch_size: images per batch.
        input_shape: height, width and channels of an image.
    """
    if keras.backend.backend() != "tensorflow":
        return _readable(batches)
    import tensorflow as tf

    dataset = tf.data.Dataset.from_generator(
        lambda: _readable(batches),
        output_signature=(
            tf.TensorSpec((batch_size, *input_shape), tf.float32),
            tf.TensorSpec((batch_size,), tf.int32),
        ),
    )
    endless = tf.data.experimental.assert_cardinality(
        tf.data.experimental.INFINITE_CARDINALITY
    )
    return dataset.apply(endless).prefetch(_BATCHES_AHEAD)


class UnreadableData(OSError):
    """An image could not be read; the message is one line and names it."""


@contextlib.contextmanager
def reading_errors() -> Iterator[None]:
    """Makes an error in reading an image what it was before TensorFlow reported it.

    Raises:
        UnreadableData: an image could not be read.
    """
    try:
        yield
    except UnreadableData:
        raise
    except Exception as error:
        found = re.search(rf"{UnreadableData.__name__}: (.*)$", str(error), re.MULTILINE)
        if not found:
            raise
        raise UnreadableData(found[1]) from error


def _readable(batches: Iterable[Batch]) -> Iterator[Batch]:
    """The batches; an error of any kind in reading one becomes `UnreadableData`."""
    try:
        yield from batches
    except OSError as error:
        raise UnreadableData(str(error)) from error
