"""One run, read from what its result file says."""

import dataclasses
import math
from collections.abc import Mapping

_SIZES = (
    "parameters_left",
    "multiply_adds_left",
    "dense_parameters",
    "dense_multiply_adds",
)


@dataclasses.dataclass(frozen=True)
class Phase:
    """One training of a run: what it is called, and its metrics epoch by epoch."""

    title: str
    epochs: tuple[Mapping[str, float], ...]

    @property
    def transforms(self) -> bool:
        """Whether it is a transformation, with a penalty on the weights to remove."""
        return any("removed_magnitude" in epoch for epoch in self.epochs)

    def series(self, metric: str) -> list[float]:
        """A metric at the end of each epoch; NaN where it was not recorded."""
        return [number(epoch.get(metric), math.nan) for epoch in self.epochs]


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """What is known of a finished run; None or empty where the file does not say.

    Attributes:
        name: of the run's folder.
        accuracy: on the test images, a fraction.
        cost: images seen, relative to training the dense network.
        flops_cost: FLOPs of its trainings, relative to training the dense network.
        weights_left: fraction of the kernels' weights.
        size: parameters and multiply-adds of the network, left and dense, by name.
        layer_sizes: the same of each layer that has parameters.
        layers: fraction removed, by layer.
        phases: its trainings, in order.
        stages: names of the folders of the stages it was made from, in order.
    """

    name: str
    method: str
    sparsity: float
    seed: int
    accuracy: float
    top5: float | None
    test_images: int | None
    images: int | None
    cost: float | None
    seconds: float | None
    flops_cost: float | None
    weights_left: float | None
    size: Mapping[str, float]
    layer_sizes: tuple[Mapping[str, object], ...]
    layers: Mapping[str, float]
    phases: tuple[Phase, ...]
    stages: tuple[str, ...]
    flags: Mapping[str, object]
    versions: Mapping[str, object]

    @classmethod
    def parse(cls, name: str, record: object) -> "RunRecord":
        """Reads a result that may lack all but what a comparison can't do without.

        Raises:
            ValueError: it says no method, sparsity, seed or test accuracy.
        """
        record = _mapping(record)
        return cls(
            name=name,
            method=_method(record),
            sparsity=_required(record, "sparsity", 1.0),
            seed=int(_required(record, "seed", math.inf)),
            accuracy=_required(record, "test_accuracy", 1.0),
            top5=number(record.get("test_top5")),
            test_images=_whole(record.get("test_images")),
            images=_whole(record.get("train_images")),
            cost=_amount(record.get("train_cost")),
            seconds=_amount(record.get("seconds")),
            flops_cost=_amount(record.get("train_flops_cost")),
            weights_left=number(record.get("weights_left")),
            size=_numbers({name: record.get(name) for name in _SIZES}),
            layer_sizes=tuple(_mapping(part) for part in _list(record.get("layers"))),
            layers=_numbers(record.get("sparsity_per_layer")),
            phases=_phases(record.get("history")),
            stages=tuple(_last_part(s) for s in _list(record.get("stages"))),
            flags=_mapping(record.get("flags")),
            versions=_mapping(record.get("versions")),
        )


@dataclasses.dataclass(frozen=True)
class FailedRun:
    """A run that has no numbers, and why."""

    name: str
    method: str
    sparsity: float
    seed: int
    reason: str


def parse_run(name: str, record: object) -> RunRecord | FailedRun:
    """Reads a result, of a run that failed too.

    Raises:
        ValueError: it says no method, sparsity or seed, nor an accuracy or why it failed.
    """
    reason = _mapping(record).get("failed")
    if not isinstance(reason, str):
        return RunRecord.parse(name, record)
    return FailedRun(
        name=name,
        method=_method(record),
        sparsity=_required(record, "sparsity", 1.0),
        seed=int(_required(record, "seed", math.inf)),
        reason=reason,
    )


def number(value: object, otherwise: float | None = None) -> float | None:
    """A finite number, or something else in its place."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) else otherwise
    return otherwise


def _method(record: Mapping) -> str:
    method = record.get("method")
    if not isinstance(method, str) or not method:
        raise ValueError("it names no method")
    return method


def _required(record: Mapping, name: str, highest: float) -> float:
    value = number(record.get(name))
    if value is None or not 0.0 <= value <= highest:
        raise ValueError(f"its {name} is {record.get(name)!r}")
    return value


def _amount(value: object) -> float | None:
    """A number that counts or measures something: not below zero."""
    value = number(value)
    return value if value is None or value >= 0.0 else None


def _whole(value: object) -> int | None:
    value = _amount(value)
    return None if value is None else int(value)


def _mapping(value: object) -> Mapping:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list:
    return value if isinstance(value, list) else []


def _numbers(value: object) -> dict[str, float]:
    read = {name: number(part) for name, part in _mapping(value).items()}
    return {name: part for name, part in read.items() if part is not None}


def _phases(value: object) -> tuple[Phase, ...]:
    return tuple(
        Phase(title, tuple(_mapping(epoch) for epoch in epochs))
        for title, epochs in _mapping(value).items()
        if isinstance(epochs, list) and epochs
    )


def _last_part(path: object) -> str:
    """Of a path as any system writes it: folders are moved between machines."""
    return str(path).replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
