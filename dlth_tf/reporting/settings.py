"""The settings behind the runs: what all share, and what a run has of its own."""

import shlex
from collections.abc import Iterable, Mapping, Sequence

from dlth_tf.experiment import flags as program_flags
from dlth_tf.experiment.plan.methods import WITHOUT_SPARSITY, written
from dlth_tf.reporting.comparison import Cell
from dlth_tf.reporting.records import RunRecord

_OF_THE_RUN = {"method", "sparsity", "seed"}
_OF_THE_PLACE = {
    "output_dir",
    "data_dir",
    "checkpoint_every",
    "shard",
    "dry_run",
    "report",
    "export",
}


def shared_flags(runs: Iterable[RunRecord]) -> dict[str, object]:
    """Flags that have one value in all runs, less those of the place they ran at."""
    runs = [run for run in runs if run.flags]
    first = runs[0].flags if runs else {}
    return {
        name: value
        for name, value in first.items()
        if name not in _OF_THE_RUN | _OF_THE_PLACE
        and all(name in run.flags and run.flags[name] == value for run in runs)
    }


def own_flags(cell: Cell, shared: Mapping[str, object]) -> dict[str, object]:
    """Flags of a cell's runs that other runs have otherwise, or have not."""
    return {
        name: value
        for name, value in cell.runs[0].flags.items()
        if name not in shared and name not in _OF_THE_RUN | _OF_THE_PLACE
    }


def command(cell: Cell) -> str:
    """The command that makes a cell's runs anew."""
    parts = ["python -m dlth_tf.train", f"--method={cell.method}"]
    if cell.method not in WITHOUT_SPARSITY:
        parts.append(f"--sparsity={written(cell.sparsity)}")
    parts.append(f"--seed={','.join(str(run.seed) for run in cell.runs)}")
    for name, value in cell.runs[0].flags.items():
        if name not in _OF_THE_RUN | _OF_THE_PLACE and _is_set(name, value):
            parts.append(_as_argument(name, value))
    return " ".join(parts)


def explanation(name: str) -> str:
    """What a flag's help says; nothing for flags of other versions."""
    known = name in program_flags.DESCRIBED
    return program_flags.DESCRIBED[name].help if known else ""


def shown(value: object) -> str:
    """A flag's value as it is read."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def _is_set(name: str, value: object) -> bool:
    known = name in program_flags.DESCRIBED
    return known and value != program_flags.DESCRIBED[name].default


def _as_argument(name: str, value: object) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no{name}"
    if isinstance(value, list):
        value = program_flags.FLAGS[name].serializer.serialize(value)
    return shlex.quote(f"--{name}={value}")
