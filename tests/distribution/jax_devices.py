"""Trainings on one and on four virtual devices of JAX, compared.

A process of its own: JAX lays its devices out once. Prints what was found.
"""

import contextlib
import io
import json
import sys
from pathlib import Path
from unittest import mock

import keras
import numpy as np
from absl.testing import flagsaver

import dlth_tf as dlth
from dlth_tf import train
from dlth_tf.experiment.engine.fit_callbacks import StopAfter
from official.distribution.replicas import synchronize_batch_norm
from tests.distribution.test_program import files
from tests.program.conftest import QUICK, results_in

STEPS = 20
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
    first, last = keras.layers.Dense(16, "relu"), keras.layers.Dense(4)
    norm = keras.layers.BatchNormalization()
    model = keras.Sequential([keras.Input((12,)), first, norm, last])
    synchronize_batch_norm(model)
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
        "rigl": lambda: dlth.RigL(ticket, every=7, until=15),
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
                self.model.layers[::2], self._callback.variables, strict=True
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


def interrupted(layout: str, folder: str) -> dict:
    """What a `fit` that raised leaves, and how one that goes on from a backup ends."""
    with over(layout):
        model, broken, restored = network(), network(), network()
        training, again = algorithm("rigl", model), algorithm("rigl", restored)
        fit(model, training)
        broken.optimizer.build(broken.trainable_variables)
        before = [variable.path for variable in broken.optimizer.variables]
        backup = keras.callbacks.BackupAndRestore(folder)
        with contextlib.suppress(InterruptedError):
            fit(broken, algorithm("rigl", broken), backup, Failing())
        after = [variable.path for variable in broken.optimizer.variables]
        fit(restored, again, keras.callbacks.BackupAndRestore(folder))
        return {
            "same_variables": before == after,
            "loss_afterwards": fit(broken, epochs=1).history["loss"],
            "weights": largest_difference(model, restored),
            "same_ticket": same(training.ticket, again.ticket),
            "steps": again.step,
        }


def program(folder: Path, *flags: str) -> dict:
    """What the program said and left."""
    task = ["--model=lenet_300_100", "--method=rigl", "--mask_every=2"]
    arguments = [*QUICK, *task, "--validation_fraction=0.25"]
    with flagsaver.flagsaver(), contextlib.redirect_stderr(io.StringIO()) as errors:
        train.flags.FLAGS(["train", *arguments, f"--output_dir={folder}", *flags])
        code = train.main(["train"])
    return {
        "code": code,
        "said": errors.getvalue(),
        "results": results_in(folder) if code == 0 else [],
        "left_behind": keras.distribution.distribution() is not None,
    }


def killed(folder: Path, *flags: str) -> int:
    """Ends the program at its tenth step, within an epoch; tells of its devices."""
    steps, devices = [], set()

    def at_step(callback, batch, logs=None):
        steps.append(batch)
        if len(steps) == 10:
            devices.update(callback.model.trainable_variables[0].value.devices())
            raise SystemExit

    with (
        mock.patch.object(StopAfter, "on_train_batch_end", at_step),
        contextlib.suppress(SystemExit),
    ):
        program(folder, *flags)
    return len(devices)


def programs(folder: Path) -> dict:
    mirrored = ("--distribution_strategy=mirrored", "--checkpoint_every=3")
    refused = {
        "batch": ["--distribution_strategy=mirrored", "--batch_size=30"],
        "strategy": ["--distribution_strategy=multi_worker_mirrored"],
        "workers": ["--worker_hosts=a:1,b:1", "--task_index=0"],
        "gpus": ["--distribution_strategy=mirrored", "--num_gpus=2"],
    }
    found = {
        "one": program(folder / "one"),
        "four": program(folder / "four", *mirrored),
        "refused": {
            name: program(folder / name, *flags) for name, flags in refused.items()
        },
    }
    found["devices"] = killed(folder / "killed", *mirrored)
    found["checkpoints"] = len(list(folder.glob("killed/stages/*/checkpoint*")))
    found["gone on"] = program(folder / "killed", *mirrored)
    first, second = (files(folder / name, "weights") for name in ("four", "killed"))
    found["same_bits"] = all(
        (second[name] == value).all() for name, value in first.items()
    )
    return found


def main(folder: str) -> None:
    found = {
        **{name: compare(name) for name in ("transformation", "fixed", "set")},
        "rigl": compare("rigl", scaled_and_averaged),
        "interrupted": interrupted("model", f"{folder}/backup"),
        "program": programs(Path(folder)),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
