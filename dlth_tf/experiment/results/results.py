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

from dlth_tf.experiment.engine.folder import (
    RESULT,
    RESULTS,
    TABLE,
    ExperimentFolder,
    read_json,
    write_json,
)
from dlth_tf.experiment.engine.lock import Lock
from dlth_tf.experiment.plan.runs import Run
from dlth_tf.experiment.results.row import Row
from dlth_tf.experiment.results.table import table
from dlth_tf.files import atomic_write, remove_temporaries

_PACKAGES = ("keras", "tensorflow", "jax", "tensorflow-model-optimization", "numpy")


class Results:
    """The rows of the runs in an experiment's folder.

    Each lies in its run's folder; `results.jsonl` and `table.md` are made from these.
    """

    def __init__(self, folder: ExperimentFolder):
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
        row = dataclasses.replace(
            row, run=os.fspath(folder), flags=dict(flags), versions=_versions()
        )
        write_json(folder / RESULT, row.as_json())
        self.publish()

    def publish(self) -> str:
        """Writes `results.jsonl` and `table.md` anew; returns the table."""
        with writing(self._folder.path):
            found = {path: read_json(path) for path in self._folder.run_results()}
            # Earlier versions named a run of many digits otherwise: it is there twice.
            records = {
                (record["method"], record["sparsity"], record["seed"]): (path, record)
                for path, record in found.items()
            }
            with atomic_write(self._folder.path / RESULTS) as file:
                for _, record in records.values():
                    file.write(f"{json.dumps(record)}\n".encode())
            text = table(_row(*found) for found in records.values())
            with atomic_write(self._folder.path / TABLE) as file:
                file.write(f"{text}\n".encode())
        return text

    def _row(self, run: Run) -> Row | None:
        path = self._folder.run(run.name) / RESULT
        return _row(path, read_json(path)) if path.exists() else None

    def _failed_stage(self, row: Row) -> Path:
        return self._folder.stage_named(row.stages[-1])


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """One program at a time writes the files that all of them share."""
    lock = Lock(folder / ".files.lock", "its list of results")
    with lock.held(wait=math.inf, needed=False):
        yield


def _row(path: Path, record: Mapping[str, Any]) -> Row:
    try:
        return Row.parse(record)
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
