"""The report as one page that needs nothing beside it."""

from collections.abc import Mapping

import jinja2

from dlth_tf.experiment import methods
from dlth_tf.reporting import settings
from dlth_tf.reporting.comparison import Cell, Comparison
from dlth_tf.reporting.gallery import Gallery
from dlth_tf.reporting.missing import missing_seeds, notices
from dlth_tf.reporting.reading import Experiment
from dlth_tf.reporting.records import RunRecord, number

_COUNTS = ("parameters", "parameters_left", "multiply_adds", "multiply_adds_left")


def page(experiment: Experiment, comparison: Comparison, gallery: Gallery) -> str:
    """The whole document."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("dlth_tf.reporting"),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    verdicts = [comparison.verdict(sparsity) for sparsity in comparison.sparsities]
    versions = next((run.versions for run in experiment.runs if run.versions), {})
    # Before the notices are made: reading may find more that is damaged.
    lineages = {c.key: _lineage(experiment, c.runs[0]) for c in comparison.cells}
    templates.globals.update(
        comparison=comparison,
        missing=missing_seeds(experiment),
        settings=settings,
        written=methods.written,
        summary=_summary,
        counted=_counted,
        seed_rows=_seed_rows,
        layer_rows=_layer_rows,
    )
    return templates.get_template("report.html").render(
        task=_task(experiment),
        lead=_lead(experiment, comparison),
        notices=notices(experiment),
        gallery=gallery,
        lineages=lineages,
        verdicts=[verdict for verdict in verdicts if verdict],
        shared=settings.shared_flags(experiment.runs),
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
    )


def _task(experiment: Experiment) -> str:
    flags = next((run.flags for run in experiment.runs if run.flags), {})
    task = experiment.shared.get("task")
    task = task if isinstance(task, dict) else {}
    network = flags.get("model") or task.get("network") or "A network"
    dataset = flags.get("dataset") or task.get("dataset")
    return f"{network} on {dataset}" if dataset else str(network)


def _lead(experiment: Experiment, comparison: Comparison) -> list[str]:
    """What was compared, and how much the numbers can bear."""
    if not comparison.cells:
        return ["No run is finished yet."]
    seeds = len({run.seed for run in experiment.runs})
    missing = sum(map(len, missing_seeds(experiment).values()))
    asked = f"{missing} more were asked for." if missing else "None is missing."
    asked += f" {len(experiment.failed)} failed." * bool(experiment.failed)
    counts = (
        f"{_count(len(experiment.runs), 'run')}: "
        f"{_count(len(comparison.methods), 'method')}, "
        f"{_count(len(comparison.sparsities), 'sparsity', 'sparsities')}, "
        f"{_count(seeds, 'seed')}. {asked}"
    )
    cell = comparison.cells[-1]
    images = cell.runs[0].test_images
    caution = []
    if images:
        caution.append(
            f"Accuracy was measured once, after the last epoch, on {images:,} test "
            f"images. One image is {100 / images:.2g} points; the choice of these images "
            "leaves each accuracy a standard error of about "
            f"{cell.sampling_error:.1g} points."
        )
    if seeds == 1:
        caution.append("With one seed nothing is known of the spread between seeds.")
    elif seeds < 5:
        caution.append(f"With {seeds} seeds the spread itself is a rough estimate.")
    return [counts, " ".join(caution)]


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _counted(value: float | None, form: str = ",.0f", unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"


def _summary(method: str) -> str:
    known = methods.METHODS.get(method)
    return methods.summary(known) if known else ""


def _seed_rows(cell: Cell) -> list[list[str]]:
    return [
        [
            str(run.seed),
            f"{100 * run.accuracy:.2f}",
            "-" if run.top5 is None else f"{100 * run.top5:.2f}",
            _counted(run.images),
            _counted(run.cost, ".2f", "x"),
            _counted(run.flops_cost, ".2f", "x"),
            _counted(run.seconds, ",.1f"),
        ]
        for run in cell.runs
    ]


def _layer_rows(run: RunRecord) -> list[list[str]]:
    """The size of each layer whose size is known."""
    counts = {
        str(layer.get("name", "")): [number(layer.get(name)) for name in _COUNTS]
        for layer in run.layer_sizes
    }
    return [
        [name, *map(_counted, row)] for name, row in counts.items() if None not in row
    ]


def _lineage(experiment: Experiment, run: RunRecord) -> list[str]:
    """The stages of a run, with what each took."""
    lines = []
    for name in run.stages:
        record: Mapping = experiment.stage(name)
        steps, images = number(record.get("steps")), number(record.get("images"))
        took = f": {steps:,.0f} steps, {images:,.0f} images" if steps and images else ""
        lines.append(name.rsplit("-", 1)[0].replace("-", " ") + took)
    return lines
