"""The methods of the comparison, each as it stands in the paper's table."""

from collections.abc import Callable

from dlth_tf.experiment.plan.protocol import BEGINNING
from dlth_tf.experiment.plan.stages import WeightsStage
from dlth_tf.experiment.plan.trial import Trial


def dense(trial: Trial) -> WeightsStage:
    """The whole network, no mask."""
    return trial.train(trial.initial_weights())


def scratch(trial: Trial) -> WeightsStage:
    """A random ticket, trained from its initial weights."""
    return trial.finetune(trial.initial_weights(), trial.random_ticket())


def scratch_long(trial: Trial) -> WeightsStage:
    """Scratch, trained for as many images as rst in all: what rst's cost buys."""
    weights, ticket = trial.initial_weights(), trial.random_ticket()
    rst = trial.protocol.transformation
    return trial.finetune(weights, ticket, extra_images=rst.steps * rst.batch_size)


def l1(trial: Trial) -> WeightsStage:
    """Pretrain, remove the smallest magnitudes, finetune (Li et al., ICLR 2017)."""
    pretrained = trial.train(trial.initial_weights())
    return trial.finetune(pretrained, trial.magnitude_ticket(pretrained))


def lr_rewind(trial: Trial) -> WeightsStage:
    """Like l1, but the rate goes back only to --rewind_to (Renda et al., ICLR 2020)."""
    pretrained = trial.train(trial.initial_weights())
    ticket = trial.magnitude_ticket(pretrained)
    return trial.finetune(pretrained, ticket, begin=trial.protocol.rewind_to)


def lth(trial: Trial) -> WeightsStage:
    """Pretrain, prune, rewind, train the winning ticket (Frankle & Carbin, ICLR 2019)."""
    pretrained = trial.train(trial.initial_weights())
    ticket = trial.magnitude_ticket(pretrained)
    return trial.finetune(trial.rewound_weights(), ticket, begin=trial.protocol.rewind_to)


def lth_iter(trial: Trial) -> WeightsStage:
    """Cycles of train, prune, rewind; then train the ticket: IMP."""
    weights, begin, ticket = trial.initial_weights(), BEGINNING, None
    for cycle in trial.cycles():
        trained = trial.train(weights, ticket, begin=begin)
        ticket = cycle.magnitude_ticket(trained)
        weights, begin = trial.rewound_weights(), trial.protocol.rewind_to
    return trial.finetune(weights, ticket, begin=begin)


def eb(trial: Trial) -> WeightsStage:
    """Pretrain only until the mask settles, prune, finetune (You et al., ICLR 2020)."""
    pretrained = trial.train_until_settled(trial.initial_weights())
    return trial.finetune(pretrained, trial.magnitude_ticket(pretrained))


def rst(trial: Trial) -> WeightsStage:
    """A random ticket, transformed, then finetuned (Bai et al., ICLR 2022)."""
    ticket = trial.random_ticket()
    return trial.finetune(trial.transform(trial.initial_weights(), ticket), ticket)


def rst_iter(trial: Trial) -> WeightsStage:
    """Cycles of transformation of nested random tickets; then finetune the last."""
    weights, ticket = trial.initial_weights(), None
    for cycle in trial.cycles():
        ticket = cycle.random_ticket(within=ticket)
        weights = trial.transform(weights, ticket, trial.protocol.cycles.transformation)
        if trial.protocol.cycles.zero_between:
            weights = trial.prune(weights, ticket)
    return trial.finetune(weights, ticket)


def snip(trial: Trial) -> WeightsStage:
    """Keep what the initial loss would feel most (Lee et al., ICLR 2019)."""
    return trial.finetune(trial.initial_weights(), trial.saliency_ticket("snip"))


def grasp(trial: Trial) -> WeightsStage:
    """Keep what the initial gradient flow needs (Wang et al., ICLR 2020)."""
    return trial.finetune(trial.initial_weights(), trial.saliency_ticket("grasp"))


def synflow(trial: Trial) -> WeightsStage:
    """Keep what most flows through, without data (Tanaka et al., NeurIPS 2020)."""
    return trial.finetune(trial.initial_weights(), trial.saliency_ticket("synflow"))


def random_erk(trial: Trial) -> WeightsStage:
    """Scratch with Erdős–Rényi-kernel sparsities (Evci et al., ICML 2020)."""
    return scratch(trial.distributed("erk"))


def gradual(trial: Trial) -> WeightsStage:
    """Train while small weights are removed, more and more (Zhu & Gupta, 2017)."""
    return trial.prune_gradually(trial.initial_weights())


# Not `set`, which Python needs.
def set_(trial: Trial) -> WeightsStage:
    """A random ticket that drops small weights, grows random ones (Mocanu, 2018)."""
    return trial.train_by_set(trial.initial_weights(), trial.random_ticket())


def rigl(trial: Trial) -> WeightsStage:
    """A random ticket that grows where the gradient is largest (Evci, ICML 2020)."""
    return trial.train_by_rigl(trial.initial_weights(), trial.random_ticket())


Method = Callable[[Trial], WeightsStage]

METHODS: dict[str, Method] = {
    method.__name__.rstrip("_"): method
    for method in (
        *(dense, scratch, scratch_long, l1, lr_rewind, lth, lth_iter, eb, snip, grasp),
        *(synflow, random_erk, gradual, set_, rigl, rst, rst_iter),
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
    return (method.__doc__ or "").strip().partition("\n")[0]
