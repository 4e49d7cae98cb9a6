"""Where an experiment's sparsity goes, what it removes, and the scores it can follow."""

import json

import numpy as np
import pytest

import dlth_tf as dlth
from dlth_tf.experiment.engine import computing
from dlth_tf.experiment.plan.protocol import SparsityPlacement, layer_sparsity
from official import data
from tests.program.conftest import results_in
from tests.program.test_usage import only_line


def test_layer_sparsities_are_read_in_three_forms():
    assert layer_sparsity("[0,s,0.5,0]", 0.9) == dlth.PerStage([0, 0.9, 0.5, 0])
    assert layer_sparsity("0-4:0.5, 5:s", 0.9) == dlth.PerLayer("0-4:0.5,5:0.9")
    assert layer_sparsity("stage1*:0.9,stage2*:s", 0.7) == {
        "stage1*": 0.9,
        "stage2*": 0.7,
    }


def test_without_names_all_layers_but_the_first_and_the_last_are_masked():
    kernels = dict.fromkeys("abcd", np.zeros((3, 3, 8, 8)))
    placed = SparsityPlacement(distribution="erk").sparsity(kernels, 0.9)
    assert placed == dlth.ErdosRenyiKernel(0.9, ("b", "c"))


def test_a_network_of_two_layers_needs_names():
    with pytest.raises(ValueError, match=r"Name some by --layers\. The network's: a, b"):
        SparsityPlacement().sparsity({"a": np.zeros((3, 8)), "b": np.zeros((8, 2))}, 0.9)


def test_for_xnnpack_only_1x1_convolutions_are_masked():
    shapes = {
        "stem": (3, 3, 3, 8),
        "expand": (1, 1, 8, 16),
        "depthwise": (3, 3, 16, 1),
        "dense": (16, 16),
        "project": (1, 1, 16, 8),
        "classifier": (1, 1, 8, 10),
    }
    kernels = {name: np.zeros(shape) for name, shape in shapes.items()}
    placed = SparsityPlacement(("xnnpack",)).sparsity(kernels, 0.9)
    assert placed == dlth.Uniform(0.9, ("expand", "project"))
    with pytest.raises(ValueError, match=r"has none\. Its layers: stem, dense"):
        SparsityPlacement(("xnnpack",)).sparsity(
            {"stem": np.zeros((3, 3, 3, 8)), "dense": np.zeros((8, 10))}, 0.9
        )


def test_for_xnnpack_less_than_two_thirds_are_refused(train, tmp_path):
    outcome = train(
        f"--output_dir={tmp_path}/new", "--layers=xnnpack", "--sparsity=0.9,0.66"
    )
    assert outcome.code == 2
    assert "above two thirds" in only_line(outcome.err)
    assert "Received: 0.66" in only_line(outcome.err)


def rows_of_table(text: str) -> dict[str, list[str]]:
    lines = [line for line in text.splitlines() if line[:2] == "| "]
    rows = [line.strip("| ").split("|") for line in lines]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}


def test_dry_run_prints_what_every_layer_loses(train, tmp_path):
    outcome = train(
        f"--output_dir={tmp_path}/new",
        "--dry_run",
        "--method=dense,scratch,rst",
        "--layer_sparsity=[0,0.5,s,0]",
    )
    assert outcome.code == 0, outcome.err
    assert "sparsity 0.9 [0,0.5,s,0] (scratch, rst):" in outcome.out
    assert rows_of_table(outcome.out) == {
        "layer": [
            *("shape", "weights", "sparsity", "weights left"),
            *("multiply-adds", "multiply-adds left"),
        ],
        "stem_conv": ["3x3x1x16", "144", "0.0000", "144", "9,216", "9,216"],
        "stage1_conv": ["3x3x16x32", "4,608", "0.5000", "2,304", "73,728", "36,864"],
        "stage2_conv": ["3x3x32x64", "18,432", "0.9000", "1,843", "294,912", "29,488"],
        "classifier": ["64x10", "640", "0.0000", "640", "640", "640"],
        "all": ["", "23,824", "0.7930", "4,931", "378,496", "76,208"],
    }


def test_dry_run_has_a_table_for_every_way_to_place_a_sparsity(train, tmp_path):
    outcome = train(
        f"--output_dir={tmp_path}/new",
        "--dry_run",
        "--method=scratch,random_erk,rst_iter",
        "--sparsity=0.9,0.5",
        "--distribution=global",
    )
    heads = [line for line in outcome.out.splitlines() if line.startswith("sparsity ")]
    assert [head.split(":")[0] for head in heads] == [
        "sparsity 0.9 global (scratch, rst_iter)",
        "sparsity 0.9 erk (random_erk)",
        "sparsity 0.5 global (scratch, rst_iter)",
        "sparsity 0.5 erk (random_erk)",
    ]


def test_dry_run_tells_how_filters_are_counted(train, tmp_path):
    filters = ("--unit=filter", "--layers=stage*", "--sparsity=0.7", "--round_to=8")
    globally = ("--distribution=global", "--importance=group")
    for more, words in (((), ""), (globally, "global ")):
        command = (f"--output_dir={tmp_path}/new", "--dry_run", "--method=lth", *more)
        outcome = train(*command, *filters)
        assert outcome.code == 0, outcome.err
        words += "filter rounded to 8" + " by group" * bool(more)
        assert f"sparsity 0.7 {words} (lth):" in outcome.out
        assert f"by magnitude ticket 0.7 {words}, seed 0" in outcome.out
    assert rows_of_table(outcome.out)["stage2_conv"][2] != "0.7000"


def test_filters_that_compete_and_are_rounded(train, tmp_path):
    outcome = train(
        f"--output_dir={tmp_path}",
        *("--method=eb,snip", "--unit=filter", "--layers=stage*", "--sparsity=0.6"),
        *("--distribution=global", "--round_to=8", "--shrink"),
    )
    assert outcome.code == 0, outcome.err
    assert len(results_in(tmp_path)) == 2
    for path in tmp_path.glob("stages/*ticket*/stage.ticket"):
        masks = dlth.Ticket.load(path).masks
        left = [masks[f"stage{n}_conv"].any(axis=(0, 1, 2)).sum() for n in (1, 2)]
        assert left[0] % 8 == left[1] % 8 == 0 and 24 <= sum(left) <= 56


def test_rivals_at_initialisation(train, tmp_path):
    outcome = train(
        f"--output_dir={tmp_path}", "--method=dense,snip,grasp,synflow,random_erk"
    )
    assert outcome.code == 0, outcome.err
    results = {result["method"]: result for result in results_in(tmp_path)}
    scored = {"snip": 100, "grasp": 200, "synflow": 0, "random_erk": 0}
    for name, images in scored.items():
        assert results[name]["train_images"] == 512 + images
    for name in ("snip", "grasp", "synflow"):
        assert results[name]["sparsity_per_layer"]["stage1_conv"] == pytest.approx(
            0.9, abs=1e-3
        )
    # The sums of the dimensions, 54 and 102, share out a tenth of the weights.
    erk = results["random_erk"]["sparsity_per_layer"]
    assert erk["stage1_conv"] == pytest.approx(1 - 2304 * 54 / 156 / 4608, abs=1e-3)
    tickets = {
        path.parent.name.split("-")[0]: dlth.Ticket.load(path).masks["stage2_conv"]
        for path in tmp_path.glob("stages/*ticket*/stage.ticket")
    }
    assert len(tickets) == 4
    assert len({mask.tobytes() for mask in tickets.values()}) == 4


def test_images_to_score_by_are_the_first_of_the_order_some_at_a_time(monkeypatch):
    monkeypatch.setattr(computing, "_IMAGES_AT_A_TIME", 30)
    digits = data.load("digits")
    found = list(computing.FirstImages(digits, 100, seed=3))
    assert [len(labels) for _, labels in found] == [30, 30, 30, 10]
    at_once = next(iter(digits.train_batches(100, seed=3)))
    for parts, whole in zip(zip(*found, strict=True), at_once, strict=True):
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_scoring_is_the_same_ticket_each_time(train, tmp_path):
    masks = []
    for run in ("one", "two"):
        folder = tmp_path / run
        assert train(f"--output_dir={folder}", "--method=snip", "--epochs=1").code == 0
        (path,) = folder.glob("stages/snip-ticket*/stage.ticket")
        masks.append(dlth.Ticket.load(path).masks["stage2_conv"])
    np.testing.assert_array_equal(*masks)


def test_two_of_four_with_magnitudes_and_by_chance(train, tmp_path):
    outcome = train(
        f"--output_dir={tmp_path}",
        "--method=scratch,lth,eb,snip",
        "--unit=2:4",
        "--sparsity=0.5",
    )
    assert outcome.code == 0, outcome.err
    assert {result["method"] for result in results_in(tmp_path)} == {
        "scratch",
        "lth",
        "eb",
        "snip",
    }
    for result in results_in(tmp_path):
        kernel = np.load(f"{result['stages'][-1]}/weights.npz")["stage1_conv/kernel"]
        assert (np.count_nonzero(kernel.reshape(9, 4, 4, 32), axis=2) == 2).all()


def test_one_threshold_for_the_whole_network(train, tmp_path):
    outcome = train(
        f"--output_dir={tmp_path}", "--method=lth,eb", "--distribution=global"
    )
    assert outcome.code == 0, outcome.err
    for result in results_in(tmp_path):
        layers = result["sparsity_per_layer"]
        assert layers["stage1_conv"] < 0.9 < layers["stage2_conv"]
        kept = 4608 * (1 - layers["stage1_conv"]) + 18432 * (1 - layers["stage2_conv"])
        assert kept == pytest.approx(2304, abs=0.1)


def test_another_placement_is_another_experiment(train, tmp_path):
    assert train(f"--output_dir={tmp_path}", "--method=dense").code == 0
    shared = json.loads((tmp_path / "experiment.json").read_text())
    assert shared["placement"]["distribution"] == "uniform"
    outcome = train(f"--output_dir={tmp_path}", "--method=dense", "--distribution=er")
    assert outcome.code == 2
    assert "--distribution is uniform there" in only_line(outcome.err)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--distribution=globel"], ["'globel'", "'global'"]),
        (["--unit=weights"], ["`unit`", "'weights'"]),
        (["--unit=2:4"], ["0.5, or 0", "0.9"]),
        (["--unit=2:4", "--sparsity=0.5", "--layers=*"], ["multiple of 4", "stem_conv"]),
        (["--unit=2:4", "--sparsity=0.5", "--method=synflow"], ["synflow", "--unit"]),
        (["--unit=2:4", "--sparsity=0.5", "--method=gradual"], ["gradual", "--unit"]),
        (["--round_to=8"], ["`round_to`", "round_to=8", "unit 'weight'"]),
        (["--unit=filter", "--round_to=0"], ["`round_to`", "Received: 0"]),
        (["--importance=group"], ["importance='group'", "unit 'weight'"]),
        (
            ["--unit=filter", "--importance=group", "--method=snip"],
            ["snip has its own scores", "--importance=group"],
        ),
        (["--distribution=global", "--method=gradual"], ["kernels compete"]),
        (["--layer_sparsity=[0,s,0]"], ["must be 4", "stage1, stage2"]),
        (["--layer_sparsity=0-9:s"], ["names layer 9", "0 to 3"]),
        (["--layer_sparsity=0-4=s"], ["--layer_sparsity", "'0-4=s'"]),
        (["--layer_sparsity=stage1*:x"], ["--layer_sparsity", "'stage1*:x'"]),
        (["--layer_sparsity=stage1*:1.5"], ["[0, 1)", "1.5"]),
        (["--layer_sparsity=stage*:s", "--distribution=erk"], ["--distribution=erk"]),
        (["--layer_sparsity=stage*:s", "--method=random_erk"], ["--layer_sparsity"]),
    ],
    ids=lambda value: " ".join(value) if value[0][:2] == "--" else "",
)
def test_bad_placements_end_in_one_line(train, tmp_path, flags, words):
    outcome = train(f"--output_dir={tmp_path}/new", "--mask_every=2", *flags)
    assert outcome.code == 2, outcome.err
    line = only_line(outcome.err)
    for word in words:
        assert word in line
    assert not (tmp_path / "new").exists()
