"""What the folder of an experiment says, whatever state it is in."""

import dataclasses
import functools
import itertools
import json
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dlth_tf.experiment.engine.folder import EXPERIMENT, RESULT, RESULTS, STAGE, WEIGHTS
from dlth_tf.experiment.results.comparison import cell_key
from dlth_tf.experiment.results.row import Row, last_part

_MARKS = (EXPERIMENT, RESULTS, "runs", "stages")
_UNREADABLE = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile)
# NaN is as good as nothing.
_from_json = functools.partial(json.loads, parse_constant=lambda name: None)


@dataclasses.dataclass
class Experiment:
    """What could be read of an experiment.

    `shared` is what its runs have in common, as `experiment.json` says, `skipped` has a
    line for each thing that could not be read.
    """

    folder: Path
    shared: dict = dataclasses.field(default_factory=dict)
    runs: list[Row] = dataclasses.field(default_factory=list)
    failed: list[Row] = dataclasses.field(default_factory=list)
    skipped: list[str] = dataclasses.field(default_factory=list)

    def skip(self, path: Path, why: object) -> None:
        """Notes that a file was passed over; once, whoever asks for it again."""
        reason = str(why).replace(f"{self.folder}{os.sep}", "")
        note = f"{path.relative_to(self.folder).as_posix()}: {reason}"
        if note not in self.skipped:
            self.skipped.append(note)

    def has_weights(self, stage: str) -> bool:
        return (self.folder / "stages" / stage / WEIGHTS).exists()

    def weights(self, stage: str) -> dict[str, np.ndarray]:
        """The weights a stage left, by name; empty if they can't be read."""
        path = self.folder / "stages" / stage / WEIGHTS
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
        runs = [*self.runs, *self.failed]
        ended = {(cell_key(run.method, run.sparsity), run.seed) for run in runs}
        noted = self.shared.get("asked")
        asked = [
            *(noted if isinstance(noted, list) else []),
            *(r.flags for r in self.runs),
        ]
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
        missing = self.missing().items()
        lacking = [f"{key}: seed {', '.join(map(str, sorted(s)))}" for key, s in missing]
        found = {
            "Runs that failed, and count in no mean": [
                f"{run.name}: {run.failed}" for run in self.failed
            ],
            "Runs that were asked for and are not finished": lacking,
            "Begun and not finished": list(_begun(self.folder)),
            "Could not be read and was passed over": self.skipped,
        }
        return {lead: lines for lead, lines in found.items() if lines}


def read_experiment(folder: str | os.PathLike) -> Experiment:
    """Reads all that is readable; FileNotFoundError if there is nothing at all."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"--output_dir: there is no folder '{folder}'.")
    if not any((folder / mark).exists() for mark in _MARKS):
        raise FileNotFoundError(
            f"--output_dir '{folder}' holds no results: it has none of "
            f"{', '.join(_MARKS)}. Give the folder that dlth_tf.train wrote."
        )
    experiment = Experiment(folder)
    experiment.shared = experiment.read(EXPERIMENT)
    for run in _runs(experiment):
        (experiment.failed if run.failed else experiment.runs).append(run)
    return experiment


def _runs(experiment: Experiment) -> list[Row]:
    """The runs in their own files; those whose file is lost, from the joint one."""
    runs = {run.name: run for run in _listed(experiment)}
    for path in sorted(experiment.folder.glob(f"runs/*/{RESULT}")):
        name = path.parent.name
        try:
            row = Row.parse(_from_json(path.read_text("utf-8")))
            runs[name] = dataclasses.replace(row, run=name)
        except (OSError, ValueError) as error:
            rescued = "; results.jsonl has it and was used" * (name in runs)
            experiment.skip(path, f"damaged ({error}){rescued}")
    return list({(r.method, r.sparsity, r.seed): r for r in runs.values()}.values())


def _listed(experiment: Experiment) -> Iterator[Row]:
    path = experiment.folder / RESULTS
    try:
        text = path.read_text("utf-8", errors="replace") if path.exists() else ""
    except OSError as error:
        experiment.skip(path, error)
        return
    for place, line in enumerate(text.splitlines(), 1):
        try:
            if line.strip():
                row = Row.parse(_from_json(line))
                yield dataclasses.replace(row, run=last_part(row.run))
        except (ValueError, TypeError, KeyError) as error:
            experiment.skip(path, f"line {place} is damaged ({error})")


def _begun(folder: Path) -> Iterator[str]:
    """The stages that are not finished, and how far they are."""
    for stage in sorted(folder.glob("stages/*")):
        if stage.is_dir() and not (stage / STAGE).exists():
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


def _grid(flags: Any) -> tuple[tuple, ...]:
    """Methods, sparsities and seeds by the flags' names; none if they are not there."""
    kinds = {"method": str, "sparsity": float, "seed": int}
    try:
        return tuple(tuple(map(kind, flags[name])) for name, kind in kinds.items())
    except (KeyError, TypeError, ValueError, OverflowError):
        return (), (), ()
