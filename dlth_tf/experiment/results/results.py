"""The rows of an experiment's runs, as files, and the table made of them."""

import contextlib
import dataclasses
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from dlth_tf.experiment.engine import folder as files
from dlth_tf.experiment.engine.lock import Lock
from dlth_tf.experiment.plan.protocol import Task
from dlth_tf.experiment.plan.runs import Run
from dlth_tf.experiment.results.comparison import table
from dlth_tf.experiment.results.row import Row
from dlth_tf.files import atomic_write, remove_temporaries

_PACKAGES = ("keras", "tensorflow", "jax", "tensorflow-model-optimization", "numpy")


class Results:
    """The rows of the runs in an experiment's folder.

    Each lies in its run's folder; `results.jsonl` and `table.md` are made from these.
    """

    def __init__(self, folder: files.ExperimentFolder):
        self._folder = folder

    def is_done(self, run: Run) -> bool:
        """Whether this very run is there, not one of the same name by other settings.

        One that failed is, for as long as the stage that failed has its folder.
        """
        row = self._row(run)
        if row is None or row.key != run.stage.key:
            return False
        return row.failed is None or self._failed_stage(row).exists()

    def failure(self, run: Run) -> str | None:
        """Why a run failed, and how to try it again; None if it did not."""
        row = self._row(run)
        if row is None or row.failed is None:
            return None
        return f"{row.failed} (to try again, remove '{self._failed_stage(row)}')"

    def file(self, run: Run, row: Row, flags: Mapping[str, Any]) -> None:
        """Writes a run's row, and makes the table anew."""
        folder = self._folder.run(run.name)
        remove_temporaries(folder)
        versions, path = _versions(), os.fspath(folder)
        row = dataclasses.replace(row, run=path, flags=dict(flags), versions=versions)
        files.write_json(folder / files.RESULT, row.as_json())
        self.publish()

    def publish(self) -> str:
        """Writes `results.jsonl` and `table.md` anew; returns the table."""
        path = self._folder.path
        with writing(path):
            # Earlier versions named a run of many digits otherwise: it is there twice.
            found: dict[tuple, tuple[dict, Row]] = {}
            for result in self._folder.run_results():
                record, row = _read(result)
                found[row.method, row.sparsity, row.seed] = record, row
            with atomic_write(path / files.RESULTS) as file:
                for record, _ in found.values():
                    file.write(f"{json.dumps(record)}\n".encode())
            text = table(row for _, row in found.values())
            with atomic_write(path / files.TABLE) as file:
                file.write(f"{text}\n".encode())
        return text

    def _row(self, run: Run) -> Row | None:
        path = self._folder.run(run.name) / files.RESULT
        return _read(path)[1] if path.exists() else None

    def _failed_stage(self, row: Row) -> Path:
        return self._folder.stage_named(row.stages[-1])


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """A run that has a network: its folder, its data set and network, its row."""

    folder: Path
    task: Task
    row: Row

    @classmethod
    def read(cls, folder: str | os.PathLike) -> "FinishedRun":
        """Reads a run from its folder, such as `runs/quickstart/runs/rst-0.98-seed0`.

        Raises:
            FileNotFoundError, ValueError, OSError: it is not finished, failed, damaged.
        """
        folder = Path(os.path.abspath(folder))
        result = folder / files.RESULT
        if not result.exists():
            near = sorted(p.parent.name for p in folder.parent.glob(f"*/{files.RESULT}"))
            raise FileNotFoundError(
                f"'{folder}' holds no finished run. Finished runs in '{folder.parent}': "
                f"{', '.join(near) or 'none'}"
            )
        experiment = folder.parent.parent / files.EXPERIMENT
        try:
            row = Row.parse(files.read_json(result))
            task = Task(**files.read_json(experiment)["task"])
        except (KeyError, TypeError, ValueError) as error:
            raise OSError(f"The files of run '{folder}' are damaged: {error}") from error
        if row.failed:
            raise ValueError(f"Run '{folder}' has no network: {row.failed}.")
        return cls(folder, task, row)


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """One program at a time writes the files that all of them share."""
    lock = Lock(folder / ".files.lock", "its list of results")
    with lock.held(wait=math.inf, needed=False):
        yield


def _read(path: Path) -> tuple[dict[str, Any], Row]:
    record = files.read_json(path)
    try:
        return record, Row.parse(record)
    except ValueError as error:
        raise OSError(
            f"'{path}' is damaged ({error}). Remove it, and run the same command again."
        ) from error


def _versions() -> dict[str, str]:
    versions = {"python": sys.version.split()[0]}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions
