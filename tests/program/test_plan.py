"""The plan is the truth: what a dry run prints is what a run then does."""

import json
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dlth_tf.experiment.plan.methods import METHODS
from tests.program.conftest import results_in

_RUN = re.compile(r"  (\S+) +(-?[\d,]+) images +[\d.]+ x dense")
_TRAINING = re.compile(r"  (.+?) +(-?[\d,]+) steps +(-?[\d,]+) images(.*)")
_PLACES = [("weight", "uniform"), ("weight", "erk"), ("weight", "global")]


@st.composite
def commands(draw, methods: int):
    """Flags that may or may not go together, of a training of seconds."""
    filters = [("filter", "uniform"), ("filter", "global")]
    unit, distribution = draw(st.sampled_from([*_PLACES, ("2:4", "uniform"), *filters]))
    names = st.lists(
        st.sampled_from(list(METHODS)[::-1]), min_size=1, max_size=methods, unique=True
    )
    sparsities = st.sampled_from(["0.5,0.9999999", "0.9", "0,0.50"])
    flags = {
        "method": ",".join(draw(names)),
        "sparsity": "0.5" if unit == "2:4" else draw(sparsities),
        "seed": draw(st.sampled_from(["0", "3", "1,1"])),
        "unit": unit,
        "distribution": distribution,
        "train_examples": draw(st.integers(30, 70)),
        "validation_fraction": draw(st.sampled_from([0.2, 0.0])),
        "batch_size": draw(st.integers(8, 24)),
        "epochs": draw(st.sampled_from([2, 1, 3])),
        "rewind_to": draw(st.sampled_from(["1", "0", "1ep"])),
        "cycles": draw(st.sampled_from([2, 1, 3])),
        "transform_batch_size": draw(st.integers(8, 24)),
        "penalty_hold": draw(st.integers(0, 3)),
        "cycle_penalty_hold": draw(st.integers(0, 3)),
        "mask_every": draw(st.integers(1, 2)),
    }
    bare = ["--shrink"] if unit == "filter" and draw(st.booleans()) else []
    return [f"--{name}={value}" for name, value in flags.items()] + bare


def count(text: str) -> int:
    return int(text.replace(",", ""))


def planned(text: str) -> tuple[dict[str, int], list[tuple]]:
    """Images of each run; title, steps, images and notes of each training."""
    runs, trainings = text.split(" trainings, ")
    named = [(name, count(images)) for name, images in _RUN.findall(runs)]
    assert len(dict(named)) == len(named)
    return dict(named), [
        (title, count(steps), count(images), notes)
        for title, steps, images, notes in _TRAINING.findall(trainings)
    ]


def done(folder: Path) -> list[tuple]:
    """Words, steps and images of each training there was."""
    records = [
        (path.parent.name[:-17], json.loads(path.read_text()))
        for path in folder.glob("stages/*/stage.json")
    ]
    return [(w, r.get("steps"), r["images"]) for w, r in records if r.get("images")]


def words(title: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", title.lower()).strip("-")[:60]


def hold_against_the_deed(train, arguments) -> None:
    with tempfile.TemporaryDirectory() as name:
        command = ("--model=mlp", *arguments, f"--output_dir={name}/it")
        plan = train(*command, "--dry_run")
        assert not Path(name, "it").exists()
        deed = train(*command)
        assert deed.code == plan.code, deed.err
        if plan.code:
            assert plan.err == deed.err and not Path(name, "it").exists()
            return
        folder = Path(name, "it")
        runs, trainings = planned(plan.out)
        results = {Path(r["run"]).name: r for r in results_in(folder)}
        assert results.keys() == runs.keys()
        for run, images in runs.items():
            seen = results[run]["train_images"]
            assert seen == images or ("eb-" in run and 0 < seen <= images)
        expected = sorted((words(title), *rest) for title, *rest in trainings)
        for wanted, found in zip(expected, sorted(done(folder)), strict=True):
            title, steps, images, notes = wanted
            assert found[0] == title and 0 < found[2] <= images and steps > 0
            if "at most" not in notes:
                assert found[1] in (steps, None) and found[2] == images
        assert "Nothing is left to train." in train(*command, "--dry_run").out


@given(commands(methods=1))
@example(["--method=lth,eb", "--epochs=3", "--rewind_to=1ep", "--train_examples=40"])
@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_plan_is_what_is_done(train, arguments):
    hold_against_the_deed(train, arguments)


@pytest.mark.long
@given(commands(methods=3))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_many_plans_are_what_is_done(train, arguments):
    hold_against_the_deed(train, arguments)
