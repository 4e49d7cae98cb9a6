"""A folder belongs to one experiment, and to one program at a time."""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dlth_tf.experiment import flags
from dlth_tf.experiment.engine.folder import EXPERIMENT, read_json, write_json
from dlth_tf.experiment.engine.lock import Lock
from dlth_tf.experiment.plan.runs import Experiment, Shard
from dlth_tf.experiment.results.results import writing
from dlth_tf.files import remove_temporaries

_BEGINNING_SECONDS = 10.0


def check_free(folder: Path, experiment: Experiment) -> None:
    """Raises a ValueError if a folder is neither free nor this experiment's."""
    path = folder / EXPERIMENT
    if path.exists():
        ours = _as_json(dataclasses.asdict(experiment.protocol))
        differences = _differences(read_json(path), ours)
        if differences:
            raise ValueError(
                f"--output_dir '{folder}' holds another experiment: "
                f"{'; '.join(dict.fromkeys(differences))}. Choose another folder."
            )
    elif folder.exists() and any(not p.name.startswith(".") for p in folder.iterdir()):
        raise ValueError(
            f"--output_dir '{folder}' is not empty and holds no experiment. "
            "Choose another folder."
        )


def claim(folder: Path, experiment: Experiment) -> None:
    """Marks a free folder as this experiment's, and notes which runs are asked for."""
    path = folder / EXPERIMENT
    with writing(folder):
        check_free(folder, experiment)
        remove_temporaries(folder)
        ours = dataclasses.asdict(experiment.protocol)
        there = read_json(path) if path.exists() else ours
        asked, new = there.get("asked", []), _as_json(experiment.grid())
        if not path.exists() or new not in asked:
            write_json(path, there | {"asked": [*asked, new]})


@contextlib.contextmanager
def in_use(
    folder: Path, shard: Shard | None, tell: Callable[[str], None]
) -> Iterator[None]:
    """Makes sure that no other program works on the experiment, or on its shard.

    A program of a shard holds its shard's lock, a single one that of the whole. `tell` is
    given a line if the lock is none, or may be none; for a shard that is an OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"--output_dir '{folder}'"
    whole = Lock(folder / ".lock", name)
    with contextlib.ExitStack() as held:
        if shard is None:
            note = held.enter_context(whole.held(needed=False))
            for path in folder.glob(".lock-*"):
                with Lock(path, name).held(needed=False):
                    pass
        else:
            path = folder / f".lock-{shard.index}-of-{shard.count}"
            own = Lock(path, f"--shard={shard.index}/{shard.count} of {name}")
            # Others that begin hold it for a moment, too.
            with whole.held(wait=_BEGINNING_SECONDS):
                note = held.enter_context(own.held())
        if note:
            tell(note)
        yield


def _as_json(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings as they are once they were written and read."""
    return json.loads(json.dumps(settings))


def _differences(
    theirs: dict[str, Any], ours: dict[str, Any], path: str = ""
) -> list[str]:
    """Settings of another value; one that only one version of the program has is none."""
    found = []
    for name in sorted(theirs.keys() & ours.keys()):
        a, b = theirs[name], ours[name]
        if isinstance(a, dict) and isinstance(b, dict):
            found += _differences(a, b, f"{path}{name}.")
        elif a != b:
            flag = flags.setting(f"{path}{name}")
            found.append(f"--{flag} is {_shown(a)} there and {_shown(b)} here")
    return found


def _shown(value: object) -> str:
    """A setting as it is written for a flag."""
    if not isinstance(value, list):
        return str(value)
    parts = (":".join(map(str, p)) if isinstance(p, list) else p for p in value)
    return ",".join(parts) or "none"
