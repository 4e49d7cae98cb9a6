"""How RST's penalty grows; when a moving mask changes, and by how many weights."""

import dataclasses
import functools
from typing import Any, Literal

import numpy as np

_LONGEST_GROWTH = 10_000_000


@dataclasses.dataclass(frozen=True)
class PenaltyGrowth:
    """The course of lambda, the coefficient of the penalty of RST.

    A rate r starts at 0. At every step t with t % every == 0, before that step's update,
    `growth` is added to r (in float32, as in the authors' program); lambda = r ** power.
    The first time lambda exceeds `bound` growth stops: that last value stays in force for
    `hold` further steps.

    Attributes:
        growth: what r gains at a time (eta in the paper).
        every: optimizer steps between two gains (v).
        bound: lambda at which growth stops.
        hold: optimizer steps with the last lambda after growth has stopped; None: until
            training ends.
        power: 1, 2 or 3: lambda grows like x, x^2 or x^3.

    Raises:
        ValueError: a value out of its range.

    Source: Bai et al., ICLR 2022, section 3.3 and appendix.
    """

    growth: float = 1e-4
    every: int = 5
    bound: float = 1.0
    hold: int | None = None
    power: int = 1

    def __post_init__(self) -> None:
        if not self.growth > 0:
            raise ValueError(f"`growth` must be positive. Received: {self.growth}")
        if self.every < 1:
            raise ValueError(f"`every` must be at least 1. Received: {self.every}")
        if not self.bound >= 0:
            raise ValueError(f"`bound` must be 0 or more. Received: {self.bound}")
        if self.hold is not None and self.hold < 0:
            raise ValueError(f"`hold` must be 0 or more. Received: {self.hold}")
        if self.power not in (1, 2, 3):
            raise ValueError(f"`power` must be 1, 2 or 3. Received: {self.power}")
        if self.bound ** (1 / self.power) > self.growth * _LONGEST_GROWTH:
            raise ValueError(
                f"`growth` must reach `bound` in at most {_LONGEST_GROWTH:,} gains. "
                f"Received: growth={self.growth}, bound={self.bound}"
            )

    @functools.cached_property
    def values(self) -> np.ndarray:
        """Lambda after each gain, float32, up to the first value above the bound."""
        gains = int(self.bound ** (1 / self.power) / self.growth * 1.01) + 3
        rates = np.cumsum(np.full(gains, self.growth, np.float32), dtype=np.float32)
        values = rates**self.power
        above = values > self.bound
        if not above.any():
            raise ValueError(
                f"`growth` is too small for float32 to reach `bound`. "
                f"Received: growth={self.growth}, bound={self.bound}"
            )
        return values[: int(np.argmax(above)) + 1]

    @property
    def growth_steps(self) -> int:
        """The step, counted from 0, at which growth stops."""
        return (len(self.values) - 1) * self.every

    @property
    def steps(self) -> int | None:
        """Optimizer steps in all; None if the hold is open-ended."""
        return None if self.hold is None else self.growth_steps + self.hold + 1

    def at(self, step: int) -> float:
        """Lambda in force at an optimizer step, counted from 0."""
        return float(self.values[min(step // self.every, len(self.values) - 1)])


@dataclasses.dataclass(frozen=True)
class DropSchedule:
    """The moments at which weights are dropped and grown, and which part of them."""

    fraction: float
    every: int
    until: int | None = None
    decay: Literal["none", "cosine"] = "none"

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"`fraction` must be in (0, 1]. Received: {self.fraction}")
        if self.every < 1:
            raise ValueError(f"`every` must be at least 1. Received: {self.every}")
        if self.until is not None and self.until < 0:
            raise ValueError(f"`until` must be 0 or more. Received: {self.until}")
        if self.decay == "cosine" and self.until is None:
            raise ValueError("`until` must be a number of steps. Received: None")

    def is_due(self, step: Any) -> Any:
        """Whether the mask changes at a step, a number or a tensor."""
        due = step % self.every == 0
        return due if self.until is None else due & (step < self.until)

    @functools.cached_property
    def fractions(self) -> np.ndarray:
        """What is dropped at step 0, `every`, 2 * `every`, ...; the last one remains."""
        if self.decay == "none" or self.until is None:
            return np.array([self.fraction])
        steps = np.arange(0, max(self.until, 1), self.every)
        return self.fraction / 2 * (1 + np.cos(np.pi * steps / max(self.until, 1)))
