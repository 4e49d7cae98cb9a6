"""Runs without numbers: those that diverge, and those that do not stand the audit."""

import functools
import json
import shutil

import numpy as np
import pytest

from dlth_tf.reporting import report_text
from dlth_tf.reporting.records import read_experiment
from tests.program.conftest import results_in

SMALL = ("--model=mlp", "--train_examples=64", "--epochs=1", "--noreport")
SWEEP = ("--method=dense,scratch,l1,rst", "--transform_learning_rate=1e30", *SMALL)


@pytest.fixture(scope="module")
def swept(train_once, tmp_path_factory):
    """A sweep one of whose four runs diverged, with its report."""
    folder = tmp_path_factory.mktemp("swept")
    assert train_once(*SWEEP, "--report", f"--output_dir={folder}").code == 1
    return folder


def rows(text: str) -> dict[str, list[str]]:
    cells = [[c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines()[2:]]
    return {row[0]: row[1:] for row in cells if row}


def test_one_of_four_runs_diverges_and_the_others_are_made(swept):
    by_method = rows((swept / "table.md").read_text())
    assert list(by_method) == ["dense", "scratch", "l1", "rst"]
    sparsity, reason, *unknown, seeds = by_method["rst"]
    assert (sparsity, seeds) == ("0.9", "seed 0")
    assert reason.startswith("diverged at step ")
    assert set(unknown) == {"-"}
    results = {result["method"]: result for result in results_in(swept)}
    assert results["rst"]["failed"] == reason
    assert "test_accuracy" not in results["rst"]
    assert all(results[name]["test_accuracy"] for name in ("dense", "scratch", "l1"))


def test_a_failed_run_is_not_trained_again_for_nothing(train, swept):
    before = {path: path.stat().st_mtime_ns for path in swept.glob("stages/*/*.json")}
    outcome = train(*SWEEP, f"--output_dir={swept}")
    assert outcome.code == 1
    assert "[1/" not in outcome.err
    failed, last = outcome.err.strip().splitlines()[-2:]
    (stage,) = swept.glob("stages/transform-*")
    assert failed.startswith("Failed: rst-0.9-seed0: diverged at step ")
    assert f"(to try again, remove '{stage}')" in failed
    assert last.startswith("Error: 1 of 4 runs failed.")
    assert before == {p: p.stat().st_mtime_ns for p in swept.glob("stages/*/*.json")}
    assert not list(swept.glob("stages/*/checkpoint*"))


def test_the_report_names_what_failed_and_does_not_miss_it(swept):
    page = (swept / "report.html").read_text("utf-8")
    assert "rst-0.9-seed0: diverged at step " in page
    assert "rst-0.9-seed0: diverged at step " in report_text(swept)
    assert not read_experiment(swept).missing()


def test_a_plan_trains_nothing_on_what_failed(train, swept):
    outcome = train(*SWEEP, f"--output_dir={swept}", "--dry_run")
    assert outcome.code == 0, outcome.err
    failed = [line for line in outcome.out.splitlines() if line.endswith("  failed")]
    assert len(failed) == 2
    assert "Nothing is left to train." in outcome.out


def test_a_failed_run_has_nothing_to_export(swept):
    from dlth_tf.experiment.results.results import FinishedRun

    with pytest.raises(ValueError, match=r"has no network: diverged at step"):
        FinishedRun.read(swept / "runs/rst-0.9-seed0")


def test_a_stage_that_failed_is_tried_again_once_its_folder_is_gone(
    train, swept, tmp_path
):
    folder = tmp_path / "copy"
    shutil.copytree(swept, folder)
    for stage in folder.glob("stages/transform-*"):
        shutil.rmtree(stage)
    outcome = train(*SWEEP, f"--output_dir={folder}")
    assert outcome.code == 1
    assert "[1/1] rst-0.9-seed0: transform initial weights" in outcome.err


def test_what_shares_a_diverged_training_fails_with_it(train, tmp_path):
    shared = ("--method=dense,l1", "--learning_rate=1e30", *SMALL)
    outcome = train(*shared, f"--output_dir={tmp_path}")
    assert outcome.code == 1
    assert outcome.err.count("(1 epochs)") == 1
    failed = [result["failed"] for result in results_in(tmp_path)]
    assert len(failed) == 2 and len(set(failed)) == 1


def test_failed_seeds_count_in_no_mean():
    from dlth_tf.experiment.results.comparison import table
    from tests.program.test_rows import row

    failed = row(1, 0.1, failed="diverged at step 3")
    finished, lost = table([row(0, 0.1), failed]).splitlines()[2:]
    assert "| 50.00 " in finished and "±" not in finished
    assert "diverged at step 3" in lost and "seed 1" in lost


@pytest.fixture
def tampered(train, monkeypatch, tmp_path):
    """Runs scratch with something about its last training's weights or record wrong."""
    from dlth_tf.experiment.engine.folder import ExperimentFolder
    from dlth_tf.experiment.plan.stages import Training

    own = ExperimentFolder.finish

    def run(change) -> tuple[dict, str]:
        def finish(self, stage, record):
            if isinstance(stage, Training):
                path = self.stage(stage) / "weights.npz"
                weights = dict(np.load(path))
                record = change(weights, record) or record
                np.savez(path, **weights)
            own(self, stage, record)

        monkeypatch.setattr(ExperimentFolder, "finish", finish)
        outcome = train("--method=scratch", *SMALL, f"--output_dir={tmp_path}")
        assert outcome.code == 1
        (result,) = results_in(tmp_path)
        return result, outcome.err

    return run


def regrown(weights, record):
    weights["dense2/kernel"][...] = 1.0


def infinite(weights, record):
    weights["dense2/kernel"][0, 0] = np.inf


def overflowing(weights, record):
    for name, kernel in weights.items():
        kernel *= np.float32(1e30) if "kernel" in name else 1


def untrained(weights, record):
    return {**record, "steps": 0}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (regrown, "9000 removed weights of 'dense2' are not zero"),
        (infinite, "weights of 'dense2/kernel' are not finite"),
        (overflowing, "the outputs of 450 of 450 test images are not finite"),
        (untrained, "it took 0 of 2 optimizer steps"),
    ],
)
def test_the_audit_finds(tampered, change, words):
    result, said = tampered(change)
    assert result["failed"] == f"failed: {words}"
    assert f"Failed: scratch-0.9-seed0: failed: {words}" in said
    assert "test_accuracy" not in result


def test_test_images_that_were_not_measured_are_found(train, monkeypatch, tmp_path):
    from official.data.image_data import ImageData

    own = ImageData.evaluation_batches

    def evaluation_batches(self, *arguments, **options):
        x, y = next(iter(own(self, *arguments, **options)))
        yield x[:7], y[:7]

    monkeypatch.setattr(ImageData, "evaluation_batches", evaluation_batches)
    outcome = train("--method=dense", *SMALL, f"--output_dir={tmp_path}")
    assert outcome.code == 1
    (result,) = results_in(tmp_path)
    assert result["failed"] == "failed: 7 of 450 test images were measured"


def test_a_last_step_that_ends_in_nan_is_found(train, monkeypatch, tmp_path):
    from dlth_tf.experiment.engine.fit_callbacks import StopAfter

    own = StopAfter.on_train_batch_end

    def on_train_batch_end(self, batch, logs=None):
        own(self, batch, logs)
        if self.model.stop_training:
            kernel = self.model.trainable_variables[0]
            kernel.assign(kernel * np.nan)

    monkeypatch.setattr(StopAfter, "on_train_batch_end", on_train_batch_end)
    outcome = train("--method=dense,l1", *SMALL, f"--output_dir={tmp_path}")
    assert outcome.code == 1
    for result in results_in(tmp_path):
        assert result["failed"] == "diverged at step 2"
    record = json.loads(next(tmp_path.glob("stages/train-*/stage.json")).read_text())
    assert record["failed"] == "diverged at step 2"


def test_what_is_left_is_counted_in_the_weights():
    import keras

    import dlth_tf as dlth
    from dlth_tf.experiment.results.audit import weights_left

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="only")])
    ticket = dlth.random_ticket(model, {"only": 0.5}, seed=0)
    kernel = np.where(ticket.masks["only"], 1.0, 0.0)
    kernel.flat[kernel.argmax()] = 0.0
    model.layers[0].kernel.assign(kernel)
    assert weights_left(model, ticket).masks["only"].sum() == 7


def test_scores_that_are_no_numbers_fail_their_run_alone(train, monkeypatch, tmp_path):
    from dlth_tf import saliency

    def snip_ticket(*arguments, **options):
        raise ValueError("Kernel 'dense1' must have numbers as scores. It has NaN.")

    monkeypatch.setattr(saliency, "snip_ticket", snip_ticket)
    outcome = train("--method=snip,dense", *SMALL, f"--output_dir={tmp_path}")
    assert outcome.code == 1
    dense, snip = results_in(tmp_path)
    assert dense["test_accuracy"] and "It has NaN" in snip["failed"]


def test_images_of_steps_that_loss_scaling_skips_are_seen(train, monkeypatch, tmp_path):
    from dlth_tf.experiment.engine import fit

    large = functools.partial(fit.LossScaling, initial_scale=2.0**19)
    monkeypatch.setattr(fit, "LossScaling", large)
    scaled = ("--method=dense", "--mixed_precision=float16", "--learning_rate=0.01")
    outcome = train(*SMALL, *scaled, "--epochs=2", f"--output_dir={tmp_path}")
    assert outcome.code == 0, outcome.err
    (result,) = results_in(tmp_path)
    assert result["train_images"] == 128
    record = json.loads(next(tmp_path.glob("stages/train-*/stage.json")).read_text())
    assert 0 < record["steps"] < 4
