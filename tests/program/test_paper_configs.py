"""Every flagfile of the paper's tables, dry-run: its runs, and their optimizer steps."""

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
CELLS = {
    "dense": ("dense", 0.0),
    **{f"{m}_{s}": (m, float(s)) for m in METHODS for s in SPARSITIES},
}
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
def plan(monkeypatch, tmp_path):
    """Parses a flagfile as the program does; returns its experiment and images."""
    monkeypatch.chdir(ROOT)

    def parse(path: Path):
        with flagsaver.flagsaver():
            program.flags.FLAGS(["train", f"--flagfile={path}"])
            settings = program_flags.experiment()
        return settings, data.describe(settings.protocol.task.dataset)

    return parse


def test_every_cell_has_a_flagfile_and_every_flagfile_is_a_cell():
    folder = ROOT / "configs" / "paper"
    cells = {f"{table}/{cell}.flags" for table in TABLES for cell in CELLS}
    shared = {"table.flags", *(f"{table}.flags" for table in TABLES)}
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}
    assert found == cells | shared


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("table", TABLES)
def test_a_cell_takes_the_steps_of_the_paper(plan, table, cell):
    dataset, network, training = TABLES[table]
    method, sparsity = CELLS[cell]
    settings, images = plan(Path("configs/paper", table, f"{cell}.flags"))
    assert (settings.protocol.task.dataset, settings.protocol.task.network) == (
        dataset,
        network,
    )
    runs = settings.runs()
    assert [(run.method, run.trial.sparsity) for run in runs] == [
        (method, sparsity)
    ] * SEEDS
    for run in runs:
        stages = [stage for stage in run.stage.lineage() if stage.steps(images)]
        steps = [stage.steps(images) for stage in stages]
        assert steps == steps_of_cell(method, training)
        batches = {stage.images(images) // stage.steps(images) for stage in stages}
        assert batches <= {64, settings.protocol.recipe.batch_size}


@pytest.mark.parametrize("table", TABLES)
def test_the_cells_are_those_of_the_table(plan, table):
    settings, _ = plan(Path("configs/paper", f"{table}.flags"))
    cells = [plan(Path("configs/paper", table, f"{cell}.flags"))[0] for cell in CELLS]
    whole = {run.name: run.stage.key for run in settings.runs()}
    parts = {run.name: run.stage.key for cell in cells for run in cell.runs()}
    assert whole == parts
    assert len(whole) == len(CELLS) * SEEDS


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("configs/*.flags")), ids=os.path.basename
)
def test_other_flagfiles_dry_run(plan, path):
    settings, images = plan(path)
    assert all(run.stage.steps(images) for run in settings.runs())


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
