"""Timing things that take turns: other work on the machine then slows all alike."""

import collections
import concurrent.futures
import threading
import time
import timeit
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from scipy.stats import bootstrap

TRAININGS = {"mlp": ((784,), 64, 150), "resnet20": ((32, 32, 3), 128, 20)}
"""Shape of an input, batch size, and steps that are measured, by network."""
_WARM_UP = 10


def row(cells: Iterable[str]) -> str:
    """One line of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def head(cells: tuple[str, ...]) -> str:
    """The first two lines of a table in Markdown."""
    return f"{row(cells)}\n{row(['---'] * len(cells))}"


def gain(slow: np.ndarray, fast: np.ndarray) -> float:
    """How many times faster one is: the median of the turns."""
    return float(np.median(slow / fast))


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def calls_in_turns(
    calls: Mapping[str, Callable[[], Any]],
    rounds: int,
    at_least: float,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, np.ndarray]:
    """Milliseconds of each call in each round, which takes so many seconds at least."""
    timers = [timeit.Timer(call, timer=clock) for call in calls.values()]
    for timer in timers:
        timer.timeit(1)
    repeats = [max(1, round(3 * at_least / timer.timeit(3))) for timer in timers]
    turns = [list(map(timeit.Timer.timeit, timers, repeats)) for _ in range(rounds)]
    milliseconds = 1e3 * np.array(turns) / repeats
    return dict(zip(calls, milliseconds.T, strict=True))


def steps_in_turns(
    library: Any, fits: Mapping[str, Callable[[Any], Any]], warm_up: int = _WARM_UP
) -> dict[str, np.ndarray]:
    """Milliseconds of the steps of several `fit`s in this process, in turns of one step.

    A step's time runs from one beginning of a batch to the next, so that it includes the
    data and all callbacks. Each fit is a function of a callback, to be put first; the
    first `warm_up` steps do not count (compilation).
    """
    gates = collections.deque(threading.Semaphore(0) for _ in fits)

    def turnstile(gate: threading.Semaphore, seconds: list[float]) -> Any:
        began = 0.0

        def pass_on(batch: int, logs: Any = None) -> None:
            nonlocal began
            if began:
                seconds.append(time.perf_counter() - began)
            gates.rotate(-1)
            gates[0].release()
            gate.acquire()
            began = time.perf_counter()

        return library.callbacks.LambdaCallback(on_train_batch_begin=pass_on)

    def run(fit: Callable[[Any], Any], gate: threading.Semaphore) -> list[float]:
        seconds: list[float] = []
        gate.acquire()
        try:
            fit(turnstile(gate, seconds))
        finally:
            gates.popleft()
            if gates:
                gates[0].release()
        return seconds

    with concurrent.futures.ThreadPoolExecutor(len(fits)) as pool:
        threads = list(map(pool.submit, [run] * len(fits), fits.values(), gates))
        gates[0].release()
    seconds = np.array([thread.result()[warm_up:] for thread in threads])
    return dict(zip(fits, 1e3 * seconds, strict=True))


def mlp(library: Any) -> Any:
    layers = library.layers
    hidden = [layers.Dense(1000, activation="relu") for _ in range(4)]
    return library.Sequential([layers.InputLayer((784,)), *hidden, layers.Dense(10)])


def fit_of(
    library: Any, network: str, jit: str, model: Any, callbacks: Iterable[Any] = ()
) -> Callable[[Any], Any]:
    """For `steps_in_turns`: the training of a network of `TRAININGS`."""
    model.compile(
        library.optimizers.SGD(0.01, momentum=0.9),
        library.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=jit == "on",
    )
    shape, batch_size, steps = TRAININGS[network]
    chance = np.random.default_rng(0)
    images = chance.normal(size=(batch_size, *shape)).astype("float32")
    labels = chance.integers(0, 10, batch_size)
    batches = tf.data.Dataset.from_tensors((images, labels)).repeat()
    return lambda first: model.fit(
        batches,
        steps_per_epoch=steps + _WARM_UP + 1,
        verbose=0,
        callbacks=[first, *callbacks],
    )


def report(title: str, steps: Mapping[str, np.ndarray]) -> None:
    """Prints medians and ratios to the first, of steps that were neighbours."""
    print(f"\n{title}", flush=True)
    dense = next(iter(steps.values()))
    for name, milliseconds in steps.items():
        ratios = milliseconds / dense
        options = {"n_resamples": 1000, "method": "percentile", "rng": 0}
        found = bootstrap((ratios,), np.median, confidence_level=0.9, **options)
        low, high = found.confidence_interval
        print(
            f"  {name:<28} {np.median(milliseconds):7.2f} ms   "
            f"x {np.median(ratios):.3f}   ({low:.3f} to {high:.3f})"
        )
