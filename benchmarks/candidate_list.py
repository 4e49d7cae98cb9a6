"""What is tried to make a random ticket train better at no cost, each in a line.

The comment before a group says what it asks. What is no transformation has its
counterpart with scratch.
"""

import dataclasses
from typing import Any, Literal


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of the training in which weights are there that the ticket removes.

    Attributes:
        epochs: of the training's.
        rate: learning rate, constant or, with `cosine`, falling to 0.
        batch: images per step.
        penalty: lambda of rst at its end, after it has `grown` for that share of the
            steps, linearly.
        fade: what removed weights are multiplied by in all, along a cosine in the
            logarithm. They train meanwhile, unless they are a `scaffold`: then they are
            what they were, but for the factor.
        sparsity: of the wider ticket around the final one that is trained, the wider ones
            of lower sparsity holding those of higher. 0: all weights; None: the ticket.
        layers: those that penalty and fade act on, as name patterns.
        gone: layers of which the ticket alone is left.
        l2: whether L2 acts, as it does in the rest.
    """

    epochs: float
    rate: float = 0.1
    cosine: bool = False
    batch: int = 128
    penalty: float = 0.0
    grown: float = 1.0
    fade: float = 1.0
    scaffold: bool = False
    sparsity: float | None = 0.0
    layers: tuple[str, ...] = ("*",)
    gone: tuple[str, ...] = ()
    l2: bool = True


@dataclasses.dataclass(frozen=True)
class Candidate:
    """The parts before the ticket is alone, how it is taken out, and the rest.

    Attributes:
        before: in order, each with an optimizer of its own.
        distribution: how layers share the sparsity.
        kept: the ticket's weights when the rest begins: as `trained`; as they were
            `initial`ly, while what is never masked stays trained; or `reconstructed`,
            layer by layer, such that a layer's outputs on a batch come nearest to those
            with all weights.
        scale: what they are multiplied by then; `fan`: 1 / sqrt(share kept), which keeps
            the variance of random layers; `norm`: each kernel gets the length its kept
            weights had initially.
        carried: whether the rest goes on with the last part's momentum.
        absolute: whether rates change where scratch's do, not at the same shares of what
            is left.
        cosine: whether the rate falls to 0 along a cosine, instead.
        batch: images per step of the rest.
        l2: what the recipe's L2 is multiplied by in the rest.
        statistics: batches by which BatchNorm's averages are estimated anew in the end.
    """

    before: tuple[Part, ...] = ()
    distribution: Literal["uniform", "erk"] = "uniform"
    kept: Literal["trained", "initial", "reconstructed"] = "trained"
    scale: float | Literal["fan", "norm"] = 1.0
    carried: bool = False
    absolute: bool = False
    cosine: bool = False
    batch: int = 128
    l2: float = 1.0
    statistics: int = 0


def settings(value: Part | Candidate) -> dict[str, Any]:
    """What is not as by default, for the record."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        part = getattr(value, field.name)
        if part != field.default:
            parts = isinstance(part, tuple) and part and isinstance(part[0], Part)
            found[field.name] = [settings(one) for one in part] if parts else part
    return found


def _extruded(epochs: float = 1, penalty: float = 0.3, **part: Any) -> tuple[Part, ...]:
    return (Part(epochs, penalty=penalty, **part),)


def _nested(epochs: float, *sparsities: float, **part: Any) -> tuple[Part, ...]:
    return tuple(Part(epochs, sparsity=sparsity, **part) for sparsity in sparsities)


def _by_layer(epochs: float, order: str, **part: Any) -> tuple[Part, ...]:
    stages = [f"stage{number}*" for number in order]
    return tuple(
        Part(epochs, layers=(stage,), gone=tuple(stages[:place]), **part)
        for place, stage in enumerate(stages)
    )


_DENSE, _EXTRUDED = (Part(1),), _extruded()
_HALVES = (0.5, 0.75, 0.88, 0.94)

CANDIDATES = {
    "scratch": Candidate(),
    # Is it the extrusion, or any dense training? Is it in the kernels, or around them?
    "dense_1": Candidate(_DENSE),
    "dense_half": Candidate((Part(0.5),)),
    "dense_2": Candidate((Part(2),)),
    "dense_1_initial": Candidate(_DENSE, kept="initial"),
    "extruded_1": Candidate(_EXTRUDED),
    "extruded_1_initial": Candidate(_EXTRUDED, kept="initial"),
    "extruded_1_norm": Candidate(_EXTRUDED, scale="norm"),
    # How long, how hard, how hot?
    "extruded_quarter": Candidate(_extruded(0.25)),
    "extruded_half": Candidate(_extruded(0.5)),
    "extruded_2": Candidate(_extruded(2)),
    "extruded_3": Candidate(_extruded(3)),
    "extruded_4": Candidate(_extruded(4)),
    "extruded_1_soft": Candidate(_extruded(penalty=0.1)),
    "extruded_1_hard": Candidate(_extruded(penalty=1.0)),
    "extruded_1_at_once": Candidate(_extruded(grown=0.1)),
    "extruded_1_hotter": Candidate(_extruded(rate=0.2)),
    "extruded_1_cooler": Candidate(_extruded(rate=0.05)),
    "extruded_1_cosine": Candidate(_extruded(cosine=True)),
    "extruded_2_cosine": Candidate(_extruded(2, cosine=True)),
    "extruded_1_without_l2": Candidate(_extruded(l2=False)),
    # More steps for the same images, in the first epoch alone or always
    "extruded_1_small": Candidate(_extruded(rate=0.05, batch=32)),
    "scratch_small_1": Candidate((Part(1, rate=0.05, batch=32, sparsity=None),)),
    "extruded_1_batch64": Candidate(_extruded(batch=64), batch=64),
    "scratch_batch64": Candidate(batch=64),
    # What goes over to the rest
    "extruded_1_carried": Candidate(_EXTRUDED, carried=True),
    "extruded_1_absolute": Candidate(_EXTRUDED, absolute=True),
    "extruded_1_cosine_rest": Candidate(_EXTRUDED, cosine=True),
    "scratch_cosine_rest": Candidate(cosine=True),
    # Multiplied away, not penalised
    "faded_1": Candidate((Part(1, fade=1e-3),)),
    "faded_2": Candidate((Part(2, fade=1e-3),)),
    "faded_4": Candidate((Part(4, fade=1e-3),)),
    "faded_1_half_way": Candidate((Part(1, fade=1e-1),)),
    # Random weights that never train hold the network up while the ticket learns.
    "scaffold_1": Candidate((Part(1, fade=1e-3, scaffold=True),)),
    "scaffold_4": Candidate((Part(4, fade=1e-3, scaffold=True),)),
    # Wider tickets around it, narrower and narrower, at the full rate
    "nested_1": Candidate(_nested(0.25, *_HALVES)),
    "nested_2": Candidate(_nested(0.5, *_HALVES)),
    "nested_4": Candidate(_nested(1, *_HALVES)),
    "nested_4_absolute": Candidate(_nested(1, *_HALVES), absolute=True),
    "nested_2_extruded": Candidate(_nested(0.5, *_HALVES, penalty=0.1)),
    "nested_2_from_dense": Candidate(_nested(0.4, 0.0, *_HALVES)),
    "twice_as_wide_4": Candidate(_nested(4, 0.9)),
    # Stage by stage, from the last or from the first
    "backwards_1": Candidate(_by_layer(1 / 3, "321", penalty=0.5)),
    "forwards_1": Candidate(_by_layer(1 / 3, "123", penalty=0.5)),
    "forwards_3": Candidate(_by_layer(1, "123", penalty=0.3)),
    # All weights for an epoch, not at the beginning but later
    "late_1": Candidate((Part(1, sparsity=None), *_EXTRUDED)),
    "late_4": Candidate((Part(4, sparsity=None), *_EXTRUDED)),
    # Each layer's outputs kept as well as the ticket can
    "reconstructed_0": Candidate(kept="reconstructed"),
    "reconstructed_half": Candidate((Part(0.5),), kept="reconstructed"),
    "reconstructed_1": Candidate(_DENSE, kept="reconstructed"),
    "reconstructed_1_norm": Candidate(_DENSE, kept="reconstructed", scale="norm"),
    # BatchNorm undoes a layer's scale: what is left of it is the size of relative steps.
    "scratch_scaled_2": Candidate(scale=2.0),
    "scratch_scaled_fan": Candidate(scale="fan"),
    "extruded_1_scaled_2": Candidate(_EXTRUDED, scale=2.0),
    "extruded_1_scaled_half": Candidate(_EXTRUDED, scale=0.5),
    # Where the ticket's weights lie
    "scratch_erk": Candidate(distribution="erk"),
    "extruded_1_erk": Candidate(_EXTRUDED, distribution="erk"),
    "nested_2_erk": Candidate(_nested(0.5, *_HALVES), distribution="erk"),
    # So few weights may need no decay; statistics of ten batches are noisy.
    "scratch_without_l2": Candidate(l2=0.0),
    "extruded_1_without_l2_after": Candidate(_EXTRUDED, l2=0.0),
    "scratch_statistics": Candidate(statistics=20),
    "extruded_1_statistics": Candidate(_EXTRUDED, statistics=20),
}
