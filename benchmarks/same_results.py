"""Whether two experiments ended with the same results, to the bit."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dlth_tf.experiment.engine.folder import TICKET, WEIGHTS
from dlth_tf.tickets.ticket import Ticket

_MEASURED = ("test_accuracy", "test_loss", "test_top5", "train_images", "history")


def differences(found: Path, expected: Path) -> list[str]:
    """What differs in weights, tickets, histories, results or table."""
    left, right = dict(_contents(found)), dict(_contents(expected))
    return [
        name
        for name in sorted(left.keys() | right.keys())
        if name not in left
        or name not in right
        or not np.array_equal(left[name], right[name])
    ]


def _contents(folder: Path) -> Iterator[tuple[str, object]]:
    for path in folder.glob(f"stages/*/{WEIGHTS}"):
        for name, value in np.load(path).items():
            yield f"{path.parent.name}/weights/{name}", value
    for path in folder.glob(f"stages/*/{TICKET}"):
        for name, mask in Ticket.load(path).masks.items():
            yield f"{path.parent.name}/ticket/{name}", mask
    for path in folder.glob("stages/*/stage.json"):
        record = json.loads(path.read_text())
        yield f"{path.parent.name}/steps", record.get("steps")
        yield f"{path.parent.name}/history", json.dumps(record.get("history"))
    for path in folder.glob("runs/*/result.json"):
        result = json.loads(path.read_text())
        measured = {name: result.get(name) for name in _MEASURED}
        yield f"{path.parent.name}/result.json", json.dumps(measured)
    yield "table.md", (folder / "table.md").read_text()
