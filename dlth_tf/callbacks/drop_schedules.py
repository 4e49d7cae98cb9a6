"""When a moving mask changes, and how many weights change places."""

import dataclasses
import functools
from typing import Literal

import numpy as np


@dataclasses.dataclass(frozen=True)
class DropSchedule:
    """The moments at which weights are dropped and grown, and which part of them.

    Attributes:
        fraction: of the kept weights that is dropped at a time; with cosine decay, at
            first.
        every: optimizer steps from one change to the next.
        until: optimizer steps after which the mask stays; None: it never does.
        decay: `"none"`, or `"cosine"`: fraction / 2 * (1 + cos(pi * t / until)).

    Raises:
        ValueError: a value out of its range.
    """

    fraction: float
    every: int
    until: int | None = None
    decay: Literal["none", "cosine"] = "none"

    def __post_init__(self):
        if not 0 < self.fraction <= 1:
            raise ValueError(f"`fraction` must be in (0, 1]. Received: {self.fraction}")
        if self.every < 1:
            raise ValueError(f"`every` must be at least 1. Received: {self.every}")
        if self.until is not None and self.until < 0:
            raise ValueError(f"`until` must be 0 or more. Received: {self.until}")
        if self.decay == "cosine" and self.until is None:
            raise ValueError("`until` must be a number of steps. Received: None")

    def is_due(self, step):
        """Whether the mask changes at a step, a number or a tensor."""
        due = step % self.every == 0
        return due if self.until is None else due & (step < self.until)

    @functools.cached_property
    def fractions(self) -> np.ndarray:
        """What is dropped at step 0, `every`, 2 * `every`, ...; the last one remains."""
        if self.decay == "none":
            return np.array([self.fraction])
        steps = np.arange(0, max(self.until, 1), self.every)
        return self.fraction / 2 * (1 + np.cos(np.pi * steps / max(self.until, 1)))
