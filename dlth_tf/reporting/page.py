"""The report as one page that needs nothing beside it, and the figures in it."""

import shlex
from collections.abc import Callable, Iterable

import jinja2
import matplotlib.style

from dlth_tf.experiment.flags import DESCRIBED
from dlth_tf.experiment.plan.methods import METHODS, WITHOUT_SPARSITY, summary, written
from dlth_tf.experiment.results.row import Row
from dlth_tf.reporting import accuracy_figures as accuracy
from dlth_tf.reporting import weight_figures as weights
from dlth_tf.reporting.comparison import Cell, Comparison
from dlth_tf.reporting.drawing import Panel, styles
from dlth_tf.reporting.records import Experiment

Gallery = dict[str, list[Panel]]
# Flags that say which run it is, or where and how far it was to go.
_OF_ONE_RUN = (
    *("method", "sparsity", "seed", "output_dir", "data_dir", "checkpoint_every"),
    *("shard", "dry_run", "report", "export"),
)


@matplotlib.style.context("dlth_tf.reporting.templates.figures")
def draw(experiment: Experiment, comparison: Comparison) -> Gallery:
    """All figures, by section; one without data for any figure is empty.

    A figure that the data do not allow is passed over, and noted as skipped.
    """
    compared = comparison, styles(comparison.methods)
    sparsities = comparison.sparsities
    telling = []  # Every transformed cell; of other methods, the sparsest.
    for method in comparison.methods:
        cells = [cell for cell in comparison.of_method(method) if cell.sparsity]
        transformed = any(run.transformations for cell in cells for run in cell.runs)
        telling += cells if transformed else cells[-1:]

    def each(
        figure: Callable[..., Panel | None], subjects: Iterable, *given: object
    ) -> list[Panel]:
        drawn = []
        for subject in subjects:
            try:
                drawn.append(figure(*given, subject))
            except Exception as error:
                name = subject.title if isinstance(subject, Cell) else subject
                experiment.skipped.append(
                    f"A figure of {name} could not be drawn: {error!r}"
                )
        return [panel for panel in drawn if panel]

    return {
        "accuracy": [
            *each(accuracy.over_sparsity, accuracy.groups(comparison), *compared),
            *each(accuracy.at_sparsity, sparsities, *compared),
        ],
        "cost": each(accuracy.over_cost, sparsities, *compared),
        "extrusion": each(weights.extrusion, comparison.sparse, experiment),
        "weights": each(weights.weight_histograms, telling, experiment),
        "layers": each(weights.sparsity_per_layer, sparsities, *compared),
        "learning": each(accuracy.learning_curves, comparison.methods, comparison),
    }


def render(experiment: Experiment, comparison: Comparison, gallery: Gallery) -> str:
    """The whole document."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("dlth_tf.reporting"),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    # Before the notices are made: reading may find more that is damaged.
    shown = {name for cell in comparison.cells for name in cell.runs[0].stage_names}
    stages = {s: experiment.read(f"stages/{s}/stage.json") for s in sorted(shown)}
    return templates.get_template("report.html").render(
        experiment=experiment,
        comparison=comparison,
        gallery=gallery,
        task=experiment.shared.get("task") or {},
        missing=experiment.missing(),
        notices=experiment.notices(),
        stages=stages,
        shared=shared_settings(experiment.runs),
        settings=settings,
        command=command,
        written=written,
        described=DESCRIBED,
        summaries={name: summary(method) for name, method in METHODS.items()},
    )


def settings(run: Row) -> dict[str, object]:
    """The flags that a run was made with, but for those of it alone."""
    return {name: value for name, value in run.flags.items() if name not in _OF_ONE_RUN}


def shared_settings(runs: Iterable[Row]) -> dict[str, object]:
    """Those that have one value in all runs."""
    first, *others = [settings(run) for run in runs if run.flags] or [{}]
    return {
        name: value
        for name, value in first.items()
        if all(name in other and other[name] == value for other in others)
    }


def command(cell: Cell) -> list[str]:
    """The words of the command that makes a cell's runs anew."""
    words = ["python", "-m", "dlth_tf.train", f"--method={cell.method}"]
    if cell.method not in WITHOUT_SPARSITY:
        words.append(f"--sparsity={written(cell.sparsity)}")
    words.append(f"--seed={','.join(str(run.seed) for run in cell.runs)}")
    for name, value in settings(cell.runs[0]).items():
        if name not in DESCRIBED or value == DESCRIBED[name].default:
            continue
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no{name}")
        else:
            if isinstance(value, list):
                value = DESCRIBED[name].serializer.serialize(value)
            words.append(shlex.quote(f"--{name}={value}"))
    return words
