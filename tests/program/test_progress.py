"""What the program says of its progress, on a terminal and elsewhere."""

import dataclasses
import io
import itertools
import re

from dlth_tf.experiment.engine.progress import Reporter

_SHOW_CURSOR = "\x1b[?25h"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@dataclasses.dataclass
class Begun:
    epoch: int = 0
    step: int = 0

    def __str__(self) -> str:
        return f"epoch {self.epoch}"


def said(stream: io.StringIO, until: float = 2.0) -> str:
    reporter = Reporter(stream)
    reporter.run(1, 2, "rst-0.9-seed0")
    reporter.stage("a title [as it is]", Begun(epoch=1), 2)
    for done in (1.0, 1.5, until):
        reporter.bar(done, 2, "loss 0.5")
    reporter.close()
    return stream.getvalue()


def test_where_no_terminal_is_a_stage_is_a_line_and_how_it_ended():
    assert said(io.StringIO()).splitlines() == [
        "[1/2] rst-0.9-seed0: a title [as it is] (2 epochs, going on after epoch 1)",
        "    epoch 2/2 · loss 0.5",
    ]


def test_a_terminal_has_a_bar_and_its_cursor_back_however_it_ends():
    for until in (1.9, 2.0):
        text = said(Terminal(), until)
        assert "━" in text
        assert "epoch 2/2 · loss 0.5" in text
        assert text.rindex(_SHOW_CURSOR) > text.rindex("━")


def test_no_time_left_is_shown_before_the_first_steps_are_over(monkeypatch):
    now = itertools.count(step=5)
    monkeypatch.setattr("rich.console.monotonic", lambda: float(next(now)))
    for steps, known in ((10, False), (40, True)):
        reporter = Reporter(stream := Terminal())
        for step in range(1, steps + 1):
            reporter.bar(step / 100, 1, "")
        reporter.close()
        assert bool(re.search(r"\d:\d\d:\d\d", stream.getvalue())) == known


def test_a_silent_reporter_says_nothing():
    stream = Terminal()
    reporter = Reporter(stream)
    reporter.silence()
    reporter.bar(0.5, 2, "loss 0.5")
    reporter.line("x")
    assert stream.getvalue() == ""
