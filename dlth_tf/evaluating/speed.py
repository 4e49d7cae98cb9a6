"""How fast a classifier is."""

import statistics
import time
from collections.abc import Callable

import numpy as np

_WARM_UP_CALLS = 3
_LEAST_CALLS = 5


def images_per_second(
    predict: Callable[[np.ndarray], np.ndarray], images: np.ndarray, seconds: float = 1.0
) -> float:
    """Images per second of one batch after another, by the median call.

    Args:
        predict: from images to outputs.
        images: the batch `[batch, height, width, channels]`.
        seconds: how long to measure, at least five calls.
    """
    for _ in range(_WARM_UP_CALLS):
        predict(images)
    times: list[float] = []
    while sum(times) < seconds or len(times) < _LEAST_CALLS:
        start = time.perf_counter()
        predict(images)
        times.append(time.perf_counter() - start)
    return len(images) / statistics.median(times)
