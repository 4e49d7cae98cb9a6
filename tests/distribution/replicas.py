"""Trainings on one and on several logical devices of this machine's CPU, compared.

A process of its own: TensorFlow lays its devices out once. Prints what was found.
"""

import contextlib
import json
import sys

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context

import dlth_tf as dlth
from official.distribution.replicas import (
    LossScaling,
    average_statistics,
    synchronize_batch_norm,
)
from official.distribution.strategies import make_strategy

STEPS = 50
_BATCH = 16
_X = np.random.default_rng(0).normal(size=(160, 12)).astype("float32")
_Y = (_X[:, :3] ** 2).astype("float32")


def lay_out_devices(count: int) -> None:
    (cpu,) = tf.config.list_physical_devices("CPU")
    devices = [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
    tf.config.set_logical_device_configuration(cpu, devices)


def strategy_of(replicas: int):
    # TensorFlow's own choice can't be used by groups of different size in one process.
    operations = tf.distribute.ReductionToOneDevice()
    devices = [f"CPU:{place}" for place in range(replicas)]
    return tf.distribute.MirroredStrategy(devices, operations) if replicas else None


def sgd():
    return keras.optimizers.SGD(0.05, momentum=0.9)


def network(strategy, normalized=False, optimizer=sgd, policy=None, jit=False):
    with strategy.scope() if strategy else contextlib.nullcontext():
        keras.utils.set_random_seed(0)
        norm = [keras.layers.BatchNormalization(dtype=policy)] if normalized else []
        first = keras.layers.Dense(16, activation="relu", dtype=policy)
        last = keras.layers.Dense(3, dtype=policy)
        model = keras.Sequential([keras.Input((12,)), first, *norm, last])
        model.compile(optimizer(), "mse", jit_compile=jit)
    return model


def fit(model, *callbacks, x=_X, y=_Y, steps=STEPS):
    data = tf.data.Dataset.from_tensor_slices((x, y)).repeat().batch(_BATCH, True)
    fitted = {"verbose": 0, "steps_per_epoch": min(steps, 10), "shuffle": False}
    return model.fit(data, epochs=max(1, steps // 10), callbacks=[*callbacks], **fitted)


def callbacks_for(name: str, model) -> list:
    ticket = dlth.random_ticket(model, 0.5, seed=0)
    if name == "transformation":
        growing = dlth.RandomSparseTransformation(ticket, growth=0.1, every=2)
        return [growing, dlth.CoupledL2(0.05)]
    if name == "decoupled":
        growth = {"growth": 1.0, "every": 2, "bound": 8.0}
        return [dlth.RandomSparseTransformation(ticket, **growth, decoupled=True)]
    if name == "fixed":
        return [dlth.FixedTicket(ticket), dlth.CoupledL2(0.05)]
    if name == "set":
        return [dlth.SparseEvolutionaryTraining(ticket, every=7)]
    if name == "rigl":
        return [dlth.RigL(ticket, every=7, until=40)]
    if name == "early_bird":
        return [dlth.EarlyBird(0.5)]
    from dlth_tf.tfmot.engine import gradual_schedule

    return [dlth.MagnitudePruning(gradual_schedule(0.8, 42, 7))]


def trained(name: str, replicas: int):
    model = network(strategy_of(replicas))
    callbacks = callbacks_for(name, model)
    loss = fit(model, *callbacks).history["loss"]
    return model, loss, callbacks[0].ticket


def copies(variable) -> list[np.ndarray]:
    """What each replica holds of a variable."""
    return [copy.numpy() for copy in variable.value.values]


def copies_differ(model) -> bool:
    """Whether a variable is not the same on every replica."""
    held = [copies(variable) for variable in model.trainable_variables]
    return any((some[0] != other).any() for some in held for other in some[1:])


def largest_difference(a, b) -> float:
    pairs = zip(a.get_weights(), b.get_weights(), strict=True)
    return float(max(np.abs(x - y).max() for x, y in pairs))


def compare(name: str, numbers) -> dict:
    alone, loss, ticket = trained(name, 0)
    found = {}
    for replicas in numbers:
        model, its_loss, its_ticket = trained(name, replicas)
        found[str(replicas)] = {
            "weights": largest_difference(alone, model),
            "loss": float(np.abs(np.subtract(loss, its_loss)).max()),
            "same_ticket": its_ticket == ticket
            or all((its_ticket.masks[k] == m).all() for k, m in ticket.masks.items()),
            "copies_differ": copies_differ(model),
            "nonzero": nonzero(model, its_ticket) if name != "early_bird" else 0,
            "left_behind": any(
                v.regularizer or v.constraint for v in model.trainable_variables
            ),
        }
    return found


def nonzero(model, ticket) -> int:
    """How many removed weights are not exactly zero."""
    return sum(
        np.count_nonzero(kernel.numpy()[~mask]) for _, kernel, mask in ticket.pairs(model)
    )


class SentTypes(keras.callbacks.Callback):
    """The types of what devices send each other in a training's first steps."""

    def on_train_begin(self, logs=None):
        context.enable_run_metadata()

    def on_train_end(self, logs=None):
        functions = context.export_run_metadata().function_graphs
        context.disable_run_metadata()
        self.found = {
            tf.dtypes.as_dtype(node.attr["T"].type).name
            for function in functions
            for graph in function.partition_graphs
            for node in graph.node
            if node.op == "_Send"
        }


def sent_types(name: str) -> list[str]:
    model, sent = network(strategy_of(2)), SentTypes()
    fit(model, *callbacks_for(name, model), sent, steps=2)
    return sorted(sent.found)


def half_precision() -> dict:
    found = {}
    for policy in ("mixed_bfloat16", "mixed_float16"):
        scaled = policy == "mixed_float16"
        optimizer = (lambda: LossScaling(sgd())) if scaled else sgd
        model = network(strategy_of(2), policy=policy, optimizer=optimizer)
        ticket = dlth.random_ticket(model, 0.5, seed=0)
        loss = fit(model, dlth.FixedTicket(ticket), dlth.CoupledL2(0.01), steps=20)
        found[policy] = [
            nonzero(model, ticket),
            loss.history["loss"],
            copies_differ(model),
        ]
    model = network(make_strategy("one_device", 0), policy="mixed_bfloat16", jit=True)
    ticket = dlth.random_ticket(model, 0.5, seed=0)
    loss = fit(model, dlth.FixedTicket(ticket), steps=20).history["loss"]
    found["compiled"] = [nonzero(model, ticket), loss, False]
    return found


def overflow_on_one_replica() -> dict:
    model = network(
        strategy_of(2),
        policy="mixed_float16",
        optimizer=lambda: LossScaling(sgd(), initial_scale=1.0),
    )
    before = model.get_weights()
    x = _X[:_BATCH].copy()
    x[-1] = 6e4
    fit(model, x=x, y=_Y[:_BATCH], steps=1)
    same = [
        bool((a == b).all()) for a, b in zip(before, model.get_weights(), strict=True)
    ]
    return {"unchanged": all(same), "scale": float(model.optimizer.dynamic_scale.numpy())}


def statistics(folder: str) -> dict:
    model = network(strategy_of(2), normalized=True)
    fit(model, steps=20)
    before = copies(model.layers[1].moving_mean)
    average_statistics(model)
    after = copies(model.layers[1].moving_mean)
    alone = network(None, normalized=True)
    alone.set_weights(model.get_weights())
    model.export(folder, verbose=False)
    exported = tf.saved_model.load(folder)
    served = exported.serve(_X).numpy()
    return {
        "apart_before": float(np.abs(before[0] - before[1]).max()),
        "apart_after": float(np.abs(after[0] - after[1]).max()),
        "off_the_mean": float(np.abs(after[1] - np.mean(before, axis=0)).max()),
        "export": float(np.abs(served - alone.predict(_X, verbose=0)).max()),
    }


def synchronized() -> float:
    models = [network(strategy_of(replicas), normalized=True) for replicas in (0, 2)]
    for model in models:
        synchronize_batch_norm(model)
        fit(model, steps=20)
    return largest_difference(*models)


def main(folder: str) -> None:
    lay_out_devices(4)
    found = {
        "transformation": compare("transformation", (2, 4)),
        "fixed": compare("fixed", (2, 4)),
        **{
            name: compare(name, (2,))
            for name in ("decoupled", "set", "rigl", "gradual", "early_bird")
        },
        "sent_types": {name: sent_types(name) for name in ("fixed", "transformation")},
        "half_precision": half_precision(),
        "overflow": overflow_on_one_replica(),
        "statistics": statistics(f"{folder}/export"),
        "synchronized": synchronized(),
    }
    print(json.dumps(found, default=float))


if __name__ == "__main__":
    main(*sys.argv[1:])
