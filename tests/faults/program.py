"""The training program, with a fault in it.

    FAULT='{"signal": "SIGKILL", "at_step": 50, "after_seconds": 0.1}' STEPS=steps \
        python -m tests.faults.program --flagfile=...

Steps are counted in the file that STEPS names, from one program to the next, also if they
are killed.
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
from unittest import mock

import keras

from dlth_tf import train
from official.data.image_data import ImageData

# So that a moment soon after a step falls on steps and checkpoints alike.
_USUAL_SECONDS = 0.03


class StepCount:
    """A count in a file, as a killed program leaves it too."""

    def __init__(self, path: str | os.PathLike):
        if not Path(path).exists():
            Path(path).write_bytes(bytes(8))
        with open(path, "r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 8)

    @property
    def value(self) -> int:
        return struct.unpack("q", self._memory[:8])[0]

    def add_one(self) -> None:
        self._memory[:8] = struct.pack("q", self.value + 1)


def after_each_step(action: Callable[[], None]):
    """A patch: something is done after every training step, before any callback."""
    own = keras.callbacks.CallbackList.on_train_batch_end

    def on_train_batch_end(self, batch, logs=None):
        action()
        own(self, batch, logs)

    return mock.patch.object(
        keras.callbacks.CallbackList, "on_train_batch_end", on_train_batch_end
    )


def after_step(number: int, action: Callable[[], None]):
    """A patch: something is done once, after so many training steps from now."""
    left = [number]

    def count() -> None:
        left[0] -= 1
        if left[0] == 0:
            action()

    return after_each_step(count)


def unreadable_batch(number: int, error: OSError):
    """A patch: the program's so-manieth training batch can't be read."""
    own, left = ImageData.epoch_batches, [number]

    def epoch_batches(self, *arguments, **options):
        for batch in own(self, *arguments, **options):
            left[0] -= 1
            if left[0] == 0:
                raise error
            yield batch

    return mock.patch.object(ImageData, "epoch_batches", epoch_batches)


def signalled(name: str, at_step: int, after_seconds: float):
    """A patch: the program gets a signal, so long after so many of its steps."""
    number = signal.Signals[name]
    timer = threading.Timer(after_seconds, os.kill, (os.getpid(), number))
    timer.daemon = True
    return after_step(at_step, timer.start)


def jumping_clock(seed: int):
    """A patch: the time of day jumps by up to a month whenever it is asked for."""
    own, chance = time.time, random.Random(seed)
    return mock.patch("time.time", lambda: own() + chance.uniform(-1, 1) * 30 * 86400)


def patch_of(fault: dict):
    """The patch that a fault's description in JSON stands for."""
    match fault:
        case {"signal": name, "at_step": step, "after_seconds": seconds}:
            return signalled(name, step, seconds)
        case {"seconds_per_step": seconds}:
            return after_each_step(lambda: time.sleep(seconds))
        case {"unreadable_batch": number}:
            error = OSError(5, "Input/output error", "images-00017")
            return unreadable_batch(number, error)
        case {"jumping_clock": seed}:
            return jumping_clock(seed)


def main() -> None:
    if fault := json.loads(os.environ["FAULT"]):
        patch_of(fault).start()
    after_each_step(lambda: time.sleep(_USUAL_SECONDS)).start()
    after_each_step(StepCount(os.environ["STEPS"]).add_one).start()
    train.run()


if __name__ == "__main__":
    main()
