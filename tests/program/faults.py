"""What tests of faults share: hitting the program at a step, comparing what it leaves."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dlth_tf.experiment.callbacks import StopAfter
from dlth_tf.experiment.stages import TicketStage
from dlth_tf.ticket import Ticket


def at_step(monkeypatch, number: int, fault: Callable[[], None]) -> None:
    """Lets a fault happen once, after so many training steps from now."""
    own = StopAfter.on_train_batch_end
    left = number

    def on_train_batch_end(self, batch, logs=None):
        nonlocal left
        left -= 1
        if left == 0:
            fault()
        own(self, batch, logs)

    monkeypatch.setattr(StopAfter, "on_train_batch_end", on_train_batch_end)


def contents(folder: Path) -> dict[str, np.ndarray]:
    """All weights and tickets of an experiment."""
    return {
        f"{path.parent.name}/{path.stem}/{name}": value
        for path in folder.glob("stages/*/*.npz")
        for name, value in _arrays(path).items()
    }


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if path.name == TicketStage.FILE:
        return Ticket.load(path).masks
    return dict(np.load(path))


def histories(folder: Path) -> dict[str, list]:
    """The metrics of every epoch of every training."""
    records = {
        path.parent.name: json.loads(path.read_text())
        for path in folder.glob("stages/*/stage.json")
    }
    return {name: record.get("history") for name, record in records.items()}


def assert_same(found: Path, expected: Path) -> None:
    """The same bits, the same histories, the same table."""
    left, right = contents(found), contents(expected)
    assert left.keys() == right.keys()
    for name, value in right.items():
        np.testing.assert_array_equal(left[name], value, err_msg=name)
    assert histories(found) == histories(expected)
    assert (found / "table.md").read_text() == (expected / "table.md").read_text()
