"""Sparsities written out layer by layer or stage by stage, as in the paper's tables."""

import dataclasses
import re
from collections.abc import Sequence

from dlth_tf.tickets.sparsity import Distribution, Pool, check_sparsity

_STAGE = re.compile(r"stage_?(\d+)")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


@dataclasses.dataclass(frozen=True)
class PerLayer(Distribution):
    """Sparsities by the number of a layer, for networks that are one chain of layers.

    Args:
        ratios: `"0-4:0.5,5:0.6"` removes half of the weights of the layers 0 to 4, both
            included, and 0.6 of those of layer 5. Kernels count from 0, in the order of
            `dlth_tf.maskable_kernels`: a recurrent layer counts twice, an embedding not
            at all. What is not named stays dense.

    Raises:
        ValueError: a text of another form, a sparsity outside [0, 1), or a layer that is
            named twice; later on, a model without such a layer.

    Example:

    >>> ticket = dlth.random_ticket(vgg, dlth.PerLayer("0-4:0.5,5:0.6"), seed=0)

    Source: Bai et al., ICLR 2022, appendix (VGG and MLP).
    """

    ratios: str

    def __post_init__(self):
        self._by_layer()

    def pools(self, shapes):
        by_layer = self._by_layer()
        if max(by_layer) >= len(shapes):
            raise ValueError(
                f"'{self.ratios}' names layer {max(by_layer)}. The model's layers are 0 "
                f"to {len(shapes) - 1}: {', '.join(shapes)}"
            )
        return [
            Pool((name,), by_layer.get(place, 0.0)) for place, name in enumerate(shapes)
        ]

    def _by_layer(self) -> dict[int, float]:
        by_layer = {}
        for part in self.ratios.split(","):
            layers, _, number = part.partition(":")
            found, value = _RANGE.fullmatch(layers.strip()), _number(number)
            if not found or value is None:
                raise ValueError(
                    "Ratios per layer must look like '0-4:0.5,5:0.6'. "
                    f"Received: {self.ratios!r}"
                )
            first, last = int(found[1]), int(found[2] or found[1])
            check_sparsity(value, f" for layer {layers.strip()}")
            if last < first or not by_layer.keys().isdisjoint(range(first, last + 1)):
                raise ValueError(
                    "Ratios per layer must name each layer once, the first of a range "
                    f"before the last. Received: {self.ratios!r}"
                )
            by_layer.update(dict.fromkeys(range(first, last + 1), value))
        return by_layer


@dataclasses.dataclass(frozen=True)
class PerStage(Distribution):
    """Sparsities of a residual network's first layers, its stages, and its classifier.

    The stage of a kernel is the number in its name ("stage2_block0_conv1"). What comes
    before the first stage is the stem, what comes after the last one the classifier.

    Args:
        ratios: stem, each stage, classifier. The paper's setting for a network of three
            stages is (0, s, s, s, 0).

    Raises:
        ValueError: a sparsity outside [0, 1); later on, a model with another number of
            stages, or one whose kernels' names have none.

    Example:

    >>> ticket = dlth.random_ticket(resnet20, dlth.PerStage([0, 0.9, 0.9, 0.9, 0]), 0)

    Source: Bai et al., ICLR 2022, section 4.1.
    """

    ratios: Sequence[float]

    def __post_init__(self):
        object.__setattr__(self, "ratios", tuple(self.ratios))
        for value in self.ratios:
            check_sparsity(value, f" in {list(self.ratios)}")

    def pools(self, shapes):
        stages = _stages(list(shapes))
        groups = list(dict.fromkeys(stages))
        if len(groups) != len(self.ratios):
            raise ValueError(
                f"Ratios per stage must be {len(groups)} for this model "
                f"({', '.join(groups)}). Received: {list(self.ratios)}"
            )
        by_group = dict(zip(groups, self.ratios, strict=True))
        return [
            Pool((name,), by_group[stage])
            for name, stage in zip(shapes, stages, strict=True)
        ]


def _stages(names: Sequence[str]) -> list[str]:
    """What each kernel belongs to: the stem, a stage, or the classifier."""
    found = [_STAGE.search(name) for name in names]
    staged = [place for place, stage in enumerate(found) if stage]
    if not staged:
        raise ValueError(
            "Ratios per stage need kernels with names such as 'stage1_conv'. "
            f"Received: a model with {', '.join(names)}"
        )
    stages = []
    for place, stage in enumerate(found):
        if stage:
            stages.append(f"stage{int(stage[1])}")
        elif place < staged[0]:
            stages.append("stem")
        elif place > staged[-1]:
            stages.append("classifier")
        else:
            # A layer between stages, such as one that only changes the width.
            stages.append(stages[-1])
    return stages


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
