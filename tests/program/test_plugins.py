"""Methods, networks, data sets and callbacks of one's own."""

import re
import tempfile
from pathlib import Path

import pytest
from absl.testing import flagsaver

from dlth_tf import plugins
from dlth_tf.experiment import flags as program_flags
from dlth_tf.experiment.plan.runs import stages_of
from dlth_tf.train import FLAGS
from tests.program.conftest import results_in, shell
from tests.registries import restored

MINE = '''
import keras
import numpy as np

import dlth_tf as dlth
from dlth_tf import plugins


@plugins.method
def smallest(trial):
    """Keep the smallest weights, and let RigL move them."""
    weights = trial.initial_weights()
    return trial.train_by(moving, weights, trial.own_ticket(small, weights))


def small(model, sparsity, seed):
    kernels = dlth.maskable_kernels(model).items()
    scores = {name: -np.abs(keras.ops.convert_to_numpy(k)) for name, k in kernels}
    return dlth.highest_ticket(model, sparsity, scores)


def moving(ticket, steps):
    return dlth.RigL(ticket, until=steps // 2, every=2)


@plugins.network
def tiny(input_shape, classes):
    layers = [keras.layers.Dense(8, name=f"dense_of_{place}") for place in "abc"]
    last = keras.layers.Dense(classes, name="classifier")
    first = [keras.Input(input_shape), keras.layers.Flatten()]
    return keras.Sequential([*first, *layers, last])


@plugins.dataset
def squares(data_dir):
    pixels = np.random.default_rng(0).integers(0, 255, (64, 8, 8, 1))
    return (pixels[:48], np.arange(48) % 4), (pixels[48:], np.arange(16) % 4)


class Watch(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs):
        with open("seen", "a") as file:
            file.write(f"{self.stage}, {epoch}\\n")
'''
METHOD = "from dlth_tf import plugins\n@plugins.method\n"
TASK = ("--method=dense,smallest", "--sparsity=0.5", "--dataset=squares", "--model=tiny")


@pytest.fixture
def mine(monkeypatch, tmp_path):
    """A plugin's file."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(MINE)
    with restored():
        yield "mine.py"


def planned(content: str, *flags: str) -> dict[str, str]:
    """The keys of an experiment's stages, by their titles, with such a plugin."""
    with tempfile.TemporaryDirectory() as folder, restored():
        path = Path(folder, "mine.py")
        path.write_text(content)
        plugins.load([str(path)])
        with flagsaver.flagsaver():
            FLAGS(["train", "--seed=0", "--sparsity=0.5", *flags])
            runs = program_flags.experiment().runs()
        return {stage.title: stage.key for stage in stages_of(runs)}


def test_what_a_plugin_brings_is_trained_and_compared(train, mine):
    plugins.load([mine])
    watched = ["--train_examples=48", "--callback=mine.py:Watch"]
    outcome = train(*TASK, *watched, "--output_dir=it")
    assert outcome.code == 0, outcome.err
    assert re.search(r"^\| smallest \| 0.5 ", outcome.out, re.M)
    _, row = results_in(Path("it"))
    removed = {name: part for name, part in row["sparsity_per_layer"].items() if part}
    assert removed == {"dense_of_b": 0.5, "dense_of_c": 0.5}
    title = "train by moving from small ticket 0.5, seed 0"
    assert Path("seen").read_text().splitlines()[2:] == [f"{title}, 0", f"{title}, 1"]


def test_a_source_is_in_the_keys_of_the_stages_that_it_touches():
    changed = MINE.replace("Keep the smallest weights, and", "Also")
    own = [planned(text, "--method=dense,rst,smallest") for text in (MINE, changed)]
    same = {title for title in own[0] if own[0][title] == own[1][title]}
    assert {title for title in own[0] if title not in same} == {
        "small ticket 0.5, seed 0",
        "train by moving from small ticket 0.5, seed 0",
    }
    for flag in ("--model=tiny", "--dataset=squares"):
        keys, others = (planned(text, "--method=rst", flag) for text in (MINE, changed))
        assert keys.keys() == others.keys()
        assert not {*keys.values()} & {*others.values()}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("x = 1\nraise RuntimeError('late')", "line 2: RuntimeError: late"),
        ("def (", "SyntaxError"),
        (f"{METHOD}def rst(trial): pass", "There is a method 'rst' already"),
        (f"{METHOD}def Mine(trial): pass", "small letters, digits and _. Received: Mine"),
        (f"{METHOD}def mine(trial): return trial.nothing()", "mine: AttributeError"),
        (f"{METHOD}def mine(trial): return trial.train_by(lambda: 1, 1)", "no name of"),
    ],
)
def test_errors_name_the_plugin(mine, content, words):
    Path("mine.py").write_text(content)
    done = shell(f"--plugins={Path(mine).resolve()}", "--method=mine")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "mine.py" in line and words in line


@pytest.mark.parametrize("callback", ["Watch", "mine.py:Wotch", "nowhere:Watch"])
def test_callbacks_that_are_not_there(train, mine, callback):
    outcome = train("--method=dense", "--output_dir=new", f"--callback={callback}")
    assert outcome.code == 2
    assert (
        f"--callback={callback}" in outcome.err or "must be module:Class" in outcome.err
    )
    assert not Path("new").exists()


def test_help_tells_of_plugins(mine):
    kinds = ("method", "network", "dataset")
    functions = [f'@plugins.{kind}\ndef my_{kind}(x): "Mine."\n' for kind in kinds]
    Path(mine).write_text("from dlth_tf import plugins\n" + "".join(functions))
    done = shell(f"--plugins={Path(mine).resolve()}", "--help")
    told = re.sub(r"\s+", " ", done.stdout)
    for brought in ("my_method: Mine", "my_network", "my_dataset"):
        assert f"By --plugins: {brought}." in told
