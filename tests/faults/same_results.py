"""Whether two experiments ended with the same results, to the bit."""

import json
from pathlib import Path

import numpy as np

from dlth_tf import Ticket

_MEASURED = ("test_accuracy", "test_loss", "test_top5", "train_images", "history")


def differences(found: Path, expected: Path) -> list[str]:
    """What differs in weights, tickets, histories, results or table."""
    left, right = _contents(found), _contents(expected)
    common = left.keys() & right.keys()
    unequal = {name for name in common if not np.array_equal(left[name], right[name])}
    return sorted(left.keys() ^ right.keys() | unequal)


def _contents(folder: Path) -> dict:
    found = {"table.md": (folder / "table.md").read_text()}
    for path in folder.glob("stages/*/weights.npz"):
        for name, value in np.load(path).items():
            found[f"{path.parent.name}/weights/{name}"] = value
    for path in folder.glob("stages/*/stage.ticket"):
        for name, mask in Ticket.load(path).masks.items():
            found[f"{path.parent.name}/ticket/{name}"] = mask
    for path in folder.glob("stages/*/stage.json"):
        record = json.loads(path.read_text())
        told = [record.get("steps"), record.get("history")]
        found[f"{path.parent.name}/stage.json"] = json.dumps(told)
    for path in folder.glob("runs/*/result.json"):
        result = json.loads(path.read_text())
        told = [result.get(name) for name in _MEASURED]
        found[f"{path.parent.name}/result.json"] = json.dumps(told)
    return found
