"""Which runs an experiment has: all combinations of methods, sparsities and seeds."""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from itertools import product

from dlth_tf.experiment.plan.methods import METHODS, WITHOUT_SPARSITY, cell_name
from dlth_tf.experiment.plan.protocol import Protocol
from dlth_tf.experiment.plan.stages import FitStage, Images, Stage, WeightsStage
from dlth_tf.experiment.plan.trial import Trial
from official.common import choose


@dataclasses.dataclass(frozen=True)
class Run:
    """One cell of the comparison: a method at a sparsity with a seed."""

    method: str
    trial: Trial

    @property
    def name(self) -> str:
        return f"{cell_name(self.method, self.trial.sparsity)}-seed{self.trial.seed}"

    @property
    def stage(self) -> WeightsStage:
        """The stage whose weights are the run's result."""
        return METHODS[self.method](self.trial)

    @property
    def dense_stage(self) -> WeightsStage:
        """What the run's cost is compared with."""
        return METHODS["dense"](self.trial)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What is compared. More methods, sparsities and seeds may be added later."""

    protocol: Protocol
    methods: tuple[str, ...]
    sparsities: tuple[float, ...]
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        for method in self.methods:
            choose("method", method, METHODS)
        for sparsity in self.sparsities:
            if not 0.0 <= sparsity < 1.0:
                raise ValueError(f"--sparsity must be in [0, 1). Received: {sparsity}")
            if any(method not in WITHOUT_SPARSITY for method in self.methods):
                self.protocol.placement.check(sparsity)
        for seed in self.seeds:
            if seed < 0:
                raise ValueError(f"--seed must be 0 or more. Received: {seed}")

    def runs(self) -> list[Run]:
        """All runs, those of one seed and sparsity together, each once."""
        runs = []
        for seed, sparsity, method in product(self.seeds, self.sparsities, self.methods):
            used = 0.0 if method in WITHOUT_SPARSITY else sparsity
            runs.append(Run(method, Trial(self.protocol, used, seed)))
        return list(dict.fromkeys(runs))

    def grid(self) -> dict[str, tuple]:
        """Which runs are asked for: all combinations of these."""
        values = self.methods, self.sparsities, self.seeds
        return dict(zip(("method", "sparsity", "seed"), values, strict=True))


@dataclasses.dataclass(frozen=True)
class Shard:
    """Every `count`-th of the runs, from number `index` on."""

    index: int
    count: int

    def of(self, runs: Sequence[Run]) -> Sequence[Run]:
        return runs[self.index :: self.count]

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Reads `"2/8"`, the third of eight; else raises a ValueError."""
        found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        index, count = map(int, found.groups()) if found else (0, 0)
        if index >= count:
            raise ValueError(
                "--shard must be i/k with i from 0 to k - 1, such as 0/4 to 3/4. "
                f"Received: {text!r}"
            )
        return cls(index, count)


def stages_of(runs: Iterable[Run]) -> list[Stage]:
    """All stages that the runs need, each once, parents first."""
    stages = {stage.key: stage for run in runs for stage in run.stage.lineage()}
    return list(stages.values())


def batch_sizes(runs: Iterable[Run]) -> dict[str, int]:
    """The batch sizes of the trainings that runs need, by flag."""
    trainings = (stage for stage in stages_of(runs) if isinstance(stage, FitStage))
    return {stage.batch_flag: stage.recipe.batch_size for stage in trainings}


def images_of(runs: Iterable[Run], data: Images) -> int:
    """Training images that the runs see, what they share counted once."""
    return sum(stage.images(data) for stage in stages_of(runs))
