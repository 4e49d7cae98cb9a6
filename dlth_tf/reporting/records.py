"""What the folder of an experiment says, whatever state it is in."""

import functools
import itertools
import json
import math
import os
import re
import types
import typing
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath

import numpy as np

from dlth_tf.experiment.plan.methods import cell_name

Phase = list[dict[str, float | None]]
"""One training of a run: its metrics, epoch by epoch."""

_MARKS = ("experiment.json", "results.jsonl", "runs", "stages")
_UNREADABLE = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile)
# NaN is as good as nothing.
_from_json = functools.partial(json.loads, parse_constant=lambda name: None)


@dataclass(frozen=True)
class RunRecord:
    """A run's row, its fields called as there; None or empty where it does not say.

    `name` and `stages` are the names of the run's folder and of its stages'.
    """

    name: str
    method: str
    sparsity: float
    seed: int
    failed: str | None = None
    test_accuracy: float = math.nan
    test_top5: float | None = None
    test_images: float | None = None
    train_images: float | None = None
    train_cost: float | None = None
    train_flops_cost: float | None = None
    seconds: float | None = None
    weights_left: float | None = None
    parameters_left: float | None = None
    dense_parameters: float | None = None
    multiply_adds_left: float | None = None
    dense_multiply_adds: float | None = None
    layers: list[dict[str, object]] = field(default_factory=list)
    sparsity_per_layer: dict[str, float] = field(default_factory=dict)
    history: dict[str, Phase] = field(default_factory=dict)
    stages: list[str] = field(default_factory=list)
    flags: dict[str, object] = field(default_factory=dict)
    versions: dict[str, object] = field(default_factory=dict)

    @classmethod
    def parse(cls, name: str, record: object) -> "RunRecord":
        """Reads a row that may lack all but what a comparison can't do without.

        Raises:
            ValueError: it says no method, sparsity or seed, nor an accuracy or why it
                failed.
        """
        kinds = typing.get_type_hints(cls)
        row = record if isinstance(record, dict) else {}
        read = {k: row[k] for k in kinds if k in row and _fits(row[k], kinds[k])}
        if not read.get("method"):
            raise ValueError("it names no method")
        highest = {"sparsity": 1.0, "seed": math.inf, "test_accuracy": 1.0}
        for key in ("sparsity", "seed") if read.get("failed") else highest:
            if not 0 <= read.get(key, -1) <= highest[key]:
                raise ValueError(f"its {key} is {row.get(key)!r}")
        # Folders are moved between machines, and this reads any system's paths.
        stages = [PureWindowsPath(path).name for path in read.get("stages", [])]
        return cls(**read | {"name": name, "stages": stages})

    @property
    def phases(self) -> list[Phase]:
        """Its trainings, in order."""
        return [epochs for epochs in self.history.values() if epochs]

    @property
    def transformations(self) -> list[Phase]:
        return [phase for phase in self.phases if transforms(phase)]


def transforms(phase: Phase) -> bool:
    """Whether it is a transformation, with a penalty on the weights to remove."""
    return any("removed_magnitude" in epoch for epoch in phase)


def series(phase: Phase, metric: str) -> np.ndarray:
    """A metric at the end of each epoch; NaN where it was not recorded."""
    return np.array([epoch.get(metric) for epoch in phase], float)


def _fits(value: object, kind: typing.Any) -> bool:
    """Whether a value from JSON is of a type such as `dict[str, float | None]`."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        return any(_fits(value, part) for part in parts)
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if not isinstance(value, origin or kind):
        return False
    values = value.values() if isinstance(value, dict) else value
    return not parts or all(_fits(part, parts[-1]) for part in values)


@dataclass
class Experiment:
    """What could be read of an experiment.

    `shared` is what its runs have in common, as `experiment.json` says. `begun` has a
    line for each stage that is not finished, `skipped` for what could not be read.
    """

    folder: Path
    shared: dict = field(default_factory=dict)
    runs: list[RunRecord] = field(default_factory=list)
    failed: list[RunRecord] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def skip(self, path: Path, why: object) -> None:
        """Notes that a file was passed over; once, whoever asks for it again."""
        reason = str(why).replace(f"{self.folder}{os.sep}", "")
        note = f"{path.relative_to(self.folder).as_posix()}: {reason}"
        if note not in self.skipped:
            self.skipped.append(note)

    def has_weights(self, stage: str) -> bool:
        return (self.folder / "stages" / stage / "weights.npz").exists()

    def weights(self, stage: str) -> dict[str, np.ndarray]:
        """The weights a stage left, by name; empty if they can't be read."""
        path = self.folder / "stages" / stage / "weights.npz"
        try:
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        except _UNREADABLE as error:
            self.skip(path, f"unreadable weights ({error})")
            return {}

    def read(self, name: str) -> dict:
        """The content of a JSON file; empty if it is not there, or can't be read."""
        path = self.folder / name
        try:
            content = _from_json(path.read_text("utf-8")) if path.exists() else {}
        except (OSError, ValueError) as error:
            self.skip(path, f"damaged ({error})")
            return {}
        return content if isinstance(content, dict) else {}

    def missing(self) -> dict[str, list[int]]:
        """Seeds that are asked for and neither finished nor failed, by cell.

        What was asked for is what the experiment has noted, and what the commands behind
        the finished runs asked for: all combinations of methods, sparsities and seeds.
        """
        ended = {
            (cell_key(run.method, run.sparsity), run.seed)
            for run in [*self.runs, *self.failed]
        }
        noted = self.shared.get("asked")
        asked = list(noted) if isinstance(noted, list) else []
        asked += [run.flags for run in self.runs]
        missing: dict[str, list[int]] = {}
        for grid in dict.fromkeys(map(_grid, asked)):
            for method, sparsity, seed in itertools.product(*grid):
                wanted = cell_key(method, sparsity), seed
                if wanted not in ended:
                    ended.add(wanted)
                    missing.setdefault(wanted[0], []).append(seed)
        return missing

    def notices(self) -> dict[str, list[str]]:
        """What failed, lacks, is not finished or unreadable: leads with their lines."""
        found = {
            "Runs that failed, and count in no mean": [
                f"{run.name}: {run.failed}" for run in self.failed
            ],
            "Runs that were asked for and are not finished": [
                f"{key}: seed {', '.join(map(str, sorted(seeds)))}"
                for key, seeds in self.missing().items()
            ],
            "Begun and not finished": self.begun,
            "Could not be read and was passed over": self.skipped,
        }
        return {lead: lines for lead, lines in found.items() if lines}


def read_experiment(folder: str | os.PathLike) -> Experiment:
    """Reads all that is readable of an experiment's folder.

    Raises:
        FileNotFoundError: there is no such folder, or nothing of an experiment in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"--output_dir: there is no folder '{folder}'.")
    if not any((folder / mark).exists() for mark in _MARKS):
        raise FileNotFoundError(
            f"--output_dir '{folder}' holds no results: it has none of "
            f"{', '.join(_MARKS)}. Give the folder that dlth_tf.train wrote."
        )
    experiment = Experiment(folder)
    experiment.shared = experiment.read("experiment.json")
    for run in _runs(experiment):
        (experiment.failed if run.failed else experiment.runs).append(run)
    experiment.begun = list(_begun(folder))
    return experiment


def cell_key(method: str, sparsity: float) -> str:
    """A name for a method at a sparsity, fit for files and anchors."""
    return re.sub(r"[^\w.-]+", "-", cell_name(method, sparsity))


def _runs(experiment: Experiment) -> list[RunRecord]:
    """The runs in their own files; those whose file is lost, from the joint one."""
    listed = {run.name: run for run in _listed(experiment)}
    runs = {}
    for path in sorted(experiment.folder.glob("runs/*/result.json")):
        name = path.parent.name
        try:
            runs[name] = RunRecord.parse(name, _from_json(path.read_text("utf-8")))
        except (OSError, ValueError) as error:
            rescued = "; results.jsonl has it and was used" if name in listed else ""
            experiment.skip(path, f"damaged ({error}){rescued}")
    cells = {(r.method, r.sparsity, r.seed): r for r in {**listed, **runs}.values()}
    return list(cells.values())


def _listed(experiment: Experiment) -> Iterator[RunRecord]:
    path = experiment.folder / "results.jsonl"
    try:
        text = path.read_text("utf-8", errors="replace") if path.exists() else ""
    except OSError as error:
        experiment.skip(path, error)
        return
    for place, line in enumerate(text.splitlines(), 1):
        try:
            if line.strip():
                record = _from_json(line)
                yield RunRecord.parse(PureWindowsPath(record["run"]).name, record)
        except (ValueError, TypeError, KeyError) as error:
            experiment.skip(path, f"line {place} is damaged ({error})")


def _begun(folder: Path) -> Iterator[str]:
    for stage in sorted(folder.glob("stages/*")):
        if stage.is_dir() and not (stage / "stage.json").exists():
            title = re.sub(r"-[0-9a-f]{16}$", "", stage.name).replace("-", " ")
            done = max(map(_epochs_done, stage.glob("checkpoint-*.npz")), default=-1)
            epochs = f" ({done} epoch{'s' * (done != 1)} done)"
            yield title + epochs * (done >= 0)


def _epochs_done(checkpoint: Path) -> int:
    """How many epochs a checkpoint has; -1 if it can't be read."""
    try:
        with np.load(checkpoint, allow_pickle=False) as file:
            return int(json.loads(str(file["progress"]))["epoch"])
    except (*_UNREADABLE, TypeError):
        return -1


def _grid(flags: typing.Any) -> tuple[tuple, tuple, tuple]:
    """Methods, sparsities and seeds by the flags' names; none if they are not there."""
    try:
        return (
            tuple(map(str, flags["method"])),
            tuple(map(float, flags["sparsity"])),
            tuple(map(int, flags["seed"])),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return (), (), ()
