"""What methods share: stages are the same exactly if their definitions are."""

import dataclasses

import pytest

from dlth_tf.callbacks.schedules import PenaltyGrowth
from dlth_tf.experiment.plan.methods import METHODS
from dlth_tf.experiment.plan.protocol import (
    Cycles,
    Protocol,
    SparsityPlacement,
    Task,
    TrainingPoint,
    TransformationRecipe,
)
from dlth_tf.experiment.plan.runs import Experiment, stages_of
from dlth_tf.experiment.plan.stages import FitStage, InitialWeights, Training
from dlth_tf.experiment.plan.trial import Trial
from official.training.recipe import Recipe

TRANSFORMATION = TransformationRecipe(PenaltyGrowth(hold=10), 32, 0.01, 0.9, 5e-4)
PROTOCOL = Protocol(
    task=Task("mlp", "digits"),
    recipe=Recipe(2, 32, ((0, 0.1),), 0.9, 5e-4),
    transformation=TRANSFORMATION,
    cycles=Cycles(3, TRANSFORMATION),
    rewind_to=TrainingPoint(),
    placement=SparsityPlacement(),
)
TRIAL = Trial(PROTOCOL, sparsity=0.9, seed=0)


def at(*, sparsity: float = 0.9, seed: int = 0, **changes) -> Trial:
    return Trial(dataclasses.replace(PROTOCOL, **changes), sparsity, seed)


def keys(stage, kind) -> set[str]:
    return {found.key for found in stage.lineage() if isinstance(found, kind)}


def pretraining(stage) -> set[str]:
    return {
        found.key
        for found in stage.lineage()
        if isinstance(found, Training) and found.ticket is None
    }


def test_lth_and_l1_share_one_pretraining_at_all_sparsities():
    found = set()
    for sparsity in (0.5, 0.7, 0.9, 0.95, 0.98):
        for method in ("dense", "l1", "lth"):
            found |= pretraining(METHODS[method](at(sparsity=sparsity)))
    assert len(found) == 1


def test_all_methods_of_a_seed_share_the_initial_weights():
    found = set()
    for method in METHODS.values():
        found |= keys(method(TRIAL), InitialWeights)
    assert len(found) == 1


def test_scratch_and_rst_share_the_random_ticket():
    assert METHODS["scratch"](TRIAL).ticket.key == METHODS["rst"](TRIAL).ticket.key


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"sparsity": 0.8},
        {"recipe": dataclasses.replace(PROTOCOL.recipe, epochs=3)},
        {"task": Task("mlp", "digits", train_examples=100)},
        {"placement": SparsityPlacement(layers=("dense*",))},
    ],
)
def test_another_definition_is_another_stage(change):
    assert METHODS["rst"](at(**change)).key != METHODS["rst"](TRIAL).key


def test_a_stage_has_the_same_key_in_every_process():
    assert METHODS["rst"](TRIAL).key == "1e4a2edee52e3233"


def test_parents_come_first():
    order = [stage.key for stage in METHODS["rst"](TRIAL).lineage()]
    for stage in METHODS["rst"](TRIAL).lineage():
        for parent in stage.parents:
            assert order.index(parent.key) < order.index(stage.key)


@pytest.mark.parametrize("rewind_to", [TrainingPoint(), TrainingPoint(epochs=1)])
def test_trainings_of_all_methods_are_titled_apart(rewind_to):
    protocol = dataclasses.replace(PROTOCOL, rewind_to=rewind_to)
    runs = Experiment(protocol, tuple(METHODS), (0.9, 0.98), (0, 1)).runs()
    trainings = [stage for stage in stages_of(runs) if isinstance(stage, FitStage)]
    assert len({stage.title for stage in trainings}) == len(trainings) > 60


def test_tickets_of_earlier_versions_are_used(train, tmp_path):
    command = ("--model=mlp", "--epochs=1", f"--output_dir={tmp_path}")
    assert train("--method=scratch", *command).code == 0
    (ticket,) = tmp_path.glob("stages/random-ticket*/*.ticket")
    ticket.rename(ticket.with_name("ticket.safetensors.xz"))
    assert train("--method=scratch,rst", *command).code == 0
    assert not list(tmp_path.glob("stages/*/*.ticket"))
