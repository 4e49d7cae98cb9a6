"""All figures of a report, by section."""

import dataclasses
from collections.abc import Callable, Iterable

from dlth_tf.reporting.canvas import Panel
from dlth_tf.reporting.comparison import Cell, Comparison
from dlth_tf.reporting.figures.at_sparsity import at_sparsity
from dlth_tf.reporting.figures.cost import over_cost
from dlth_tf.reporting.figures.extrusion import extrusion
from dlth_tf.reporting.figures.histograms import weight_histograms
from dlth_tf.reporting.figures.layers import sparsity_per_layer
from dlth_tf.reporting.figures.learning import learning_curves
from dlth_tf.reporting.figures.over_sparsity import groups, over_sparsity
from dlth_tf.reporting.reading import Experiment
from dlth_tf.reporting.styles import styles

Figure = Callable[..., Panel | None]


@dataclasses.dataclass(frozen=True)
class Gallery:
    """The panels of each section; a section without any is empty."""

    accuracy: list[Panel]
    cost: list[Panel]
    extrusion: list[Panel]
    weights: list[Panel]
    layers: list[Panel]
    learning: list[Panel]

    @property
    def panels(self) -> list[Panel]:
        return [p for f in dataclasses.fields(self) for p in getattr(self, f.name)]


def draw(experiment: Experiment, comparison: Comparison) -> Gallery:
    """Draws what the experiment has data for.

    A figure that the data do not allow is passed over, and noted as skipped.
    """
    look = styles(comparison.methods)
    sparsities, methods = comparison.sparsities, comparison.methods

    def each(figure: Figure, subjects: Iterable) -> list[Panel]:
        drawn = (_attempt(experiment, figure, subject) for subject in subjects)
        return [panel for panel in drawn if panel]

    return Gallery(
        accuracy=[
            *each(
                lambda group: over_sparsity(comparison, look, group), groups(comparison)
            ),
            *each(lambda s: at_sparsity(comparison, look, s), sparsities),
        ],
        cost=each(lambda s: over_cost(comparison, look, s), sparsities),
        extrusion=each(lambda cell: extrusion(experiment, cell), comparison.sparse),
        weights=each(
            lambda cell: weight_histograms(experiment, cell), _telling(comparison)
        ),
        layers=each(lambda s: sparsity_per_layer(comparison, look, s), sparsities),
        learning=each(lambda m: learning_curves(m, comparison.of_method(m)), methods),
    )


def _attempt(experiment: Experiment, figure: Figure, subject: object) -> Panel | None:
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
