"""A grid made by several programs on one folder."""

import errno
import fcntl
import json
import os
import re
import subprocess

import pytest

from dlth_tf.experiment.engine.lock import Lock
from dlth_tf.experiment.plan.runs import Shard
from dlth_tf.experiment.results import claim
from dlth_tf.reporting.records import read_experiment
from tests.faults.same_results import differences
from tests.program.conftest import QUICK, ROOT, command, results_in

GRID = ("--method=dense,scratch", "--seed=0,1", "--model=mlp", "--epochs=1")


@pytest.fixture(scope="module")
def alone(train_once, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    assert train_once(*GRID, f"--output_dir={folder}").code == 0
    return folder


def test_shards_share_the_runs_out():
    runs = list(range(10))
    parts = [Shard.parse(f"{index}/3").of(runs) for index in range(3)]
    assert parts == [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]


@pytest.mark.parametrize("text", ["3/3", "1", "-1/3", "0/0", "a/b", "1/2/3"])
def test_no_shard(train, tmp_path, text):
    outcome = train(f"--shard={text}", f"--output_dir={tmp_path}/new")
    assert outcome.code == 2
    assert "--shard must be i/k" in outcome.err and text in outcome.err


def test_shards_end_as_one_program_does(train, alone, tmp_path):
    assert train(*GRID, "--shard=0/2", f"--output_dir={tmp_path}").code == 0
    assert len(results_in(tmp_path)) == 2
    missing = read_experiment(tmp_path).missing()
    assert missing == {"scratch-0.9": [0, 1]}
    assert train(*GRID, "--shard=1/2", f"--output_dir={tmp_path}").code == 0
    assert not differences(tmp_path, alone)
    assert not read_experiment(tmp_path).missing()


def test_what_was_asked_for_is_noted_once(alone):
    asked = json.loads((alone / "experiment.json").read_text())["asked"]
    grid = {"method": ["dense", "scratch"], "sparsity": [0.9], "seed": [0, 1]}
    assert asked == [grid]


@pytest.mark.parametrize("shard", [[], ["--shard=0/2"]])
def test_a_second_program_is_refused(train, monkeypatch, tmp_path, shard):
    monkeypatch.setattr(claim, "_BEGINNING_SECONDS", 0.1)
    folder = tmp_path / "experiment"
    folder.mkdir()
    with Lock(folder / ".lock", "it").held():
        outcome = train(*GRID, *shard, f"--output_dir={folder}")
    assert outcome.code == 1
    line = outcome.err.strip().splitlines()[-1]
    assert f"--output_dir '{folder}' is in use by process" in line
    assert not (folder / "stages").exists()


def test_shards_need_a_file_system_with_locks(train, monkeypatch, tmp_path):
    def flock(file, operation):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", flock)
    outcome = train(*GRID, "--shard=0/2", f"--output_dir={tmp_path}")
    assert outcome.code == 1
    line = outcome.err.strip().splitlines()[-1]
    assert f"--output_dir '{tmp_path}' can't be locked" in line
    assert not (tmp_path / "stages").exists()


@pytest.mark.long
def test_four_programs_at_once(tmp_path):
    grid = (
        *QUICK,
        "--method=dense,scratch,l1,lth,rst",
        "--seed=0,1",
        "--model=mlp",
        "--epochs=4",
        "--noreport",
    )
    together, alone = tmp_path / "together", tmp_path / "alone"
    programs = [
        subprocess.Popen(
            command(*grid, f"--shard={index}/4", f"--output_dir={together}"),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(4)
    ]
    said = [program.communicate(timeout=900)[1] for program in programs]
    assert [program.returncode for program in programs] == [0] * 4, said
    begun = [
        stage for words in said for stage in re.findall(r": (.*) \(\d+ epochs", words)
    ]
    assert len(begun) == len(set(begun)), "a training was begun twice"
    last = command(*grid, f"--output_dir={alone}")
    subprocess.run(last, cwd=ROOT, check=True, capture_output=True)
    assert not differences(together, alone)
