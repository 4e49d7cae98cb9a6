"""Feeding the replicas of a strategy their parts of the same global batches."""

from typing import TYPE_CHECKING

import keras

from official.data.feed import feed
from official.data.image_data import ImageData
from official.distribution.strategies import replicas_of
from official.distribution.workers import Workers

if TYPE_CHECKING:
    import tensorflow as tf


def distributed_feed(
    data: ImageData,
    batch_size: int,
    *,
    seed: int,
    first_step: int,
    strategy: "tf.distribute.Strategy | None",
):
    """Returns what `model.fit` should be given under a strategy, or under none.

    However many replicas there are, a step trains on the same `batch_size` images: the
    first replica gets the first part of them, and so on.

    Args:
        data: see `ImageData.train_batches` for `seed` and `first_step`.
        batch_size: images per step, those of all replicas together.
        strategy: what the model was built under.

    Raises:
        ValueError: the replicas can't share a batch evenly.
    """
    shard = Workers(strategy).shard
    replicas = replicas_of(strategy)
    if batch_size % replicas:
        raise ValueError(
            f"The batch size must be a multiple of the {replicas} replicas that share a "
            f"batch. Received: {batch_size}"
        )
    batches = data.train_batches(
        batch_size, seed=seed, first_step=first_step, shard=shard
    )
    own = feed(batches, batch_size=batch_size // shard[1], input_shape=data.input_shape)
    if strategy is None or keras.backend.backend() != "tensorflow":
        return own  # on JAX Keras shares out each batch
    return strategy.distribute_datasets_from_function(
        lambda _: own.rebatch(batch_size // replicas, drop_remainder=True)
    )
