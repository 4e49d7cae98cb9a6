"""What all runs of an experiment have in common. Each setting is told by its flag."""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dlth_tf as dlth
from dlth_tf.tickets.sparsity import Sparsity, check_filters, check_sparsity, n_of_m
from official.common import choose
from official.training.recipe import PLAIN_SGD, Descent, Recipe

DISTRIBUTIONS: dict[str, Callable[[float, Sequence[str]], Sparsity]] = {
    "uniform": dlth.Uniform,
    "er": dlth.ErdosRenyi,
    "erk": dlth.ErdosRenyiKernel,
    "global": dlth.Global,
}
XNNPACK = "xnnpack"
_NEEDED_BY_XNNPACK = 2 / 3
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


@dataclasses.dataclass(frozen=True)
class TrainingPoint:
    """So many epochs and steps after the beginning of a training."""

    epochs: int = 0
    steps: int = 0

    def __str__(self) -> str:
        return f"epoch {self.epochs}" if self.epochs else f"step {self.steps}"

    def in_steps(self, steps_per_epoch: int) -> int:
        return self.epochs * steps_per_epoch + self.steps

    @classmethod
    def parse(cls, text: str) -> "TrainingPoint":
        """Reads `"500"` (steps) or `"2ep"` (epochs); else raises a ValueError."""
        found = re.fullmatch(r"(\d+)(ep)?", text.strip())
        if not found:
            raise ValueError(
                "A moment must be a number of steps such as 500, or of epochs such as "
                f"2ep. Received: {text!r}"
            )
        number, unit = int(found[1]), found[2]
        return cls(epochs=number) if unit else cls(steps=number)


BEGINNING = TrainingPoint()


@dataclasses.dataclass(frozen=True)
class Interval:
    """So many steps, or so many seconds; one of the two is infinite."""

    steps: float = math.inf
    seconds: float = math.inf

    @classmethod
    def parse(cls, text: str) -> "Interval":
        """Reads `"500"` (steps), `"30s"`, `"10min"` or `"2h"`; else a ValueError."""
        found = re.fullmatch(r"(\d+)(s|min|h)?", text.strip())
        number = int(found[1]) if found else 0
        if found is None or not number:
            raise ValueError(
                "--checkpoint_every must be a number of steps such as 500, or a time "
                f"such as 30s, 10min or 2h. Received: {text!r}"
            )
        unit = found[2]
        return cls(seconds=number * _SECONDS[unit]) if unit else cls(steps=number)


@dataclasses.dataclass(frozen=True)
class Task:
    """The network and the data."""

    network: str
    dataset: str
    train_examples: int | None = None
    validation_fraction: float = 0.0
    mixed_precision: str | None = None
    sync_batch_norm: bool = False
    image_size: int | None = None


@dataclasses.dataclass(frozen=True)
class TransformationRecipe:
    """How a network is trained while it is transformed; its length is the growth's."""

    growth: dlth.PenaltyGrowth
    batch_size: int
    learning_rate: float
    momentum: float
    l2: float
    descent: Descent = PLAIN_SGD

    @property
    def steps(self) -> int:
        steps = self.growth.steps
        assert steps is not None, "the flags say how long the last penalty is held"
        return steps


@dataclasses.dataclass(frozen=True)
class Cycles:
    """How the iterative methods go about it."""

    count: int
    transformation: TransformationRecipe
    zero_between: bool = False


@dataclasses.dataclass(frozen=True)
class MaskChanges:
    """When a mask changes during a training, and how much."""

    every: int = 100
    until: float = 0.75
    drop_fraction: float = 0.3

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"--mask_every must be 1 or more. Received: {self.every}")
        fractions = {"mask_until": self.until, "drop_fraction": self.drop_fraction}
        for flag, value in fractions.items():
            if not 0 < value <= 1:
                raise ValueError(f"--{flag} must be in (0, 1]. Received: {value}")

    def last_step(self, steps: int) -> int:
        """The step of so many after which the mask stays; some change comes before it."""
        last = int(self.until * steps)
        if last < self.every:
            raise ValueError(
                f"--mask_every must be at most {last} here: the masks change during "
                f"{self.until:g} of {steps} steps. Received: {self.every}"
            )
        return last


@dataclasses.dataclass(frozen=True)
class SparsityPlacement:
    """Where the sparsity goes; without layers to all but the first and the last.

    The layers `xnnpack` are the 1x1 convolutions, whose zeros make LiteRT faster if more
    than two thirds of their weights are zero (`dlth_tf.export_litert`).
    """

    layers: tuple[str, ...] = ()
    distribution: str = "uniform"
    layer_sparsity: str = ""
    unit: str = "weight"
    round_to: int = 1
    importance: str = "filter"

    def __post_init__(self) -> None:
        choose("distribution", self.distribution, DISTRIBUTIONS)
        n_of_m(self.unit)  # It refuses what is no unit.
        check_filters(self.unit, self.round_to, self.importance)
        if XNNPACK in self.layers and len(self.layers) > 1:
            raise ValueError(
                f"--layers={XNNPACK} stands alone. Received: {','.join(self.layers)}"
            )
        if self.layer_sparsity:
            layer_sparsity(self.layer_sparsity, 0.0)
            if self.layers or self.distribution != "uniform":
                raise ValueError(
                    "--layer_sparsity says what every layer loses, and goes with neither "
                    "--layers nor a distribution. Received: "
                    f"--layers={','.join(self.layers)} and "
                    f"--distribution={self.distribution}"
                )

    @property
    def title(self) -> str:
        """What distinguishes it, in a word or two; nothing for the usual one."""
        words = [self.distribution, self.layer_sparsity, self.unit]
        words += [f"rounded to {self.round_to}"] * (self.round_to > 1)
        words += [f"by {self.importance}"] * (self.importance != "filter")
        return " ".join(word for word in words if word not in ("", "uniform", "weight"))

    @property
    def removal(self) -> dict[str, Any]:
        """What is removed as a whole, as arguments of `magnitude_ticket`."""
        whole = ("unit", "round_to", "importance")
        return {name: getattr(self, name) for name in whole}

    def check(self, sparsity: float) -> None:
        """Raises a ValueError if a sparsity is too low to be of use where it goes."""
        if XNNPACK in self.layers and not sparsity > _NEEDED_BY_XNNPACK:
            raise ValueError(
                f"--layers={XNNPACK} needs a --sparsity above two thirds, such as 0.7: "
                f"with fewer zeros XNNPACK runs the network dense. Received: {sparsity}"
            )

    def sparsity(self, kernels: Mapping[str, Any], sparsity: float) -> Sparsity:
        """What it makes of a sparsity for a network with these kernels."""
        if self.layer_sparsity:
            return layer_sparsity(self.layer_sparsity, sparsity)
        if XNNPACK in self.layers:
            layers = _pointwise(kernels)
        else:
            layers = self.layers or tuple(kernels)[1:-1]
        if not layers:
            raise ValueError(
                "There is no layer between the first and the last one to be masked. Name "
                f"some by --layers. The network's: {', '.join(kernels)}"
            )
        return DISTRIBUTIONS[self.distribution](sparsity, layers)


def _pointwise(kernels: Mapping[str, Any]) -> tuple[str, ...]:
    """The 1x1 convolutions, without one that is the classifier."""
    names = [name for name in kernels if tuple(kernels[name].shape[:-2]) == (1, 1)]
    names = [name for name in names if name != list(kernels)[-1]]
    if not names:
        raise ValueError(
            f"--layers={XNNPACK} means the 1x1 convolutions, of which the network has "
            f"none. Its layers: {', '.join(kernels)}"
        )
    return tuple(names)


def layer_sparsity(text: str, sparsity: float) -> Sparsity:
    """Reads the sparsities of layers, where `s` stands for the given one.

    `"[0,s,s,s,0]"` is for stem, stages and classifier; `"0-4:0.5,5:0.6"` for layers by
    number; `"stage1*:0.9,stage2*:s"` for layers by name pattern.
    """
    listed = re.fullmatch(r"\[(.*)\]", text.strip())
    parts = (listed[1] if listed else text).split(",")
    pairs = [("", "", part) if listed else part.rpartition(":") for part in parts]
    try:
        values = [sparsity if v.strip() == "s" else float(v) for _, _, v in pairs]
    except ValueError:
        values = []
    by_name = dict(zip((name.strip() for name, _, _ in pairs), values, strict=False))
    if not values or (not listed and ("" in by_name or len(by_name) < len(pairs))):
        raise ValueError(
            "--layer_sparsity must look like '[0,s,s,s,0]' (stem, stages, classifier), "
            "'0-4:0.5,5:s' (layers by number) or 'stage1*:0.9,stage2*:s' (by name "
            f"pattern), where s is the swept --sparsity. Received: {text!r}"
        )
    if listed:
        return dlth.PerStage(values)
    if all(re.fullmatch(r"\d+(-\d+)?", name) for name in by_name):
        return dlth.PerLayer(",".join(f"{n}:{value!r}" for n, value in by_name.items()))
    for name, value in by_name.items():
        check_sparsity(value, f" for '{name}'")
    return by_name


@dataclasses.dataclass(frozen=True)
class Protocol:
    """What is the same for all methods, sparsities and seeds of an experiment."""

    task: Task
    recipe: Recipe
    transformation: TransformationRecipe
    cycles: Cycles
    rewind_to: TrainingPoint
    placement: SparsityPlacement
    mask_changes: MaskChanges = MaskChanges()
    shrink: bool = False

    def __post_init__(self) -> None:
        if self.shrink and self.placement.unit != "filter":
            raise ValueError(
                "--shrink leaves whole filters out and needs --unit=filter. Received: "
                f"--unit={self.placement.unit}"
            )
