"""What a run costs, and networks that get smaller before they are finetuned."""

import json

import numpy as np
import pytest

from tests.program.conftest import results_in

FILTERS = ("--unit=filter", "--sparsity=0.5")
FLOPS = 2 * 3  # a multiply-add is two; forward, and backward to inputs and weights


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("costs")


def by_method(folder) -> dict[str, dict]:
    return {result["method"]: result for result in results_in(folder)}


def test_the_transformation_counts_as_dense_and_the_ticket_as_sparse(train, folder):
    assert train(f"--output_dir={folder}", "--method=dense,rst").code == 0
    results = by_method(folder)
    dense, rst = results["dense"], results["rst"]
    whole = dense["dense_multiply_adds"]
    assert whole == sum(layer["multiply_adds"] for layer in dense["layers"])
    assert dense["train_flops"] == FLOPS * whole * 2 * 256
    assert rst["multiply_adds_left"] < whole
    transformed = rst["train_images"] - 2 * 256
    finetuning = rst["multiply_adds_left"] * 2 * 256
    assert rst["train_flops"] == FLOPS * (whole * transformed + finetuning)
    assert rst["train_flops_cost"] == rst["train_flops"] / dense["train_flops"]


def test_layers_tell_what_a_ticket_leaves_of_each(folder):
    rst = by_method(folder)["rst"]
    for layer in rst["layers"]:
        removed = rst["sparsity_per_layer"].get(layer["name"], 0.0)
        left = layer["multiply_adds"] * (1 - removed)
        assert layer["multiply_adds_left"] == pytest.approx(left)
    assert any(rst["sparsity_per_layer"].values())


@pytest.fixture(scope="module")
def shrunk_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shrunk")


def test_finetuning_the_smaller_network_is_finetuning_the_ticket(
    train, shrunk_folder, tmp_path
):
    masked = tmp_path / "masked"
    assert train(f"--output_dir={masked}", "--method=rst", *FILTERS).code == 0
    command = ("--method=rst", *FILTERS, "--shrink", "--export")
    outcome = train(f"--output_dir={shrunk_folder}", *command)
    assert outcome.code == 0, outcome.err
    (masked,), (shrunk,) = results_in(masked), results_in(shrunk_folder)
    assert shrunk["test_loss"] == pytest.approx(masked["test_loss"], rel=1e-3)
    # It lacks the weights, too, that only took in what is removed.
    assert shrunk["multiply_adds_left"] < masked["multiply_adds_left"]
    assert shrunk["parameters_left"] < shrunk["dense_parameters"]


def test_what_is_exported_is_the_smaller_network(shrunk_folder):
    (result,) = results_in(shrunk_folder)
    weights = np.load(f"{result['stages'][-1]}/weights.npz")
    assert sum(value.size for value in weights.values()) == result["parameters_left"]
    assert all(kernel.all() for name, kernel in weights.items() if "kernel" in name)
    metadata = shrunk_folder / "runs/rst-0.5-seed0/export/metadata.json"
    assert json.loads(metadata.read_text())["parameters"] == result["parameters_left"]


def test_shrinking_needs_whole_filters(train, tmp_path):
    outcome = train(f"--output_dir={tmp_path}/x", "--shrink")
    assert outcome.code == 2
    assert "--shrink" in outcome.err and "--unit=weight" in outcome.err
