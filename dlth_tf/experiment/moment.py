"""A moment of a training, in steps or in epochs."""

import dataclasses
import re


@dataclasses.dataclass(frozen=True)
class Moment:
    """So many epochs and steps after the beginning of a training."""

    epochs: int = 0
    steps: int = 0

    def __str__(self) -> str:
        return f"epoch {self.epochs}" if self.epochs else f"step {self.steps}"

    def in_steps(self, steps_per_epoch: int) -> int:
        return self.epochs * steps_per_epoch + self.steps

    @classmethod
    def parse(cls, text: str) -> "Moment":
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


BEGINNING = Moment()
