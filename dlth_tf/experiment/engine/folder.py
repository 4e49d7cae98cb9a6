"""The folder of an experiment: what lies where, and what is finished.

experiment.json                 what all runs have in common, and what was asked for
results.jsonl, table.md         made from the runs
report.html                     the page (`dlth_tf.report`)
runs/NAME/result.json, export/  each run's row, and its network for serving
stages/NAME-KEY/stage.json      written last; without it the stage is in progress
"""

import contextlib
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dlth_tf.experiment.engine.lock import Lock
from dlth_tf.experiment.plan.stages import Stage
from dlth_tf.files import atomic_write

EXPERIMENT = "experiment.json"
RESULTS = "results.jsonl"
TABLE = "table.md"
REPORT = "report.html"
RESULT = "result.json"
EXPORT = "export"
TICKET = "stage.ticket"
_EARLIER_TICKET = "ticket.safetensors.xz"
WEIGHTS = "weights.npz"
CHECKPOINTS = ("checkpoint-a.npz", "checkpoint-b.npz")
LOGS = "logs"
STAGE = "stage.json"


class ExperimentFolder:
    """An experiment's folder, which programs may work on one after the other."""

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)

    def run(self, name: str) -> Path:
        """The folder of a run, by its name."""
        return self.path / "runs" / name

    def run_results(self) -> list[Path]:
        """Where the rows of runs lie, in the order of their names."""
        return sorted(self.path.glob(f"runs/*/{RESULT}"))

    def stage(self, stage: Stage) -> Path:
        """The stage's folder, named for a person and for its key, which alone counts."""
        root = self.path / "stages"
        words = re.sub(r"[^a-z0-9.]+", "-", stage.title.lower()).strip("-")[:60]
        there = root.glob(f"*-{stage.key}")
        return next(there, root / f"{words}-{stage.key}")

    def stage_named(self, recorded: str) -> Path:
        """The folder of a stage as a row names it, also if all was moved since."""
        return self.path / "stages" / Path(recorded).name

    @contextlib.contextmanager
    def lock(self, stage: Stage) -> Iterator[Path]:
        """Makes sure that one program at a time works on a stage, in its folder."""
        folder = self.stage(stage)
        folder.mkdir(parents=True, exist_ok=True)
        with Lock(folder / ".lock", f"stage '{stage.title}'").held(needed=False):
            yield folder

    def is_done(self, stage: Stage) -> bool:
        return (self.stage(stage) / STAGE).exists()

    def finish(self, stage: Stage, record: Mapping[str, Any]) -> None:
        write_json(self.stage(stage) / STAGE, {"definition": stage.definition, **record})

    def record(self, stage: Stage) -> dict[str, Any]:
        """What was recorded when the stage was finished."""
        return json.loads((self.stage(stage) / STAGE).read_text())

    def failure(self, stage: Stage) -> str | None:
        """Why a finished stage is no evidence; None if it is."""
        return self.record(stage).get("failed")


def ticket_path(folder: Path) -> Path:
    """The ticket in a stage's folder, which earlier versions called otherwise."""
    path = folder / TICKET
    return path if path.exists() else folder / _EARLIER_TICKET


def save_weights(folder: Path, weights: Mapping[str, np.ndarray]) -> None:
    with atomic_write(folder / WEIGHTS) as file:
        np.savez(file, **weights)  # type: ignore[arg-type]


def read_weights(folder: Path) -> dict[str, np.ndarray]:
    """The weights in a stage's folder; an OSError if they are damaged or gone."""
    path = folder / WEIGHTS
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
        raise OSError(
            f"'{path}' is damaged ({error}). Remove its folder and run the same "
            "command again to compute the stage anew."
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Raises `OSError` if the file is damaged."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise OSError(
            f"'{path}' is damaged ({error}). Remove it, and run the same command again."
        ) from error


def write_json(path: Path, content: Any) -> None:
    with atomic_write(path) as file:
        file.write((json.dumps(content, indent=1) + "\n").encode())
