"""What the program says to a wrong command: one clear line, and an exit code."""

import subprocess
import sys

import pytest
from absl.testing import flagsaver

from dlth_tf.experiment.setting_flags import flag_of
from official import data
from tests.program.conftest import ROOT, shell


def only_line(text: str) -> str:
    lines = text.strip().splitlines()
    assert len(lines) == 1, text
    return lines[0]


def test_help_and_usage_errors_need_no_tensorflow():
    code = "import sys, dlth_tf.train; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_a_backend_that_it_does_not_run_on(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    done = shell(f"--output_dir={tmp_path}/new")
    assert done.returncode == 2
    assert "must be tensorflow or jax for this program. Received: torch" in only_line(
        done.stderr
    )
    assert not (tmp_path / "new").exists()


def test_help_explains_every_flag():
    done = shell("--help")
    assert done.returncode == 0
    for flag in ("--method", "--sparsity", "--seed", "--output_dir", "--penalty_growth"):
        assert flag in done.stdout
    assert "rst: A random ticket, transformed" in done.stdout.replace("\n    ", " ")


def test_unknown_flag_is_a_usage_error():
    done = shell("--sparsty=0.9")
    assert done.returncode == 2
    assert "sparsity" in only_line(done.stderr)


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--method=rts", ["'rts'", "'rst'"]),
        ("--dataset=digit", ["'digit'", "'digits'"]),
        ("--model=resnet21", ["'resnet21'", "'resnet20'"]),
        ("--sparsity=1.2", ["[0, 1)", "1.2"]),
        ("--sparsity=most", ["--sparsity", "most"]),
        ("--seed=-1", ["--seed", "-1"]),
        ("--seed=", ["--seed", "none"]),
        ("--learning_rate=0:fast", ["0:fast"]),
        ("--penalty_power=4", ["`power`", "4"]),
        ("--validation_fraction=1.5", ["validation_fraction", "1.5"]),
        ("--batch_size=100000", ["batch_size", "100000"]),
        ("--layers=conv*", ["'conv*'", "stage1_conv"]),
    ],
)
def test_bad_values_end_in_one_line(train, tmp_path, flag, words):
    outcome = train(f"--output_dir={tmp_path}/new", flag)
    assert outcome.code == 2
    line = only_line(outcome.err)
    for word in words:
        assert word in line
    assert not (tmp_path / "new").exists()


def test_a_path_may_begin_with_the_home_folder(monkeypatch):
    from dlth_tf import evaluate, export, train

    assert train.flags.FLAGS is export.FLAGS is evaluate.FLAGS
    monkeypatch.setenv("HOME", "/home/somebody")
    names = ("output_dir", "data_dir", "run", "output", "saved_model", "json")
    with flagsaver.flagsaver():
        train.flags.FLAGS(["train", *(f"--{name}=~/{name}" for name in names)])
        for name in names:
            assert train.flags.FLAGS[name].value == f"/home/somebody/{name}"


@pytest.mark.parametrize("more", [[], ["--dry_run", "--method=dense"]])
def test_no_data_is_loaded_for_a_network_that_does_not_exist(
    train, monkeypatch, tmp_path, more
):
    monkeypatch.setattr(data, "load", lambda *_, **__: pytest.fail("data was loaded"))
    outcome = train(f"--output_dir={tmp_path}/new", "--model=keras:MobilNetV2", *more)
    assert outcome.code == 2
    line = only_line(outcome.err)
    assert "Unknown network of keras.applications 'MobilNetV2'" in line
    assert "Did you mean 'MobileNetV2'?" in line
    assert not (tmp_path / "new").exists()


def test_data_folder_without_data(train, tmp_path):
    (tmp_path / "data").mkdir()
    outcome = train(
        f"--output_dir={tmp_path}/new", "--dataset=cifar10", f"--data_dir={tmp_path}/data"
    )
    assert outcome.code in (1, 2)
    assert f"{tmp_path}/data" in only_line(outcome.err)


def test_folder_of_another_experiment(train, tmp_path):
    assert train(f"--output_dir={tmp_path}", "--method=dense").code == 0
    outcome = train(f"--output_dir={tmp_path}", "--method=dense", "--epochs=3")
    assert outcome.code == 2
    assert "--epochs is 2 there and 3 here" in only_line(outcome.err)


def test_every_setting_has_its_flag():
    from dlth_tf.experiment.flags import FLAGS, settings

    def paths(value, path=""):
        for name, part in value.items():
            inner = isinstance(part, dict)
            yield from paths(part, f"{path}{name}.") if inner else [path + name]

    with flagsaver.flagsaver():
        FLAGS(["train"])
        for path in paths(settings().shared()):
            assert flag_of(path)[2:] in FLAGS, path
    assert flag_of("transformation.growth.hold") == "--penalty_hold"
    assert flag_of("cycles.transformation.growth.hold") == "--cycle_penalty_hold"
    assert flag_of("cycles.transformation.growth.bound") == "--penalty_bound"
    assert flag_of("cycles.transformation.batch_size") == "--transform_batch_size"


def test_folder_of_something_else(train, tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    outcome = train(f"--output_dir={tmp_path}")
    assert outcome.code == 2
    assert str(tmp_path) in only_line(outcome.err)


def test_loss_that_is_not_a_number(train, tmp_path):
    outcome = train(f"--output_dir={tmp_path}", "--method=dense", "--learning_rate=1e30")
    assert outcome.code == 1
    last = outcome.err.strip().splitlines()[-1]
    assert last.startswith("Error: dense-seed0: The loss became")
    assert "at step " in last
