"""Points of a training and intervals in it, as flags write them."""

import dataclasses
import math
import re

_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


@dataclasses.dataclass(frozen=True)
class TrainingPoint:
    """So many epochs and steps after the beginning of a training."""

    epochs: int = 0
    steps: int = 0

    def __str__(self) -> str:
        return f"epoch {self.epochs}" if self.epochs else f"step {self.steps}"

    def in_steps(self, steps_per_epoch: int) -> int:
        return self.epochs * steps_per_epoch + self.steps

    @classmethod
    def parse(cls, text: str) -> "TrainingPoint":
        """Reads `"500"` (steps) or `"2ep"` (epochs).

        Raises:
            ValueError: the text has another form.
        """
        found = re.fullmatch(r"(\d+)(ep)?", text.strip())
        if not found:
            raise ValueError(
                "A moment must be a number of steps such as 500, or of epochs such as "
                f"2ep. Received: {text!r}"
            )
        number, unit = int(found[1]), found[2]
        return cls(epochs=number) if unit else cls(steps=number)


BEGINNING = TrainingPoint()


@dataclasses.dataclass(frozen=True)
class Interval:
    """So many steps, or so many seconds; one of the two is infinite."""

    steps: float = math.inf
    seconds: float = math.inf

    def is_over(self, steps: int, seconds: float) -> bool:
        """Whether it has passed, so many steps and seconds after it began."""
        return steps >= self.steps or seconds >= self.seconds

    @classmethod
    def parse(cls, text: str) -> "Interval":
        """Reads `"500"` (steps), `"30s"`, `"10min"` or `"2h"`.

        Raises:
            ValueError: the text has another form, or is nothing.
        """
        found = re.fullmatch(r"(\d+)(s|min|h)?", text.strip())
        number = int(found[1]) if found else 0
        if found is None or not number:
            raise ValueError(
                "--checkpoint_every must be a number of steps such as 500, or a time "
                f"such as 30s, 10min or 2h. Received: {text!r}"
            )
        unit = found[2]
        return cls(seconds=number * _SECONDS[unit]) if unit else cls(steps=number)
