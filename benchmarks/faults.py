"""What faults cost: each injected at random moments, the end compared to the bit.

    python -m benchmarks.faults --times=3

A small experiment (a transformation and a finetuning on the digits) is hit by a fault
and started again until it ends. Its weights, tickets, histories and table must be those
of an undisturbed run. Work lost is the steps that were made more than once.
"""

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from absl import app, flags

from benchmarks.faulty_program import StepCount
from benchmarks.same_results import differences
from dlth_tf.experiment.results.comparison import aligned

FLAGS = flags.FLAGS
flags.DEFINE_integer("times", 3, "How often each fault is injected.", lower_bound=1)
flags.DEFINE_integer("chance", 0, "Seed of the moments.")
flags.DEFINE_list("fault", [], "Only these faults. Default: all.")

CHECKPOINT_EVERY = 5
EXPERIMENT = (
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


class Trial:
    """One experiment in a folder of its own, run by one program after another."""

    def __init__(self, place: Path, chance: random.Random, whole: "Whole | None" = None):
        self.folder = place / "experiment"
        self.chance = chance
        self.whole = whole
        self._steps = place / "steps"
        place.mkdir()

    @property
    def steps(self) -> int:
        """Training steps that were made, by all programs together."""
        return StepCount(self._steps).value

    def environment(self, fault: dict) -> dict[str, str]:
        """What tells a program its fault and where to count its steps."""
        return {
            **os.environ,
            "FAULT": json.dumps(fault),
            "STEPS": os.fspath(self._steps),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }

    def start(self, **fault) -> subprocess.Popen:
        return subprocess.Popen(
            [*self.command, f"--output_dir={self.folder}"],
            env=self.environment(fault),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    command = (sys.executable, "-m", "benchmarks.faulty_program", *EXPERIMENT)

    def run(self, **fault) -> tuple[int, str]:
        """Runs a program to its end; returns its exit code and what it said."""
        process = self.start(**fault)
        _, said = process.communicate(timeout=_PATIENCE_SECONDS)
        return process.returncode, said

    def finish(self) -> None:
        """Goes on without a fault."""
        self.expect(self.run(), 0)

    def expect(self, ended: tuple[int, str], code: int, *words: str) -> None:
        """Makes sure how a program ended, and that it said these words."""
        found, said = ended
        if found != code or not all(word in said for word in words):
            raise Wrong(f"exit code {found} for {code}, said: {said[-600:]}")

    def expect_no_traceback(self, said: str) -> None:
        if "Traceback" in said:
            raise Wrong(f"it said a traceback: {said[-600:]}")

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

    def run(self, victim: int = 0, **fault) -> tuple[int, str]:
        """Runs both to their ends; returns the other one's exit code and words."""
        hosts = ",".join(_free_hosts(2))
        workers = []
        for index in range(2):
            environment = self.environment(fault if index == victim else {})
            if index:
                environment["STEPS"] += "-of-the-other"
            command = [
                *self.command,
                f"--output_dir={self.folder}",
                "--distribution_strategy=multi_worker_mirrored",
                f"--worker_hosts={hosts}",
                f"--task_index={index}",
            ]
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
            workers.append(subprocess.Popen(command, env=environment, text=True, **quiet))
        workers[victim].communicate(timeout=_PATIENCE_SECONDS)
        died = time.monotonic()
        other = workers[1 - victim]
        _, said = other.communicate(timeout=_PATIENCE_SECONDS)
        self.seconds = time.monotonic() - died
        return other.returncode, said


def _free_hosts(count: int) -> list[str]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]


class Whole:
    """The undisturbed run."""

    def __init__(self, place: Path, kind: type[Trial] = Trial):
        trial = kind(place, random.Random(0))
        trial.finish()
        self.folder = trial.folder
        self.steps = trial.steps


class Wrong(Exception):
    """A program did not do what it should."""


def killed(trial: Trial) -> None:
    """kill -9 at any moment"""
    trial.run(signal="SIGKILL", **trial.moment())
    trial.finish()


def terminated(trial: Trial) -> None:
    """SIGTERM at any moment"""
    code, said = trial.run(signal="SIGTERM", **trial.moment())
    if code:  # else it had ended before
        trial.expect((code, said), REQUEUE, "Stopped by SIGTERM")
    trial.finish()


def disk_full(trial: Trial) -> None:
    """disk full (a small tmpfs)"""
    needed = sum(p.stat().st_size for p in trial.whole.folder.rglob("*") if p.is_file())
    room = trial.chance.randrange(needed // 8, needed)
    trial.folder.mkdir()
    script = ["unshare", "-rm", "sh", "-c", _ON_A_SMALL_DISK, "sh"]
    process = subprocess.run(
        [*script, os.fspath(trial.folder), f"{room // 1024}k", *trial.command],
        env=trial.environment({}),
        capture_output=True,
        text=True,
        timeout=2 * _PATIENCE_SECONDS,
    )
    ended = process.returncode, process.stderr
    trial.expect(ended, 0, "No space left", "once there is room")
    trial.expect_no_traceback(process.stderr)


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
    trial.expect(trial.run(), 0, *words)


def two_programs(trial: Trial) -> None:
    """a second program on the folder"""
    first = trial.start(seconds_per_step=0.3)
    goal = trial.chance.randrange(1, trial.whole.steps // 4)
    while trial.steps < goal and first.poll() is None:
        time.sleep(0.01)
    trial.expect(trial.run(), 1, f"is in use by process {first.pid} on")
    _, said = first.communicate(timeout=_PATIENCE_SECONDS)
    trial.expect((first.returncode, said), 0)


def clock_jump(trial: Trial) -> None:
    """clock jumps"""
    trial.expect(trial.run(jumping_clock=trial.chance.randrange(1000)), 0)


def unreadable(trial: Trial) -> None:
    """data unreadable within an epoch"""
    ended = trial.run(unreadable_batch=trial.step())
    trial.expect(ended, 1, "Input/output error: 'images-00017'")
    trial.expect_no_traceback(ended[1])
    trial.finish()


def chief_killed(trial: WorkersTrial) -> None:
    """kill -9 of the chief of two workers"""
    _worker_killed(trial, 0)


def worker_killed(trial: WorkersTrial) -> None:
    """kill -9 of another worker"""
    _worker_killed(trial, 1)


def _worker_killed(trial: WorkersTrial, victim: int) -> None:
    code, said = trial.run(victim, signal="SIGKILL", **trial.moment())
    if code:  # else both had ended before
        trial.expect((code, said), REQUEUE, f"Error: worker {victim} (127.0.0.1:")
        trial.expect_no_traceback(said)
        if trial.seconds > _NOTICED_WITHIN_SECONDS:
            raise Wrong(f"it was noticed after {trial.seconds:.0f} s")
        print(f"Worker {victim} missed after {trial.seconds:.1f} s", file=sys.stderr)
    trial.finish()


FAULTS_OF_WORKERS = (chief_killed, worker_killed)
FAULTS = (
    killed,
    terminated,
    disk_full,
    truncated,
    bit_flipped,
    two_programs,
    clock_jump,
    unreadable,
    *FAULTS_OF_WORKERS,
)


def _inject(fault: Callable[[Trial], None], trial: Trial) -> tuple[bool, int]:
    """Whether the experiment ended right, and how many steps were made again."""
    try:
        fault(trial)
    except Wrong as wrong:
        print(f"{fault.__doc__}: {wrong}", file=sys.stderr)
        return False, 0
    kept = trial.folder.with_name("experiment.kept")
    found = differences(kept if kept.exists() else trial.folder, trial.whole.folder)
    if found:
        print(f"{fault.__doc__}: differ: {found[:5]}", file=sys.stderr)
    return not found, trial.steps - trial.whole.steps


def main(argv) -> None:
    place = Path(tempfile.mkdtemp(prefix="faults-"))
    undisturbed = {}
    rows = [("fault", "times injected", "ended right", "steps lost: mean", "most")]
    for fault in FAULTS:
        if FLAGS.fault and fault.__name__ not in FLAGS.fault:
            continue
        kind = WorkersTrial if fault in FAULTS_OF_WORKERS else Trial
        if kind not in undisturbed:
            undisturbed[kind] = whole = Whole(
                place / f"undisturbed-{kind.__name__}", kind
            )
            print(
                f"Undisturbed: {whole.steps} steps, checkpoint every {CHECKPOINT_EVERY}."
            )
        whole = undisturbed[kind]
        chance = random.Random(f"{fault.__name__} {FLAGS.chance}")
        trials = [
            _inject(fault, kind(place / f"{fault.__name__}{number}", chance, whole))
            for number in range(FLAGS.times)
        ]
        lost = [steps for _, steps in trials]
        right = sum(right for right, _ in trials)
        row = (fault.__doc__, FLAGS.times, right, f"{np.mean(lost):.1f}", max(lost))
        rows.append(tuple(map(str, row)))
        print(rows[-1], file=sys.stderr)
    print(aligned(rows))
    shutil.rmtree(place)


if __name__ == "__main__":
    app.run(main)
