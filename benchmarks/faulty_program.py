"""The training program, with a fault in it.

    FAULT='{"signal": "SIGKILL", "at_step": 50, "after_seconds": 0.1}' STEPS=steps \
        python -m benchmarks.faulty_program --flagfile=...

`benchmarks.faults` runs this. Steps are counted in the file that STEPS names, from one
program to the next, also if they are killed.
"""

import json
import mmap
import os
import random
import signal
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

# So that a moment soon after a step falls on steps and checkpoints alike.
_USUAL_SECONDS = 0.03


class StepCount:
    """A count in a file, as a killed program leaves it too."""

    def __init__(self, path: str | os.PathLike):
        if not Path(path).exists():
            Path(path).write_bytes(struct.pack("q", 0))
        with open(path, "r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 8)

    @property
    def value(self) -> int:
        return struct.unpack("q", self._memory[:8])[0]

    def add_one(self) -> None:
        self._memory[:8] = struct.pack("q", self.value + 1)


def after_each_step(action: Callable[[], None]) -> None:
    """Does something after every training step, before the program's own callbacks."""
    from dlth_tf.experiment.engine.fit_callbacks import StopAfter

    own = StopAfter.on_train_batch_end

    def on_train_batch_end(self, batch, logs=None):
        action()
        own(self, batch, logs)

    StopAfter.on_train_batch_end = on_train_batch_end


def signal_after(name: str, steps: int, seconds: float) -> None:
    """Sends a signal to the program so long after so many of its steps."""
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.Signals[name]))
    timer.daemon = True
    left = [steps]

    def count():
        left[0] -= 1
        if not left[0]:
            timer.start()

    after_each_step(count)


def unreadable_batch(number: int) -> None:
    """Lets an image of the program's so-manieth training batch be unreadable."""
    from official.data.image_data import ImageData

    own, count = ImageData.epoch_batches, [0]

    def epoch_batches(self, *arguments, **options):
        for batch in own(self, *arguments, **options):
            count[0] += 1
            if count[0] == number:
                raise OSError(5, "Input/output error", "images-00017")
            yield batch

    ImageData.epoch_batches = epoch_batches


def jumping_clock(seed: int) -> None:
    """Lets the time of day jump by up to a month whenever it is asked for."""
    own, chance = time.time, random.Random(seed)
    time.time = lambda: own() + chance.uniform(-1, 1) * 30 * 86400


def slow_steps(seconds: float) -> None:
    """Lets every step take so much longer."""
    after_each_step(lambda: time.sleep(seconds))


_FAULTS = {
    "signal": lambda fault: signal_after(
        fault["signal"], fault["at_step"], fault["after_seconds"]
    ),
    "seconds_per_step": lambda fault: slow_steps(fault["seconds_per_step"]),
    "unreadable_batch": lambda fault: unreadable_batch(fault["unreadable_batch"]),
    "jumping_clock": lambda fault: jumping_clock(fault["jumping_clock"]),
}


def main() -> None:
    from dlth_tf import train

    fault = json.loads(os.environ.get("FAULT", "{}"))
    if fault:
        _FAULTS[next(iter(fault))](fault)
    slow_steps(_USUAL_SECONDS)
    after_each_step(StepCount(os.environ["STEPS"]).add_one)
    train.run()


if __name__ == "__main__":
    main()
