"""The results of an experiment's runs, as files."""

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from dlth_tf.experiment.cost import (
    dense_training_flops,
    network_cost,
    training_flops,
)
from dlth_tf.experiment.flag_names import flag_of
from dlth_tf.experiment.lock import Lock
from dlth_tf.experiment.plan import Run, Settings, Shard
from dlth_tf.experiment.stages import WeightsStage
from dlth_tf.experiment.store import write_json
from dlth_tf.experiment.table import table
from dlth_tf.experiment.workbench import Workbench
from dlth_tf.storage.files import atomic_write, remove_temporaries

_EXPERIMENT = "experiment.json"
_ASKED = "asked"
_BEGINNING_SECONDS = 10.0
_SETTLED = "settled_after_epochs"
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
        """Whether this very run is there, not one of the same name by other settings."""
        path = self.folder(run) / "result.json"
        return path.exists() and _read(path).get("key") == run.stage.key

    def all(self) -> list[dict]:
        """All finished runs in the folder, in the order of their names."""
        return [_read(p) for p in sorted((self._root / "runs").glob("*/result.json"))]

    def finish(self, run: Run, bench: Workbench, flags: dict) -> dict:
        """Measures a run whose stages are done on the test set, and files the result."""
        result = _measure(run, bench)
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


def _measure(run: Run, bench: Workbench) -> dict:
    from dlth_tf.experiment.evaluation import evaluate

    stage = run.stage
    ticket = stage.masked_by and bench.ticket(stage.masked_by)
    done = {needed: bench.store.record(needed) for needed in stage.lineage()}
    records = {needed.title: record for needed, record in done.items()}
    flops = training_flops(done, bench)
    workers = bench.hardware.workers
    measured = evaluate(bench.network_with(stage), bench.data, "test", workers=workers)
    images = sum(record.get("images", 0) for record in records.values())
    return {
        "key": run.stage.key,
        "method": run.method,
        "sparsity": run.sparsity,
        "seed": run.seed,
        "test_accuracy": measured.accuracy,
        "test_top5": measured.top5,
        "test_loss": measured.loss,
        "test_images": measured.images,
        "train_images": images,
        "train_cost": images / run.dense_stage.images(bench),
        "train_flops": flops,
        "train_flops_cost": flops / dense_training_flops(run.dense_stage, bench),
        **network_cost(stage, bench),
        "seconds": sum(record.get("seconds", 0.0) for record in records.values()),
        "weights_left": 1.0 - ticket.sparsity if ticket else 1.0,
        "sparsity_per_layer": ticket.sparsity_per_kernel() if ticket else {},
        _SETTLED: next((r[_SETTLED] for r in records.values() if _SETTLED in r), None),
        "history": {
            title: record["history"]
            for title, record in records.items()
            if "history" in record
        },
        "shrunk_by": _shrunk_by(stage, bench),
        "stages": [os.fspath(bench.store.folder(s)) for s in stage.lineage()],
    }


def _shrunk_by(stage: WeightsStage, bench: Workbench) -> str | None:
    """The folder of the ticket by which a run's network was made smaller."""
    shrunk = getattr(stage, "shrunk", False)
    return os.fspath(bench.store.folder(stage.masked_by)) if shrunk else None


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
