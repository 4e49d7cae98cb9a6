"""What one of two workers does in the tests of several real processes."""

import hashlib
import json
import sys

import keras
import numpy as np

import dlth_tf as dlth
from official.distribution.cluster import Workers, find_cluster
from official.distribution.replicas import average_statistics
from official.distribution.strategies import make_strategy
from official.private_keras import multi_worker_fit

_X = np.random.default_rng(0).normal(size=(64, 12)).astype("float32")
_Y = (_X[:, :3] ** 2).astype("float32")


def network(strategy) -> keras.Model:
    with strategy.scope():
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((12,)),
                keras.layers.Dense(16, activation="relu"),
                keras.layers.BatchNormalization(),
                keras.layers.Dense(3),
            ]
        )
        model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse", metrics=["mae"])
    return model


def batches():
    """A user's own data set of global batches."""
    import tensorflow as tf

    options = tf.data.Options()
    policy = tf.data.experimental.AutoShardPolicy.DATA
    options.experimental_distribute.auto_shard_policy = policy
    data = tf.data.Dataset.from_tensor_slices((_X, _Y)).repeat().batch(16, True)
    return data.with_options(options)


def fails(model) -> str:
    """What a plain `fit` says; nothing if it works."""
    try:
        model.fit(batches(), steps_per_epoch=2, verbose=0)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def bits(model) -> str:
    weights = [np.ascontiguousarray(w).tobytes() for w in model.get_weights()]
    return hashlib.sha256(b"".join(weights)).hexdigest()


def nonzero(model, ticket) -> int:
    """How many removed weights are not exactly zero."""
    return sum(
        np.count_nonzero(kernel.numpy()[~mask]) for _, kernel, mask in ticket.pairs(model)
    )


def gradual(ticket):
    from dlth_tf.tfmot.engine import gradual_schedule

    return [dlth.MagnitudePruning(gradual_schedule(0.5, 8, 4))]


CALLBACKS = {
    "transformation": lambda ticket: [
        dlth.RandomSparseTransformation(ticket, growth=0.2, every=1, bound=1.0)
    ],
    "fixed": lambda ticket: [dlth.FixedTicket(ticket), dlth.CoupledL2(0.01)],
    "set": lambda ticket: [dlth.SparseEvolutionaryTraining(ticket, every=3)],
    "rigl": lambda ticket: [dlth.RigL(ticket, every=3, until=9)],
    "gradual": gradual,
    "early_bird": lambda ticket: [dlth.EarlyBird(0.5)],
}


def main(hosts: str, index: str) -> None:
    strategy = make_strategy(
        "multi_worker_mirrored",
        num_gpus=0,
        cluster=find_cluster(worker_hosts=hosts.split(","), task_index=int(index)),
    )
    workers = Workers(strategy)
    found = {"shard": workers.shard, "plain_fit": fails(network(strategy))}
    model = network(strategy)
    with multi_worker_fit():
        history = model.fit(batches(), steps_per_epoch=4, epochs=3, verbose=0)
    found["loss"] = history.history["loss"]
    average_statistics(model)
    found["fit"] = bits(model)
    for name, make in CALLBACKS.items():
        model = network(strategy)
        callbacks = make(dlth.random_ticket(model, 0.5, seed=0))
        with multi_worker_fit():
            model.fit(
                batches(), steps_per_epoch=6, epochs=2, verbose=0, callbacks=callbacks
            )
        average_statistics(model)
        ticket = callbacks[0].ticket
        found[name] = [bits(model), nonzero(model, ticket), ticket.sparsity]
    found["sum"] = workers.sum([1.0, workers.shard[0]]).tolist()
    found["from_chief"] = workers.from_chief(workers.shard[0] + 5.0).tolist()
    print(json.dumps(found, default=float))


if __name__ == "__main__":
    main(*sys.argv[1:])
