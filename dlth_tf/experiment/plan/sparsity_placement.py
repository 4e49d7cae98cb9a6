"""Where the sparsity of an experiment goes, and what is removed as a whole."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence

from dlth_tf.tickets.distributions import (
    ErdosRenyi,
    ErdosRenyiKernel,
    Global,
    PerLayer,
    PerStage,
    Uniform,
)
from dlth_tf.tickets.sparsity import Sparsity, check_sparsity, n_of_m
from official.common.choices import choose

DISTRIBUTIONS: dict[str, Callable[[float, Sequence[str]], Sparsity]] = {
    "uniform": Uniform,
    "er": ErdosRenyi,
    "erk": ErdosRenyiKernel,
    "global": Global,
}
XNNPACK = "xnnpack"
_NEEDED_BY_XNNPACK = 2 / 3
_STAND_IN = "s"
_LAYER_NUMBERS = re.compile(r"\d+(-\d+)?")


@dataclasses.dataclass(frozen=True)
class SparsityPlacement:
    """Where the sparsity goes; without layers to all but the first and the last.

    The layers `xnnpack` are the 1x1 convolutions, whose zeros make LiteRT faster if more
    than two thirds of their weights are zero (`dlth_tf.export_litert`).
    """

    layers: tuple[str, ...] = ()
    distribution: str = "uniform"
    layer_sparsity: str = ""
    unit: str = "weight"

    def __post_init__(self) -> None:
        choose("distribution", self.distribution, DISTRIBUTIONS)
        n_of_m(self.unit)  # It refuses what is no unit.
        if XNNPACK in self.layers and len(self.layers) > 1:
            raise ValueError(
                f"--layers={XNNPACK} stands alone. Received: {','.join(self.layers)}"
            )
        if self.layer_sparsity:
            layer_sparsity(self.layer_sparsity, 0.0)
            if self.layers or self.distribution != "uniform":
                raise ValueError(
                    "--layer_sparsity says what every layer loses, and goes with neither "
                    "--layers nor a distribution. Received: "
                    f"--layers={','.join(self.layers)} and "
                    f"--distribution={self.distribution}"
                )

    @property
    def title(self) -> str:
        """What distinguishes it, in a word or two; nothing for the usual one."""
        unusual = [
            self.distribution if self.distribution != "uniform" else "",
            self.layer_sparsity,
            self.unit if self.unit != "weight" else "",
        ]
        return " ".join(word for word in unusual if word)

    def check(self, sparsity: float) -> None:
        """Raises a ValueError if a sparsity is too low to be of use where it goes."""
        if XNNPACK in self.layers and not sparsity > _NEEDED_BY_XNNPACK:
            raise ValueError(
                f"--layers={XNNPACK} needs a --sparsity above two thirds, such as 0.7: "
                f"with fewer zeros XNNPACK runs the network dense. Received: {sparsity}"
            )

    def sparsity(self, kernels: Mapping[str, Sequence[int]], sparsity: float) -> Sparsity:
        """What it makes of a sparsity for a network with kernels of these shapes.

        Raises:
            ValueError: there is no layer to mask.
        """
        if self.layer_sparsity:
            return layer_sparsity(self.layer_sparsity, sparsity)
        if XNNPACK in self.layers:
            layers = _pointwise(kernels)
        else:
            layers = self.layers or tuple(kernels)[1:-1]
        if not layers:
            raise ValueError(
                "There is no layer between the first and the last one to be masked. Name "
                f"some by --layers. The network's: {', '.join(kernels)}"
            )
        return DISTRIBUTIONS[self.distribution](sparsity, layers)


def _pointwise(kernels: Mapping[str, Sequence[int]]) -> tuple[str, ...]:
    """The 1x1 convolutions, without one that is the classifier."""
    names = [n for n in list(kernels)[:-1] if tuple(kernels[n][:-2]) == (1, 1)]
    if not names:
        raise ValueError(
            f"--layers={XNNPACK} means the 1x1 convolutions, of which the network has "
            f"none. Its layers: {', '.join(kernels)}"
        )
    return tuple(names)


def layer_sparsity(text: str, sparsity: float) -> Sparsity:
    """Reads sparsities written layer by layer.

    Args:
        text: `"[0,s,s,s,0]"` for stem, stages and classifier; `"0-4:0.5,5:0.6"` for
            layers by number; or `"stage1*:0.9,stage2*:s"` for layers by name pattern.
        sparsity: what `s` stands for.

    Raises:
        ValueError: the text has another form, or a number is outside [0, 1).

    Example:

    >>> layer_sparsity("[0,s,0.5,0]", 0.9)
    PerStage(ratios=(0.0, 0.9, 0.5, 0.0))
    """
    listed = re.fullmatch(r"\[(.*)\]", text.strip())
    if listed:
        return PerStage([_number(part, sparsity, text) for part in listed[1].split(",")])
    pairs = [part.rpartition(":") for part in text.split(",")]
    by_name = {name.strip(): _number(part, sparsity, text) for name, _, part in pairs}
    if "" in by_name or len(by_name) < len(pairs):
        raise _not_understood(text)
    if all(_LAYER_NUMBERS.fullmatch(name) for name in by_name):
        return PerLayer(",".join(f"{name}:{value!r}" for name, value in by_name.items()))
    for name, value in by_name.items():
        check_sparsity(value, f" for '{name}'")
    return by_name


def _number(text: str, stand_in: float, whole: str) -> float:
    if text.strip() == _STAND_IN:
        return stand_in
    try:
        return float(text)
    except ValueError:
        raise _not_understood(whole) from None


def _not_understood(text: str) -> ValueError:
    return ValueError(
        "--layer_sparsity must look like '[0,s,s,s,0]' (stem, stages, classifier), "
        "'0-4:0.5,5:s' (layers by number) or 'stage1*:0.9,stage2*:s' (by name pattern), "
        f"where s is the swept --sparsity. Received: {text!r}"
    )
