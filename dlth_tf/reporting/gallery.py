"""All figures of a report, by section."""

import functools
from collections.abc import Callable, Iterable

import matplotlib

from dlth_tf.reporting.comparison import Cell, Comparison
from dlth_tf.reporting.drawing import LOOK, Panel, styles
from dlth_tf.reporting.figures.accuracy import (
    at_sparsity,
    groups,
    over_cost,
    over_sparsity,
)
from dlth_tf.reporting.figures.training import extrusion, learning_curves
from dlth_tf.reporting.figures.weights import sparsity_per_layer, weight_histograms
from dlth_tf.reporting.reading import Experiment

Gallery = dict[str, list[Panel]]


@matplotlib.rc_context(LOOK)
def draw(experiment: Experiment, comparison: Comparison) -> Gallery:
    """Draws what the experiment has data for; a section without any panel is empty.

    A figure that the data do not allow is passed over, and noted as skipped.
    """
    look = styles(comparison.methods)
    sparsities = comparison.sparsities

    def each(
        figure: Callable[..., Panel | None], subjects: Iterable, *given: object
    ) -> list[Panel]:
        figure = functools.partial(figure, *given)
        drawn = [_attempt(experiment, figure, subject) for subject in subjects]
        return [panel for panel in drawn if panel]

    compared = (comparison, look)
    return {
        "accuracy": each(over_sparsity, groups(comparison), *compared)
        + each(at_sparsity, sparsities, *compared),
        "cost": each(over_cost, sparsities, *compared),
        "extrusion": each(extrusion, comparison.sparse, experiment),
        "weights": each(weight_histograms, _telling(comparison), experiment),
        "layers": each(sparsity_per_layer, sparsities, *compared),
        "learning": each(learning_curves, comparison.methods, comparison),
    }


def _attempt(
    experiment: Experiment, figure: Callable[..., Panel | None], subject: object
) -> Panel | None:
    try:
        return figure(subject)
    except Exception as error:
        name = subject.title if isinstance(subject, Cell) else subject
        experiment.skipped.append(f"A figure of {name} could not be drawn: {error!r}")
        return None


def _telling(comparison: Comparison) -> list[Cell]:
    """Every transformed cell; of other methods, the sparsest."""
    chosen = []
    for method in comparison.methods:
        cells = [c for c in comparison.of_method(method) if c.sparsity]
        transforms = any(p.transforms for c in cells for r in c.runs for p in r.phases)
        chosen += cells if transforms else cells[-1:]
    return chosen
