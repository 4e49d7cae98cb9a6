"""Strategies by name, and the machines they find. No two processes are needed."""

import json

import pytest

from official.distribution.cluster import Cluster, Workers, find_cluster
from official.distribution.strategies import make_strategy

TWO = {"worker": ["a:1", "b:2"]}


def tf_config(monkeypatch, cluster, kind="worker", index=0):
    task = {"type": kind, "index": index}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))


def slurm(monkeypatch, **variables):
    found = {
        "PROCID": "3",
        "STEP_NUM_TASKS": "4",
        "STEP_NODELIST": "n[1-2]",
        "STEP_TASKS_PER_NODE": "2(x2)",
    } | variables
    for name, value in found.items():
        monkeypatch.setenv(f"SLURM_{name}", value)


def test_no_cluster_is_found_where_nothing_tells_of_one(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert find_cluster() is None


def test_a_list_of_hosts():
    found = find_cluster(worker_hosts=["a:1", "b:2"], task_index=1)
    assert found == Cluster(("a:1", "b:2"), 1)


def test_tf_config(monkeypatch):
    tf_config(monkeypatch, TWO, index=1)
    assert find_cluster() == Cluster(("a:1", "b:2"), 1)


def test_a_chief_of_its_own_comes_first(monkeypatch):
    tf_config(monkeypatch, {**TWO, "chief": ["c:3"]}, index=1)
    assert find_cluster("tf_config") == Cluster(("c:3", "a:1", "b:2"), 2)


def test_slurm(monkeypatch):
    slurm(monkeypatch)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    hosts = ("n1:8888", "n1:8889", "n2:8888", "n2:8889")
    assert find_cluster("slurm") == Cluster(hosts, 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"source": "slrum"}, ["'slrum'", "'slurm'"]),
        ({"worker_hosts": ["a:1"]}, ["--task_index", "none"]),
        ({"worker_hosts": ["a"], "task_index": 0}, ["host:port", "'a'"]),
        ({"worker_hosts": ["a:1"], "task_index": 1}, ["from 0 to 0", "1"]),
        ({"task_index": 1}, ["--worker_hosts", "1"]),
        ({"source": "slurm", "worker_hosts": ["a:1"]}, ["exclude each other"]),
        ({"source": "tf_config"}, ["TF_CONFIG", "JSON"]),
        ({"source": "slurm"}, ["srun", "SLURM_PROCID"]),
    ],
)
def test_a_wrong_cluster_is_refused_in_one_line(monkeypatch, arguments, words):
    for name in ("TF_CONFIG", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError) as error:
        find_cluster(**arguments)
    assert all(word in str(error.value) for word in words)
    assert "\n" not in str(error.value)


def test_parameter_servers_are_refused(monkeypatch):
    tf_config(monkeypatch, {**TWO, "ps": ["p:1"]})
    with pytest.raises(ValueError, match="ps, evaluator"):
        find_cluster()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "miror"}, ["'miror'", "'mirrored'"]),
        ({"name": "mirrored", "all_reduce_alg": "ncl"}, ["'ncl'", "'nccl'"]),
        ({"name": "mirrored", "all_reduce_alg": "ring"}, ["--all_reduce_alg", "ring"]),
        ({"name": "one_device", "num_gpus": 99}, ["--num_gpus", "99"]),
        ({"name": "multi_worker_mirrored"}, ["TF_CONFIG", "--worker_hosts"]),
        ({"name": "tpu", "num_gpus": 1}, ["--num_gpus", "tpu"]),
        ({"name": "tpu"}, ["found no TPU"]),
        (
            {"name": "mirrored", "cluster": Cluster(("a:1", "b:2"), 0)},
            ["2 are named", "multi_worker_mirrored"],
        ),
    ],
)
def test_a_wrong_strategy_is_refused_in_one_line(arguments, words):
    with pytest.raises(ValueError) as error:
        make_strategy(**arguments)
    assert all(word in str(error.value) for word in words)
    assert "\n" not in str(error.value)


def test_off_is_no_strategy():
    assert make_strategy("off") is None


def test_one_process_is_the_chief_of_itself():
    workers = Workers(make_strategy("one_device", num_gpus=0))
    assert workers.is_chief and workers.shard == (0, 1)
    assert workers.any([True, False]) == [True, False]
