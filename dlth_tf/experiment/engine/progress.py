"""How far the program is, and showing it: which run, which stage, the epochs' bar."""

import dataclasses
import sys
import time
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

_LINE_SECONDS = 60.0
_FIRST_STEPS = 10


@dataclasses.dataclass
class Progress:
    """How far a training is: epochs done, steps of the next, and what is told of them.

    Of checkpoints, the bytes are those of the last, the seconds those of all before this.
    """

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    finished: bool = False
    checkpoints: dict[str, float] = dataclasses.field(
        default_factory=lambda: {"number": 0, "bytes": 0, "seconds": 0.0}
    )

    def __str__(self) -> str:
        steps = f" and {self.step} steps" if self.step else ""
        return f"epoch {self.epoch}{steps}"

    def in_steps(self, steps_per_epoch: int) -> int:
        return self.epoch * steps_per_epoch + self.step


class Reporter:
    """Prints progress: a bar that moves on a terminal, a line per stage elsewhere."""

    def __init__(self, stream: TextIO | None = None):
        stream = stream or sys.stderr
        on_terminal = stream.isatty()
        self._console = Console(file=stream, force_terminal=on_terminal, highlight=False)
        self._run, self._shown = "", 0.0
        self._bar: Bar | None = None

    def silence(self) -> None:
        """Shows nothing from now on: another program does."""
        self._console = Console(quiet=True, force_terminal=False)

    def close(self) -> None:
        """Leaves the bar as it stands, and the terminal to others."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    def run(self, number: int, count: int, name: str) -> None:
        """A run begins; stages that follow belong to it."""
        self._run = f"[{number}/{count}] {name}"

    def stage(self, title: str, progress: Progress, epochs: int) -> None:
        """A stage begins, or goes on after some epochs and steps."""
        begun = progress.epoch or progress.step
        from_where = f", going on after {progress}" if begun else ""
        self.line(f"{self._run}: {title} ({epochs} epochs{from_where})")
        self._shown = time.monotonic()

    def line(self, text: str) -> None:
        self.close()
        self._console.out(text)

    def bar(self, done: float, total: int, said: str) -> None:
        """How many epochs of a stage are done; without a terminal, a line a minute."""
        epoch, finished = f"epoch {min(int(done) + 1, total)}/{total}", done >= total
        if self._console.is_terminal:
            said = f"{epoch} · {said}"
            if self._bar is None:
                text = TextColumn("{task.fields[said]}", markup=False)
                columns = TextColumn("   "), BarColumn(24), text, TimeRemainingColumn()
                self._bar = Bar(*columns, console=self._console, redirect_stdout=False)
                self._bar.add_task("", total=total, said=said)
                self._bar.start()
                self._updates = 0
            self._updates += 1
            if self._updates <= _FIRST_STEPS:  # They take longer, and are in no estimate.
                self._bar.reset(self._bar.task_ids[0], total=total)
            self._bar.update(self._bar.task_ids[0], completed=done, said=said)
        elif finished or time.monotonic() - self._shown > _LINE_SECONDS:
            self._shown = time.monotonic()
            self.line(f"    {epoch} · {said}")
        if finished:
            self.close()
