"""Reading golden trajectories and following them with the public callbacks."""

import json
import os
import re
from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_digits

import dlth_tf as dlth
from official.training.optimizers import SGD
from tests.library.models import compilation

FOLDER = Path(
    os.environ.get("DLTH_GOLDEN_DIR") or Path(__file__).parent.parent / "golden"
)
TOLERANCE = 1e-5
LAMBDA_TOLERANCE = 1e-6
# BatchNorm amplifies rounding: float32 trajectories of `conv` part later.
LAST_COMPARABLE_STEP = {"mlp": float("inf"), "conv": 100}
_POWERS = {"x": 1, "x^2": 2, "x^3": 3}


def read_all() -> list["Golden"]:
    """Every file of the folder."""
    return [Golden(path) for path in sorted(FOLDER.glob("*.npz"))]


class Golden:
    """One file: its settings, and its arrays by what they are."""

    def __init__(self, path: Path):
        self.name = path.stem
        with np.load(path) as arrays:
            self.arrays = dict(arrays)
        self.config = json.loads(str(self.arrays["config"]))

    @property
    def cycles(self) -> int:
        """How many cycles an iterative trajectory has; 0: it is not one."""
        return self.config.get("cycles", 0)

    @property
    def lambdas(self) -> np.ndarray:
        return self.arrays["lambda"]

    def state(self, prefix: str) -> dict[str, np.ndarray]:
        """Arrays of one recorded state: "3.weight" to its values."""
        start = prefix + "/"
        return {k[len(start) :]: v for k, v in self.arrays.items() if k.startswith(start)}

    def recorded(self, stage: str) -> list[int]:
        """Steps after which states called "{stage}{step}" were recorded."""
        found = (re.fullmatch(rf"{stage}(\d+)/.*", key) for key in self.arrays)
        return sorted({int(match[1]) for match in found if match})

    def batches(self, key: str) -> tuple[np.ndarray, np.ndarray, int]:
        """Images and labels in the order of training, and the size of a batch."""
        indices = self.arrays[key]
        digits = load_digits()
        images = (digits.images / 16).astype("float32")[..., None]
        flat = indices.reshape(-1)
        return images[flat], digits.target[flat].astype("int32"), indices.shape[1]

    def ticket(self, prefix: str = "mask") -> dlth.Ticket:
        masks = self.state(prefix)
        return dlth.Ticket({k.split(".")[0]: v.astype(bool) for k, v in masks.items()})

    def transformation(self, mask: str = "mask") -> dlth.RandomSparseTransformation:
        return dlth.RandomSparseTransformation(
            self.ticket(mask),
            growth=self.config["growth"],
            every=self.config["interval"],
            bound=self.config["bound"],
            hold=self.config["hold_steps"],
            power=_POWERS[self.config["schedule"]],
        )

    def compiled_network(self, learning_rate, batch_norm=None, **options) -> keras.Model:
        model = build_network(self.state("init"), batch_norm or _unbiased_batch_norm())
        model.compile(
            # Keras's own keeps the earlier rate in its momentum after a drop.
            SGD(learning_rate, self.config["momentum"]),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            **compilation(options),
        )
        return model


def build_network(init: dict[str, np.ndarray], batch_norm) -> keras.Model:
    """The network whose layers have arrays of these names and shapes."""
    names = sorted({key.rsplit(".", 1)[0] for key in init}, key=int)
    layers: list = [keras.Input((8, 8, 1))]
    images = True
    for name in names:
        weight, has_bias = init[f"{name}.weight"], f"{name}.bias" in init
        if weight.ndim == 4:
            *window, _, filters = weight.shape
            layers.append(
                keras.layers.Conv2D(
                    filters, window, padding="same", use_bias=has_bias, name=name
                )
            )
        elif weight.ndim == 1:
            normalize = batch_norm(momentum=0.9, epsilon=1e-5, name=name)
            layers += [normalize, keras.layers.ReLU()]
        else:
            if images:
                flat = keras.layers.Flatten, keras.layers.GlobalAveragePooling2D
                layers.append(flat[len(layers) > 1]())
                images = False
            activation = None if name == names[-1] else "relu"
            units = weight.shape[1]
            layers.append(
                keras.layers.Dense(units, activation, use_bias=has_bias, name=name)
            )
    return keras.Sequential(layers)


def _unbiased_batch_norm():
    # Like PyTorch it keeps the unbiased variance.
    from official.modeling.layers import BatchNormalization

    return BatchNormalization


def variable(model: keras.Model, key: str) -> keras.Variable:
    """The variable of a golden name: "4.running_var"."""
    name, attribute = key.rsplit(".", 1)
    layer = model.get_layer(name)
    normalizes = hasattr(layer, "gamma")
    return {
        "weight": lambda: layer.gamma if normalizes else layer.kernel,
        "bias": lambda: layer.beta if normalizes else layer.bias,
        "running_mean": lambda: layer.moving_mean,
        "running_var": lambda: layer.moving_variance,
    }[attribute]()


def load(model: keras.Model, state: dict[str, np.ndarray]) -> None:
    for key, value in state.items():
        variable(model, key).assign(value)


def assert_state(model: keras.Model, state: dict[str, np.ndarray], where: str) -> None:
    assert state, f"{where}: nothing recorded"
    for key, expected in state.items():
        if key.endswith("running_var") and _keeps_biased_variance(model, key):
            continue
        received = keras.ops.convert_to_numpy(variable(model, key))
        error = np.abs(received - expected).max()
        assert error <= TOLERANCE, f"{where}: {key} is off by {error:.2g}"


def _keeps_biased_variance(model: keras.Model, key: str) -> bool:
    layer = model.get_layer(key.rsplit(".", 1)[0])
    return type(layer) is keras.layers.BatchNormalization


class Comparison(keras.callbacks.Callback):
    """Compares the model with every state recorded after a step it comes by."""

    def __init__(self, golden: Golden, stage: str, last: float):
        super().__init__()
        self.golden = golden
        self.stage = stage
        self.recorded = [k for k in golden.recorded(stage) if k <= last]
        self.compared: list[int] = []

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 in self.recorded:
            where = f"{self.golden.name}, {self.stage}{batch + 1}"
            state = self.golden.state(f"{self.stage}{batch + 1}")
            assert_state(self.model, state, where)
            self.compared.append(batch + 1)


def follow_transformation(golden: Golden, **options) -> list[int]:
    """Transforms as the file says, comparing on the way; the steps that were compared."""
    config = golden.config
    model = golden.compiled_network(config["learning_rate"], **options)
    load(model, golden.state("init"))
    images, labels, batch_size = golden.batches("batch_indices")
    last = LAST_COMPARABLE_STEP[config["network"]]
    comparison = Comparison(golden, "step", last)
    transformation = golden.transformation()
    model.fit(
        images,
        labels,
        batch_size=batch_size,
        shuffle=False,
        verbose=0,
        callbacks=[transformation, dlth.CoupledL2(config["l2"]), comparison],
    )
    steps = len(golden.arrays["batch_indices"])
    assert transformation.step == steps
    if steps <= last:
        assert_state(model, golden.state("final"), f"{golden.name}, final")
        comparison.compared.append(steps)
    return comparison.compared


def last_comparable_finetune_step(golden: Golden) -> float:
    """`conv` parts at about the step at which the learning rate drops."""
    if golden.config["network"] == "conv":
        return golden.config["finetune"]["at_step"]
    return float("inf")


def finetuning_rate(recipe: dict):
    """The rate by step: one until `at_step`, a smaller one from it on."""
    rates = [recipe["learning_rate"], recipe["then"]]
    return keras.optimizers.schedules.PiecewiseConstantDecay(
        [recipe["at_step"] - 1], rates
    )


def follow_finetuning_somehow(golden: Golden) -> list[int]:
    """`follow_finetuning` in the first of several ways that differ in rounding alone.

    Where BatchNorm amplifies rounding, a value that happens to lie close to the kink of
    a ReLU sends float32 trajectories on different ways (PyTorch parts from its own
    recording when it uses another convolution routine). What arrives within the
    tolerance after 30 steps has computed the same thing.
    """
    ways = [{"jit_compile": False}]
    if golden.config["network"] == "conv":
        keras_batch_norm = {"batch_norm": keras.layers.BatchNormalization}
        ways += [keras_batch_norm | {"jit_compile": True}, {"jit_compile": True}]
        ways += [keras_batch_norm | {"jit_compile": False}]
        ways += [{"jit_compile": False, "nudge": seed} for seed in (1, 2, 3)]
    errors = []
    for way in ways:
        try:
            return follow_finetuning(golden, **way)
        except AssertionError as error:
            errors.append(f"{error} ({way})")
    raise AssertionError("\n".join(errors))


def follow_finetuning(golden: Golden, nudge: int = 0, **options) -> list[int]:
    """Trains the ticket as the file says; the steps that were compared."""
    config, recipe = golden.config, golden.config["finetune"]
    model = golden.compiled_network(finetuning_rate(recipe), **options)
    generator = np.random.default_rng(nudge)
    amount = 1e-7 if nudge else 0.0
    for key, value in golden.state("final").items():
        noise = amount * generator.standard_normal(value.shape)
        variable(model, key).assign(value * (1.0 + noise))
    images, labels, batch_size = golden.batches("finetune_batch_indices")
    last = last_comparable_finetune_step(golden)
    comparison = Comparison(golden, "finetune_step", last)
    start = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: assert_state(
            model, golden.state("finetune_step0"), f"{golden.name}, finetune_step0"
        )
    )
    last_row = max(comparison.recorded) * batch_size
    model.fit(
        images[:last_row],
        labels[:last_row],
        batch_size=batch_size,
        shuffle=False,
        verbose=0,
        callbacks=[
            dlth.FixedTicket(golden.ticket()),
            dlth.CoupledL2(config["l2"]),
            start,
            comparison,
        ],
    )
    return comparison.compared


def lambdas_in_step(transformation: dlth.RandomSparseTransformation) -> np.ndarray:
    """Lambda at every step until `fit` stops, measured on a weight that it pulls at.

    Two weights are 1 before every step, one is about to be removed, there is no other
    gradient, and the learning rate is 1: that one becomes 1 - lambda.
    """
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    kernel = model.layers[0].kernel
    kernel.assign([[1.0], [1.0]])
    measured = []

    class Measure(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            _, pulled = keras.ops.convert_to_numpy(self.model.layers[0].kernel)[:, 0]
            measured.append(1.0 - float(pulled))
            kernel.assign([[1.0], [1.0]])

    transformation.ticket = dlth.Ticket({"dense": np.array([[True], [False]])})
    more_steps_than_needed = transformation.schedule.steps + 5
    nothing = np.zeros((more_steps_than_needed, 2)), np.zeros((more_steps_than_needed, 1))
    model.fit(*nothing, batch_size=1, verbose=0, callbacks=[transformation, Measure()])
    return np.array(measured)
