"""What is exported computes the same, and needs nothing of ours."""

import json
import subprocess
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from absl.testing import flagsaver

import dlth_tf as dlth
from dlth_tf import evaluate as evaluate_program
from dlth_tf import export as export_program
from dlth_tf import exporting
from dlth_tf.experiment.engine.folder import ExperimentFolder
from dlth_tf.experiment.plan.protocol import SparsityPlacement
from dlth_tf.experiment.results.results import FinishedRun
from official.modeling.layers import plain
from official.modeling.networks import build_network
from tests.families import EVERY_NETWORK
from tests.program.conftest import Outcome, results_in

DIGITS = SimpleNamespace(scale=16.0, mean=(0.1,), std=(0.3,))
_LARGE_IMAGES = ("vgg", "resnet18", "resnet34", "resnet50", "mobilenetv2")
_EXAMPLES = {
    "mobilenetv1-ALPHA": "mobilenetv1-0.25",
    "mobilenetv2-ALPHA": "mobilenetv2-0.35",
    "wrn-DEPTH-WIDTH": "wrn-10-1",
    "vit-DEPTH-WIDTH": "vit-2-64",
    "keras:NAME": "keras:MobileNetV3Small",
}


def network_named(name: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    name = _EXAMPLES.get(name, name)
    side = 32 if name.startswith((*_LARGE_IMAGES, "keras:", "lenet")) else 16
    return build_network(name, input_shape=(side, side, 3), classes=7)


def calm(model: keras.Model) -> keras.Model:
    """Statistics that keep activations in bounds: untrained, deep networks run away.

    Half of them stays as it was, so that no variance is next to nothing, which would
    make differences in the last bit of the images large ones.
    """
    images = np.random.default_rng(0).normal(size=(8, *model.input_shape[1:]))
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.5
    model(images.astype(np.float32), training=True)
    return model


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 17, (5, 8, 8, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def exported(partly_zero, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports") / "digits"
    exporting.export(
        partly_zero, folder, DIGITS, tuple(exporting.FORMATS), {"method": "rst"}
    )
    return folder


@pytest.fixture(scope="module")
def expected(partly_zero, images):
    normalised = (images.astype(np.float32) / 16 - 0.1) / np.float32(0.3)
    return partly_zero.predict_on_batch(normalised)


def elsewhere(code: str, folder) -> np.ndarray:
    """The array that a program prints which knows nothing of this project."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(folder)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return np.array(json.loads(done.stdout.splitlines()[-1]), np.float32)


@pytest.mark.parametrize("signature", ["serving_default", "serve", "serve_uint8"])
def test_saved_model_gives_logits_and_probabilities(
    exported, images, expected, signature
):
    import tensorflow as tf

    serve = tf.saved_model.load(str(exported)).signatures[signature]
    dtype = "uint8" if signature == "serve_uint8" else "float32"
    outputs = serve(images=tf.constant(images.astype(dtype)))
    np.testing.assert_allclose(outputs["logits"], expected, atol=1e-5, rtol=1e-5)
    softmax = np.exp(expected) / np.exp(expected).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(outputs["probabilities"], softmax, atol=1e-6)


def test_saved_model_is_loaded_without_this_project(exported, expected):
    code = """
import sys, json, numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
images = np.random.default_rng(0).integers(0, 17, (5, 8, 8, 1)).astype(np.float32)
logits = model.signatures["serving_default"](images=tf.constant(images))["logits"]
assert not {"dlth_tf", "official"} & set(sys.modules)
print(json.dumps(logits.numpy().tolist()))
"""
    np.testing.assert_allclose(elsewhere(code, exported), expected, atol=1e-5, rtol=1e-5)


def test_keras_file_is_loaded_without_this_project(exported, expected):
    code = """
import sys, json, numpy as np, keras
model = keras.saving.load_model(sys.argv[1] + "/model.keras")
images = np.random.default_rng(0).integers(0, 17, (5, 8, 8, 1)).astype(np.float32)
assert not {"dlth_tf", "official"} & set(sys.modules)
print(json.dumps(model.predict_on_batch(images)["logits"].tolist()))
"""
    np.testing.assert_allclose(elsewhere(code, exported), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_litert_file_computes_the_same(exported, images, expected):
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(str(exported / "model.tflite"))
    signature = interpreter.get_signature_runner("serving_default")
    outputs = signature(images=images[:1].astype(np.float32))
    np.testing.assert_allclose(outputs["logits"], expected[:1], atol=1e-5, rtol=1e-5)
    assert set(outputs) == {"logits", "probabilities"}


@pytest.mark.parametrize("name", ["mobilenetv1-0.25", "mobilenetv2-0.35"])
def test_networks_made_for_it_qualify(name, tmp_path):
    network = build_network(name, input_shape=(32, 32, 3), classes=7)
    placed = SparsityPlacement(("xnnpack",)).sparsity(dlth.maskable_kernels(network), 0.9)
    dlth.random_ticket(network, placed, seed=0).apply(network)
    normalization = SimpleNamespace(scale=255.0, mean=(0.4,) * 3, std=(0.2,) * 3)
    told = exporting.export(
        plain(calm(network)), tmp_path / "new", normalization, ["litert"]
    )
    assert told["litert"]["qualifies"], told["litert"]["report"]
    assert told["litert"]["difference"] < 1e-5


def test_zeros_make_the_litert_file_smaller(partly_zero, tmp_path):
    sparse = keras.models.clone_model(partly_zero)
    kernel = sparse.get_layer("stage2_conv").kernel
    kept = np.random.default_rng(0).random(kernel.shape) < 0.1
    sizes = []
    for name in ("dense", "sparse"):
        exporting.export(sparse, tmp_path / name, DIGITS, ["litert"])
        sizes.append((tmp_path / name / "model.tflite").stat().st_size)
        kernel.assign(keras.ops.where(kept, kernel, 0.0))
    removed_bytes = 4 * np.count_nonzero(~kept)
    assert sizes[0] - sizes[1] > 0.6 * removed_bytes


def test_variables_are_stored_once(exported, partly_zero):
    variables = exported / "variables" / "variables.data-00000-of-00001"
    assert variables.stat().st_size < 1.1 * 4 * partly_zero.count_params() + 4096


def test_batch_norm_is_folded_where_nobody_trains(tmp_path):
    import tensorflow as tf

    network = plain(network_named("resnet20"))
    exporting.export(network, tmp_path / "exported", None, ["saved_model", "keras"])
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    kernel_and_bias = 2 * len(dlth.maskable_kernels(network))
    variables = loaded.signatures["serving_default"].variables
    assert len(variables) == kernel_and_bias < len(network.variables)
    trained_on = keras.saving.load_model(tmp_path / "exported" / "model.keras")
    assert len(trained_on.variables) == len(network.variables)


def test_metadata_tells_what_it_is(exported, partly_zero):
    told = json.loads((exported / "metadata.json").read_text())
    assert told["method"] == "rst"
    assert told["inputs"]["images"]["shape"] == [None, 8, 8, 1]
    assert told["normalization"] == {"scale": 16.0, "mean": [0.1], "std": [0.3]}
    kernel = keras.ops.convert_to_numpy(partly_zero.get_layer("stage1_conv").kernel)
    assert told["sparsity_per_layer"]["stage1_conv"] == np.mean(kernel == 0)
    assert told["sparsity_per_layer"]["classifier"] == 0
    removed = told["parameters"] - told["parameters_not_zero"]
    assert removed == np.count_nonzero(kernel == 0)
    assert told["bytes"]["model.keras"] == (exported / "model.keras").stat().st_size


def test_without_normalization_images_come_normalised(partly_zero, tmp_path):
    import tensorflow as tf

    exporting.export(partly_zero, tmp_path / "plain")
    x = np.random.default_rng(1).normal(size=(3, 8, 8, 1)).astype(np.float32)
    signatures = tf.saved_model.load(str(tmp_path / "plain")).signatures
    assert "serve_uint8" not in signatures
    logits = signatures["serving_default"](images=tf.constant(x))["logits"]
    np.testing.assert_allclose(
        logits, partly_zero.predict_on_batch(x), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("name", EVERY_NETWORK)
def test_every_network_computes_the_same(name, tmp_path):
    import tensorflow as tf

    network = calm(network_named(name))
    normalization = SimpleNamespace(
        scale=255.0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    )
    folder = tmp_path / "exported"
    exporting.export(plain(network), folder, normalization)
    chance = np.random.default_rng(1)
    raw = chance.integers(0, 256, (3, *network.input_shape[1:])).astype(np.float32)
    x = (raw / 255 - normalization.mean) / normalization.std
    logits = network.predict_on_batch(x.astype(np.float32))
    found = tf.saved_model.load(str(folder)).signatures["serving_default"](
        images=tf.constant(raw)
    )
    softmax = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
    np.testing.assert_allclose(found["probabilities"], softmax, atol=1e-5)
    scale = max(1.0, np.abs(logits).max())
    np.testing.assert_allclose(found["logits"] / scale, logits / scale, atol=1e-5)


def test_a_layer_of_ones_own_is_named(tmp_path):
    class Mine(keras.layers.Layer):
        def call(self, x):
            return x

    network = keras.Sequential(
        [keras.Input((4,)), Mine(name="mine"), keras.layers.Dense(2)]
    )
    with pytest.raises(ValueError, match="'mine' is a Mine"):
        exporting.export(network, tmp_path / "new", formats=["keras"])
    assert not list(tmp_path.iterdir())


def test_a_converter_that_fails_leaves_nothing(partly_zero, tmp_path, monkeypatch):
    def fail(model, folder, **options):
        (folder / "half").write_text("x")
        raise TypeError("no such operation\nand many lines")

    monkeypatch.setitem(exporting.FORMATS, "litert", fail)
    with pytest.raises(exporting.ExportFailed, match=r"litert: no such operation$"):
        exporting.export(partly_zero, tmp_path / "new", formats=["litert"])
    assert not list(tmp_path.iterdir())


def test_a_wrong_output_is_noticed(partly_zero, tmp_path, monkeypatch):
    write = exporting.FORMATS["saved_model"]

    def write_another(model, folder):
        other = keras.models.clone_model(model)
        write(other, folder)

    monkeypatch.setitem(exporting.FORMATS, "saved_model", write_another)
    with pytest.raises(exporting.ExportFailed, match="differ from the model's"):
        exporting.export(partly_zero, tmp_path / "new")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    from dlth_tf import train as program
    from tests.program.conftest import QUICK

    folder = tmp_path_factory.mktemp("experiment")
    with flagsaver.flagsaver():
        program.flags.FLAGS(
            [
                *("train", *QUICK, "--method=scratch", f"--output_dir={folder}"),
                *("--export", "--image_size=12"),
            ]
        )
        assert program.main(["train"]) == 0
    return folder / "runs" / "scratch-0.9-seed0"


@pytest.fixture
def export(capfd):
    """Runs the export program in this process."""

    def run(*arguments: str) -> Outcome:
        with flagsaver.flagsaver():
            export_program.flags.FLAGS(["export", *arguments])
            code = export_program.main(["export"])
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


def test_training_exports_its_runs_when_asked(run_folder):
    (result,) = results_in(run_folder.parent.parent)
    told = json.loads((run_folder / "export" / "metadata.json").read_text())
    assert told["accuracy"]["top1"] == result["test_accuracy"]
    assert told["sparsity_per_layer"]["stage1_conv"] == pytest.approx(0.9, abs=1e-3)
    assert told["classes"] == [str(digit) for digit in range(10)]
    assert told["flags"]["epochs"] == 2
    assert (run_folder / "export" / "saved_model.pb").exists()


def test_images_were_shown_in_the_size_asked_for(run_folder, tmp_path):
    (result,) = results_in(run_folder.parent.parent)
    arguments = ("--dataset=digits", "--image_size=12", f"--json={tmp_path}/m.json")
    with flagsaver.flagsaver():
        exported = f"--saved_model={run_folder}/export"
        evaluate_program.flags.FLAGS(["evaluate", exported, *arguments])
        assert evaluate_program.main(["evaluate"]) == 0
    measured = json.loads((tmp_path / "m.json").read_text())
    assert measured["top1"] == result["test_accuracy"]


def test_a_run_can_be_named_from_within_its_folder(run_folder, monkeypatch):
    monkeypatch.chdir(run_folder.parent)
    run = FinishedRun.read(run_folder.name)
    assert run.task.dataset == "digits"
    experiment = ExperimentFolder(run.folder.parent.parent)
    assert experiment.stage_named(run.row.stages[-1]).exists()


def test_the_program_exports_a_run(export, run_folder, tmp_path):
    outcome = export(
        f"--run={run_folder}", f"--output={tmp_path}/new", "--format=saved_model,keras"
    )
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "new" / "saved_model.pb").exists()
    assert (tmp_path / "new" / "model.keras").exists()
    assert "not zero" in outcome.out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--storage=float16"], ["model.tflite: float16. XNNPACK", "no 1x1 convolution"]),
        (["--quantize=int8"], ["model.tflite: int8. XNNPACK", "%, in int8 "]),
    ],
)
def test_the_program_reports_on_litert(export, run_folder, tmp_path, flags, words):
    folder = tmp_path / "new"
    outcome = export(
        f"--run={run_folder}", f"--output={folder}", "--format=litert", *flags
    )
    assert outcome.code == 0, outcome.err
    for word in words:
        assert word in outcome.out
    (metadata,) = folder.glob("*.json")
    assert json.loads(metadata.read_text())["litert"]["difference"] < 0.5
    assert {path.name for path in folder.iterdir()} == {"metadata.json", "model.tflite"}


def test_the_program_exports_a_run_of_a_folder_that_moved(export, run_folder, tmp_path):
    import shutil

    moved = tmp_path / "moved"
    shutil.copytree(run_folder.parent.parent, moved)
    run = moved / "runs" / run_folder.name
    shutil.rmtree(run / "export")
    outcome = export(
        f"--run={run}", f"--output={tmp_path}/new", "--nonormalization_inside"
    )
    assert outcome.code == 0, outcome.err
    told = json.loads((tmp_path / "new" / "metadata.json").read_text())
    assert "not inside" in told["normalization"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--output={new}"], ["--run is needed"]),
        (["--run={run}"], ["--output is needed"]),
        (["--run={run}x", "--output={new}"], ["scratch-0.9-seed0"]),
        (["--run={run}", "--output={run}"], ["is there already"]),
        (["--run={run}", "--output={new}", "--format=onnx"], ["'onnx'", "litert"]),
        (["--run={run}", "--output={new}", "--quantize=int8"], ["--format=litert"]),
    ],
)
def test_bad_values_end_in_one_line(export, run_folder, tmp_path, arguments, words):
    filled = [a.format(run=run_folder, new=tmp_path / "new") for a in arguments]
    outcome = export(*filled)
    assert outcome.code == 2
    (line,) = outcome.err.strip().splitlines()
    for word in words:
        assert word in line
    assert not list(tmp_path.iterdir())


def test_damaged_weights_are_named(export, run_folder, tmp_path):
    import shutil

    shutil.copytree(run_folder.parent.parent, tmp_path / "copy")
    (weights,) = (tmp_path / "copy").glob("stages/finetune*/weights.npz")
    weights.write_bytes(weights.read_bytes()[:-100])
    run = tmp_path / "copy" / "runs" / run_folder.name
    outcome = export(f"--run={run}", f"--output={tmp_path}/new")
    assert outcome.code == 1
    assert str(weights) in outcome.err.strip().splitlines()[-1]


def test_help_and_usage_errors_need_no_tensorflow():
    for program in ("export", "evaluate"):
        code = f"import sys, dlth_tf.{program}; sys.exit('keras' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code]).returncode == 0
