"""The report people look at: one page, its figures, and a version for the terminal."""

import os
from pathlib import Path
from typing import NamedTuple

from dlth_tf.files import atomic_write
from dlth_tf.reporting.comparison import Comparison
from dlth_tf.reporting.page import draw, render
from dlth_tf.reporting.records import read_experiment
from dlth_tf.reporting.terminal import as_text, printable

__all__ = ["Written", "printable", "report_text", "write_report"]


class Written(NamedTuple):
    """The page, how many figures there are, a line for each thing that was unreadable."""

    page: Path
    figures: int
    skipped: list[str]


def write_report(output_dir: str | os.PathLike) -> Written:
    """Writes `report.html` and `figures/*.svg` into an experiment's folder.

    The folder may be half finished or damaged: what is readable is shown, and the page
    says what is not.

    Raises:
        FileNotFoundError: there is nothing of an experiment in the folder.
    """
    experiment = read_experiment(output_dir)
    comparison = Comparison.of(experiment.runs)
    gallery = draw(experiment, comparison)
    folder = Path(output_dir)
    panels = [panel for section in gallery.values() for panel in section]
    for panel in panels:
        with atomic_write(folder / "figures" / f"{panel.name}.svg") as file:
            file.write(panel.svg)
    with atomic_write(folder / "report.html") as file:
        file.write(render(experiment, comparison, gallery).encode())
    return Written(folder / "report.html", len(panels), experiment.skipped)


def report_text(output_dir: str | os.PathLike, columns: int = 80) -> str:
    """The comparison as a table with small charts, so many columns wide."""
    experiment = read_experiment(output_dir)
    return as_text(experiment, Comparison.of(experiment.runs), columns)
