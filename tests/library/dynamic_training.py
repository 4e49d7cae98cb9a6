"""A small network trained by SET or RigL, and what every such training keeps."""

import keras
import numpy as np

import dlth_tf as dlth

_RNG = np.random.default_rng(0)
X = _RNG.normal(size=(128, 12)).astype("float32")
Y = (X[:, :3] + X[:, 3:6] ** 2).astype("float32")
STEPS = 8  # per epoch, in batches of 16
RATE, MOMENTUM = 0.05, 0.9


def compiled(optimizer=None, **options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((12,)),
            keras.layers.Dense(16, activation="tanh", name="first"),
            keras.layers.Dense(10, activation="tanh", name="second"),
            keras.layers.Dense(3, name="head"),
        ]
    )
    optimizer = optimizer or keras.optimizers.SGD(RATE, momentum=MOMENTUM)
    model.compile(optimizer, "mse", **options)
    return model


def ticket_for(model):
    return dlth.random_ticket(model, {"first": 0.8, "second": 0.6}, seed=0)


def fit(model, *callbacks, epochs=2, **options):
    options = {"batch_size": 16, **options}
    return model.fit(
        X, Y, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks, **options
    )


ALGORITHMS = {
    "set": lambda ticket: dlth.SparseEvolutionaryTraining(ticket, every=3, seed=5),
    "rigl": lambda ticket: dlth.RigL(ticket, until=13, every=3, fraction=0.5),
}


class Recorder(keras.callbacks.Callback):
    """Kernels, masks and momentum after every step."""

    def __init__(self, training):
        super().__init__()
        self.training = training
        self.steps = []

    def on_train_batch_end(self, batch, logs=None):
        optimizer = self.model.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        momenta = getattr(optimizer, "momentums", [])
        averages = optimizer._model_variables_moving_average if optimizer.use_ema else []
        found = {}
        for name, kernel, mask in self.training.ticket.pairs(self.model):
            place = optimizer._get_variable_index(kernel)
            found[name] = {
                "weights": keras.ops.convert_to_numpy(kernel).copy(),
                "mask": mask,
            }
            if momenta:
                found[name]["momentum"] = np.array(momenta[place])
            if averages:
                found[name]["average"] = np.array(averages[place])
        self.steps.append(found)


def assert_counts_and_zeros(recorded, ticket):
    for step, found in enumerate(recorded):
        for name, values in found.items():
            kept = np.count_nonzero(values["mask"])
            assert kept == np.count_nonzero(ticket.masks[name]), (name, step)
            for kind in {"weights", "average"} & values.keys():
                assert not values[kind][~values["mask"]].any(), (kind, name, step)


def assert_same_masks(ticket, expected):
    for name, mask in expected.masks.items():
        np.testing.assert_array_equal(ticket.masks[name], mask, name)


def assert_close(model, expected, tolerance):
    for got, wanted in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance)
