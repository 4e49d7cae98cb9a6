"""How often something is done, by the clock or by steps."""

import dataclasses
import re

_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


@dataclasses.dataclass(frozen=True)
class Interval:
    """So many steps, or so many seconds; one of the two is None."""

    steps: int | None = None
    seconds: float | None = None

    def is_over(self, steps: int, seconds: float) -> bool:
        """Whether it has passed, so many steps and seconds after it began."""
        if self.steps is not None:
            return steps >= self.steps
        return seconds >= self.seconds

    @classmethod
    def parse(cls, text: str) -> "Interval":
        """Reads `"500"` (steps), `"30s"`, `"10min"` or `"2h"`.

        Raises:
            ValueError: the text has another form, or is nothing.
        """
        found = re.fullmatch(r"(\d+)(s|min|h)?", text.strip())
        number = int(found[1]) if found else 0
        if not number:
            raise ValueError(
                "--checkpoint_every must be a number of steps such as 500, or a time "
                f"such as 30s, 10min or 2h. Received: {text!r}"
            )
        unit = found[2]
        return cls(seconds=number * _SECONDS[unit]) if unit else cls(steps=number)


TEN_MINUTES = Interval(seconds=600.0)
