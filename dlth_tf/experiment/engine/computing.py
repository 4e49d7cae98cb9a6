"""How each stage is checked and computed, once, by one program at a time."""

import contextlib
import dataclasses
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras

import dlth_tf as dlth
from dlth_tf import saliency, tfmot
from dlth_tf.experiment.engine.checkpoint import Checkpoints
from dlth_tf.experiment.engine.context import Context
from dlth_tf.experiment.engine.fit import fit
from dlth_tf.experiment.engine.folder import CHECKPOINTS, TICKET, save_weights
from dlth_tf.experiment.plan import stages
from dlth_tf.experiment.plan.protocol import SparsityPlacement
from dlth_tf.experiment.plan.stages import Stage, StageFailed
from dlth_tf.files import remove_temporaries
from dlth_tf.network.variables import get_weights
from dlth_tf.tfmot.engine import check_installed
from official.data import ImageData
from official.data.image_data import Batch

_IMAGES_AT_A_TIME = 250
_SYNFLOW_REMOVES = "The method synflow removes single weights, round by round"
_THESE_MOVE = "The methods set, rigl and gradual move single weights"


def obtain(stage: Stage, context: Context) -> None:
    """Makes sure that a stage and all it builds on are done.

    Of several workers only the chief writes; all of them train. It ends by `StageFailed`
    if one of them failed, now or before, and by `InUse` if another program is at it.
    """
    workers, folder = context.hardware.workers, context.folder
    for needed in stage.lineage():
        # The others look for no file of the chief's before it is sure to be there.
        done = workers.is_chief and folder.is_done(needed)
        if workers.from_chief(done):
            if done:
                # Whoever finished it may have been killed before this.
                Checkpoints(folder.stage(needed)).remove()
        else:
            _make(needed, context)
        failure = folder.failure(needed) if workers.is_chief else None
        if workers.from_chief(bool(failure)):
            raise StageFailed(needed, failure or "failed")


def _make(stage: Stage, context: Context) -> None:
    workers = context.hardware.workers
    if workers.any([context.stop.received])[0]:
        context.stop.end()
    if workers.is_chief:
        with context.folder.lock(stage) as folder:
            # Another program may have finished it before the lock was free.
            if not context.folder.is_done(stage):
                _make_alone(stage, context, folder)
    elif stage.by_all_workers:
        _make_along(stage, context)


def _make_alone(stage: Stage, context: Context, folder: Path) -> None:
    remove_temporaries(folder)
    try:
        record = compute(stage, context, folder)
    except StageFailed as failure:
        # As long as this is kept it is not tried again: it would end alike.
        record = {"failed": str(failure)}
    context.folder.finish(stage, record)
    Checkpoints(folder).remove()
    keras.backend.clear_session()


def _make_along(stage: Stage, context: Context) -> None:
    """Does a worker's part of a training whose state and results the chief keeps."""
    with tempfile.TemporaryDirectory() as folder:
        for name in CHECKPOINTS:
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(context.folder.stage(stage) / name, folder)
        with contextlib.suppress(StageFailed):  # The chief records it.
            compute(stage, context, Path(folder))
    keras.backend.clear_session()


def check(stage: Stage, context: Context) -> None:
    """Raises what is wrong with a stage's settings, before anything is computed."""
    if isinstance(stage, stages.TicketStage):
        context.random_ticket(0, stage.sparsity, stage.placement)
    match stage:
        case stages.MagnitudeTicket() if _by_tfmot(stage.placement):
            check_installed()
        case stages.SaliencyTicket() if stage.placement.importance != "filter":
            raise ValueError(
                f"{stage.criterion} has its own scores: --importance is of magnitudes. "
                f"Received: --importance={stage.placement.importance}"
            )
        case stages.SaliencyTicket(criterion="synflow"):
            _check_unit(stage.placement, _SYNFLOW_REMOVES)
        case stages.Training() if stage.steps(context.sizes) < 1:
            per_epoch = stage.steps_per_epoch(context.sizes)
            length = stage.stretched_recipe(per_epoch).epochs
            raise ValueError(
                f"--rewind_to must be below the {length} epochs of the training "
                f"({length * per_epoch} steps). Received: {stage.begin}"
            )
        case stages.SetTraining():
            _check_unit(stage.ticket.placement, _THESE_MOVE)
        case stages.RigLTraining():
            _check_unit(stage.ticket.placement, _THESE_MOVE)
            stage.changes.last_step(stage.steps(context.sizes))
        case stages.GradualPruning():
            _check_unit(stage.placement, _THESE_MOVE)
            backend = keras.backend.backend()
            if backend != "tensorflow":
                raise ValueError(
                    "The method gradual needs Keras on TensorFlow "
                    f"(KERAS_BACKEND=tensorflow). The backend is {backend}."
                )
            check_installed()
            stage.changes.last_step(stage.steps(context.sizes))
            context.sparsity_by_kernel(stage)


def _check_unit(placement: SparsityPlacement, rule: str) -> None:
    if placement.unit != "weight":
        raise ValueError(f"{rule}. Received: --unit={placement.unit}")


def _by_tfmot(placement: SparsityPlacement) -> bool:
    """Whether TFMOT finds the largest magnitudes; otherwise the masks are the same."""
    single = placement.unit == "weight" and placement.distribution != "global"
    return single and keras.backend.backend() == "tensorflow"


def compute(stage: Stage, context: Context, folder: Path) -> dict[str, Any]:
    """Does a stage's work and writes its file to `folder`; returns what to record."""
    record: dict[str, Any] = {}
    match stage:
        case stages.FitStage():
            return fit(stage, context, folder)
        case stages.InitialWeights():
            model = context.build_network(stage.seed)
            save_weights(folder, get_weights(model))
            return {"parameters": int(model.count_params())}
        case stages.Pruned():
            model = context.network_with(stage.weights)
            context.ticket(stage.ticket).apply(model)
            save_weights(folder, get_weights(model))
            return {}
        case stages.RandomTicket():
            within = context.ticket(stage.within) if stage.within else None
            drawn = stage.seed, stage.sparsity, stage.placement
            ticket = context.random_ticket(*drawn, within)
        case stages.MagnitudeTicket():
            ticket = _highest(stage, context)
        case stages.OwnTicket():
            model, placement = context.network_with(stage.weights), stage.placement
            sparsity = placement.sparsity(dlth.maskable_kernels(model), stage.sparsity)
            ticket = stage.find.call(model, sparsity, stage.seed)
            if not isinstance(ticket, dlth.Ticket):
                raise ValueError(
                    f"{stage.find.name} must return a Ticket, not {ticket!r}"
                )
        case stages.SaliencyTicket():
            began = time.monotonic()
            try:
                ticket = _highest(stage, context)
            except ValueError as error:  # The scores are no numbers; the rest is right.
                raise StageFailed(stage, f"failed: {error}") from error
            seconds = round(time.monotonic() - began, 3)
            record = {"images": stage.images(context.data), "seconds": seconds}
        case _:
            raise NotImplementedError(type(stage).__name__)
    ticket.save(folder / TICKET)
    return {**record, "sparsity_per_layer": ticket.sparsity_per_kernel()}


def _highest(
    stage: stages.MagnitudeTicket | stages.SaliencyTicket, context: Context
) -> dlth.Ticket:
    model, placement = context.network_with(stage.weights), stage.placement
    sparsity = placement.sparsity(dlth.maskable_kernels(model), stage.sparsity)
    if isinstance(stage, stages.MagnitudeTicket):
        if _by_tfmot(placement):
            return tfmot.magnitude_ticket(model, sparsity)
        return dlth.magnitude_ticket(model, sparsity, **placement.removal)
    if stage.criterion == "synflow":
        return saliency.synflow_ticket(model, sparsity)
    images = FirstImages(context.data, stage.examples(context.data), stage.seed)
    find: Callable = getattr(saliency, f"{stage.criterion}_ticket")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    unit, round_to = placement.unit, placement.round_to
    return find(model, sparsity, images, None, loss, unit, round_to=round_to)


@dataclasses.dataclass(frozen=True)
class FirstImages:
    """The first so many images of a seed's training order, some at a time."""

    data: ImageData
    count: int
    seed: int

    def __iter__(self) -> Iterator[Batch]:
        order = {"seed": self.seed, "epoch": 0, "first_step": 0}
        for start in range(0, self.count, _IMAGES_AT_A_TIME):
            rows = slice(start, min(start + _IMAGES_AT_A_TIME, self.count))
            yield next(self.data.epoch_batches(self.count, **order, rows=rows))
