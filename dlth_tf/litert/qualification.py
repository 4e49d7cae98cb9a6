"""Whether XNNPACK's sparse path takes a LiteRT file, and if not, what is in the way.

The rules are those of XNNPACK's `xnn_check_nchw_compatibility` and
`xnn_subgraph_rewrite_for_nchw`: what lies between a 3x3
stem and a global average pooling has to be made of operators that run with the channels
first, and more than two thirds of the weights of its 1x1 convolutions have to be zero.
"""

import dataclasses
import os
import re
from collections.abc import Collection
from pathlib import Path

from dlth_tf.litert.operators import Operator, operators_of

NEEDED_ZEROS = 2 / 3
_ENTRY, _INNER, _EXIT, _OUTSIDE = "entry", "inner", "exit", "outside"
_UNARY = (
    *("ABS", "CEIL", "ELU", "EXP", "FLOOR", "GELU", "HARD_SWISH", "LEAKY_RELU"),
    *("LOGISTIC", "NEG", "RELU", "RELU6", "RELU_N1_TO_1", "ROUND", "RSQRT", "SQRT"),
    *("SQUARE", "TANH"),
)
_ELEMENTWISE = (*_UNARY, "ADD", "MUL")
_KERNELS = ("convolution", "depthwise")  # what Keras calls their outputs
_WHERE = "Browsers (LiteRT.js) and ARM take it; x86 itself runs the file dense."
_STEM = (
    "Only the stem may be 3x3, with stride 2, of RGB images; elsewhere take 1x1 and "
    "depthwise convolutions."
)
_PAD = "Pad by half the kernel on every side, and take images of even sizes."


@dataclasses.dataclass(frozen=True)
class Blocker:
    """What keeps XNNPACK from the sparse path: where, what, and what would mend it."""

    layer: str
    problem: str
    mend: str


@dataclasses.dataclass(frozen=True)
class Qualification:
    """Whether XNNPACK's sparse path takes a file; as a string, a report of some lines.

    Attributes:
        blockers: what is in the way; nothing if the path is taken.
        weights: of the 1x1 convolutions that it would run.
        zeros: how many of these weights are zero.
    """

    blockers: tuple[Blocker, ...]
    weights: int
    zeros: int

    @property
    def qualifies(self) -> bool:
        return not self.blockers

    @property
    def sparsity(self) -> float:
        """The zeros among the weights of the 1x1 convolutions."""
        return self.zeros / self.weights if self.weights else 0.0

    def __str__(self) -> str:
        found = (
            f"{self.sparsity:.1%} of the {self.weights:,} weights of its 1x1 "
            "convolutions are zero"
        )
        if self.qualifies:
            return f"XNNPACK's sparse path takes it: {found}. {_WHERE}"
        head = f"XNNPACK's sparse path does not take it; {found}. In the way:"
        same: dict[tuple[str, str], list[str]] = {}
        for blocker in self.blockers:
            same.setdefault((blocker.problem, blocker.mend), []).append(blocker.layer)
        lines = [
            f"  {_some(x)}: {problem}. {mend}" for (problem, mend), x in same.items()
        ]
        return "\n".join([head, *lines])


def _some(layers: list[str]) -> str:
    more = f" and {len(layers) - 3} more" if len(layers) > 3 else ""
    return ", ".join(layers[:3]) + more


def qualification(
    file: bytes | str | os.PathLike, layers: Collection[str] = ()
) -> Qualification:
    """Reads from a LiteRT file whether XNNPACK runs it sparse.

    Args:
        file: its content, or its path.
        layers: names of the network's layers, which the report then uses.

    Raises:
        ValueError: it is no LiteRT file.
    """
    content = file if isinstance(file, bytes) else Path(file).read_bytes()
    return _Subgraph(operators_of(content), layers).qualification()


class _Subgraph:
    def __init__(self, operators: list[Operator], layers: Collection[str]):
        self._layers = frozenset(layers)
        self._operators = operators
        self._places = [_place(operator) for operator in operators]
        self._made_by = {
            tensor: number
            for number, operator in enumerate(operators)
            for tensor in operator.outputs
        }
        self._consumers: dict[int, list[int]] = {}
        for number, operator in enumerate(operators):
            for tensor in operator.inputs:
                self._consumers.setdefault(tensor, []).append(number)

    def qualification(self) -> Qualification:
        inside = self._inside()
        pointwise = [
            operator
            for number, operator in enumerate(self._operators)
            if operator.is_pointwise and (number in inside or not inside)
        ]
        weights = sum(operator.weights for operator in pointwise)
        zeros = sum(operator.zeros for operator in pointwise)
        blockers = list(self._at_the_borders(inside))
        if not pointwise:
            blockers = [
                Blocker(
                    "network",
                    "no 1x1 convolution",
                    "Its zeros count only there: take one like MobileNet.",
                )
            ]
        elif any(operator.input_type != "FLOAT32" for operator in pointwise):
            mend = "Export float32 or float16 for it; int8 is fast by itself."
            blockers = [Blocker("network", "computes in int8", mend)]
        elif zeros <= NEEDED_ZEROS * weights:
            blockers.append(
                Blocker(
                    "1x1 convolutions",
                    f"zeros at {zeros / weights / NEEDED_ZEROS:.0%} of the needed two "
                    "thirds",
                    "Prune them to more than 0.67 (--layers=xnnpack does only these).",
                )
            )
        elif not any(operator.is_stored_sparse for operator in pointwise):
            mend = "Export float32 or float16 by this program."
            blockers.append(Blocker("network", "no kernel is stored sparse", mend))
        return Qualification(tuple(dict.fromkeys(blockers)), weights, zeros)

    def _inside(self) -> set[int]:
        """The operators of the parts that have a 1x1 convolution."""
        inside: set[int] = set()
        for number, operator in enumerate(self._operators):
            if operator.is_pointwise and self._places[number] == _INNER:
                inside |= self._part(number) - inside if number not in inside else set()
        return inside

    def _part(self, start: int) -> set[int]:
        """What hangs together with an operator without leaving the channels-first."""
        part, waiting = {start}, [start]
        while waiting:
            number = waiting.pop()
            near: list[int] = []
            if self._places[number] != _EXIT:
                near += self._after(number)
            if self._places[number] != _ENTRY:
                near += self._before(number)
            for other in near:
                crossing = (other > number and self._places[other] == _ENTRY) or (
                    other < number and self._places[other] == _EXIT
                )
                if other not in part and self._places[other] != _OUTSIDE and not crossing:
                    part.add(other)
                    waiting.append(other)
        return part

    def _before(self, number: int) -> list[int]:
        inputs = self._operators[number].inputs
        return [self._made_by[tensor] for tensor in inputs if tensor in self._made_by]

    def _after(self, number: int) -> list[int]:
        outputs = self._operators[number].outputs
        return [other for x in outputs for other in self._consumers.get(x, ())]

    def _at_the_borders(self, inside: set[int]) -> list[Blocker]:
        """What gives to these parts or takes from them, and can't."""
        found = set()
        for number in sorted(inside):
            if self._places[number] != _ENTRY:
                found |= {x for x in self._before(number) if x not in inside}
                if not self._before(number):
                    found.add(number)
            if self._places[number] != _EXIT:
                found |= {x for x in self._after(number) if x not in inside}
                if not self._after(number):
                    found.add(number)
        return [self._blocker(number) for number in sorted(found)]

    def _blocker(self, number: int) -> Blocker:
        operator = self._operators[number]
        problem, mend = _problem(operator)
        if self._places[number] == _INNER and not self._before(number):
            problem, mend = f"{operator.name} takes the images", _STEM
        elif self._places[number] == _INNER:
            problem, mend = (
                f"{operator.name} is the end",
                "End with global average pooling.",
            )
        return Blocker(self._name(operator.label), problem, mend)

    def _name(self, label: str) -> str:
        """The layer that a tensor's label comes from: `net/block_1_pad/Pad;...`."""
        parts = [part.split("/") for part in label.split(";") if part]
        for part in sorted(parts, key=lambda part: part[-1] not in _KERNELS):
            for word in reversed(part):
                for name in (word, re.sub(r"_\d+$", "", word)):
                    if name in self._layers:
                        return name
        return parts[-1][-2] if parts and len(parts[-1]) > 1 else label


def _place(operator: Operator) -> str:
    """Where an operator can be: see `xnn_check_nchw_compatibility`."""
    name = operator.name
    if name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        if _problem_of_convolution(operator)[0]:
            return _OUTSIDE
        return _INNER if name != "CONV_2D" or operator.is_pointwise else _ENTRY
    if name == "MEAN" and operator.averages_images:
        return _INNER if operator.keeps_axes else _EXIT
    if name in _ELEMENTWISE and all(len(shape) == 4 for shape in operator.shapes):
        return _INNER
    return _OUTSIDE


def _problem(operator: Operator) -> tuple[str, str]:
    if operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        return _problem_of_convolution(operator)
    if operator.name in _ELEMENTWISE:
        axes = " and ".join(str(len(shape)) for shape in operator.shapes)
        return f"{operator.name} of tensors with {axes} axes", "All need four axes."
    if operator.name in ("RESHAPE", "FULLY_CONNECTED", "TRANSPOSE"):
        mend = "GlobalAveragePooling2D has to come before it, without keepdims."
        return f"{operator.name} takes an image", mend
    mend = (
        "Only 1x1 and depthwise convolutions, additions, multiplications and "
        "activations qualify."
    )
    return f"{operator.name} has no channels-first version", mend


def _problem_of_convolution(operator: Operator) -> tuple[str, str]:
    height, width = operator.kernel
    kernel, half = f"{height}x{width}", (height // 2, width // 2)
    mend = "Take strides away, or leave them to the stem and depthwise convolutions."
    if operator.name == "DEPTHWISE_CONV_2D":
        if (height, width) not in ((3, 3), (5, 5)):
            return f"a depthwise {kernel} convolution", "Take 3x3 or 5x5."
        if operator.multiplier != 1 or operator.dilated:
            return "a depthwise multiplier or dilation", "Both have to be 1."
        if operator.stride not in ((1, 1), (2, 2)):
            return (
                f"a depthwise convolution with strides {operator.stride}",
                "Take 1 or 2.",
            )
    elif (height, width) == (1, 1):
        if operator.stride != (1, 1) or operator.groups != 1:
            return "a 1x1 convolution with strides or groups", mend
    elif (height, width) != (3, 3) or operator.stride != (2, 2) or operator.dilated:
        stride = operator.stride[0]
        return f"a {kernel} convolution with stride {stride}", _STEM
    elif operator.input_channels != 3:
        return f"a 3x3 convolution of {operator.input_channels} channels", _STEM
    if operator.padding is None or any(
        x != half for x in zip(*operator.padding, strict=True)
    ):
        return f"a {kernel} convolution padded unevenly", _PAD
    return "", ""
