"""The results of an experiment's runs, as files."""

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from dlth_tf.experiment.flag_names import flag_of
from dlth_tf.experiment.lock import Lock
from dlth_tf.experiment.plan import Run, Settings, Shard
from dlth_tf.experiment.row import failed_row, finished_row
from dlth_tf.experiment.stages import StageFailed
from dlth_tf.experiment.store import write_json
from dlth_tf.experiment.table import table
from dlth_tf.experiment.workbench import Workbench
from dlth_tf.files import atomic_write, remove_temporaries

_EXPERIMENT = "experiment.json"
_ASKED = "asked"
_BEGINNING_SECONDS = 10.0
_PACKAGES = ("keras", "tensorflow", "jax", "tensorflow-model-optimization", "numpy")


class Results:
    """The finished runs in an experiment's folder.

    Each lies in a folder of its own; `results.jsonl` and `table.md` are made from these.
    """

    def __init__(self, output_dir: str | os.PathLike):
        self._root = Path(output_dir)

    def folder(self, run: Run) -> Path:
        return self._root / "runs" / run.name

    def is_done(self, run: Run) -> bool:
        """Whether this very run is there, not one of the same name by other settings.

        One that failed is, for as long as the stage that failed has its folder.
        """
        result = self._result(run)
        if result is None or result.get("key") != run.stage.key:
            return False
        return "failed" not in result or self._failed_stage(result).exists()

    def failure(self, run: Run) -> str | None:
        """Why a run failed, and how to try it again; None if it did not."""
        result = self._result(run)
        if result is None or "failed" not in result:
            return None
        folder = self._failed_stage(result)
        return f"{result['failed']} (to try again, remove '{folder}')"

    def all(self) -> list[dict]:
        """All runs in the folder, those that failed too, in the order of their names."""
        found = [_read(p) for p in sorted((self._root / "runs").glob("*/result.json"))]
        # Earlier versions named a run of many digits otherwise: it is there twice then.
        return list({(r["method"], r["sparsity"], r["seed"]): r for r in found}.values())

    def finish(self, run: Run, bench: Workbench, flags: dict) -> dict:
        """Measures a run whose stages are done on the test set, and files the result.

        Raises:
            StageFailed: its numbers would be no evidence; nothing is filed.
        """
        return self._file(run, finished_row(run, bench), bench, flags)

    def fail(self, run: Run, bench: Workbench, flags: dict, failure: StageFailed) -> dict:
        """Files why a run has no numbers."""
        return self._file(run, failed_row(run, bench, failure), bench, flags)

    def _file(self, run: Run, result: dict, bench: Workbench, flags: dict) -> dict:
        if not bench.hardware.workers.is_chief:
            return result
        remove_temporaries(self.folder(run))
        result["run"] = os.fspath(self.folder(run))
        result["flags"] = flags
        result["versions"] = _versions()
        write_json(self.folder(run) / "result.json", result)
        self.publish()
        return result

    def publish(self) -> str:
        """Writes `results.jsonl` and `table.md` anew; returns the table."""
        with self._writing():
            results = self.all()
            lines = [json.dumps(result) + "\n" for result in results]
            with atomic_write(self._root / "results.jsonl") as file:
                file.writelines(line.encode() for line in lines)
            text = table(results)
            with atomic_write(self._root / "table.md") as file:
                file.write((text + "\n").encode())
        return text

    def check(self, settings: Settings) -> None:
        """Makes sure that the folder is free or this experiment's.

        Raises:
            ValueError: it holds something else; the message names the difference.
        """
        taken = self._root.exists() and any(
            not path.name.startswith(".") for path in self._root.iterdir()
        )
        path = self._root / _EXPERIMENT
        if path.exists():
            differences = _differences(_read(path), _as_json(settings.shared()))
            if differences:
                raise ValueError(
                    f"--output_dir '{self._root}' holds another experiment: "
                    f"{'; '.join(dict.fromkeys(differences))}. Choose another folder."
                )
        elif taken:
            raise ValueError(
                f"--output_dir '{self._root}' is not empty and holds no experiment. "
                "Choose another folder."
            )

    @contextlib.contextmanager
    def in_use(self, shard: Shard | None, tell: Callable[[str], None]) -> Iterator[None]:
        """Makes sure that no other program works on the experiment, or on its shard.

        A program of a shard holds its shard's lock, a single one that of the whole.

        Args:
            shard: the part of the runs that this program does; None: all, alone.
            tell: is given a line if the lock is none, or may be none.

        Raises:
            InUse: another one does.
            OSError: a shard, where the file system has no locks.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        name = f"--output_dir '{self._root}'"
        whole = Lock(self._root / ".lock", name)
        with contextlib.ExitStack() as held:
            if shard is None:
                note = held.enter_context(whole.held(needed=False))
                for path in self._root.glob(".lock-*"):
                    with Lock(path, name).held(needed=False):
                        pass
            else:
                path = self._root / f".lock-{shard.index}-of-{shard.count}"
                own = Lock(path, f"--shard={shard.index}/{shard.count} of {name}")
                # Others that begin hold it for a moment, too.
                with whole.held(wait=_BEGINNING_SECONDS):
                    note = held.enter_context(own.held())
            if note:
                tell(note)
            yield

    def claim(self, settings: Settings) -> None:
        """Marks the folder as this experiment's, and notes which runs are asked for.

        Raises:
            ValueError: another program has made it another experiment's.
        """
        path = self._root / _EXPERIMENT
        with self._writing():
            self.check(settings)
            remove_temporaries(self._root)
            there = _read(path) if path.exists() else _as_json(settings.shared())
            asked, new = there.get(_ASKED, []), _as_json(settings.grid())
            if not path.exists() or new not in asked:
                write_json(path, there | {_ASKED: [*asked, new]})

    def _result(self, run: Run) -> dict | None:
        path = self.folder(run) / "result.json"
        return _read(path) if path.exists() else None

    def _failed_stage(self, result: dict) -> Path:
        """The folder of the stage that a run failed at, also if all was moved."""
        return self._root / "stages" / Path(result["stages"][-1]).name

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """One program at a time writes the files that all of them share."""
        lock = Lock(self._root / ".files.lock", "its list of results")
        with lock.held(wait=math.inf, needed=False):
            yield


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise OSError(
            f"'{path}' is damaged ({error}). Remove it, and run the same command again."
        ) from error


def _as_json(settings: dict) -> dict:
    """The settings as they are once they were written and read."""
    return json.loads(json.dumps(settings))


def _versions() -> dict[str, str]:
    versions = {"python": sys.version.split()[0]}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _differences(theirs: dict, ours: dict, path: str = "") -> list[str]:
    """Settings of another value; one that only one version of the program has is none."""
    found = []
    for name in sorted(theirs.keys() & ours.keys()):
        a, b = theirs[name], ours[name]
        if isinstance(a, dict) and isinstance(b, dict):
            found += _differences(a, b, f"{path}{name}.")
        elif a != b:
            flag = flag_of(f"{path}{name}")
            found.append(f"{flag} is {_shown(a)} there and {_shown(b)} here")
    return found


def _shown(value: object) -> str:
    """A setting as it is written for a flag."""
    if not isinstance(value, list):
        return str(value)
    parts = (":".join(map(str, p)) if isinstance(p, list) else p for p in value)
    return ",".join(parts) or "none"
