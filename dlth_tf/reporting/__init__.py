"""The report people look at: one page, its figures, and a version for the terminal."""

import dataclasses
import os
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Written:
    """What a report came to.

    Attributes:
        page: the HTML file.
        figures: how many drawings lie in `figures/` beside it.
        skipped: what could not be read of the experiment, a line for each.
    """

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
    from dlth_tf.files import atomic_write
    from dlth_tf.reporting.comparison import Comparison
    from dlth_tf.reporting.gallery import draw
    from dlth_tf.reporting.page import page
    from dlth_tf.reporting.reading import read_experiment

    experiment = read_experiment(output_dir)
    comparison = Comparison.of(experiment.runs)
    gallery = draw(experiment, comparison)
    folder = Path(output_dir)
    panels = [panel for section in gallery.values() for panel in section]
    for panel in panels:
        with atomic_write(folder / "figures" / f"{panel.name}.svg") as file:
            file.write(panel.svg)
    with atomic_write(folder / "report.html") as file:
        file.write(page(experiment, comparison, gallery).encode())
    return Written(folder / "report.html", len(panels), experiment.skipped)


def report_text(output_dir: str | os.PathLike, columns: int = 80) -> str:
    """The comparison as a table with small charts, so many columns wide.

    Raises:
        FileNotFoundError: there is nothing of an experiment in the folder.
    """
    from dlth_tf.reporting.comparison import Comparison
    from dlth_tf.reporting.reading import read_experiment
    from dlth_tf.reporting.terminal import as_text

    experiment = read_experiment(output_dir)
    return as_text(experiment, Comparison.of(experiment.runs), columns)


def printable(text: str, encoding: str) -> str:
    """The text as it is where the encoding has its signs, else drawn with plain ones."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        for sign, plain in zip("─├┤●·★≈±λ", "-||o.*~+l", strict=True):
            text = text.replace(sign, plain)
        text = text.encode(encoding, "replace").decode(encoding)
    return text
