"""The keys of stages stay: one that moved would reuse old results, or lose them.

A stage's key leaves out what has its default value. So the flags are frozen here with
their defaults spelled out, and once more with other values; if a default changes, the
keys of one of the two move. After a change on purpose, which makes old experiments train
anew, write the file anew: `python -m tests.program.test_defaults`.
"""

import json
from pathlib import Path

from absl.testing import flagsaver

from dlth_tf.experiment.plan.runs import stages_of

FROZEN = Path(__file__).with_name("stage_keys.json")


def keys(flags: list[str]) -> dict[str, str]:
    """The title of each stage that flags stand for, by its key."""
    from dlth_tf import train as program

    with flagsaver.flagsaver():
        program.flags.FLAGS(["train", *flags])
        runs = program.program_flags.experiment().runs()
    return {stage.key: stage.title for stage in stages_of(runs)}


def moved(frozen: dict) -> list[str]:
    """The titles of stages whose keys are gone or new."""
    now, then = keys(frozen["flags"]), frozen["keys"]
    return sorted({(now | then)[key] for key in now.keys() ^ then.keys()})


def test_no_key_of_a_stage_has_moved():
    for name, frozen in json.loads(FROZEN.read_text()).items():
        assert moved(frozen) == [], f"the keys of these stages have moved ({name})"


def test_a_default_that_moves_is_named(monkeypatch):
    from dlth_tf.experiment.plan.protocol import MaskChanges

    frozen = json.loads(FROZEN.read_text())["defaults, spelled out"]
    field = MaskChanges.__dataclass_fields__["drop_fraction"]
    monkeypatch.setattr(field, "default", 0.5)
    found = moved(frozen)
    assert any("RigL" in title for title in found)
    assert all("RigL" in t or "SET" in t or "gradually" in t for t in found)


def _freeze() -> None:
    frozen = json.loads(FROZEN.read_text())
    for part in frozen.values():
        part["keys"] = keys(part["flags"])
    FROZEN.write_text(json.dumps(frozen, indent=1) + "\n")


if __name__ == "__main__":
    _freeze()
