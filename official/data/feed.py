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
        return iter(batches)
    import tensorflow as tf

    dataset = tf.data.Dataset.from_generator(
        lambda: batches,
        output_signature=(
            tf.TensorSpec((batch_size, *input_shape), tf.float32),
            tf.TensorSpec((batch_size,), tf.int32),
        ),
    )
    endless = tf.data.experimental.assert_cardinality(
        tf.data.experimental.INFINITE_CARDINALITY
    )
    return dataset.apply(endless).prefetch(_BATCHES_AHEAD)


@contextlib.contextmanager
def reading_errors() -> Iterator[None]:
    """Makes an error in reading an image what it was before TensorFlow reported it.

    Raises:
        OSError: an image could not be read; the message is one line and names it.
    """
    try:
        yield
    except Exception as error:
        found = re.search(r"^OSError: (.*)$", str(error), re.MULTILINE)
        if not found:
            raise
        raise OSError(found[1]) from error
