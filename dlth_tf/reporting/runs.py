"""The table of results, and the section that each of its cells leads to."""

from collections.abc import Mapping

from dlth_tf.experiment.methods import METHODS, summary, written
from dlth_tf.reporting import settings
from dlth_tf.reporting.comparison import Cell, Comparison
from dlth_tf.reporting.markup import items, paragraph, table, tag, text
from dlth_tf.reporting.missing import missing_seeds
from dlth_tf.reporting.reading import Experiment
from dlth_tf.reporting.records import number
from dlth_tf.reporting.sizes import sizes


def results_table(experiment: Experiment, comparison: Comparison) -> str:
    """Methods by sparsities; every cell leads to its runs."""
    sparsities = comparison.sparsities
    missing = missing_seeds(experiment)
    head = ["method", *(_column_head(comparison, s) for s in sparsities)]
    rows = []
    for method in comparison.methods:
        if comparison.dense and method == comparison.dense.method:
            continue
        cells = {cell.sparsity: cell for cell in comparison.of_method(method)}
        drawn = [_cell(comparison, cells.get(s), missing) for s in sparsities]
        rows.append([text(method), *drawn])
    caption = "Test accuracy in percent: mean ± sample standard deviation over n seeds."
    return (
        _dense_line(comparison)
        + table(head, rows, caption, class_="results")
        + tag("p", text(_LEGEND), class_="soft")
        + items(line for s in sparsities if (line := verdict(comparison, s)))
    )


_LEGEND = (
    "Bold is the highest mean at a sparsity; ≈ is so close to it that the order may be "
    "chance: mean ± deviation of the two overlap, or they differ by less than the "
    "standard error that this number of test images leaves. Below each accuracy is the "
    "training's cost in images seen, relative to dense. Each number leads to its runs "
    "and their settings."
)


def verdict(comparison: Comparison, sparsity: float) -> str:
    """What the comparison at one sparsity can claim."""
    best = comparison.best(sparsity)
    if best is None:
        return ""
    others = [cell for cell in comparison.at(sparsity) if cell is not best]
    close = [cell.method for cell in others if cell.close_to(best)]
    lead = f"At sparsity {written(sparsity)} the highest mean is {best.method}'s"
    if len(close) == len(others):
        return f"{lead}, and none of the others is clearly below it."
    if close:
        return f"{lead}; as good, as far as can be told: {', '.join(close)}."
    return f"{lead}, clearly above the others."


def _column_head(comparison: Comparison, sparsity: float) -> str:
    left = {f"{c.weights_left:.1%}" for c in comparison.at(sparsity) if c.weights_left}
    note = tag("small", f"<br>{left.pop()} of weights left") if len(left) == 1 else ""
    return f"sparsity {written(sparsity)}{note}"


def _dense_line(comparison: Comparison) -> str:
    dense = comparison.dense
    if dense is None:
        return paragraph("The dense network was not trained, or is not finished.")
    link = tag("a", text(dense.accuracy), href=f"#{anchor(dense)}")
    return tag("p", f"The dense network, for comparison: {link} (n = {len(dense.runs)}).")


def _cell(
    comparison: Comparison, cell: Cell | None, missing: Mapping[str, list[int]]
) -> str:
    if cell is None:
        return tag("span", "none finished", class_="soft")
    best = comparison.best(cell.sparsity)
    cost = "" if cell.cost is None else f"{cell.cost:.2f}x · "
    close = "≈ " if best and cell is not best and cell.close_to(best) else ""
    link = tag("a", text(cell.accuracy), href=f"#{anchor(cell)}")
    number = tag("span", close + link, class_="best" if cell is best else None)
    lacks = missing.get(cell.key)
    planned = f" of {len(cell.runs) + len(lacks)}" if lacks else ""
    return number + tag("small", f"{cost}n = {len(cell.runs)}{planned}")


def anchor(cell: Cell) -> str:
    """The id of a cell's section."""
    return f"run-{cell.key}"


def run_section(experiment: Experiment, cell: Cell, shared: Mapping[str, object]) -> str:
    """All there is to say about the runs of one cell."""
    method = METHODS.get(cell.method)
    own = settings.own_flags(cell, shared)
    lines = [f"{name}: {settings.shown(value)}" for name, value in own.items()]
    return tag(
        "section",
        tag("h3", text(cell.title)),
        paragraph(summary(method)) if method else "",
        _seeds(cell),
        sizes(cell.runs[0]),
        paragraph(f"How seed {cell.runs[0].seed} was made:") + _lineage(experiment, cell),
        tag("p", tag("a", "Settings that all runs share", href="#settings"), "."),
        paragraph("Settings of its own:") + items(lines) if lines else "",
        paragraph("To run it anew:")
        + tag("pre", tag("code", _in_pieces(settings.command(cell)))),
        id=anchor(cell),
        class_="run",
    )


def _in_pieces(command: str) -> str:
    """Markup that a narrow page breaks between arguments, not within them."""
    return " ".join(tag("span", text(p), class_="argument") for p in command.split(" "))


def _seeds(cell: Cell) -> str:
    head = ["seed", "accuracy %", "top-5 %", "images seen", "cost", "FLOPs", "seconds"]
    rows = [
        [
            text(run.seed),
            f"{100 * run.accuracy:.2f}",
            _or_dash(run.top5, lambda v: f"{100 * v:.2f}"),
            _or_dash(run.images, lambda v: f"{v:,}"),
            _or_dash(run.cost, lambda v: f"{v:.2f}x"),
            _or_dash(run.flops_cost, lambda v: f"{v:.2f}x"),
            _or_dash(run.seconds, lambda v: f"{v:,.1f}"),
        ]
        for run in cell.runs
    ]
    left = (
        f" {cell.weights_left:.2%} of the kernels' weights are left."
        if (cell.weights_left is not None)
        else ""
    )
    caption = (
        f"Its runs, one for each seed.{left} Cost is in images seen, FLOPs are those of "
        "the training, zeros of a fixed ticket skipped; both relative to dense."
    )
    return table(head, rows, caption, class_="numbers")


def _or_dash(value, written) -> str:
    return "-" if value is None else written(value)


def _lineage(experiment: Experiment, cell: Cell) -> str:
    """The stages of the first run, with what each took."""
    entries = []
    for name in cell.runs[0].stages:
        record = experiment.stage(name)
        title = name.rsplit("-", 1)[0].replace("-", " ")
        steps, images = number(record.get("steps")), number(record.get("images"))
        took = f": {steps:,.0f} steps, {images:,.0f} images" if steps and images else ""
        entries.append(tag("li", text(title + took)))
    return tag("ol", *entries)
