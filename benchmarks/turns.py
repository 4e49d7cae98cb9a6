"""Several `fit`s that take turns in one process, so that their steps can be compared.

Other work on the machine then slows all of them alike.
"""

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np


class Turns:
    """Whose turn it is, and how long each one's steps took."""

    def __init__(self, number: int):
        self.seconds: list[list[float]] = [[] for _ in range(number)]
        self._turn = 0
        self._changed = threading.Condition()
        self._left = set(range(number))

    def wait_for(self, member: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._turn == member)

    def pass_on(self, member: int, leaving: bool = False) -> None:
        with self._changed:
            if leaving:
                self._left.discard(member)
            number = len(self.seconds)
            following = [(member + i) % number for i in range(1, number + 1)]
            self._turn = next((m for m in following if m in self._left), -1)
            self._changed.notify_all()


def turnstile(turns: Turns, member: int, callback_class: type):
    """A callback, to be the first in its list, that lets one step pass per turn.

    A step's time runs from one beginning of a batch to the next, so that it includes
    the data and all callbacks.

    Args:
        turns: what the members share.
        member: whose steps these are.
        callback_class: `keras.callbacks.Callback`, or that of `tf_keras`.
    """

    class Turnstile(callback_class):
        def __init__(self):
            super().__init__()
            self._begin: float | None = None

        def on_train_batch_begin(self, batch, logs=None):
            if self._begin is not None:
                turns.seconds[member].append(time.perf_counter() - self._begin)
                turns.pass_on(member)
            turns.wait_for(member)
            self._begin = time.perf_counter()

    return Turnstile()


def step_seconds(
    fits: Sequence[Callable], callback_class: type, warm_up: int
) -> np.ndarray:
    """Runs `fit`s in turns of one step.

    Args:
        fits: each a function of a callback, to be put first, that calls `fit` for the
            same number of steps.
        callback_class: what the callback is derived from.
        warm_up: steps at the beginning that do not count (compilation).

    Returns:
        Seconds, [fit, step].
    """
    turns = Turns(len(fits))
    errors = []

    def run(member: int, fit: Callable) -> None:
        try:
            fit(turnstile(turns, member, callback_class))
        except BaseException as error:
            errors.append(error)
        finally:
            turns.pass_on(member, leaving=True)

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(fits)]
    for member, thread in enumerate(threads):
        thread.start()
        if member + 1 < len(threads):
            time.sleep(0.5)
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return np.array([seconds[warm_up:] for seconds in turns.seconds])
