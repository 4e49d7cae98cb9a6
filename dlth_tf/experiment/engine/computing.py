"""How each stage is checked and computed, once, by one program at a time."""

import contextlib
import dataclasses
import functools
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from dlth_tf import saliency
from dlth_tf.experiment.engine.checkpoint import Checkpoints
from dlth_tf.experiment.engine.context import Context, prunes_by_tfmot
from dlth_tf.experiment.engine.fit import fit
from dlth_tf.experiment.engine.folder import TICKET, save_weights
from dlth_tf.experiment.plan.sparsity_placement import SparsityPlacement
from dlth_tf.experiment.plan.stages import (
    InitialWeights,
    MagnitudeTicket,
    Pruned,
    RandomTicket,
    SaliencyTicket,
    Stage,
    StageFailed,
    TicketStage,
)
from dlth_tf.experiment.plan.trainings import (
    FitStage,
    GradualPruning,
    RigLTraining,
    SetTraining,
    Training,
)
from dlth_tf.files import remove_temporaries
from dlth_tf.network.variables import get_weights
from dlth_tf.tfmot.engine import check_installed
from dlth_tf.tickets.ticket import Ticket
from official.data import ImageData
from official.data.image_data import Batch

_IMAGES_AT_A_TIME = 250


def obtain(stage: Stage, context: Context) -> None:
    """Makes sure that a stage and all it builds on are done.

    Of several workers only the chief writes; all of them train.

    Raises:
        StageFailed: one of them failed, now or before.
        InUse: another program computes one of them.
        Stopped: the program was asked to end.
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
        with context.folder.lock(stage):
            # Another program may have finished it before the lock was free.
            if not context.folder.is_done(stage):
                _compute(stage, context)
    elif stage.by_all_workers:
        _compute_along(stage, context)


def _compute(stage: Stage, context: Context) -> None:
    folder = context.folder.stage(stage)
    remove_temporaries(folder)
    try:
        record = compute(stage, context, folder)
    except StageFailed as failure:
        # As long as this is kept it is not tried again: it would end alike.
        record = {"failed": str(failure)}
    context.folder.finish(stage, record)
    Checkpoints(folder).remove()
    keras.backend.clear_session()


def _compute_along(stage: Stage, context: Context) -> None:
    """Does a worker's part of a training whose state and results the chief keeps."""
    with tempfile.TemporaryDirectory() as folder:
        for path in context.folder.stage(stage).glob("checkpoint*"):
            shutil.copy(path, folder)
        with contextlib.suppress(StageFailed):  # The chief records it.
            compute(stage, context, Path(folder))
    keras.backend.clear_session()


@functools.singledispatch
def check(stage: Stage, context: Context) -> None:
    """Finds what is wrong with a stage's settings before anything is computed.

    Raises:
        ValueError: one of them makes no sense with this data or backend.
        ImportError: a package that it needs is missing.
    """


@check.register
def _(stage: TicketStage, context: Context) -> None:
    context.random_ticket(0, stage.sparsity, stage.placement)
    if isinstance(stage, MagnitudeTicket) and prunes_by_tfmot(stage.placement):
        check_installed()
    only_weights = isinstance(stage, SaliencyTicket) and stage.criterion == "synflow"
    if only_weights and stage.placement.unit != "weight":
        raise ValueError(
            "The method synflow removes single weights, round by round. Received: "
            f"--unit={stage.placement.unit}"
        )


@check.register
def _(stage: Training, context: Context) -> None:
    if stage.steps(context.sizes) < 1:
        per_epoch = stage.steps_per_epoch(context.sizes)
        length = stage.stretched_recipe(per_epoch).epochs
        raise ValueError(
            f"--rewind_to must be below the {length} epochs of the training "
            f"({length * per_epoch} steps). Received: {stage.begin}"
        )


@check.register
def _(stage: SetTraining, context: Context) -> None:
    _check_unit(stage.ticket.placement)


@check.register
def _(stage: RigLTraining, context: Context) -> None:
    _check_unit(stage.ticket.placement)
    stage.changes.last_step(stage.steps(context.sizes))


@check.register
def _(stage: GradualPruning, context: Context) -> None:
    _check_unit(stage.placement)
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise ValueError(
            "The method gradual needs Keras on TensorFlow "
            f"(KERAS_BACKEND=tensorflow). The backend is {backend}."
        )
    check_installed()
    stage.changes.last_step(stage.steps(context.sizes))
    context.sparsity_by_kernel(stage.sparsity, stage.placement)


def _check_unit(placement: SparsityPlacement) -> None:
    if placement.unit != "weight":
        raise ValueError(
            "The methods set, rigl and gradual move single weights. Received: "
            f"--unit={placement.unit}"
        )


@functools.singledispatch
def compute(stage: Stage, context: Context, folder: Path) -> dict[str, Any]:
    """Does a stage's work and writes its file to `folder`; returns what to record.

    Raises:
        StageFailed: its result would be no evidence.
    """
    raise NotImplementedError(type(stage).__name__)


@compute.register
def _(stage: InitialWeights, context: Context, folder: Path) -> dict[str, Any]:
    model = context.build_network(stage.seed)
    save_weights(folder, get_weights(model))
    return {"parameters": int(model.count_params())}


@compute.register
def _(stage: Pruned, context: Context, folder: Path) -> dict[str, Any]:
    model = context.network_with(stage.weights)
    context.ticket(stage.ticket).apply(model)
    save_weights(folder, get_weights(model))
    return {}


@compute.register
def _(stage: RandomTicket, context: Context, folder: Path) -> dict[str, Any]:
    within = context.ticket(stage.within) if stage.within else None
    drawn = (stage.seed, stage.sparsity, stage.placement)
    return _keep(context.random_ticket(*drawn, within), folder)


@compute.register
def _(stage: MagnitudeTicket, context: Context, folder: Path) -> dict[str, Any]:
    model = context.network_with(stage.weights)
    return _keep(context.magnitude_ticket(model, stage.sparsity, stage.placement), folder)


@compute.register
def _(stage: SaliencyTicket, context: Context, folder: Path) -> dict[str, Any]:
    began = time.monotonic()
    try:
        ticket = _most_salient(stage, context)
    except ValueError as error:  # The scores are no numbers: the rest was checked.
        raise StageFailed(stage, f"failed: {error}") from error
    return {
        "images": stage.images(context.data),
        "seconds": round(time.monotonic() - began, 3),
        **_keep(ticket, folder),
    }


@compute.register
def _(stage: FitStage, context: Context, folder: Path) -> dict[str, Any]:
    return fit(stage, context, folder)


def _keep(ticket: Ticket, folder: Path) -> dict[str, Any]:
    ticket.save(folder / TICKET)
    return {"sparsity_per_layer": ticket.sparsity_per_kernel()}


def _most_salient(stage: SaliencyTicket, context: Context) -> Ticket:
    model = context.network_with(stage.weights)
    sparsity = context.sparsity(model, stage.sparsity, stage.placement)
    if stage.criterion == "synflow":
        return saliency.synflow_ticket(model, sparsity)
    images = FirstImages(context.data, stage.examples(context.data), stage.seed)
    find = {"snip": saliency.snip_ticket, "grasp": saliency.grasp_ticket}[stage.criterion]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return find(model, sparsity, images, None, loss, unit=stage.placement.unit)


@dataclasses.dataclass(frozen=True)
class FirstImages:
    """The first so many images of a seed's training order, some at a time."""

    data: ImageData
    count: int
    seed: int

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, self.count, _IMAGES_AT_A_TIME):
            rows = slice(start, min(start + _IMAGES_AT_A_TIME, self.count))
            yield next(
                self.data.epoch_batches(
                    self.count, seed=self.seed, epoch=0, first_step=0, rows=rows
                )
            )
