"""The program under a strategy: one table, whatever trains."""

import json
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from dlth_tf import Ticket
from tests.distribution.processes import (
    addresses,
    all_workers,
    finish,
    free_hosts,
    python,
)

# Without BatchNorm: the number of replicas must not matter.
TASK = (
    "--dataset=digits",
    "--train_examples=256",
    "--validation_fraction=0.25",
    "--model=lenet_300_100",
    "--method=rst,rigl",
    "--epochs=2",
    "--batch_size=32",
    "--learning_rate=0.05",
    "--penalty_growth=0.2",
    "--penalty_every=1",
    "--penalty_hold=6",
    "--mask_every=2",
    "--transform_batch_size=32",
    "--sparsity=0.9",
    "--seed=0",
    "--noreport",
)


def program(folder, *arguments: str) -> subprocess.Popen:
    return python("-m", "dlth_tf.train", *TASK, f"--output_dir={folder}", *arguments)


def worker(folder, *more: str):
    def start(hosts, index):
        return program(folder, *addresses(hosts, index), *more)

    return start


def faulty_worker(folder, victim, **fault):
    """Like `worker`; one of them has a fault in it, see `tests.faults.program`."""

    def start(hosts, index):
        return python(
            "-m",
            "tests.faults.program",
            *TASK,
            f"--output_dir={folder}",
            *addresses(hosts, index),
            FAULT=json.dumps(fault if index == victim else {}),
            STEPS=f"{folder}-steps-of-{index}",
        )

    return start


def files(folder, name) -> dict[str, np.ndarray]:
    return {
        f"{path.parent.name}/{key}": value
        for path in folder.glob(f"stages/*/{name}.npz")
        for key, value in np.load(path).items()
    }


def assert_same_weights(alone, folder):
    expected, found = files(alone, "weights"), files(folder, "weights")
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5, err_msg=name)


def error_line(said: str) -> str:
    """The one line in which a program says why it ended."""
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if line.startswith("Error: ")]
    return line


def tickets(folder) -> dict[str, Ticket]:
    paths = folder.glob("stages/*/stage.ticket")
    return {path.parent.name: Ticket.load(path) for path in paths}


def results(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "results.jsonl").open()]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    finish(program(folder))
    return folder


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    return folder, all_workers(2, worker(folder))


def test_two_workers_end_with_the_weights_of_one(alone, together):
    assert_same_weights(alone, together[0])


def test_tickets_are_the_same_to_the_bit(alone, together):
    expected, found = tickets(alone), tickets(together[0])
    assert len(expected) == 2 and expected.keys() == found.keys()
    for name, ticket in expected.items():
        for kernel, mask in ticket.masks.items():
            np.testing.assert_array_equal(found[name].masks[kernel], mask)


def test_two_workers_measure_what_one_does(alone, together):
    for one, both in zip(results(alone), results(together[0]), strict=True):
        for name in ("test_accuracy", "test_top5", "test_images", "train_images"):
            assert both[name] == one[name]
        assert both["test_loss"] == pytest.approx(one["test_loss"], abs=1e-4)
        for stage, epochs in one["history"].items():
            for a, b in zip(epochs, both["history"][stage], strict=True):
                assert b == pytest.approx(a, abs=1e-4)


def test_only_the_chief_prints(together):
    chief, other = together[1]
    assert "| rigl" in chief and other == ""


def kernels_of_runs(folder):
    """Each run's kernels, with its mask."""
    for result in results(folder):
        last = folder / "stages" / Path(result["stages"][-1]).name
        drawn = next(p for p in result["stages"] if "random-ticket" in p)
        file = last / "stage.ticket"
        if not file.exists():
            file = folder / "stages" / Path(drawn).name / file.name
        ticket = Ticket.load(file)
        weights = np.load(last / "weights.npz")
        for name, mask in ticket.masks.items():
            yield weights[f"{name}/kernel"], mask


def assert_zeros_are_exact(folder):
    for kernel, mask in kernels_of_runs(folder):
        assert not kernel[~mask].any() and kernel[mask].any()


@pytest.mark.long
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_workers_keep_zeros_in_half_precision(tmp_path, precision):
    all_workers(2, worker(tmp_path, f"--mixed_precision={precision}"))
    assert_zeros_are_exact(tmp_path)


@pytest.mark.long
def test_strategy_half_precision_and_xla_together_keep_zeros(tmp_path):
    one = ("--distribution_strategy=one_device", "--num_gpus=0")
    finish(program(tmp_path, *one, "--mixed_precision=bfloat16", "--jit_compile"))
    assert_zeros_are_exact(tmp_path)


def training_workers(start, folder):
    """The addresses and programs of two workers that have written a checkpoint."""
    hosts = free_hosts(2)
    processes = [start(hosts, index) for index in range(2)]
    deadline = time.monotonic() + 200
    while not list(folder.glob("stages/*/checkpoint*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return hosts, processes


@pytest.mark.long
@pytest.mark.parametrize("victim", [0, 1])
def test_a_dead_worker_is_named_within_a_minute_and_nothing_is_lost(
    alone, tmp_path, victim
):
    start = worker(tmp_path, "--checkpoint_every=5")
    hosts, processes = training_workers(start, tmp_path)
    processes[victim].kill()
    other = processes[1 - victim]
    _, errors = other.communicate(timeout=60)
    processes[victim].communicate()
    assert other.returncode == 75
    assert f"worker {victim} ({hosts[victim]}) ended" in error_line(errors)
    all_workers(2, start)
    assert_same_weights(alone, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("victim", [0, 1])
def test_data_that_one_worker_cannot_read_end_all_and_nothing_is_lost(
    alone, tmp_path, victim
):
    start = faulty_worker(tmp_path, victim, unreadable_batch=9)
    hosts = free_hosts(2)
    processes = [start(hosts, index) for index in range(2)]
    _, errors = processes[victim].communicate(timeout=200)
    _, noticed = processes[1 - victim].communicate(timeout=60)
    assert [processes[place].returncode for place in (victim, 1 - victim)] == [1, 75]
    assert "Input/output error: 'images-00017'" in error_line(errors)
    assert f"worker {victim} ({hosts[victim]}) ended" in error_line(noticed)
    assert list(tmp_path.glob("stages/*/checkpoint*"))
    all_workers(2, worker(tmp_path))
    assert_same_weights(alone, tmp_path)


@pytest.mark.long
def test_a_worker_that_is_told_to_stop_stops_all_and_nothing_is_lost(alone, tmp_path):
    start = worker(tmp_path, "--checkpoint_every=5")
    _, processes = training_workers(start, tmp_path)
    processes[1].send_signal(signal.SIGTERM)
    for process in processes:
        process.communicate(timeout=200)
    assert [process.returncode for process in processes] == [75, 75]
    all_workers(2, start)
    assert_same_weights(alone, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--distribution_strategy=mirored"], ["'mirored'", "'mirrored'"]),
        (["--distribution_strategy=multi_worker_mirrored"], ["--worker_hosts"]),
        (["--worker_hosts=a:1,b:1", "--task_index=2"], ["from 0 to 1", "2"]),
        (["--task_index=2"], ["--worker_hosts", "2"]),
    ],
)
def test_a_wrong_strategy_ends_in_one_line(tmp_path, arguments, words):
    process = program(tmp_path / "new", *arguments)
    _, errors = process.communicate(timeout=100)
    (line,) = errors.strip().splitlines()
    assert process.returncode == 2 and all(word in line for word in words)
    assert not (tmp_path / "new").exists()
