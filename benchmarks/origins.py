"""Are initial weights of Keras and of PyTorch worth the same? Dense networks tell.

    python -m benchmarks.origins --flagfile=configs/evidence.flags --data_dir=~/data \
        --output_dir=runs/origins --seed=0,1,2,3,4,5,6,7 [--mixed_precision=bfloat16]

Initial weights of each seed, made here and as the authors' program makes them in PyTorch
(`torch` is needed), all trained here by the experiment's recipe on the batches of seed
0. First their statistics: of each layer the deviation, relative to what He et al. ask
for, and the kurtosis (3 for a normal distribution), means over seeds, p of Welch's test.
Every run is a line of `origins.jsonl`; the same command goes on. `--statistics_only`
trains nothing.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from absl import flags
from scipy import stats

import dlth_tf as dlth
from benchmarks import short_training
from benchmarks.evidence import of_names
from benchmarks.short_training import Record, ShortTraining
from dlth_tf.experiment import command_line
from dlth_tf.experiment.command_line import show
from dlth_tf.experiment.engine.context import Context
from dlth_tf.experiment.plan.runs import Experiment
from dlth_tf.experiment.results.comparison import aligned
from dlth_tf.network.variables import get_weights

short_training.program_flags.register()
FLAGS = flags.FLAGS
flags.DEFINE_bool("statistics_only", False, "Compare statistics, and train nothing.")

_BATCHES_SEED = 0
_IMAGES = 128
_HEAD = ("", "Keras", "PyTorch", "p")


@command_line.ends_in_a_line
def main() -> None:
    experiment, context = short_training.described()
    show(_statistics(experiment.seeds, context))
    if FLAGS.statistics_only:
        return
    runs = [
        {"name": origin, "sparsity": 0.0, "seed": seed, **_settings(experiment)}
        for seed in experiment.seeds
        for origin in ORIGINS
    ]

    def measured(run: Record) -> Record:
        return _trained(run["name"], run["seed"], experiment, context)

    file = Path(FLAGS.output_dir, "origins.jsonl")
    show(of_names(short_training.make(file, runs, measured)))


def _settings(experiment: Experiment) -> Record:
    protocol = experiment.protocol
    precision = protocol.task.mixed_precision or "float32"
    return {"split": "test", "epochs": protocol.recipe.epochs, "precision": precision}


def _trained(origin: str, seed: int, experiment: Experiment, context: Context) -> Record:
    recipe, data = experiment.protocol.recipe, context.data
    training = ShortTraining(context, seed, _BATCHES_SEED)
    ORIGINS[origin](training.model, seed)
    first = _first_loss(training, recipe.batch_size)
    per_epoch = data.steps_per_epoch(recipe.batch_size)
    last = training.fit(
        recipe.optimizer(per_epoch),
        recipe.batch_size,
        recipe.epochs * per_epoch,
        [dlth.CoupledL2(recipe.l2)],
    )
    found = {"first_loss": first, "mean_loss": last, "images": training.seen}
    return {"accuracy": training.accuracy("test"), **found}


def _first_loss(training: ShortTraining, batch_size: int) -> float:
    """Of the first batch, as training sees it; the network stays as it was."""
    ((images, labels),) = training.batches(batch_size, 1)
    model = keras.models.clone_model(training.model)
    model.set_weights(training.model.get_weights())
    logits = model(images, training=True)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return float(loss(labels, logits))


def _as_here(model: keras.Model, seed: int) -> None:
    """The model has the weights of its seed."""


def _as_the_authors(model: keras.Model, seed: int) -> None:
    """As the authors' program: PyTorch's modules, then `kaiming_normal_` for kernels.

    The bias of the classifier is the one that PyTorch gives to a new module.
    """
    import torch

    torch.manual_seed(seed)
    layers = [layer for layer in model.layers if hasattr(layer, "kernel")]
    modules = [_module(layer) for layer in layers]
    for layer, module in zip(layers, modules, strict=True):
        torch.nn.init.kaiming_normal_(module.weight)
        weight = module.weight.detach().numpy()
        # Outputs, inputs and what is between them: Keras has these two last.
        layer.kernel.assign(np.moveaxis(weight, (1, 0), (-2, -1)))
        if module.bias is not None:
            layer.bias.assign(module.bias.detach().numpy())


def _module(layer: keras.layers.Layer) -> Any:
    """PyTorch's layer of the same shape, as it is made."""
    import torch

    *size, inputs, outputs = layer.kernel.shape
    if not size:
        return torch.nn.Linear(inputs, outputs)
    return torch.nn.Conv2d(inputs, outputs, tuple(size), bias=layer.use_bias)


ORIGINS: dict[str, Callable[[keras.Model, int], None]] = {
    "Keras": _as_here,
    "PyTorch": _as_the_authors,
}


def _statistics(seeds: tuple[int, ...], context: Context) -> str:
    """What differs between the two origins, number by number."""
    found = {
        origin: [_numbers(origin, seed, context) for seed in seeds] for origin in ORIGINS
    }
    lines = []
    for number in found["Keras"][0]:
        samples = [[of[number] for of in found[origin]] for origin in ORIGINS]
        if not np.ptp(samples):
            continue  # BatchNorm's, 1 and 0
        p = stats.ttest_ind(*samples, equal_var=False).pvalue
        means = [f"{np.mean(of):.4f} ± {np.std(of, ddof=1):.4f}" for of in samples]
        lines.append((number, *means, "-" if math.isnan(p) else f"{p:.3f}"))
    return aligned([_HEAD, *lines])


def _numbers(origin: str, seed: int, context: Context) -> dict[str, float]:
    training = ShortTraining(context, seed, _BATCHES_SEED)
    model = training.model
    ORIGINS[origin](model, seed)
    numbers = {"first loss": _first_loss(training, _IMAGES)}
    for name, weights in get_weights(model).items():
        layer, _, variable = name.rpartition("/")
        if variable == "kernel":
            asked = math.sqrt(2 / math.prod(weights.shape[:-1]))
            numbers[f"{layer}: deviation"] = weights.std() / asked
            numbers[f"{layer}: kurtosis"] = stats.kurtosis(weights, None, fisher=False)
        elif variable in ("bias", "beta", "gamma"):
            numbers[f"{layer}: mean {variable}"] = weights.mean()
            numbers[f"{layer}: largest {variable}"] = np.abs(weights).max()
    return numbers


if __name__ == "__main__":
    command_line.start(main)
