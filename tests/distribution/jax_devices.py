"""Trainings on one and on four virtual devices of JAX, compared.

A process of its own: JAX lays its devices out once. Prints what was found.
"""

import contextlib
import json
import sys

import keras
import numpy as np

import dlth_tf as dlth

STEPS = 30
_PER_EPOCH = 10
_X = np.random.default_rng(0).normal(size=(160, 12)).astype("float32")
_Y = (_X[:, :4] ** 2).astype("float32")


def data_parallel():
    return keras.distribution.DataParallel()


def model_parallel():
    mesh = keras.distribution.DeviceMesh((2, 2), ["batch", "model"])
    layouts = keras.distribution.LayoutMap(mesh)
    layouts[".*kernel"] = (None, "model")
    layouts[".*bias"] = ("model",)
    return keras.distribution.ModelParallel(layout_map=layouts)


LAYOUTS = {"data": data_parallel, "model": model_parallel}


def over(layout: str):
    return LAYOUTS[layout]().scope() if layout in LAYOUTS else contextlib.nullcontext()


def sgd(**more):
    return keras.optimizers.SGD(0.05, momentum=0.9, **more)


def scaled_and_averaged():
    return keras.optimizers.LossScaleOptimizer(sgd(use_ema=True, ema_momentum=0.9))


def network(optimizer=sgd):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(16, "relu"), keras.layers.Dense(4)]
    model = keras.Sequential([keras.Input((12,)), *layers])
    model.compile(optimizer(), "mse")
    return model


def fit(model, *callbacks, epochs=STEPS // _PER_EPOCH, **more):
    settings = {"batch_size": 16, "verbose": 0, "shuffle": False}
    return model.fit(_X, _Y, epochs=epochs, callbacks=[*callbacks], **settings, **more)


def algorithm(name: str, model):
    ticket = dlth.random_ticket(model, 0.5, seed=0)
    return {
        "transformation": lambda: dlth.RandomSparseTransformation(
            ticket, growth=0.1, every=2
        ),
        "fixed": lambda: dlth.FixedTicket(ticket),
        "set": lambda: dlth.SparseEvolutionaryTraining(ticket, every=7),
        "rigl": lambda: dlth.RigL(ticket, every=7, until=25),
    }[name]()


class Shardings(keras.callbacks.Callback):
    """How kernels, and the mask that a callback has of each, lie on the devices."""

    def __init__(self, callback):
        super().__init__()
        self._callback = callback

    def on_epoch_end(self, epoch, logs=None):
        pairs = [
            (layer.kernel.value, mask.value)
            for layer, mask in zip(
                self.model.layers, self._callback.variables, strict=True
            )
        ]
        self.parts = [kernel.sharding.shard_shape(kernel.shape) for kernel, _ in pairs]
        self.masks_lie_like_kernels = all(
            mask.sharding.is_equivalent_to(kernel.sharding, kernel.ndim)
            for kernel, mask in pairs
        )


def trained(name: str, layout: str, optimizer):
    """The model, its losses, and what callbacks found."""
    with over(layout):
        model = network(optimizer)
        callback = algorithm(name, model)
        shardings = Shardings(callback)
        loss = fit(model, callback, dlth.CoupledL2(0.01), shardings).history["loss"]
    return model, loss, callback.ticket, shardings


def nonzero(model, ticket) -> int:
    """How many removed weights are not exactly zero."""
    return sum(
        int(np.count_nonzero(keras.ops.convert_to_numpy(kernel)[~mask]))
        for _, kernel, mask in ticket.pairs(model)
    )


def largest_difference(a, b) -> float:
    pairs = zip(a.get_weights(), b.get_weights(), strict=True)
    return float(max(np.abs(x - y).max() for x, y in pairs))


def same(ticket, other) -> bool:
    return all((other.masks[name] == mask).all() for name, mask in ticket.masks.items())


def compare(name: str, optimizer=sgd) -> dict:
    alone, loss, ticket, _ = trained(name, "one device", optimizer)
    found = {}
    for layout in LAYOUTS:
        model, its_loss, its_ticket, shardings = trained(name, layout, optimizer)
        found[layout] = {
            "weights": largest_difference(alone, model),
            "loss": float(np.abs(np.subtract(loss, its_loss)).max()),
            "same_ticket": same(ticket, its_ticket),
            "nonzero": nonzero(model, its_ticket),
            "parts": shardings.parts,
            "masks_lie_like_kernels": shardings.masks_lie_like_kernels,
        }
    return found


class Failing(keras.callbacks.Callback):
    """Raises within the second epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self._epoch, batch) == (1, 5):
            raise InterruptedError


def raised(layout: str) -> dict:
    """What is left of a `fit` that raised, and of one after it."""
    with over(layout):
        model = network()
        model.optimizer.build(model.trainable_variables)
        before = [variable.path for variable in model.optimizer.variables]
        with contextlib.suppress(InterruptedError):
            fit(model, algorithm("rigl", model), Failing())
        after = [variable.path for variable in model.optimizer.variables]
        return {"same_variables": before == after, "loss": fit(model).history["loss"]}


def backed_up(layout: str, folder: str) -> dict:
    """How a training that was interrupted ends, beside one that was not."""
    with over(layout):
        model = network()
        training = algorithm("rigl", model)
        fit(model, training)
        interrupted = network()
        backup = keras.callbacks.BackupAndRestore(folder)
        with contextlib.suppress(InterruptedError):
            fit(interrupted, algorithm("rigl", interrupted), backup, Failing())
        restored = network()
        again = algorithm("rigl", restored)
        fit(restored, again, keras.callbacks.BackupAndRestore(folder))
        return {
            "weights": largest_difference(model, restored),
            "same_ticket": same(training.ticket, again.ticket),
            "steps": again.step,
        }


def main(folder: str) -> None:
    found = {
        **{name: compare(name) for name in ("transformation", "fixed", "set", "rigl")},
        "scaled and averaged": compare("rigl", scaled_and_averaged),
        "raised": raised("model"),
        "backed up": backed_up("data", folder),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
