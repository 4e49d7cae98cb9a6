"""The report as one page that needs nothing beside it."""

from collections.abc import Sequence

from dlth_tf.reporting import settings
from dlth_tf.reporting.canvas import Panel
from dlth_tf.reporting.comparison import Comparison
from dlth_tf.reporting.gallery import Gallery
from dlth_tf.reporting.markup import items, paragraph, tag, text
from dlth_tf.reporting.missing import (
    begun_line,
    failed_lines,
    missing_lines,
    missing_seeds,
)
from dlth_tf.reporting.reading import Experiment
from dlth_tf.reporting.runs import results_table, run_section
from dlth_tf.reporting.stylesheet import STYLESHEET, colours_of_the_page

_CAPTIONS = {
    "accuracy": (
        "Accuracy",
        "Test accuracy of each method: over sparsity, then at each sparsity by itself. "
        "Markers are means over seeds, bars reach one sample standard deviation to "
        "either side, short strokes are single seeds. The dashed line is the dense "
        "network, with its own spread as a band. Methods whose bars overlap can't be "
        "told apart by these runs. The axes do not begin at zero.",
    ),
    "cost": (
        "Accuracy over training cost",
        "What a method's accuracy costs: all images seen in pretraining, transformation "
        "and finetuning, relative to training the dense network once. Up is better, left "
        "is cheaper. Points that would hide one another stand side by side; the table "
        "has their exact costs.",
    ),
    "extrusion": (
        "The extrusion",
        "Each transformation: the penalty λ on the weights about to be removed grows, "
        "and pushes what they hold into the weights that stay. Below it the mean "
        "magnitude of both, at the end of each epoch, one line for each seed. In "
        "cycles the penalty begins anew each time, on more weights.",
    ),
    "weights": (
        "Weights before, between and after",
        "Histograms of the masked layers' weights, on a logarithmic scale of counts. "
        "Removed weights (dashed) are those that are zero in the end. A transformation "
        "draws them to zero before they go; magnitude pruning picks them from the "
        "middle. The frames leave out the largest hundredth of the weights at most.",
    ),
    "layers": (
        "Sparsity per layer",
        "How much of each layer is removed, in the order of the network; of the first "
        "seed. Methods that remove the same share of every layer have one mark.",
    ),
    "learning": (
        "Learning curves",
        "Accuracy and loss on the training images, epoch by epoch, all trainings of a "
        "method in a row: means over seeds. Wide pale lines, if there are any, are "
        "accuracy on held-out images.",
    ),
}


def page(experiment: Experiment, comparison: Comparison, gallery: Gallery) -> str:
    """The whole document."""
    title = f"{_task(experiment)}: sparse networks compared"
    sections = _sections(experiment, comparison, gallery)
    links = [tag("a", text(name), href=f"#{place}") for place, name, _ in sections]
    body = [
        tag("header", *_heading(experiment), *_lead(experiment, comparison)),
        _notice(experiment),
        tag("nav", tag("ul", *(tag("li", a) for a in links)), aria_label="Sections"),
        tag("main", *(_section(*section) for section in sections)),
        _footer(experiment),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{tag('title', text(title))}\n<style>{STYLESHEET}</style>\n</head>\n"
        f"{tag('body', chr(10), *(part + chr(10) for part in body))}\n</html>\n"
    )


def _sections(
    experiment: Experiment, comparison: Comparison, gallery: Gallery
) -> list[tuple[str, str, str]]:
    """(id, heading, content) of every section that has something to show."""
    sections = []
    if comparison.cells:
        sections.append(("table", "Results", results_table(experiment, comparison)))
    for name, (heading, caption) in _CAPTIONS.items():
        panels = getattr(gallery, name)
        if panels:
            sections.append((name, heading, _figure(panels, caption)))
    if comparison.cells:
        shared = settings.shared_flags(experiment.runs)
        sections.append(("settings", "Settings that all runs share", _settings(shared)))
        runs = [run_section(experiment, cell, shared) for cell in comparison.cells]
        sections.append(("runs", "Runs", "\n".join(runs)))
    return sections


def _section(place: str, heading: str, content: str) -> str:
    return tag("section", tag("h2", text(heading)), content, id=place) + "\n"


def _figure(panels: Sequence[Panel], caption: str) -> str:
    drawings = "".join(_inline(panel) for panel in panels)
    return tag(
        "figure",
        tag("figcaption", text(caption)),
        tag("div", drawings, class_="panels"),
    )


def _inline(panel: Panel) -> str:
    return colours_of_the_page(panel.svg[panel.svg.index("<svg") :])


def _task(experiment: Experiment) -> str:
    flags = next((run.flags for run in experiment.runs if run.flags), {})
    task = experiment.shared.get("task")
    task = task if isinstance(task, dict) else {}
    network = flags.get("model") or task.get("network") or "A network"
    dataset = flags.get("dataset") or task.get("dataset")
    return f"{network} on {dataset}" if dataset else str(network)


def _heading(experiment: Experiment) -> list[str]:
    return [
        tag("p", "Sparse networks compared", class_="kicker"),
        tag("h1", text(_task(experiment))),
    ]


def _lead(experiment: Experiment, comparison: Comparison) -> list[str]:
    if not comparison.cells:
        return [paragraph("No run is finished yet.")]
    seeds = sorted({run.seed for run in experiment.runs})
    methods, sparsities = comparison.methods, comparison.sparsities
    missing = sum(map(len, missing_seeds(experiment).values()))
    asked = f"{missing} more were asked for." if missing else "None is missing."
    asked += f" {len(experiment.failed)} failed." * bool(experiment.failed)
    counts = (
        f"{_count(len(experiment.runs), 'run')}: {_count(len(methods), 'method')}, "
        f"{_count(len(sparsities), 'sparsity', 'sparsities')}, "
        f"{_count(len(seeds), 'seed')}. {asked}"
    )
    return [paragraph(counts), paragraph(*_caution(comparison, len(seeds)))]


def _caution(comparison: Comparison, seeds: int) -> list[str]:
    """How much the numbers can bear."""
    cell = comparison.cells[-1]
    images = cell.runs[0].test_images
    sentences = []
    if images:
        sentences.append(
            f"Accuracy was measured once, after the last epoch, on {images:,} test "
            f"images. One image is {100 / images:.2g} points; the choice of these images "
            "leaves each accuracy a standard error of about "
            f"{cell.sampling_error:.1g} points."
        )
    if seeds == 1:
        sentences.append("With one seed nothing is known of the spread between seeds.")
    elif seeds < 5:
        sentences.append(f"With {seeds} seeds the spread itself is a rough estimate.")
    return sentences


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _notice(experiment: Experiment) -> str:
    """What is missing, in progress or unreadable; nothing if all is well."""
    parts = []
    missing = missing_lines(experiment)
    for lead, lines in (
        ("Runs that failed, and count in no mean:", failed_lines(experiment)),
        ("Runs that were asked for and are not finished:", missing),
        ("Begun and not finished:", [begun_line(begun) for begun in experiment.begun]),
        ("Could not be read and was passed over:", experiment.skipped),
    ):
        if lines:
            parts += [paragraph(lead), items(lines)]
    if not parts:
        return ""
    return tag(
        "aside", tag("h2", "What is missing"), *parts, class_="notice", id="missing"
    )


def _settings(shared: dict[str, object]) -> str:
    entries = [
        tag("dt", tag("code", text(name)), f" {text(settings.shown(value))}")
        + tag("dd", text(settings.explanation(name)))
        for name, value in shared.items()
    ]
    lead = "The flags of the training program. Those that differ are given with the runs."
    return paragraph(lead) + tag("dl", *(tag("div", entry) for entry in entries))


def _footer(experiment: Experiment) -> str:
    versions = next((run.versions for run in experiment.runs if run.versions), {})
    made = ", ".join(f"{name} {version}" for name, version in versions.items())
    files = "The numbers are in results.jsonl, the drawings in figures/."
    trained = f"Trained with {made}." if made else ""
    return tag("footer", tag("small", text(f"{files} {trained}")))
