"""The weights of a run at its turning points, split into kept and removed."""

import dataclasses

import numpy as np

from dlth_tf.reporting.reading import Experiment
from dlth_tf.reporting.records import RunRecord


@dataclasses.dataclass(frozen=True)
class Moment:
    """The masked layers' weights at one moment of a run."""

    name: str
    kept: np.ndarray
    removed: np.ndarray


class WeightsOfRun:
    """What the stages of a run left on the disk, as far as it can be read.

    Which weights were removed is seen from the result, where they are exactly zero.
    """

    def __init__(self, experiment: Experiment, run: RunRecord):
        self._experiment = experiment
        self._run = run
        self._masked = [name for name, share in run.layers.items() if share > 0]
        files = experiment.folder / "stages"
        self._stages = [s for s in run.stages if (files / s / "weights.npz").exists()]

    def moments(self) -> list[Moment]:
        """Before all training, before finetuning, and after it; those there are."""
        places = {"initial weights": 0, self._middle_name(): -2, "after finetuning": -1}
        removed = self._removed()
        if removed is None or len(self._stages) < 2:
            return []
        found: dict[str, Moment] = {}
        for name, place in places.items():
            stage = self._stages[place]
            kernels = None if stage in found else self._kernels(stage)
            if kernels is not None and kernels.shape == removed.shape:
                found[stage] = Moment(name, kernels[~removed], kernels[removed])
        return list(found.values())

    def mean_magnitudes(self) -> tuple[float, float] | None:
        """Of kept and of removed weights, before all training."""
        removed = self._removed()
        first = self._kernels(self._stages[0]) if removed is not None else None
        if first is None or first.shape != removed.shape or removed.all():
            return None
        sizes = np.abs(first)
        return float(sizes[~removed].mean()), float(sizes[removed].mean())

    def _middle_name(self) -> str:
        transformed = any(phase.transforms for phase in self._run.phases)
        return "after transformation" if transformed else "after pretraining"

    def _removed(self) -> np.ndarray | None:
        last = self._kernels(self._stages[-1]) if self._stages else None
        return None if last is None or not (last == 0).any() else last == 0

    def _kernels(self, stage: str) -> np.ndarray | None:
        weights = self._experiment.weights(stage)
        if weights is None or not self._masked:
            return None
        named = (weights.get(f"{n}/kernel", weights.get(n)) for n in self._masked)
        parts = [part.ravel() for part in named if part is not None]
        return np.concatenate(parts) if parts else None
