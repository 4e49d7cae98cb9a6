"""Showing how far the program is: which run, which stage, and the epochs' bar."""

import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

if TYPE_CHECKING:
    from dlth_tf.experiment.engine.checkpoint import Progress

_LINE_SECONDS = 60.0


class Reporter:
    """Prints progress: a bar that moves on a terminal, a line per stage elsewhere."""

    def __init__(self, stream: TextIO | None = None):
        stream = stream or sys.stderr
        self._console = Console(
            file=stream,
            force_terminal=stream.isatty(),
            soft_wrap=True,
            markup=False,
            highlight=False,
            emoji=False,
        )
        self._run = ""
        self._bar: Bar | None = None
        self._shown = 0.0

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

    def stage(self, title: str, progress: "Progress", epochs: int) -> None:
        """A stage begins, or goes on after some epochs and steps."""
        begun = progress.epoch or progress.step
        from_where = f", going on after {progress}" if begun else ""
        self.line(f"{self._run}: {title} ({epochs} epochs{from_where})")
        self._shown = time.monotonic()

    def line(self, text: str) -> None:
        self.close()
        self._console.print(text)

    def bar(self, done: float, total: int, said: str) -> None:
        """How many epochs of a stage are done; without a terminal, a line a minute."""
        epoch, finished = f"epoch {min(int(done) + 1, total)}/{total}", done >= total
        if self._console.is_terminal:
            self._move(done, total, epoch=epoch, said=said)
        elif finished or time.monotonic() - self._shown > _LINE_SECONDS:
            self._shown = time.monotonic()
            self.line(f"    {epoch} · {said}")
        if finished:
            self.close()

    def _move(self, done: float, total: int, **said: Any) -> None:
        if self._bar is None:
            self._bar = Bar(
                TextColumn("   "),
                BarColumn(24),
                TextColumn("{task.fields[epoch]} · {task.fields[said]}", markup=False),
                TimeRemainingColumn(),
                console=self._console,
                redirect_stdout=False,
            )
            self._bar.add_task("", total=total, **said)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done, **said)
