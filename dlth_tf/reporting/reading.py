"""Reading an experiment's folder, whatever state it is in."""

import dataclasses
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from dlth_tf.reporting.records import FailedRun, RunRecord, parse_run

_UNREADABLE = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile)
_MARKS = ("experiment.json", "results.jsonl", "runs", "stages")


@dataclasses.dataclass(frozen=True)
class Begun:
    """A stage that is not finished: `epochs` of it are done, if that could be read."""

    title: str
    epochs: int | None


@dataclasses.dataclass
class Experiment:
    """What could be read of an experiment.

    Attributes:
        folder: where it lies.
        shared: what all its runs have in common, as `experiment.json` says.
        asked: the grids of runs that were asked for, as it says too.
        runs: the finished runs.
        failed: those that failed.
        begun: stages in progress, or given up.
        skipped: what could not be read, a line for each.
    """

    folder: Path
    shared: Mapping = dataclasses.field(default_factory=dict)
    asked: Sequence = ()
    runs: list[RunRecord] = dataclasses.field(default_factory=list)
    failed: list[FailedRun] = dataclasses.field(default_factory=list)
    begun: list[Begun] = dataclasses.field(default_factory=list)
    skipped: list[str] = dataclasses.field(default_factory=list)

    def skip(self, path: Path, why: object) -> None:
        """Notes that a file was passed over; once, whoever asks for it again."""
        why = str(why).replace(f"{self.folder}{os.sep}", "")
        note = f"{path.relative_to(self.folder).as_posix()}: {why}"
        if note not in self.skipped:
            self.skipped.append(note)

    def stage(self, name: str) -> Mapping:
        """What a finished stage recorded; empty if that can't be read."""
        path = self.folder / "stages" / name / "stage.json"
        record = self._json(path) if path.exists() else {}
        return record if isinstance(record, dict) else {}

    def weights(self, name: str) -> dict[str, np.ndarray] | None:
        """The weights a stage left, by name; None if there are none to be read."""
        path = self.folder / "stages" / name / "weights.npz"
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        except _UNREADABLE as error:
            self.skip(path, f"unreadable weights ({error})")
            return None

    def _json(self, path: Path) -> object:
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            self.skip(path, f"damaged ({error})")
            return None


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
    if (folder / "experiment.json").exists():
        shared = experiment._json(folder / "experiment.json")
        experiment.shared = shared if isinstance(shared, dict) else {}
        asked = experiment.shared.get("asked")
        experiment.asked = asked if isinstance(asked, list) else ()
    runs = _runs(experiment)
    experiment.runs = [run for run in runs if isinstance(run, RunRecord)]
    experiment.failed = [run for run in runs if isinstance(run, FailedRun)]
    experiment.begun = list(_begun(folder))
    return experiment


def _runs(experiment: Experiment) -> list[RunRecord | FailedRun]:
    """The runs in their own files; those whose file is lost, from the joint one."""
    listed = dict(_listed(experiment))
    runs = {}
    for path in sorted(experiment.folder.glob("runs/*/result.json")):
        name = path.parent.name
        try:
            runs[name] = parse_run(name, json.loads(path.read_text("utf-8")))
        except (OSError, ValueError) as error:
            rescued = "; results.jsonl has it and was used" if name in listed else ""
            experiment.skip(path, f"damaged ({error}){rescued}")
    cells: dict[tuple, RunRecord | FailedRun] = {}
    for run in {**listed, **runs}.values():
        cells[run.method, run.sparsity, run.seed] = run
    return list(cells.values())


def _listed(experiment: Experiment) -> Iterator[tuple[str, RunRecord | FailedRun]]:
    path = experiment.folder / "results.jsonl"
    if not path.exists():
        return
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError as error:
        experiment.skip(path, error)
        return
    for place, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            name = re.split(r"[\\/]", str(record["run"]))[-1]
            yield name, parse_run(name, record)
        except (ValueError, TypeError, KeyError) as error:
            experiment.skip(path, f"line {place} is damaged ({error})")


def _begun(folder: Path) -> Iterator[Begun]:
    for stage in sorted(folder.glob("stages/*")):
        if stage.is_dir() and not (stage / "stage.json").exists():
            words = re.sub(r"-[0-9a-f]{16}$", "", stage.name).replace("-", " ")
            done = [_epochs_done(path) for path in stage.glob("checkpoint-*.npz")]
            yield Begun(words, max((d for d in done if d is not None), default=None))


def _epochs_done(checkpoint: Path) -> int | None:
    try:
        with np.load(checkpoint, allow_pickle=False) as file:
            return int(json.loads(str(file["progress"]))["epoch"])
    except (*_UNREADABLE, TypeError):
        return None
