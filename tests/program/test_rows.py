"""A run's row says what was done: its name, its numbers, the command that made it."""

import json
import re
import shlex
from importlib import metadata

import pytest
from absl.testing import flagsaver

from dlth_tf.experiment.engine.folder import ExperimentFolder
from dlth_tf.experiment.results import claim
from dlth_tf.experiment.results.comparison import Cell, Comparison, table
from dlth_tf.experiment.results.results import Results
from dlth_tf.experiment.results.row import Row
from dlth_tf.reporting import command
from tests.program.conftest import QUICK, results_in

SHORT = ("--model=mlp", "--epochs=1", "--train_examples=64")


def experiment(*arguments: str):
    """What flags stand for."""
    from dlth_tf import train as program

    with flagsaver.flagsaver():
        program.flags.FLAGS(["train", *QUICK, *arguments])
        return program.program_flags.experiment()


def planned(*arguments: str):
    """The runs that flags stand for."""
    return experiment(*arguments).runs()


def test_names_of_runs_tell_their_sparsities_apart():
    alike = "--sparsity=0.9995,0.9999999,0.99999991,0.7902848,0.79028479"
    names = [run.name for run in planned("--method=rst", alike, "--seed=0")]
    assert names == [
        f"rst-{digits}-seed0"
        for digits in ("0.9995", "0.9999999", "0.99999991", "0.7902848", "0.79028479")
    ]


def test_equal_sparsities_are_one_run():
    (run,) = planned("--method=rst", "--sparsity=0.9,0.90,9e-1", "--seed=0,00")
    assert run.name == "rst-0.9-seed0"
    (run,) = planned("--method=rst", "--sparsity=0,-0.0")
    assert run.name == "rst-0-seed0"


def test_a_plan_tells_what_is_shared_what_may_end_early_and_what_is_done(train, tmp_path):
    command = (f"--output_dir={tmp_path}", *SHORT, "--seed=0")
    assert train(*command, "--method=dense").code == 0
    (path,) = tmp_path.glob("stages/train-the-dense-*/stage.json")
    record = json.loads(path.read_text())
    plan = train(*command, "--method=dense,lth,eb", "--dry_run").out
    minutes, rate = re.search(r"\n(Time: .*) min at the (.*) images/s", plan).groups()
    assert (minutes, rate) == ("Time: about 1", f"{64 / record['seconds']:,.0f}")
    assert [" ".join(line.split()) for line in plan.splitlines()[:10]] == [
        "Recipe: 1 epochs of batches of 32; sgd at 0.05 from epoch 0; L2 0.0005.",
        "3 runs:",
        "dense-seed0 64 images 1.00 x dense",
        "lth-0.9-seed0 128 images 2.00 x dense",
        "eb-0.9-seed0 128 images 2.00 x dense",
        "4 trainings, 1 of them done:",
        "train the dense network, seed 0 2 steps 64 images shared by 2 runs done",
        "finetune initial weights by magnitude ticket 0.9, seed 0 2 steps 64 images",
        "train until ticket 0.9 has settled, seed 0 2 steps 64 images at most",
        "finetune early-bird weights by magnitude ticket 0.9, seed 0 2 steps 64 images",
    ]
    assert "\nTotal: 256 images, 192 of them to be trained on.\n" in plan
    path.write_text(json.dumps(record | {"failed": "diverged"}))
    plan = train(*command, "--method=lth", "--dry_run").out
    assert plan.count("  failed\n") == 2 and "\nNothing is left to train.\n" in plan


def test_stages_that_are_titled_alike_are_all_counted(train, tmp_path):
    cycles = ("--method=lth_iter", "--cycles=2", "--sparsity=0.9999999")
    outcome = train(f"--output_dir={tmp_path}", *SHORT, *cycles)
    assert outcome.code == 0, outcome.err
    (result,) = results_in(tmp_path)
    assert result["train_images"] == 3 * 64
    assert result["train_cost"] == 3.0
    assert len(result["history"]) == 3
    for package in ("keras", "tensorflow", "numpy"):
        assert result["versions"][package] == metadata.version(package)


@pytest.mark.parametrize("method", ["lth_iter", "rst_iter"])
def test_every_stage_of_many_cycles_has_a_title_of_its_own(method):
    (run,) = planned(f"--method={method}", "--cycles=31", "--sparsity=0.999")
    titles = [stage.title for stage in run.stage.lineage()]
    assert len(titles) >= 62
    assert len(set(titles)) == len(titles)


def result(seed: int, left: float, method: str = "rst") -> dict:
    return {
        "method": method,
        "sparsity": 0.9,
        "seed": seed,
        "test_accuracy": 0.5,
        "weights_left": left,
        "multiply_adds_left": 1000 * left,
        "dense_multiply_adds": 1000,
        "train_cost": 2.0,
        "train_flops_cost": 1.0,
    }


def row(*arguments, **changes):
    return Row.parse(result(*arguments) | changes)


def test_a_run_under_an_earlier_name_is_counted_once(tmp_path):
    for name in ("rst-0.790285-seed0", "rst-0.7902848-seed0"):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(result(0, 0.1)))
    assert Results(ExperimentFolder(tmp_path)).publish() == table([row(0, 0.1)])
    assert results_in(tmp_path) == [result(0, 0.1)]
    assert (tmp_path / "table.md").read_text() == table([row(0, 0.1)]) + "\n"


def test_a_table_of_means_and_failures():
    seeds = [row(0, 0.1), row(1, 0.2, test_accuracy=0.75), row(2, 0.1, failed="diverged")]
    assert table([*seeds, row(0, 1.0, "dense", sparsity=0.0)]) == TABLE


TABLE = """\
| method | sparsity | test accuracy % | weights left | FLOPs left | images seen \
| train FLOPs | seeds  |
|--------|----------|-----------------|--------------|------------|-------------\
|-------------|--------|
| dense  | 0        | 50.00           | 100.0%       | 100.0%     | 2.00x       \
| 1.00x       | 1      |
| rst    | 0.9      | 62.50 ± 17.68   | 15.0%        | 15.0%      | 2.00x       \
| 1.00x       | 2      |
| rst    | 0.9      | diverged        | -            | -          | -           \
| -           | seed 2 |"""


def test_a_failed_run_is_done_until_its_stage_is_removed(tmp_path):
    folder = ExperimentFolder(tmp_path / "moved")
    results = Results(folder)
    (run,) = planned("--method=dense")
    assert not results.is_done(run) and results.failure(run) is None
    folder.run(run.name).mkdir(parents=True)
    record = result(0, 1.0, "dense") | {"key": run.stage.key}
    path = folder.run(run.name) / "result.json"
    path.write_text(json.dumps(record))
    assert results.is_done(run) and results.failure(run) is None
    assert not results.is_done(planned("--method=dense", "--epochs=3")[0])
    failed = record | {"failed": "diverged", "stages": ["/elsewhere/stages/last"]}
    path.write_text(json.dumps(failed))
    assert not results.is_done(run)
    stage = tmp_path / "moved" / "stages" / "last"
    stage.mkdir(parents=True)
    assert results.is_done(run)
    assert results.failure(run) == f"diverged (to try again, remove '{stage}')"


def test_a_folder_is_of_one_experiment_and_knows_what_was_asked_for(tmp_path):
    tmp_path = tmp_path / "not" / "there"
    first = experiment("--method=dense", "--seed=0")
    more = experiment("--method=rst,dense", "--seed=0,1")
    with claim.in_use(tmp_path, None, pytest.fail):
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    for asked in (first, more, first):
        claim.check_free(tmp_path, asked)
        claim.claim(tmp_path, asked)
    rows = json.loads((tmp_path / "experiment.json").read_text())["asked"]
    assert rows == [
        {"method": ["dense"], "sparsity": [0.9], "seed": [0]},
        {"method": ["rst", "dense"], "sparsity": [0.9], "seed": [0, 1]},
    ]
    for act in (claim.check_free, claim.claim):
        with pytest.raises(ValueError, match=r"--epochs is 2 there and 3 here\. Choose"):
            act(tmp_path, experiment("--method=dense", "--epochs=3"))
    (tmp_path / "experiment.json").unlink()
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match="is not empty and holds no experiment"):
        claim.claim(tmp_path, first)
    (tmp_path / "experiment.json").write_text("{")
    with pytest.raises(OSError, match=r"experiment\.json' is damaged \(.*Remove it"):
        claim.check_free(tmp_path, first)


def test_size_is_the_mean_of_the_seeds_like_the_accuracy():
    last = table([row(0, 0.1), row(1, 0.2)]).splitlines()[-1]
    cells = [cell.strip() for cell in last.split("|")]
    assert cells[4:6] == ["15.0%", "15.0%"]


def test_size_in_the_report_is_the_mean_of_the_seeds():
    runs = [row(s, 0.1 + 0.1 * s) for s in range(2)]
    (cell,) = Comparison(runs).cells
    assert cell.average("weights_left") == pytest.approx(0.15)


def test_the_printed_command_is_the_one_that_was_run():
    from dlth_tf import train as program

    given = (
        "--method=rst",
        "--sparsity=0.7902848",
        "--dataset=folder:/my pictures/it's",
        "--layers=stage1*,stage[2]*",
        "--layer_sparsity=[0,s,s,0]",
        "--learning_rate=0.0123456789",
        "--noreport",
    )
    with flagsaver.flagsaver():
        program.flags.FLAGS(["train", *given])
        flags = program.program_flags.as_dict()
    run = row(0, 0.1, sparsity=0.7902848, flags=flags)
    words = shlex.split(" ".join(command(Cell("rst", 0.7902848, (run,)))))
    assert words[:3] == ["python", "-m", "dlth_tf.train"]
    with flagsaver.flagsaver():
        program.flags.FLAGS(["train", *words[3:]])
        again = program.program_flags.as_dict()
    assert again | {"report": False} == flags


@pytest.mark.parametrize("more", [[], ["--dry_run"]])
@pytest.mark.parametrize("method", ["lth", "lth_iter", "lr_rewind"])
@pytest.mark.parametrize("rewind_to", ["2ep", "16", "5ep"])
def test_rewinding_past_the_end_is_refused(train, tmp_path, method, rewind_to, more):
    rewound = (f"--method=dense,{method}", f"--rewind_to={rewind_to}", "--model=mlp")
    outcome = train(f"--output_dir={tmp_path}/new", *rewound, *more)
    assert outcome.code == 2
    (line,) = outcome.err.strip().splitlines()
    assert "--rewind_to must be below the 2 epochs of the training (16 steps)" in line
    assert outcome.out == ""
    assert not (tmp_path / "new").exists()
