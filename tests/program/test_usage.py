"""What the program says to a wrong command: one clear line, and an exit code."""

import dataclasses
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from absl.testing import flagsaver

from dlth_tf.experiment import command_line
from dlth_tf.experiment import flags as program_flags
from dlth_tf.experiment.flagfiles import in_place
from dlth_tf.tfmot import engine
from dlth_tf.train import flags
from official import data
from tests.lowest import asked_for
from tests.program.conftest import ROOT, shell

FLAGS = flags.FLAGS


def only_line(text: str) -> str:
    lines = text.strip().splitlines()
    assert len(lines) == 1, text
    return lines[0]


def test_what_is_tested_with_is_what_the_program_asks_for():
    def names(requirements) -> set[str]:
        return {re.match(r"[\w-]+", line)[0] for line in requirements}

    lines = (ROOT / "requirements.txt").read_text().splitlines()
    tested = names(line for line in lines if not line.startswith("#"))
    assert tested == names(asked_for("program"))


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


@pytest.mark.parametrize("asks", ["--help", "-h"])
def test_help_explains_every_flag_in_its_group(asks):
    done = shell(asks)
    assert done.returncode == 0
    explained = set(re.findall(r"^  --(?:\[no\])?(\w+)", done.stdout, re.M))
    assert explained >= set(program_flags.DESCRIBED)
    first, second = done.stdout.index("--method="), done.stdout.index("\nSparsity\n---")
    assert done.stdout.index("\nWhat to run\n---") < first < second
    assert second < done.stdout.index("\nHardware\n---") < done.stdout.index("--num_gpus")
    assert "rst: A random ticket, transformed" in re.sub(r"\s+", " ", done.stdout)
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_the_package_itself_lists_the_programs():
    code = [sys.executable, "-m", "dlth_tf", "--help"]
    done = subprocess.run(code, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "dlth-train --flagfile=quick" in done.stdout
    named = re.findall(r"^  (dlth-\w+)", done.stdout, re.M)
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert named == list(scripts)


def test_without_flags_it_says_what_to_type():
    done = shell()
    assert done.returncode == 2
    assert "dlth_tf.train --flagfile=quickstart.flags" in only_line(done.stderr)


def test_flagfiles_of_the_package_are_found_from_anywhere(tmp_path):
    (tmp_path / "mine.flags").write_text(
        "# Mine\n--flagfile=quickstart.flags\n--seed=7\n"
    )
    found = list(in_place(["--flagfile", str(tmp_path / "mine.flags"), "--seed=8"]))
    assert "--model=quickstart_cnn" in found and found[-2:] == ["--seed=7", "--seed=8"]
    nested = list(in_place(["--flagfile=cifar10_resnet20.flags"]))
    assert "--dataset=cifar10" in nested and "--flagfile" not in " ".join(nested)


def test_a_file_here_comes_before_the_packages(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("quickstart.flags").write_text("--seed=7")
    assert list(in_place(["--flagfile=quickstart.flags"])) == ["--seed=7"]


@pytest.mark.parametrize("content", ["", "--flagfile=loop.flags"])
def test_flagfiles_that_cannot_be_read(tmp_path, content, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if content:
        Path("loop.flags").write_text(content)
    with pytest.raises(ValueError, match=r"loop.flags.*(includes itself|quickstart)"):
        list(in_place(["--flagfile=loop.flags"]))


def test_systems_that_are_not_unix(monkeypatch, capsys):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit) as ended:
        command_line.start(lambda argv: 0)
    assert ended.value.code == 2
    assert "need a Unix system" in only_line(capsys.readouterr().err)


def test_another_package_called_official(tmp_path):
    (tmp_path / "official" / "nlp").mkdir(parents=True)
    command = [sys.executable, "-c", "import dlth_tf.experiment"]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    (tmp_path / "official" / "__init__.py").touch()
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)
    assert b"tf-models-official is installed" in done.stderr.splitlines()[-1]


def test_tensorflow_starts_in_silence_where_that_is_asked_for():
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    code = (
        "from dlth_tf.experiment import command_line as c; c.start_tensorflow_quietly()"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_reader_that_has_seen_enough_is_no_error():
    code = "from dlth_tf.experiment.command_line import show; show('plan'); show('more')"
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_unknown_flag_is_a_usage_error():
    done = shell("--sparsty=0.9")
    assert done.returncode == 2
    assert "sparsity" in only_line(done.stderr)


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--method=RST", ["Unknown method 'RST'", "'rst'"]),
        ("--method=rts", ["Unknown method 'rts'", "'rst'"]),
        ("--dataset=digit", ["'digit'", "'digits'"]),
        ("--model=resnet21", ["'resnet21'", "'resnet20'"]),
        ("--sparsity=1.2", ["[0, 1)", "1.2"]),
        ("--sparsity=most", ["--sparsity", "most"]),
        ("--seed=-1", ["--seed", "-1"]),
        ("--seed=", ["--seed", "none"]),
        ("--learning_rate=0:fast", ["0:fast"]),
        ("--penalty_power=4", ["`power`", "4"]),
        ("--optimizer=adanw", ["'adanw'", "'adamw'"]),
        ("--optimizer=adamw", ["`l2`", "optimizer=adamw", "`weight_decay`", "0.0005"]),
        ("--clip_norm=-1", ["`clip_norm`", "-1"]),
        ("--label_smoothing=1", ["`label_smoothing`", "1"]),
        ("--schedule=cosine --warmup_epochs=2", ["`warmup_epochs`", "epochs", "2"]),
        ("--warmup_epochs=1", ["`warmup_epochs`", "schedule=cosine", "1"]),
        ("--schedule=cosine --learning_rate=0:1,1:.1", ["`learning_rate`", "one number"]),
        ("--validation_fraction=1.5", ["validation_fraction", "1.5"]),
        ("--batch_size=100000", ["--batch_size", "256", "100000"]),
        ("--transform_batch_size=257", ["--transform_batch_size", "256", "257"]),
        ("--method=lr_rewind --rewind_to=2ep", ["--rewind_to", "2 epochs", "epoch 2"]),
        ("--method=lth --rewind_to=5ep", ["--rewind_to", "2 epochs", "epoch 5"]),
        ("--method=lth_iter --rewind_to=16", ["--rewind_to", "step 16"]),
        ("--layers=conv*", ["'conv*'", "stage1_conv"]),
    ],
)
def test_bad_values_end_in_one_line(train, tmp_path, flag, words):
    outcome = train(f"--output_dir={tmp_path}/new", *flag.split())
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


def test_keras_hub_is_missed_before_anything_is_trained(train, monkeypatch, tmp_path):
    family = "official.modeling.networks.keras_hub_backbone"
    monkeypatch.delitem(sys.modules, family, raising=False)
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    outcome = train(f"--output_dir={tmp_path}/new", "--model=keras_hub:ViT")
    assert outcome.code == 1
    assert only_line(outcome.err).endswith("needs KerasHub: pip install keras-hub")
    assert not (tmp_path / "new").exists()


def test_batches_that_no_chosen_method_uses_may_have_any_size(train, tmp_path):
    task = ["--method=dense", "--train_examples=40", "--batch_size=16", "--model=mlp"]
    unused = "--transform_batch_size=64"
    assert train(f"--output_dir={tmp_path}", *task, unused, "--epochs=1").code == 0


def test_workers_that_cannot_share_a_batch_wait_for_nobody(train, tmp_path):
    outcome = train(
        f"--output_dir={tmp_path}/new",
        "--method=dense,rst",
        "--distribution_strategy=multi_worker_mirrored",
        "--worker_hosts=127.0.0.1:1,127.0.0.1:2,127.0.0.1:3",
        "--task_index=0",
    )
    assert outcome.code == 2
    assert only_line(outcome.err) == (
        "Error: --batch_size and --transform_batch_size must be a multiple of the 3 "
        "replicas that share a batch. Received: --batch_size=32 --transform_batch_size=32"
    )


def test_what_a_method_needs_is_missed_before_anything_is_trained(
    train, monkeypatch, tmp_path
):
    monkeypatch.setitem(sys.modules, f"{engine._HOME}.pruning_impl", None)
    outcome = train(f"--output_dir={tmp_path}/new", "--method=dense,lth")
    assert outcome.code == 1
    line = only_line(outcome.err)
    assert "pip install tensorflow-model-optimization tf_keras" in line
    assert not (tmp_path / "new").exists()


def test_tensorboard_is_missed_before_the_first_step(train, monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    outcome = train(f"--output_dir={tmp_path}", "--method=dense", "--model=mlp")
    assert outcome.code == 1
    assert "pip install tensorboard" in outcome.err.splitlines()[-1]


def test_data_folder_without_data(train, tmp_path):
    (tmp_path / "data").mkdir()
    outcome = train(
        f"--output_dir={tmp_path}/new", "--dataset=cifar10", f"--data_dir={tmp_path}/data"
    )
    assert outcome.code in (1, 2)
    assert f"{tmp_path}/data" in only_line(outcome.err)


def test_folder_of_another_experiment(train, tmp_path):
    assert train(f"--output_dir={tmp_path}", "--method=dense").code == 0
    other = ["--epochs=3", "--layers=stage*", "--penalty_hold=7"]
    rates = "--learning_rate=0:1,1:.1"
    outcome = train(f"--output_dir={tmp_path}", "--method=dense", *other, rates)
    assert outcome.code == 2
    differences = only_line(outcome.err).partition(" another experiment: ")[2]
    assert differences.removesuffix(". Choose another folder.").split("; ") == [
        "--layers is none there and stage* here",
        "--epochs is 2 there and 3 here",
        "--learning_rate is 0:0.05 there and 0:1.0,1:0.1 here",
        "--penalty_hold is 6 there and 7 here",
    ]


def test_every_setting_is_known_by_its_flag():
    def paths(settings: dict, above: str = ""):
        for name, value in settings.items():
            inner = isinstance(value, dict)
            yield from paths(value, f"{above}{name}.") if inner else [f"{above}{name}"]

    with flagsaver.flagsaver():
        FLAGS(["train"])
        protocol = dataclasses.asdict(program_flags.experiment().protocol)
    assert {program_flags.setting(path) for path in paths(protocol)} <= set(FLAGS)


def test_folder_of_something_else(train, tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    outcome = train(f"--output_dir={tmp_path}")
    assert outcome.code == 2
    assert str(tmp_path) in only_line(outcome.err)


def test_loss_that_is_not_a_number(train, tmp_path):
    outcome = train(f"--output_dir={tmp_path}", "--method=dense", "--learning_rate=1e30")
    assert outcome.code == 1
    failed, last = outcome.err.strip().splitlines()[-2:]
    assert failed.startswith("Failed: dense-seed0: diverged at step ")
    assert last.startswith("Error: 1 of 1 runs failed.")
