"""Faults, each injected at a random moment; the end is compared to the bit.

A small experiment (a transformation and a finetuning on the digits) is hit by a fault
and started again until it ends. Its weights, tickets, histories and table must be those
of an undisturbed run. Work lost is the steps that were made more than once.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.distribution.processes import addresses, free_hosts, python
from tests.faults.program import StepCount
from tests.faults.same_results import differences

CHECKPOINT_EVERY = 5
PROGRAM = (
    *("-m", "tests.faults.program"),
    "--dataset=digits",
    "--train_examples=512",
    "--model=mlp",
    "--method=rst",
    "--sparsity=0.9",
    "--epochs=4",
    "--batch_size=32",
    "--transform_batch_size=32",
    "--learning_rate=0.05",
    "--penalty_growth=0.05",
    "--penalty_every=1",
    "--penalty_hold=40",
    "--noreport",
    f"--checkpoint_every={CHECKPOINT_EVERY}",
)
REQUEUE = 75
_PATIENCE_SECONDS = 300
_NOTICED_WITHIN_SECONDS = 60

Ended = tuple[int, str]
"""A program's exit code, and what it said."""


class Trial:
    """One experiment in a folder of its own, run by one program after another."""

    def __init__(self, place: Path, chance: random.Random, whole: "Trial | None" = None):
        place.mkdir()
        self.folder = place / "experiment"
        self.chance = chance
        self.whole = whole

    @property
    def steps(self) -> int:
        """Training steps that were made, by all programs together."""
        return StepCount(self.environment()["STEPS"]).value

    def environment(self, fault: dict | None = None, worker: int = 0) -> dict[str, str]:
        """What tells a program its fault and where to count its steps."""
        steps = self.folder.with_name(f"steps-of-{worker}")
        return {"FAULT": json.dumps(fault or {}), "STEPS": os.fspath(steps)}

    def start(self, fault: dict, *more: str, worker: int = 0) -> subprocess.Popen:
        folder = f"--output_dir={self.folder}"
        return python(*PROGRAM, folder, *more, **self.environment(fault, worker))

    def run(self, **fault) -> Ended:
        """Runs a program to its end."""
        return ended(self.start(fault))

    def finish(self) -> None:
        """Goes on without a fault."""
        expect(self.run(), 0)

    def step(self) -> int:
        """A step within the experiment."""
        return self.chance.randrange(1, self.whole.steps)

    def moment(self) -> dict[str, float]:
        """A step, and some time after it, which may fall into a checkpoint."""
        return {"at_step": self.step(), "after_seconds": self.chance.uniform(0, 0.3)}


class WorkersTrial(Trial):
    """An experiment of two workers, started again together.

    Steps are those of the chief: the others make the same ones.
    """

    def run(self, victim: int = 0, **fault) -> Ended:
        """Runs both to their ends; returns how the one that is no victim ended."""
        hosts = free_hosts(2)
        workers = [
            self.start(
                fault if index == victim else {}, *addresses(hosts, index), worker=index
            )
            for index in range(2)
        ]
        ended(workers[victim])
        died = time.monotonic()
        other = ended(workers[1 - victim])
        self.seconds = time.monotonic() - died
        return other


def ended(process: subprocess.Popen) -> Ended:
    _, said = process.communicate(timeout=_PATIENCE_SECONDS)
    return process.returncode, said


def expect(end: Ended, code: int, *words: str) -> None:
    """Makes sure how a program ended, and that it said these words and no traceback."""
    found, said = end
    assert found == code, f"exit code {found} for {code}, said: {said[-600:]}"
    assert all(word in said for word in words), f"{words} not in: {said[-600:]}"
    assert "Traceback" not in said, said[-600:]


def killed(trial: Trial) -> None:
    """kill -9 at any moment"""
    trial.run(signal="SIGKILL", **trial.moment())
    trial.finish()


def terminated(trial: Trial) -> None:
    """SIGTERM at any moment"""
    end = trial.run(signal="SIGTERM", **trial.moment())
    if end[0]:  # else it had ended before
        expect(end, REQUEUE, "Stopped by SIGTERM")
    trial.finish()


def disk_full(trial: Trial) -> None:
    """disk full (a small tmpfs)"""
    needed = sum(p.stat().st_size for p in trial.whole.folder.rglob("*") if p.is_file())
    room = trial.chance.randrange(needed // 8, needed)
    trial.folder.mkdir()
    script = ["unshare", "-rm", "sh", "-c", _ON_A_SMALL_DISK, "sh"]
    process = subprocess.run(
        [*script, trial.folder, f"{room // 1024}k", sys.executable, *PROGRAM],
        env=os.environ | trial.environment(),
        capture_output=True,
        text=True,
        timeout=2 * _PATIENCE_SECONDS,
    )
    end = process.returncode, process.stderr
    expect(end, 0, "No space left", "once there is room")


_ON_A_SMALL_DISK = """
folder=$1 size=$2; shift 2
mount -t tmpfs -o size=$size tmpfs $folder || exit 3
"$@" --output_dir=$folder && exit 4
mount -o remount,size=1g $folder
"$@" --output_dir=$folder || exit 5
cp -r $folder $folder.kept
"""


def truncated(trial: Trial) -> None:
    """checkpoint truncated"""
    _damaged(
        trial,
        lambda content: content[: trial.chance.randrange(len(content))],
        "is damaged",
    )


def bit_flipped(trial: Trial) -> None:
    """checkpoint with a bit flipped"""

    def flipped(content: bytes) -> bytes:
        damaged = bytearray(content)
        place = trial.chance.randrange(len(content))
        damaged[place] ^= 1 << trial.chance.randrange(8)
        return bytes(damaged)

    # Nothing need be said: the bit may be one of the file's dates.
    _damaged(trial, flipped)


def _damaged(trial: Trial, damage: Callable[[bytes], bytes], *words: str) -> None:
    """Kills the program while it trains, and damages the newest checkpoint."""
    trial.run(signal="SIGKILL", **trial.moment())
    checkpoints = trial.folder.glob("stages/*/checkpoint-*.npz")
    in_use = [p for p in checkpoints if not (p.parent / "stage.json").exists()]
    newest = max(in_use, key=lambda path: path.stat().st_mtime_ns, default=None)
    if newest is None:  # it was killed before the first, or between two trainings
        words = ()
    else:
        newest.write_bytes(damage(newest.read_bytes()))
    expect(trial.run(), 0, *words)


def two_programs(trial: Trial) -> None:
    """a second program on the folder"""
    first = trial.start({"seconds_per_step": 0.3})
    goal = trial.chance.randrange(1, trial.whole.steps // 4)
    while trial.steps < goal and first.poll() is None:
        time.sleep(0.01)
    expect(trial.run(), 1, f"is in use by process {first.pid} on")
    expect(ended(first), 0)


def clock_jump(trial: Trial) -> None:
    """clock jumps"""
    expect(trial.run(jumping_clock=trial.chance.randrange(1000)), 0)


def unreadable(trial: Trial) -> None:
    """data unreadable within an epoch"""
    end = trial.run(unreadable_batch=trial.step())
    expect(end, 1, "Input/output error: 'images-00017'")
    trial.finish()


def chief_killed(trial: WorkersTrial) -> None:
    """kill -9 of the chief of two workers"""
    _worker_killed(trial, 0)


def worker_killed(trial: WorkersTrial) -> None:
    """kill -9 of another worker"""
    _worker_killed(trial, 1)


def _worker_killed(trial: WorkersTrial, victim: int) -> None:
    end = trial.run(victim, signal="SIGKILL", **trial.moment())
    if end[0]:  # else both had ended before
        expect(end, REQUEUE, f"Error: worker {victim} (127.0.0.1:")
        assert trial.seconds <= _NOTICED_WITHIN_SECONDS
        print(f"Worker {victim} missed after {trial.seconds:.1f} s", file=sys.stderr)
    trial.finish()


FAULTS: dict[Callable[..., None], type[Trial]] = {
    **dict.fromkeys((killed, terminated, disk_full, truncated, bit_flipped), Trial),
    **dict.fromkeys((two_programs, clock_jump, unreadable), Trial),
    **dict.fromkeys((chief_killed, worker_killed), WorkersTrial),
}


def undisturbed(kind: type[Trial], place: Path) -> Trial:
    """An experiment that nothing happens to."""
    trial = kind(place, random.Random(0))
    trial.finish()
    return trial


def steps_lost(fault: Callable[..., None], trial: Trial) -> int:
    """How many steps were made again after a fault, when the experiment ended right."""
    fault(trial)
    kept = trial.folder.with_name("experiment.kept")
    found = differences(kept if kept.exists() else trial.folder, trial.whole.folder)
    assert not found, f"differ: {found[:5]}"
    return trial.steps - trial.whole.steps
