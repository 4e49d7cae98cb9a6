"""A small experiment from flags to the table."""

import json

import numpy as np
import pytest

from tests.program.conftest import results_in


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("experiment")


def stage_records(folder):
    return {path: path.stat().st_mtime_ns for path in folder.glob("stages/*/stage.json")}


def test_one_command_ends_with_a_table(train, folder):
    outcome = train(
        f"--output_dir={folder}", "--method=dense,scratch,scratch_long,l1,lth,rst"
    )
    assert outcome.code == 0, outcome.err
    rows = [line.split("|")[1].strip() for line in outcome.out.splitlines()[2:]]
    assert rows == ["dense", "scratch", "scratch_long", "l1", "lth", "rst"]
    assert (folder / "table.md").read_text() == outcome.out
    assert "[1/6] dense-seed0: train the dense network" in outcome.err


def test_results_say_what_was_done(folder):
    results = {result["method"]: result for result in results_in(folder)}
    for name, result in results.items():
        assert 0.0 < result["test_accuracy"] <= 1.0
        assert result["test_images"] == 450
        assert (folder / "runs" / f"{name}-0.9-seed0").exists() or name == "dense"
        assert {"method", "sparsity", "seed", "seconds", "run"} <= set(result)
        assert result["flags"]["epochs"] == 2
        assert result["versions"]["keras"]
    assert results["dense"]["weights_left"] == 1.0
    assert results["rst"]["sparsity_per_layer"]["stage1_conv"] == pytest.approx(
        0.9, abs=1e-3
    )
    assert results["rst"]["sparsity_per_layer"]["stem_conv"] == 0.0
    forms = {name: result["penalty_form"] for name, result in results.items()}
    assert forms == dict.fromkeys(results) | {"rst": "coupled"}


def test_costs_are_in_images_relative_to_dense(folder):
    results = {result["method"]: result for result in results_in(folder)}
    assert results["dense"]["train_images"] == 2 * 256
    transformation = (5 + 6 + 1) * 32
    assert results["rst"]["train_images"] == 512 + transformation
    assert results["lth"]["train_images"] == 1024
    assert results["rst"]["train_cost"] == (512 + transformation) / 512
    assert results["scratch_long"]["train_images"] == 4 * 256


def test_metrics_of_every_epoch_are_kept(folder):
    result = next(r for r in results_in(folder) if r["method"] == "rst")
    transformation, finetuning = result["history"].values()
    assert transformation[-1]["penalty"] > 1.0
    assert transformation[-1]["removed_magnitude"] < transformation[-1]["kept_magnitude"]
    assert [set(epoch) for epoch in finetuning] == [{"loss", "accuracy"}] * 2


def test_removed_weights_are_zero_in_the_result(folder):
    result = next(r for r in results_in(folder) if r["method"] == "rst")
    weights = np.load(f"{result['stages'][-1]}/weights.npz")
    kernel = weights["stage1_conv/kernel"]
    assert np.count_nonzero(kernel) == kernel.size - np.ceil(0.9 * kernel.size)


def test_tensorboard_shows_the_extrusion(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (logs,) = folder.glob("stages/transform*/logs/train")
    events = EventAccumulator(str(logs)).Reload()
    tags = events.Tags()["tensors"]
    for name in ("loss", "accuracy", "penalty", "kept_magnitude", "removed_magnitude"):
        assert f"epoch_{name}" in tags


def test_the_same_command_computes_nothing(train, folder):
    before = stage_records(folder)
    outcome = train(f"--output_dir={folder}", "--method=dense,scratch,l1,lth,rst")
    assert outcome.code == 0
    assert stage_records(folder) == before
    assert "[1/" not in outcome.err


def test_a_further_sparsity_computes_only_what_is_new(train, folder):
    before = stage_records(folder)
    outcome = train(f"--output_dir={folder}", "--method=lth", "--sparsity=0.9,0.5")
    assert outcome.code == 0, outcome.err
    after = stage_records(folder)
    new = sorted(path.parent.name.split("-0.5-")[0] for path in set(after) - set(before))
    assert new == ["finetune-initial-weights-by-magnitude-ticket", "magnitude-ticket"]
    assert {path: after[path] for path in before} == before


def test_dry_run_prints_the_plan_and_trains_nothing(train, folder, tmp_path):
    outcome = train(f"--output_dir={tmp_path}/new", "--dry_run", "--method=dense,l1,lth")
    assert outcome.code == 0
    assert "3 runs:" in outcome.out
    assert "3 trainings, 0 of them done" in outcome.out
    assert "shared by 3 runs" in outcome.out
    assert "Total: 1,536 images" in outcome.out
    assert not (tmp_path / "new").exists()
    outcome = train(f"--output_dir={folder}", "--dry_run", "--method=rst", "--seed=0,1")
    assert "images/s measured so far" in outcome.out


def test_flagfiles_include_one_another(train, tmp_path):
    (tmp_path / "base.flags").write_text("--method=dense,rst\n--epochs=7\n")
    (tmp_path / "mine.flags").write_text(
        f"--flagfile={tmp_path}/base.flags\n--epochs=2\n"
    )
    outcome = train(
        f"--flagfile={tmp_path}/mine.flags", f"--output_dir={tmp_path}/new", "--dry_run"
    )
    assert "2 runs:" in outcome.out
    assert "dense-seed0                             512 images" in outcome.out


def test_validation_is_held_out_of_the_training_images(train, tmp_path):
    outcome = train(
        f"--output_dir={tmp_path}", "--method=dense", "--validation_fraction=0.25"
    )
    assert outcome.code == 0, outcome.err
    (result,) = results_in(tmp_path)
    assert result["train_images"] == 2 * 6 * 32  # of the 192 images that are left
    (history,) = result["history"].values()
    assert all(0 <= epoch["val_accuracy"] <= 1 for epoch in history)


def test_the_test_images_are_touched_once_per_run(train, tmp_path, monkeypatch):
    from dlth_tf.experiment.results import audit

    splits = []
    evaluate = audit.evaluate

    def spy(model, data, split, workers):
        splits.append(split)
        return evaluate(model, data, split, workers)

    monkeypatch.setattr(audit, "evaluate", spy)
    outcome = train(f"--output_dir={tmp_path}", "--method=scratch,lth")
    assert outcome.code == 0, outcome.err
    assert splits == ["test", "test"]


def test_a_damaged_result_of_a_stage_is_named(train, folder):
    (weights,) = folder.glob("stages/train-the-dense*/weights.npz")
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 0xFF
    weights.write_bytes(content)
    outcome = train(f"--output_dir={folder}", "--method=l1", "--sparsity=0.7")
    assert outcome.code == 1
    assert str(weights) in outcome.err.strip().splitlines()[-1]


def test_experiment_file_says_what_runs_share(folder):
    shared = json.loads((folder / "experiment.json").read_text())
    assert shared["task"]["network"] == "quickstart_cnn"
    assert shared["recipe"]["learning_rate"] == [[0, 0.05]]


def test_iterative_and_early_methods(train, tmp_path):
    outcome = train(
        f"--output_dir={tmp_path}",
        "--method=lth_iter,rst_iter,eb,lr_rewind",
        "--cycles=2",
        "--cycle_penalty_hold=4",
        "--zero_between_cycles",
        "--rewind_to=1ep",
        "--sparsity=0.75",
        "--epochs=6",
    )
    assert outcome.code == 0, outcome.err
    results = {result["method"]: result for result in results_in(tmp_path)}
    epoch = 256
    assert results["lth_iter"]["train_images"] == (6 + 1 + 5 + 5) * epoch
    assert results["lr_rewind"]["train_images"] == (6 + 5) * epoch
    assert results["rst_iter"]["train_images"] == 6 * epoch + 2 * (5 + 4 + 1) * 32
    early = next(tmp_path.glob("stages/train-until-ticket*/stage.json"))
    settled = json.loads(early.read_text())["settled_after_epochs"]
    assert results["eb"]["settled_after_epochs"] == settled
    assert f"ticket settled after {settled} epochs" in outcome.err
    assert results["eb"]["train_images"] == (settled + 6) * epoch
    for result in results.values():
        assert result["sparsity_per_layer"]["stage1_conv"] == pytest.approx(
            0.75, abs=1e-3
        )


def test_a_damaged_result_is_named(train, tmp_path):
    assert train(f"--output_dir={tmp_path}", "--method=dense").code == 0
    damaged = tmp_path / "runs" / "dense-seed0" / "result.json"
    damaged.write_text('{"method": ')
    outcome = train(f"--output_dir={tmp_path}", "--method=dense")
    assert outcome.code == 1
    assert str(damaged) in outcome.err.strip().splitlines()[-1]
