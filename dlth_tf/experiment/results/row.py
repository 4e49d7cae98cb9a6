"""The record of a run, as `result.json` and `results.jsonl` hold it."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """What is known of every run.

    Attributes:
        key: of its last stage.
        stages: folders of the stages that it took, or that were made before it failed.
        run: its folder.
        flags: those that it was made with.
        versions: of Python and of packages, by name.
    """

    key: str = ""
    method: str
    sparsity: float
    seed: int
    stages: list[str] = dataclasses.field(default_factory=list)
    run: str = ""
    flags: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FailedRow(Row):
    """A run without numbers.

    Attributes:
        failed: why; its last stage is the one to try again.
    """

    failed: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinishedRow(Row):
    """A run that was audited and measured on the test set.

    What the table does not need may be missing in rows that earlier versions wrote.

    Attributes:
        test_accuracy: fraction of the test images, as `test_top5` is.
        test_loss: mean cross-entropy, in nats.
        test_images: how many there are.
        train_images: seen in all its trainings.
        train_cost: these, relative to training the dense network once.
        train_flops: floating-point operations of its trainings.
        train_flops_cost: these, relative to training the dense network once.
        seconds: that its trainings took.
        settled_after_epochs: when an early-bird ticket had settled.
        weights_left: fraction of the kernels' weights that are not zero.
        sparsity_per_layer: by kernel.
        parameters_left, multiply_adds_left: of the network, zeros left out.
        dense_parameters, dense_multiply_adds: of the whole network.
        layers: name, type and the same counts for each layer.
        history: metrics of each epoch, by stage.
        shrunk_by: the stage whose ticket made the network smaller.
    """

    test_accuracy: float
    test_top5: float = math.nan
    test_loss: float = math.nan
    test_images: int = 0
    train_images: int = 0
    train_cost: float
    train_flops: int = 0
    train_flops_cost: float
    seconds: float = 0.0
    settled_after_epochs: int | None = None
    weights_left: float
    sparsity_per_layer: Mapping[str, float] = dataclasses.field(default_factory=dict)
    parameters_left: int = 0
    multiply_adds_left: int
    dense_parameters: int = 0
    dense_multiply_adds: int
    layers: list[Mapping[str, Any]] = dataclasses.field(default_factory=list)
    history: Mapping[str, list[Mapping[str, float]]] = dataclasses.field(
        default_factory=dict
    )
    shrunk_by: str | None = None


def read_row(record: Mapping[str, Any]) -> FinishedRow | FailedRow:
    """A row from its record.

    Raises:
        TypeError: the record is no run's; the message says what it lacks.
    """
    kind = FailedRow if "failed" in record else FinishedRow
    known = {field.name for field in dataclasses.fields(kind)}
    return kind(**{name: value for name, value in record.items() if name in known})
