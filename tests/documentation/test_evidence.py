"""What the pages say of measurements is what kept results say."""

import json

import pytest

from benchmarks import evidence
from tests.examples import ROOT

PAGE = "<!-- python -m benchmarks.evidence {} -->\n<!-- end of the table -->\n"


def record(method, seed, accuracy, **more):
    cell = {"method": method, "sparsity": 0.98, "seed": seed, "test_accuracy": accuracy}
    return cell | more


@pytest.fixture
def kept(tmp_path):
    def write(name, *records):
        file = tmp_path / name
        file.write_text("".join(f"{json.dumps(one)}\n" for one in records))
        return file

    return write


def printed(*arguments):
    return evidence.tables(evidence._parser().parse_args(list(map(str, arguments))))


def cells(text, *first):
    """The cells of the only line of a table that begins with these."""
    lines = [[c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines()]
    (found,) = (line for line in lines if tuple(line[: len(first)]) == first)
    return found[len(first) :]


@pytest.mark.parametrize("page", evidence.PAGES)
def test_a_page_holds_what_the_command_prints(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    text = (ROOT / page).read_text()
    assert evidence.remade(text) == text


def test_a_number_that_was_typed_in_is_put_right(kept):
    file = kept("few.jsonl", record("rst", 0, 0.5, train_cost=1.5))
    page = evidence.remade(PAGE.format(file))
    assert cells(page, "rst", "0.98") == ["0: 50.00", "50.00", "1.50x"]
    assert evidence.remade(page.replace("0: 50.00", "0: 51.00")) == page


def test_methods_are_compared_by_seed(kept):
    scratch = [record("scratch", seed, 0.5 + seed / 100) for seed in range(4)]
    gains = 0.01, 0.02, 0.03
    rst = [record("rst", s, 0.5 + s / 100 + gain) for s, gain in enumerate(gains)]
    text = printed(kept("few.jsonl", *scratch, *rst))
    # t of two degrees of freedom is 4.303; the deviation is 1, of a mean of three.
    told = ["+1.00, +2.00, +3.00", "+2.00", "-0.48 to +4.48", "-"]
    assert cells(text, "rst", "scratch", "0.98") == told


def test_programs_that_share_no_weights_are_compared_by_means(kept):
    here = kept("here.jsonl", record("rst", 0, 0.5), record("rst", 1, 0.52))
    there = kept("there.jsonl", record("rst", 0, 0.5), record("rst", 5, 0.51))
    by_pairs = printed(here, "--against", there)
    assert cells(by_pairs, "rst", "0.98")[4:6] == ["+0.00", "one seed"]
    by_means = printed(here, "--against", there, "--unpaired")
    assert cells(by_means, "rst", "0.98")[4:6] == ["+0.50", "-6.42 to +7.42"]


def test_a_table_says_what_was_trained_and_in_which_type(kept):
    flags = {"model": "resnet20", "dataset": "cifar10", "train_examples": 10_000}
    flags |= {"epochs": 15, "mixed_precision": None}
    one = kept("one.jsonl", record("rst", 0, 0.5, flags=flags))
    flags["mixed_precision"], flags["train_examples"] = "bfloat16", None
    two = kept("two.jsonl", record("rst", 0, 0.5, flags=flags))
    text = printed(one, two)
    assert "resnet20, 10,000 images of cifar10, 15 epochs, computed in float32;" in text
    assert "resnet20, cifar10, 15 epochs, computed in bfloat16;" in text


def test_a_run_does_not_count_twice(kept):
    file = kept("twice.jsonl", record("rst", 0, 0.5), record("rst", 0, 0.6))
    with pytest.raises(ValueError, match="a method, sparsity and seed twice"):
        printed(file)


def test_what_is_kept_does_not_say_where_it_was_made(kept, tmp_path):
    flags = {"output_dir": "/home/me/runs/it", "data_dir": "~/data"}
    stages = ["/home/me/runs/it/stages/random-1", "runs/it/stages/random-2"]
    one = record("rst", 0, 0.5, run="/home/me/runs/rst", flags=flags, stages=stages)
    evidence._keep([one], tmp_path / "kept" / "it.jsonl")
    (line,) = (tmp_path / "kept" / "it.jsonl").read_text().splitlines()
    assert "/home" not in line
    assert json.loads(line)["flags"] == {"output_dir": "it", "data_dir": "~/data"}


def test_candidates_come_in_pairs_and_origins_do_not(kept):
    common = {"epochs": 15, "precision": "float32", "split": "test", "images": 100}
    runs = [("scratch", 50, 0), ("better", 51, 0), ("scratch", 60, 1), ("better", 62, 1)]
    candidates = [
        {"name": name, "sparsity": 0.9, "accuracy": accuracy, "seed": seed, **common}
        for name, accuracy, seed in runs
    ]
    told = cells(printed(kept("some.jsonl", *candidates)), "better")
    assert told[2:5] == ["+1.00, +2.00", "+1.50", "-4.85 to +7.85"]
    for one in candidates:
        one["name"] = {"scratch": "Keras", "better": "PyTorch"}[one["name"]]
    told = cells(printed(kept("some.jsonl", *candidates)), "PyTorch")
    assert told[2:5] == ["no pairs", "+1.50", "-30.76 to +33.76"]
