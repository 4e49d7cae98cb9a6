"""The report people look at: one page, its figures, and a version for the terminal.

The page needs nothing beside it: its figures are in it.
"""

import os
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import jinja2
import matplotlib.style

from dlth_tf.experiment.engine.folder import REPORT, STAGE
from dlth_tf.experiment.flags import DESCRIBED
from dlth_tf.experiment.plan.methods import METHODS, WITHOUT_SPARSITY, summary, written
from dlth_tf.experiment.results.comparison import Cell, Comparison
from dlth_tf.experiment.results.row import Row
from dlth_tf.files import atomic_write
from dlth_tf.reporting import accuracy_figures as accuracy
from dlth_tf.reporting import weight_figures as weights
from dlth_tf.reporting.drawing import Panel
from dlth_tf.reporting.records import Experiment, read_experiment
from dlth_tf.reporting.terminal import as_text, printable

# Flags that say which run it is, or where and how far it was to go.
_OF_ONE_RUN = (
    *("method", "sparsity", "seed", "output_dir", "data_dir", "checkpoint_every"),
    *("shard", "dry_run", "report", "export"),
)


class Written(NamedTuple):
    """The page, how many figures there are, a line for each thing that was unreadable."""

    page: Path
    figures: int
    skipped: list[str]


def write_report(output_dir: str | os.PathLike) -> Written:
    """Writes `report.html` and `figures/*.svg` into an experiment's folder.

    The folder may be half finished or damaged: what is readable is shown, and the page
    says what is not. FileNotFoundError: there is nothing of an experiment in it.
    """
    folder = Path(output_dir)
    experiment = read_experiment(folder)
    comparison = Comparison(experiment.runs)
    gallery = _draw(experiment, comparison)
    panels = [panel for section in gallery.values() for panel in section]
    for panel in panels:
        with atomic_write(folder / "figures" / f"{panel.name}.svg") as file:
            file.write(panel.svg)
    with atomic_write(folder / REPORT) as file:
        file.write(_render(experiment, comparison, gallery).encode())
    return Written(folder / REPORT, len(panels), experiment.skipped)


def report_text(
    output_dir: str | os.PathLike, columns: int = 80, encoding: str = "utf-8"
) -> str:
    """The comparison as a table with small charts, so many columns wide."""
    experiment = read_experiment(output_dir)
    text = as_text(experiment, Comparison(experiment.runs), columns)
    return printable(text, encoding)


@matplotlib.style.context("dlth_tf.reporting.templates.figures")
def _draw(experiment: Experiment, comparison: Comparison) -> dict[str, list[Panel]]:
    """All figures, by section; one without data for any figure is empty.

    A figure that the data do not allow is passed over, and noted as skipped.
    """
    sparsities = comparison.sparsities
    telling = []  # Every transformed cell; of other methods, the sparsest.
    for method in comparison.methods:
        cells = [cell for cell in comparison.of_method(method) if cell.sparsity]
        transformed = any(run.transformations for cell in cells for run in cell.runs)
        telling += cells if transformed else cells[-1:]

    def each(
        figure: Callable, subjects: Iterable, of: object = comparison
    ) -> list[Panel]:
        drawn = []
        for subject in subjects:
            try:
                drawn.append(figure(of, subject))
            except Exception as error:
                name = subject.title if isinstance(subject, Cell) else subject
                note = f"A figure of {name} could not be drawn: {error!r}"
                experiment.skipped.append(note)
        return [panel for panel in drawn if panel]

    return {
        "accuracy": [
            *each(accuracy.over_sparsity, accuracy.groups(comparison)),
            *each(accuracy.at_sparsity, sparsities),
        ],
        "cost": each(accuracy.over_cost, sparsities),
        "extrusion": each(weights.extrusion, comparison.sparse, experiment),
        "weights": each(weights.weight_histograms, telling, experiment),
        "layers": each(weights.sparsity_per_layer, sparsities),
        "learning": each(accuracy.learning_curves, comparison.methods),
    }


def _render(
    experiment: Experiment, comparison: Comparison, gallery: dict[str, list[Panel]]
) -> str:
    """The whole document."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("dlth_tf.reporting"),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    # Before the notices are made: reading may find more that is damaged.
    shown = {name for cell in comparison.cells for name in cell.runs[0].stage_names}
    stages = {s: experiment.read(f"stages/{s}/{STAGE}") for s in sorted(shown)}
    return templates.get_template("report.html").render(
        experiment=experiment,
        comparison=comparison,
        gallery=gallery,
        task=experiment.shared.get("task") or {},
        missing=experiment.missing(),
        notices=experiment.notices(),
        stages=stages,
        shared=_shared_settings(experiment.runs),
        settings=_settings,
        command=command,
        written=written,
        described=DESCRIBED,
        summaries={name: summary(method) for name, method in METHODS.items()},
    )


def _settings(run: Row) -> dict[str, object]:
    """The flags that a run was made with, but for those of it alone."""
    return {name: value for name, value in run.flags.items() if name not in _OF_ONE_RUN}


def _shared_settings(runs: Iterable[Row]) -> dict[str, object]:
    """Those that have one value in all runs."""
    first, *others = [_settings(run) for run in runs if run.flags] or [{}]
    return {n: v for n, v in first.items() if all((n, v) in o.items() for o in others)}


def command(cell: Cell) -> list[str]:
    """The words of the command that makes a cell's runs anew."""
    words = ["python", "-m", "dlth_tf.train", f"--method={cell.method}"]
    if cell.method not in WITHOUT_SPARSITY:
        words.append(f"--sparsity={written(cell.sparsity)}")
    words.append(f"--seed={','.join(str(run.seed) for run in cell.runs)}")
    for name, value in _settings(cell.runs[0]).items():
        if name not in DESCRIBED or value == DESCRIBED[name].default:
            continue
        if isinstance(value, list):
            value = DESCRIBED[name].serializer.serialize(value)
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no{name}")
        else:
            words.append(shlex.quote(f"--{name}={value}"))
    return words
