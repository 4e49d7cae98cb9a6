"""Showing how far the program is: which run, which stage, and the epochs' bar."""

import io
import sys
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from dlth_tf.experiment.checkpoint import Progress

_WIDTH = 24
_REFRESH_SECONDS = 0.2


class _Nowhere(io.TextIOBase):
    def write(self, text: str) -> int:
        return len(text)


class Reporter:
    """Prints progress: a bar that moves on a terminal, a line per stage elsewhere."""

    def __init__(self, stream: TextIO | None = None):
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._run = ""
        self._shown = 0.0

    def silence(self) -> None:
        """Shows nothing from now on: another program does."""
        self._stream = _Nowhere()
        self._live = False

    def run(self, number: int, count: int, name: str) -> None:
        """A run begins; stages that follow belong to it."""
        self._run = f"[{number}/{count}] {name}"

    def stage(self, title: str, progress: "Progress", epochs: int) -> None:
        """A stage begins, or goes on after some epochs and steps."""
        begun = progress.epoch or progress.step
        from_where = f", going on after {progress}" if begun else ""
        self._stream.write(f"{self._run}: {title} ({epochs} epochs{from_where})\n")
        self._stream.flush()

    def line(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()

    def bar(self, done: float, total: float, seconds_left: float, text: str) -> None:
        """Shows a stage's bar: epochs done of total, and the time the rest will take."""
        finished = done >= total
        now = time.monotonic()
        wait = _REFRESH_SECONDS if self._live else 60.0
        if not finished and now - self._shown < wait:
            return
        self._shown = now
        filled = int(_WIDTH * min(1.0, done / total))
        bar = "█" * filled + "░" * (_WIDTH - filled)
        left = "" if finished else f" · {_clock(seconds_left)} left"
        epoch = min(int(done) + 1, int(total))
        line = f"    {bar} epoch {epoch}/{int(total)}{left} · {text}"
        if self._live:
            self._stream.write(f"\r\x1b[2K{line}" + ("\n" if finished else ""))
        else:
            self._stream.write(line + "\n")
        self._stream.flush()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
