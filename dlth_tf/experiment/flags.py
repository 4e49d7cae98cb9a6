"""The program's flags, each described once, and what they add up to.

Who imports this, such as the report, learns of them; only a program registers them.
"""

import dataclasses
import functools
import typing
from collections.abc import Callable
from typing import Any

from absl import flags

from dlth_tf.experiment.plan.methods import METHODS, summary
from dlth_tf.experiment.plan.protocol import (
    DISTRIBUTIONS,
    XNNPACK,
    Protocol,
    TrainingPoint,
)
from dlth_tf.experiment.plan.runs import Experiment
from official import data
from official.common import DEFINE_path
from official.modeling import networks
from official.training.recipe import OPTIMIZERS, SCHEDULES, parse_learning_rate

FLAGS = flags.FLAGS
DESCRIBED = flags.FlagValues()
HEADINGS = {
    "method": "What to run",
    "layers": "Sparsity",
    "epochs": "Training",
    "penalty_growth": "Transformation, cycles, masks that change",
    "sync_batch_norm": "Hardware",
}
"""Of `--help`, each by the flag that it stands above."""

_string, _bool, _list, _integer, _float, _enum, _path = (
    functools.partial(define, flag_values=DESCRIBED)
    for define in (
        flags.DEFINE_string,
        flags.DEFINE_bool,
        flags.DEFINE_list,
        flags.DEFINE_integer,
        flags.DEFINE_float,
        flags.DEFINE_enum,
        DEFINE_path,
    )
)

_list(
    "method",
    ["dense", "scratch", "l1", "lth", "rst"],
    "Methods to compare, separated by commas. "
    + " ".join(f"{name}: {summary(method)}" for name, method in METHODS.items()),
)
_list(
    "sparsity",
    ["0.9", "0.98"],
    "Fractions of the weights that are removed from each masked layer, in [0, 1), "
    "separated by commas.",
)
_list(
    "seed",
    ["0"],
    "Whole numbers, separated by commas. A seed sets the initial weights, the random "
    "tickets and the order of the images, the same for all methods.",
)
_string(
    "dataset",
    "digits",
    f"The images: {', '.join(data.DATASETS)}. tfds:NAME is any classification set of "
    "TensorFlow Datasets, folder:PATH a folder with a folder of images per class.",
)
_path(
    "data_dir",
    None,
    "Folder where TensorFlow Datasets keeps prepared data. Default: its own. For "
    "imagenet and tiny_imagenet the folder of the images. digits needs none.",
)
_string(
    "model",
    "quickstart_cnn",
    f"The network: {', '.join(networks.NETWORKS)}. wrn-28-10 is a wide residual network, "
    "mobilenetv1-0.25 one of a quarter of the filters, vit-12-192 a vision transformer, "
    "keras:NAME any network of keras.applications, keras_hub:NAME (ViT, DeiT, "
    "SwinTransformer) a small one of KerasHub, which needs `pip install keras-hub`.",
)
_path(
    "output_dir",
    "runs/default",
    "Folder of the experiment: results, weights, logs. The same command with the same "
    "folder goes on where it stopped; more methods, sparsities or seeds are added to it.",
)
_integer(
    "train_examples",
    None,
    "Train on only the first so many images of the training set. Default: all.",
    lower_bound=1,
)
_float(
    "validation_fraction",
    0.0,
    "Part of the training images held out to measure accuracy after every epoch. The "
    "test images are used once, at the end of a run.",
)
_integer(
    "image_size",
    None,
    "Height and width that images are shown to the network in. Default: their own, or "
    "224 where they differ.",
    lower_bound=1,
)
_string(
    "checkpoint_every",
    "10min",
    "How often a training's state is kept within an epoch (at the end of each it always "
    "is): a time such as 30s, 10min or 2h, or a number of steps such as 500.",
)
_string(
    "shard",
    None,
    "Do only a part of the runs: 2/8 is the third of eight. Eight programs with 0/8 to "
    "7/8 on one folder do all of them, each stage once.",
)
_bool(
    "dry_run",
    False,
    "Print the plan (runs, trainings they share, images, time once measured) and stop.",
)
_bool(
    "report",
    True,
    "At the end, show the results on a page, report.html in the experiment's folder. "
    "`python -m dlth_tf.report` makes it at any other time.",
)
_bool(
    "export",
    False,
    "At the end, write the network of every run as a SavedModel, in export/ in the run's "
    "folder. `python -m dlth_tf.export` does so for one run, in other formats too.",
)
_list(
    "plugins",
    [],
    "Files such as my_methods.py, or installed modules, that bring methods, networks and "
    "data sets of your own (docs/own_method.md), separated by commas.",
)
_list(
    "callback",
    [],
    "Keras callbacks that watch every training, as module:Class or file.py:Class, made "
    "without arguments. Results are taken not to depend on them.",
)

_list(
    "layers",
    [],
    "Name patterns of the layers to mask, such as 'stage*' or 'stage1_*,stage2_*'. "
    "Default: every one but the first and the last; an embedding only by its name. "
    f"{XNNPACK}: the 1x1 convolutions, whose zeros make LiteRT faster above two thirds.",
)
_string(
    "distribution",
    "uniform",
    f"How the masked layers share the sparsity out: {', '.join(DISTRIBUTIONS)}. "
    "uniform: each loses the same fraction; er, erk: small layers lose less "
    "(Erdős-Rényi; erk counts the kernel's size); global: all weights compete, under one "
    "threshold.",
)
_string(
    "layer_sparsity",
    "",
    "The sparsity of each layer instead, where s stands for the one of --sparsity: "
    "'[0,s,s,s,0]' for stem, stages and classifier; '0-4:0.5,5:s' for layers by number, "
    "counted from 0; 'stage1*:0.9,stage2*:s' by name pattern. Others stay dense.",
)
_string(
    "unit",
    "weight",
    "What is removed as a whole: weight; N:M, such as 2:4: of every 4 consecutive "
    "weights along the inputs 2 are kept, at --sparsity=0.5; or filter.",
)
_integer(
    "round_to",
    1,
    "With --unit=filter: the channels that coupled layers keep are rounded to the "
    "nearest multiple of so many, such as 8; fewer channels than that stay whole.",
)
_enum(
    "importance",
    "filter",
    ["filter", "group"],
    "With --unit=filter, of magnitudes: filter: the L1 norm of the filters that make a "
    "channel; group: the L2 norm of all weights that make it or take it in, relative to "
    "the mean of its layer, which --distribution=global can compare between layers.",
)

_bool(
    "shrink",
    False,
    "With --unit=filter: leave what a ticket removes out of the network before it is "
    "finetuned, which makes finetuning and the exported network smaller and faster.",
)

_integer(
    "epochs", 200, "Passes over the images in pretraining and finetuning.", lower_bound=1
)
_integer("batch_size", 128, "Images per step in pretraining and finetuning.")
_string(
    "optimizer",
    "sgd",
    f"The optimizer of every stage: {', '.join(OPTIMIZERS)}. sgd has --momentum, and "
    "--l2; the others have Keras's defaults, --l2=0 and --weight_decay.",
)
_string(
    "learning_rate",
    "0:0.1,100:0.01,150:0.001",
    "Learning rates of pretraining and finetuning, as epoch:rate from which it holds; "
    "for --schedule=cosine one number.",
)
_enum(
    "schedule",
    "constant",
    SCHEDULES,
    "How the rate of pretraining and finetuning goes on: constant until the next one, or "
    "down to 0 at the end along a cosine, after --warmup_epochs.",
)
_integer(
    "warmup_epochs", 0, "Epochs in which a cosine's rate rises from 0, before it falls."
)
_float("momentum", 0.9, "Momentum of SGD, in every stage.")
_float("l2", 5e-4, "Weight decay in every stage, coupled: it goes through the momentum.")
_float(
    "weight_decay",
    0.0,
    "Weight decay of the kernels in every stage, decoupled, as AdamW's: with each step "
    "they lose the rate times this.",
)
_float(
    "clip_norm",
    0.0,
    "Length that the gradient of all weights together is cut to, in every stage, what "
    "--l2 and sgd's penalty of rst add included; 0: none. Replicas cut each its part.",
)
_float(
    "label_smoothing",
    0.0,
    "Part of each label that all classes share, in every stage: 0.1 is usual.",
)

_float("penalty_growth", 1e-4, "rst: what the penalty's rate gains at a time (eta).")
_integer("penalty_every", 5, "rst: optimizer steps between two gains (v).")
_float("penalty_bound", 1.0, "rst: penalty at which it stops to grow.")
_integer("penalty_hold", 40_000, "rst: optimizer steps to go on at the full penalty.")
_integer(
    "penalty_power", 1, "rst: the penalty grows like the rate to this power: 1, 2 or 3."
)
_integer(
    "cycles",
    5,
    "lth_iter, rst_iter: cycles in which the sparsity is reached.",
    lower_bound=1,
)
_integer("cycle_penalty_every", 1, "rst_iter: optimizer steps between two gains (v).")
_integer(
    "cycle_penalty_hold",
    10_000,
    "rst_iter: optimizer steps at the full penalty in each cycle.",
)
_bool(
    "zero_between_cycles",
    False,
    "rst_iter: set the removed weights to zero after every cycle, not only at the end.",
)
_string(
    "rewind_to",
    "0",
    "lth, lth_iter: the moment of dense training to which the weights are rewound; "
    "lr_rewind: to which the learning rate is. Steps (500) or epochs (2ep).",
)
_integer(
    "mask_every",
    100,
    "rigl, gradual: optimizer steps from one change of the mask to the next. (set "
    "changes it after every epoch.)",
)
_float(
    "mask_until",
    0.75,
    "rigl, gradual: part of the training during which the mask changes.",
)
_float(
    "drop_fraction",
    0.3,
    "set, rigl: part of the kept weights that changes places at a time; rigl's goes "
    "down to 0 along a cosine.",
)
_integer("transform_batch_size", 64, "rst: images per transformation step.")
_float("transform_learning_rate", 0.001, "rst: learning rate of the transformation.")

_bool(
    "sync_batch_norm",
    False,
    "BatchNorm normalizes by the whole batch, not by each device's part of it.",
)
_enum(
    "mixed_precision",
    None,
    ["float16", "bfloat16"],
    "Compute in this type while training; weights and measurements stay float32.",
)


@functools.cache
def register() -> None:
    """Makes these flags those of the program that runs."""
    for flag in DESCRIBED.get_flags_for_module(__name__):
        flags.DEFINE_flag(flag, module_name=__name__)


_OTHERWISE_CALLED = {
    "task.network": "model",
    "transformation.batch_size": "transform_batch_size",
    "transformation.learning_rate": "transform_learning_rate",
    "transformation.growth.growth": "penalty_growth",
    "transformation.growth.every": "penalty_every",
    "transformation.growth.bound": "penalty_bound",
    "transformation.growth.hold": "penalty_hold",
    "transformation.growth.power": "penalty_power",
    "cycles.count": "cycles",
    "cycles.transformation.growth.every": "cycle_penalty_every",
    "cycles.transformation.growth.hold": "cycle_penalty_hold",
    "cycles.zero_between": "zero_between_cycles",
    "rewind_to.epochs": "rewind_to",
    "rewind_to.steps": "rewind_to",
    "mask_changes.every": "mask_every",
    "mask_changes.until": "mask_until",
}
_READ: dict[str, Callable[[Any], Any]] = {
    "model": networks.check_name,
    "dataset": data.check_name,
    "learning_rate": parse_learning_rate,
    "rewind_to": TrainingPoint.parse,
    "layers": tuple,
}


def setting(path: str) -> str:
    """The flag that sets what lies at a path in a protocol, such as `task.network`."""
    if path not in _OTHERWISE_CALLED:
        path = path.removeprefix("cycles.")
    return _OTHERWISE_CALLED.get(path, path.rpartition(".")[2])


def experiment() -> Experiment:
    """What the parsed flags describe; a ValueError names one that makes no sense."""
    protocol = _described(Protocol)
    sparsities, seeds = _numbers("sparsity", float), _numbers("seed", int)
    return Experiment(protocol, tuple(FLAGS.method), tuple(sparsities), tuple(seeds))


def _described(kind: Any, above: str = "") -> Any:
    """A dataclass each of whose fields has its flag, or is such a dataclass itself."""
    values = {}
    for name, part in typing.get_type_hints(kind).items():
        path = f"{above}{name}"
        flag = setting(path)
        if dataclasses.is_dataclass(part) and flag not in _READ:
            values[name] = _described(part, f"{path}.")
        else:
            values[name] = _READ.get(flag, lambda value: value)(FLAGS[flag].value)
    return kind(**values)


def as_dict() -> dict[str, Any]:
    """All of the program's flags and their values, for the record of a run."""
    return {name: DESCRIBED[name].value for name in DESCRIBED}


def _numbers(flag: str, kind: type) -> list[Any]:
    texts = FLAGS[flag].value
    if not texts:
        raise ValueError(f"--{flag} needs at least one number. Received: none")
    try:
        return [kind(text) for text in texts]
    except ValueError:
        what = "whole numbers" if kind is int else "numbers"
        raise ValueError(
            f"--{flag} takes {what} separated by commas. Received: {','.join(texts)}"
        ) from None
