"""What each training is made of: its callbacks, its optimizer, and what it leaves."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import keras

from dlth_tf.callbacks.dynamic import RigL, SparseEvolutionaryTraining
from dlth_tf.callbacks.early_bird import EarlyBird
from dlth_tf.callbacks.fixed_ticket import FixedTicket
from dlth_tf.callbacks.transformation import RandomSparseTransformation
from dlth_tf.experiment.engine.context import Context
from dlth_tf.experiment.engine.folder import TICKET
from dlth_tf.experiment.plan.protocol import TransformationRecipe
from dlth_tf.experiment.plan.trainings import (
    EarlyBirdTraining,
    FitStage,
    GradualPruning,
    MovingMaskTraining,
    RigLTraining,
    SetTraining,
    Training,
    Transformation,
)
from dlth_tf.tfmot import MagnitudePruning
from dlth_tf.tfmot.engine import gradual_schedule
from official.training.optimizers import SGD

Callbacks = list[keras.callbacks.Callback]


@functools.singledispatch
def callbacks(stage: FitStage, context: Context) -> Callbacks:
    """What distinguishes a training."""
    raise NotImplementedError(type(stage).__name__)


@callbacks.register
def _(stage: Training, context: Context) -> Callbacks:
    ticket = context.mask_of(stage)
    return [FixedTicket(ticket)] if ticket else []


@callbacks.register
def _(stage: EarlyBirdTraining, context: Context) -> Callbacks:
    model = context.network_with(stage.weights)
    sparsity = context.sparsity(model, stage.sparsity, stage.placement)
    return [EarlyBird(sparsity, unit=stage.placement.unit)]


@callbacks.register
def _(stage: Transformation, context: Context) -> Callbacks:
    growth = dataclasses.asdict(stage.recipe.growth)
    return [RandomSparseTransformation(context.ticket(stage.ticket), **growth)]


@callbacks.register
def _(stage: SetTraining, context: Context) -> Callbacks:
    return [
        SparseEvolutionaryTraining(
            context.ticket(stage.ticket),
            every=stage.steps_per_epoch(context.data),
            fraction=stage.drop_fraction,
            until=stage.steps(context.data),
            seed=stage.seed,
        )
    ]


@callbacks.register
def _(stage: RigLTraining, context: Context) -> Callbacks:
    return [
        RigL(
            context.ticket(stage.ticket),
            until=stage.changes.last_step(stage.steps(context.data)),
            every=stage.changes.every,
            fraction=stage.changes.drop_fraction,
        )
    ]


@callbacks.register
def _(stage: GradualPruning, context: Context) -> Callbacks:
    every = stage.changes.every
    # TFMOT reaches the final sparsity only if a change falls on the last step.
    end = stage.changes.last_step(stage.steps(context.data)) // every * every
    sparsities = context.sparsity_by_kernel(stage.sparsity, stage.placement)
    schedules = {
        name: gradual_schedule(sparsity, end, every)
        for name, sparsity in sparsities.items()
        if sparsity
    }
    return [MagnitudePruning(schedules)]


def conclude(
    stage: FitStage, context: Context, folder: Path, callbacks: Callbacks, epochs: int
) -> dict[str, Any]:
    """Keeps what the callbacks found; returns what to record of it."""
    if isinstance(stage, EarlyBirdTraining):
        context.reporter.line(f"    ticket settled after {epochs} epochs")
        return {"settled_after_epochs": epochs}
    if isinstance(stage, MovingMaskTraining):
        (moving,) = callbacks
        moving.ticket.save(folder / TICKET)
    return {}


def optimizer(stage: FitStage, context: Context) -> keras.optimizers.Optimizer:
    """Returns a fresh optimizer that follows the stage's recipe."""
    recipe = stage.recipe
    if isinstance(recipe, TransformationRecipe):
        return SGD(recipe.learning_rate, recipe.momentum)
    per_epoch = stage.steps_per_epoch(context.data)
    if isinstance(stage, Training):
        recipe = stage.stretched_recipe(per_epoch)
    return recipe.optimizer(per_epoch)


def multiply_adds(stage: FitStage, context: Context) -> int:
    """Of one image on its way forward, while a stage trains.

    A fixed ticket's are counted as on a machine that skips every zero; a mask that grows
    on the way is not.
    """
    cost = context.cost_of(stage)
    if isinstance(stage, GradualPruning):
        return cost.multiply_adds
    return cost.kept_multiply_adds
