"""The paper's tables, cell by cell, dry-run: their runs and optimizer steps."""

import itertools
import os
from pathlib import Path

import pytest
from absl.testing import flagsaver

from dlth_tf import train as program
from dlth_tf.experiment import flags as program_flags
from official import data
from tests.program.conftest import ROOT

TABLES = {
    "cifar10_resnet56": ("cifar10", "resnet56", 200 * 390),
    "cifar100_resnet56": ("cifar100", "resnet56", 200 * 390),
    "imagenet_resnet18": ("imagenet", "resnet18", 90 * 5004),
}
METHODS = ("l1", "lth", "lth_iter", "eb", "scratch", "rst", "rst_iter")
SPARSITIES = ("0.5", "0.7", "0.9", "0.95", "0.98")
CELLS = [("dense", "0"), *itertools.product(METHODS, SPARSITIES)]
SEEDS = 3

# The penalty is above its bound at the gain with number 10,000, counted from 1.
TRANSFORMATION = 9_999 * 5 + 40_000 + 1
CYCLE = 9_999 + 10_000 + 1


def steps_of_cell(method: str, training: int) -> list[int]:
    """Optimizer steps of each training that a cell needs, by the paper."""
    return {
        "dense": [training],
        "scratch": [training],
        "l1": [training] * 2,
        "lth": [training] * 2,
        "lth_iter": [training] * 6,
        "eb": [training] * 2,  # the first at the most
        "rst": [TRANSFORMATION, training],
        "rst_iter": [CYCLE] * 5 + [training],
    }[method]


@pytest.fixture
def plan(monkeypatch):
    """Parses a flagfile as the program does; returns its experiment and images."""
    monkeypatch.chdir(ROOT)

    def parse(path: str | Path, *more: str):
        with flagsaver.flagsaver():
            program.flags.FLAGS(["train", f"--flagfile={path}", *more])
            experiment = program_flags.experiment()
        return experiment, data.describe(experiment.protocol.task.dataset)

    return parse


def flags_of(table: str, method: str, sparsity: str) -> list[str]:
    """What asks for one cell of a table."""
    cell = [f"configs/paper/{table}.flags", f"--method={method}"]
    return cell if method == "dense" else [*cell, f"--sparsity={sparsity}"]


@pytest.mark.parametrize(("method", "sparsity"), CELLS)
@pytest.mark.parametrize("table", TABLES)
def test_a_cell_takes_the_steps_of_the_paper(plan, table, method, sparsity):
    dataset, network, training = TABLES[table]
    experiment, images = plan(*flags_of(table, method, sparsity))
    task, recipe = experiment.protocol.task, experiment.protocol.recipe
    assert (task.dataset, task.network) == (dataset, network)
    runs = experiment.runs()
    cells = [(run.method, run.trial.sparsity) for run in runs]
    assert cells == [(method, float(sparsity))] * SEEDS
    for run in runs:
        stages = [stage for stage in run.stage.lineage() if stage.steps(images)]
        steps = [stage.steps(images) for stage in stages]
        assert steps == steps_of_cell(method, training)
        batches = {stage.images(images) // stage.steps(images) for stage in stages}
        assert batches <= {64, recipe.batch_size}


@pytest.mark.parametrize("table", TABLES)
def test_the_cells_are_those_of_the_table(plan, table):
    experiment, _ = plan(f"configs/paper/{table}.flags")
    cells = [plan(*flags_of(table, *cell))[0] for cell in CELLS]
    whole = {run.name: run.stage.key for run in experiment.runs()}
    parts = {run.name: run.stage.key for cell in cells for run in cell.runs()}
    assert whole == parts
    assert len(whole) == len(CELLS) * SEEDS


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("configs/*.flags")), ids=os.path.basename
)
def test_other_flagfiles_dry_run(plan, path):
    experiment, images = plan(path)
    assert all(run.stage.steps(images) for run in experiment.runs())


def test_the_program_dry_runs_a_table_of_imagenet_without_imagenet(
    train, monkeypatch, tmp_path
):
    monkeypatch.chdir(ROOT)
    outcome = train(
        "--train_examples=1281167",
        "--flagfile=configs/paper/imagenet_resnet18.flags",
        f"--output_dir={tmp_path}/none",
        "--dry_run",
        "--seed=0",
    )
    assert outcome.code == 0
    assert "36 runs:" in outcome.out
    assert "450,360 steps" in outcome.out
    assert not (tmp_path / "none").exists()
