"""The methods of the comparison, each as it stands in the paper's table."""

from collections.abc import Callable

from dlth_tf.experiment.lab import Lab
from dlth_tf.experiment.moment import BEGINNING
from dlth_tf.experiment.stages import WeightsStage


def dense(lab: Lab) -> WeightsStage:
    """The whole network, no mask."""
    return lab.train(lab.initial_weights())


def scratch(lab: Lab) -> WeightsStage:
    """A random ticket, trained from its initial weights."""
    return lab.finetune(lab.initial_weights(), lab.random_ticket())


def scratch_long(lab: Lab) -> WeightsStage:
    """Scratch, trained for as many images as rst in all: what rst's cost buys."""
    return lab.finetune(
        lab.initial_weights(), lab.random_ticket(), extra_images=lab.transformation.images
    )


def l1(lab: Lab) -> WeightsStage:
    """Pretrain, remove the smallest magnitudes, finetune (Li et al., ICLR 2017)."""
    pretrained = lab.train(lab.initial_weights())
    return lab.finetune(pretrained, lab.magnitude_ticket(pretrained))


def lr_rewind(lab: Lab) -> WeightsStage:
    """Like l1, but the rate goes back only to --rewind_to (Renda et al., ICLR 2020)."""
    pretrained = lab.train(lab.initial_weights())
    ticket = lab.magnitude_ticket(pretrained)
    return lab.finetune(pretrained, ticket, begin=lab.rewind_to)


def lth(lab: Lab) -> WeightsStage:
    """Pretrain, prune, rewind, train the winning ticket (Frankle & Carbin, ICLR 2019)."""
    pretrained = lab.train(lab.initial_weights())
    ticket = lab.magnitude_ticket(pretrained)
    return lab.finetune(lab.rewound_weights(), ticket, begin=lab.rewind_to)


def lth_iter(lab: Lab) -> WeightsStage:
    """Cycles of train, prune, rewind; then train the ticket: IMP."""
    weights, begin, ticket = lab.initial_weights(), BEGINNING, None
    for sparsity in lab.cycle_sparsities():
        trained = lab.train(weights, ticket, begin=begin)
        ticket = lab.magnitude_ticket(trained, sparsity)
        weights, begin = lab.rewound_weights(), lab.rewind_to
    return lab.finetune(weights, ticket, begin=begin)


def eb(lab: Lab) -> WeightsStage:
    """Pretrain only until the mask settles, prune, finetune (You et al., ICLR 2020)."""
    pretrained = lab.train_until_settled(lab.initial_weights())
    return lab.finetune(pretrained, lab.magnitude_ticket(pretrained))


def rst(lab: Lab) -> WeightsStage:
    """A random ticket, transformed, then finetuned (Bai et al., ICLR 2022)."""
    ticket = lab.random_ticket()
    return lab.finetune(lab.transform(lab.initial_weights(), ticket), ticket)


def rst_iter(lab: Lab) -> WeightsStage:
    """Cycles of transformation of nested random tickets; then finetune the last."""
    weights, ticket = lab.initial_weights(), None
    for sparsity in lab.cycle_sparsities():
        ticket = lab.random_ticket(sparsity, within=ticket)
        weights = lab.transform(weights, ticket, lab.cycles.transformation)
        if lab.cycles.zero_between:
            weights = lab.prune(weights, ticket)
    return lab.finetune(weights, ticket)


def snip(lab: Lab) -> WeightsStage:
    """Keep what the initial loss would feel most (Lee et al., ICLR 2019)."""
    weights = lab.initial_weights()
    return lab.finetune(weights, lab.saliency_ticket(weights, "snip"))


def grasp(lab: Lab) -> WeightsStage:
    """Keep what the initial gradient flow needs (Wang et al., ICLR 2020)."""
    weights = lab.initial_weights()
    return lab.finetune(weights, lab.saliency_ticket(weights, "grasp"))


def synflow(lab: Lab) -> WeightsStage:
    """Keep what most flows through, without data (Tanaka et al., NeurIPS 2020)."""
    weights = lab.initial_weights()
    return lab.finetune(weights, lab.saliency_ticket(weights, "synflow"))


def random_erk(lab: Lab) -> WeightsStage:
    """Scratch with Erdős–Rényi-kernel sparsities (Evci et al., ICML 2020)."""
    return scratch(lab.distributed("erk"))


def gradual(lab: Lab) -> WeightsStage:
    """Train while small weights are removed, more and more (Zhu & Gupta, 2017)."""
    return lab.prune_gradually(lab.initial_weights())


# Not `set`, which Python needs.
def set_(lab: Lab) -> WeightsStage:
    """A random ticket that drops small weights, grows random ones (Mocanu, 2018)."""
    return lab.train_by_set(lab.initial_weights(), lab.random_ticket())


def rigl(lab: Lab) -> WeightsStage:
    """A random ticket that grows where the gradient is largest (Evci, ICML 2020)."""
    return lab.train_by_rigl(lab.initial_weights(), lab.random_ticket())


Method = Callable[[Lab], WeightsStage]

METHODS: dict[str, Method] = {
    method.__name__.rstrip("_"): method
    for method in (
        dense,
        scratch,
        scratch_long,
        l1,
        lr_rewind,
        lth,
        lth_iter,
        eb,
        snip,
        grasp,
        synflow,
        random_erk,
        gradual,
        set_,
        rigl,
        rst,
        rst_iter,
    )
}
WITHOUT_SPARSITY = {"dense"}


def written(sparsity: float) -> str:
    """A sparsity in its shortest digits; no two that differ are written alike."""
    return repr(sparsity).removesuffix(".0")


def cell_name(method: str, sparsity: float) -> str:
    """What the runs of a method at a sparsity are called, but for their seeds."""
    return method if method in WITHOUT_SPARSITY else f"{method}-{written(sparsity)}"


def summary(method: Method) -> str:
    """A method in a line, for help texts and tables."""
    return method.__doc__.splitlines()[0]
