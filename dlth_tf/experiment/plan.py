"""Which runs an experiment has, and what they have in common."""

import dataclasses
import math
import re
from collections.abc import Iterable, Sequence

from dlth_tf.experiment.lab import Cycles, Lab
from dlth_tf.experiment.methods import METHODS, WITHOUT_SPARSITY, cell_name
from dlth_tf.experiment.moment import Moment
from dlth_tf.experiment.placement import Placement
from dlth_tf.experiment.sparse_training import USUAL_CHANGES, MaskChanges
from dlth_tf.experiment.stages import Stage, Task, WeightsStage
from dlth_tf.experiment.training_stages import TransformationRecipe
from dlth_tf.experiment.workbench import Workbench
from official.common.choices import choose
from official.training.recipe import Recipe

_SHARED = (
    "task",
    "recipe",
    "transformation",
    "cycles",
    "rewind_to",
    "placement",
    "mask_changes",
    "shrink",
)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What an experiment compares.

    Methods, sparsities and seeds may be added later; the rest is the same for all runs.
    """

    task: Task
    recipe: Recipe
    transformation: TransformationRecipe
    cycles: Cycles
    rewind_to: Moment
    placement: Placement
    methods: tuple[str, ...]
    sparsities: tuple[float, ...]
    seeds: tuple[int, ...]
    mask_changes: MaskChanges = USUAL_CHANGES
    shrink: bool = False

    def __post_init__(self):
        if self.shrink and self.placement.unit != "filter":
            raise ValueError(
                "--shrink leaves whole filters out and needs --unit=filter. Received: "
                f"--unit={self.placement.unit}"
            )
        for method in self.methods:
            choose("method", method, METHODS)
        for sparsity in self.sparsities:
            if not 0.0 <= sparsity < 1.0:
                raise ValueError(f"--sparsity must be in [0, 1). Received: {sparsity}")
        for seed in self.seeds:
            if seed < 0:
                raise ValueError(f"--seed must be 0 or more. Received: {seed}")

    def lab(self, sparsity: float, seed: int) -> Lab:
        """Where the methods work on one sparsity with one seed."""
        shared = {name: getattr(self, name) for name in _SHARED}
        return Lab(**shared, sparsity=sparsity, seed=seed)

    def shared(self) -> dict:
        """What all runs have in common, ready for JSON."""
        shared = ((name, getattr(self, name)) for name in _SHARED)
        return {
            name: dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value
            for name, value in shared
        }

    def grid(self) -> dict:
        """Which runs are asked for: all combinations of these."""
        return {
            "method": self.methods,
            "sparsity": self.sparsities,
            "seed": self.seeds,
        }


@dataclasses.dataclass(frozen=True)
class Run:
    """One cell of the comparison: a method at a sparsity with a seed."""

    method: str
    sparsity: float
    seed: int
    lab: Lab

    @property
    def name(self) -> str:
        return f"{cell_name(self.method, self.sparsity)}-seed{self.seed}"

    @property
    def stage(self) -> WeightsStage:
        """The stage whose weights are the run's result."""
        return METHODS[self.method](self.lab)

    @property
    def dense_stage(self) -> WeightsStage:
        """What the run's cost is compared with."""
        return METHODS["dense"](self.lab)


@dataclasses.dataclass(frozen=True)
class Shard:
    """Every `count`-th of the runs, from number `index` on."""

    index: int
    count: int

    def of(self, runs: Sequence[Run]) -> Sequence[Run]:
        """Its part of the runs."""
        return runs[self.index :: self.count]

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Reads `"2/8"`, the third of eight.

        Raises:
            ValueError: the text has another form, or there is no such part.
        """
        found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        index, count = map(int, found.groups()) if found else (0, 0)
        if index >= count:
            raise ValueError(
                "--shard must be i/k with i from 0 to k - 1, such as 0/4 to 3/4. "
                f"Received: {text!r}"
            )
        return cls(index, count)


def runs_of(settings: Settings) -> list[Run]:
    """All runs, those of one seed and sparsity together, each once."""
    runs: dict[tuple, Run] = {}
    for seed in settings.seeds:
        for sparsity in settings.sparsities:
            for method in settings.methods:
                used = 0.0 if method in WITHOUT_SPARSITY else sparsity
                run = Run(method, used, seed, settings.lab(used, seed))
                runs.setdefault((method, used, seed), run)
    return list(runs.values())


def stages_of(runs: Iterable[Run]) -> list[Stage]:
    """All stages that the runs need, each once, parents first."""
    stages = {stage.key: stage for run in runs for stage in run.stage.lineage()}
    return list(stages.values())


def images_of(runs: Iterable[Run], bench: Workbench) -> int:
    """Training images that the runs see, what they share counted once."""
    return sum(stage.images(bench) for stage in stages_of(runs))


def describe(runs: Sequence[Run], bench: Workbench) -> str:
    """The plan, as `--dry_run` prints it."""
    stages = [stage for stage in stages_of(runs) if stage.images(bench)]
    needed = [{stage.key for stage in run.stage.lineage()} for run in runs]
    status = {stage.key: _status(stage, bench) for stage in stages}
    done = [stage for stage in stages if status[stage.key] == "done"]
    left = sum(stage.images(bench) for stage in stages if not status[stage.key])
    lines = [f"{len(runs)} runs:"]
    for run in runs:
        images = images_of([run], bench)
        cost = images / run.dense_stage.images(bench)
        lines.append(f"  {run.name:<28} {images:>14,} images  {cost:5.2f} x dense")
    lines.append(f"{len(stages)} trainings, {len(done)} of them done:")
    for stage in stages:
        shared = sum(stage.key in keys for keys in needed)
        note = f"  shared by {shared} runs" if shared > 1 else ""
        note += "  at most" if getattr(stage, "may_end_early", False) else ""
        note += f"  {status[stage.key]}" if status[stage.key] else ""
        lines.append(
            f"  {stage.title:<58} {stage.steps(bench):>9,} steps "
            f"{stage.images(bench):>14,} images{note}"
        )
    lines.append(
        f"Total: {images_of(runs, bench):,} images, {left:,} of them to be trained on."
    )
    lines.append(_estimate(done, left, bench))
    return "\n".join(lines)


def _status(stage: Stage, bench: Workbench) -> str:
    """Whether it is done, or failed with what it builds on; nothing if it is to come."""
    done = [needed for needed in stage.lineage() if bench.store.is_done(needed)]
    if any(map(bench.store.failure, done)):
        return "failed"
    return "done" if stage in done else ""


def _estimate(done: Sequence[Stage], images_left: int, bench: Workbench) -> str:
    records = [bench.store.record(stage) for stage in done]
    seconds = sum(record["seconds"] for record in records)
    if not images_left:
        return "Nothing is left to train."
    if not seconds:
        return "Time: unknown until a training of this experiment has been measured."
    rate = sum(record["images"] for record in records) / seconds
    minutes = math.ceil(images_left / rate / 60)
    return f"Time: about {minutes:,} min at the {rate:,.0f} images/s measured so far."
