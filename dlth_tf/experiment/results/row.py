"""The record of a run, as `result.json` and `results.jsonl` hold it."""

import dataclasses
import math
import types
import typing
from pathlib import PureWindowsPath
from typing import Any

Phase = list[dict[str, float | None]]
"""One training of a run: its metrics, epoch by epoch."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A run that was audited and measured, or one that failed and has no numbers.

    A number is None, and a list or table is empty, where the record does not say. `key`
    is of the last stage, `run` and `stages` are folders: of all stages, or of those made
    until one `failed`, which is the one to try again. Accuracies are fractions, the loss
    is a mean cross-entropy in nats, and costs are relative to training the dense network
    once. `penalty_form` is how a transformation's penalty acted, coupled or decoupled;
    `weights_left` is the fraction of the kernels' weights that are not zero,
    `history` has the metrics of each epoch by stage, and `shrunk_by` is the stage whose
    ticket made the network smaller.
    """

    method: str
    sparsity: float
    seed: int
    key: str = ""
    failed: str | None = None
    run: str = ""
    stages: list[str] = dataclasses.field(default_factory=list)
    flags: dict[str, Any] = dataclasses.field(default_factory=dict)
    versions: dict[str, Any] = dataclasses.field(default_factory=dict)
    test_accuracy: float = math.nan
    test_top5: float | None = None
    test_loss: float | None = None
    test_images: float | None = None
    train_images: float | None = None
    train_cost: float | None = None
    train_flops: float | None = None
    train_flops_cost: float | None = None
    seconds: float | None = None
    settled_after_epochs: float | None = None
    penalty_form: str | None = None
    weights_left: float | None = None
    sparsity_per_layer: dict[str, float] = dataclasses.field(default_factory=dict)
    parameters_left: float | None = None
    dense_parameters: float | None = None
    multiply_adds_left: float | None = None
    dense_multiply_adds: float | None = None
    layers: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    history: dict[str, Phase] = dataclasses.field(default_factory=dict)
    shrunk_by: str | None = None

    @classmethod
    def parse(cls, record: object) -> "Row":
        """Reads a record that may lack all but what a comparison can't do without.

        A ValueError says what: method, sparsity, seed, and accuracy or why it failed.
        """
        kinds = typing.get_type_hints(cls)
        row = record if isinstance(record, dict) else {}
        read = {k: row[k] for k in kinds if k in row and _fits(row[k], kinds[k])}
        if not read.get("method"):
            raise ValueError("it names no method")
        highest = {"sparsity": 1.0, "seed": math.inf, "test_accuracy": 1.0}
        for key in ("sparsity", "seed") if read.get("failed") else highest:
            if not 0 <= read.get(key, -1) <= highest[key]:
                raise ValueError(f"its {key} is {row.get(key)!r}")
        return cls(**read)

    def as_json(self) -> dict[str, Any]:
        """What `parse` reads. A run that failed has no numbers, not even empty ones."""
        record = dataclasses.asdict(self)
        if self.failed is None:
            del record["failed"]
            return record
        names = ("method", "sparsity", "seed", "key", "failed", "run", "stages")
        return {name: record[name] for name in (*names, "flags", "versions")}

    @property
    def name(self) -> str:
        return last_part(self.run)

    @property
    def stage_names(self) -> list[str]:
        return [last_part(stage) for stage in self.stages]

    @property
    def phases(self) -> list[Phase]:
        """Its trainings, in order."""
        return [epochs for epochs in self.history.values() if epochs]

    @property
    def transformations(self) -> list[Phase]:
        """Those with a penalty on the weights to remove."""
        told = "removed_magnitude"
        return [phase for phase in self.phases if any(told in epoch for epoch in phase)]


def last_part(path: str) -> str:
    """The name of a folder on any system: results are moved between machines."""
    return PureWindowsPath(path).name


def _fits(value: object, kind: Any) -> bool:
    """Whether a value from JSON is of a type such as `dict[str, float | None]`."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return True
    if origin is types.UnionType:
        return any(_fits(value, part) for part in parts)
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if not isinstance(value, origin or kind):
        return False
    values = value.values() if isinstance(value, dict) else typing.cast(list, value)
    return not parts or all(_fits(part, parts[-1]) for part in values)
