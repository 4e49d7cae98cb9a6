"""Handing NumPy batches to `model.fit`, to all replicas of a strategy their parts."""

import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

from official.data.image_data import Batch, ImageData
from official.distribution.cluster import Workers
from official.private_keras import ON_TENSORFLOW, tf

_BATCHES_AHEAD = 4


def feed(
    data: ImageData,
    batch_size: int,
    *,
    seed: int,
    first_step: int = 0,
    strategy: Any = None,
) -> Any:
    """Returns what `model.fit` should be given to train on endless batches.

    On the TensorFlow backend that is a `tf.data.Dataset`, which prepares batches
    while the step before runs; on others a generator. Call `fit` with
    `steps_per_epoch`, and with `shuffle=False`, as the batches are shuffled already.

    However many replicas there are, a step trains on the same `batch_size` images: the
    first replica gets the first part of them, and so on.

    Args:
        data: see `ImageData.train_batches` for `seed` and `first_step`.
        batch_size: images per step, those of all replicas together.
        strategy: what the model was built under, if any.

    Raises:
        ValueError: the replicas can't share a batch evenly.
    """
    workers = Workers(strategy)
    if batch_size % workers.replicas:
        raise ValueError(
            f"The batch size must be a multiple of the {workers.replicas} replicas that "
            f"share a batch. Received: {batch_size}"
        )
    batches = data.train_batches(
        batch_size, seed=seed, first_step=first_step, shard=workers.shard
    )
    if not ON_TENSORFLOW:
        return _readable(batches)  # on JAX Keras shares out each batch
    own_size = batch_size // workers.count
    dataset = tf.data.Dataset.from_generator(
        lambda: _readable(batches),
        output_signature=(
            tf.TensorSpec((own_size, *data.input_shape), tf.float32),
            tf.TensorSpec((own_size,), tf.int32),
        ),
    )
    endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
    dataset = dataset.apply(endless).prefetch(_BATCHES_AHEAD)
    if strategy is None:
        return dataset
    per_replica = batch_size // workers.replicas
    return strategy.distribute_datasets_from_function(
        lambda _: dataset.rebatch(per_replica, drop_remainder=True)
    )


class UnreadableData(OSError):
    """An image could not be read; the message is one line and names it."""


@contextlib.contextmanager
def reading_errors() -> Iterator[None]:
    """Makes TensorFlow's report of an image that can't be read `UnreadableData` again."""
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
