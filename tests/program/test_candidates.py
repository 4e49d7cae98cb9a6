"""The search for a training that beats scratch compares equal costs, and goes on."""

import json

import pytest
from absl.testing import flagsaver

from tests.program.conftest import QUICK

SMALL = (
    *("--train_examples=1340", "--validation_fraction=0.5", "--batch_size=128"),
    *("--epochs=3", "--learning_rate=0:0.1,1:0.01,2:0.001", "--seed=100"),
)


@pytest.fixture
def search(tensorflow_has_started, tmp_path):
    from benchmarks import candidates

    def run(*arguments):
        with flagsaver.flagsaver():
            flags = (*QUICK, *SMALL, f"--output_dir={tmp_path}", *arguments)
            candidates.FLAGS(["candidates", *flags])
            return candidates.main(["candidates"])

    return run


def test_every_candidate_sees_as_many_images(search, tmp_path, capfd):
    names = ["scratch", "faded_1", "reconstructed_half", "scratch_batch64"]
    assert search(f"--candidate={','.join(names)}") == 0
    text = (tmp_path / "candidates.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["name"] for line in lines] == names
    assert {line["images"] for line in lines} == {3 * 5 * 128}
    assert "| faded_1 " in capfd.readouterr().out
    assert search(f"--candidate={','.join(names)}") == 0
    assert (tmp_path / "candidates.jsonl").read_text() == text


def test_a_candidate_has_to_leave_images_to_the_ticket(search, capfd):
    assert search("--candidate=extruded_3") == 2
    assert "leave images to train the ticket on" in capfd.readouterr().err
