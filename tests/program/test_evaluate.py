"""Any SavedModel is measured: ours, and what other programs write."""

import json

import keras
import numpy as np
import pytest
from absl.testing import flagsaver

from dlth_tf import evaluate as program
from dlth_tf import exporting
from dlth_tf.evaluate import SavedClassifier, images_per_second
from dlth_tf.experiment.engine.context import evaluate as evaluate_network
from dlth_tf.metrics import expected_calibration_error, measure
from official import data
from tests.program.conftest import Outcome

CLASSES = tuple("abc")


def test_accuracies_and_loss_by_hand():
    logits = np.log([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.5, 0.4, 0.1], [0.2, 0.2, 0.6]])
    found = measure(logits, np.array([0, 1, 1, 1]), CLASSES)
    assert found["top1"] == 0.5
    assert found["top5"] == 1.0
    assert found["loss"] == pytest.approx(-np.log([0.7, 0.6, 0.4, 0.2]).mean())
    assert found["per_class"] == {"a": 1.0, "b": 1 / 3, "c": None}
    assert found["images"] == 4


def test_top5_is_among_the_five_highest():
    outputs = np.tile(np.arange(10.0), (10, 1))
    found = measure(outputs, np.arange(10), tuple("0123456789"))
    assert (found["top1"], found["top5"]) == (0.1, 0.5)


def test_ties_and_nan_count_against_the_network():
    classes = tuple("0123456789")
    labels = np.arange(10)
    for outputs in (np.zeros((10, 10)), np.full((10, 10), np.nan)):
        found = measure(outputs, labels, classes)
        assert (found["top1"], found["top5"]) == (0.0, 0.0)
    one_right = np.array([[1, 0, 0], [np.nan, 1, 0], [0, 1, 1]])
    assert measure(one_right, np.arange(3), CLASSES)["top1"] == 1 / 3


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_network_of_zeros_or_nan_is_never_right(digits, value):
    network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    network.add(keras.layers.Dense(10))
    network.set_weights([np.full_like(w, value) for w in network.get_weights()])
    found = evaluate_network(network, digits, "test")
    assert (found.accuracy, found.top5) == (0.0, 0.0)
    assert found.not_finite == (450 if np.isnan(value) else 0)


def test_without_ties_scikit_learn_measures_the_same():
    from sklearn.metrics import log_loss, top_k_accuracy_score

    random = np.random.default_rng(0)
    outputs, labels = random.normal(size=(200, 10)), random.integers(10, size=200)
    found = measure(outputs, labels, tuple("0123456789"))
    for k, ours in ((1, found["top1"]), (5, found["top5"])):
        assert ours == top_k_accuracy_score(labels, outputs, k=k)
    probabilities = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    assert found["loss"] == pytest.approx(log_loss(labels, probabilities))


def test_probabilities_and_logits_are_told_apart():
    logits = np.random.default_rng(0).normal(size=(50, 3))
    labels = np.arange(50) % 3
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    by_logits = measure(logits, labels, CLASSES)
    by_probabilities = measure(probabilities.astype(np.float32), labels, CLASSES)
    assert by_probabilities["loss"] == pytest.approx(by_logits["loss"], rel=1e-5)
    assert by_probabilities["calibration_error"] == pytest.approx(
        by_logits["calibration_error"], rel=1e-5
    )


def test_a_probability_of_zero_does_not_make_the_loss_infinite():
    found = measure(np.array([[1.0, 0.0, 0.0]]), np.array([1]), CLASSES)
    assert np.isfinite(found["loss"])


def test_calibration_error_by_hand():
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.5, 0.5])
    right = np.array([True, True, True, False, True, False])
    expected = 4 / 6 * abs(0.75 - 0.95) + 2 / 6 * 0
    assert expected_calibration_error(confidence, right) == pytest.approx(expected)


def test_a_bin_has_its_upper_edge():
    confidence = np.array([0.6, 0.6 + 1e-9])
    right = np.array([True, False])
    assert expected_calibration_error(confidence, right) == pytest.approx(
        (0.4 + 0.6) / 2, abs=1e-6
    )


def test_speed_is_of_the_median_call():
    import time

    pauses = iter([0.3] + [0.01] * 100)
    speed = images_per_second(
        lambda images: time.sleep(next(pauses)), np.zeros((4, 1)), seconds=0.05
    )
    assert 100 < speed < 400


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def exported(partly_zero, digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    exporting.export(partly_zero, folder, digits.normalization)
    return folder


@pytest.fixture
def evaluate(capfd, tmp_path):
    """Runs the program in this process; what it measured is in `tmp_path`."""

    def run(folder, *arguments: str) -> Outcome:
        given = (f"--saved_model={folder}", "--dataset=digits", *arguments)
        with flagsaver.flagsaver():
            program.flags.FLAGS(["evaluate", f"--json={tmp_path}/m.json", *given])
            code = program.main(["evaluate"])
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


def measured(tmp_path) -> dict:
    return json.loads((tmp_path / "m.json").read_text())


def test_it_measures_what_training_measured(
    evaluate, partly_zero, digits, exported, tmp_path
):
    outcome = evaluate(exported)
    assert outcome.code == 0, outcome.err
    expected = evaluate_network(partly_zero, digits, "test")
    found = measured(tmp_path)
    assert found["top1"] == expected.accuracy
    assert found["top5"] == expected.top5
    assert found["loss"] == pytest.approx(expected.loss, abs=1e-5)
    assert found["images"] == 450
    assert set(found["per_class"]) == {str(digit) for digit in range(10)}
    assert set(found["images_per_second"]) == {"1", "128"}
    kernel = keras.ops.convert_to_numpy(partly_zero.get_layer("stage1_conv").kernel)
    by_name = found["sparsity_per_variable"]
    assert by_name["stage1_conv/kernel"] == pytest.approx(np.mean(kernel == 0))
    assert by_name["stem_conv/kernel"] == 0
    lines = dict(line.strip().rsplit("  ", 1) for line in outcome.out.splitlines()[1:])
    found_line = next(v for k, v in lines.items() if k.startswith("top-1 accuracy"))
    assert found_line.strip() == f"{expected.accuracy:.2%}"


def test_it_measures_what_was_held_out(evaluate, partly_zero, exported, tmp_path):
    part = {"train_examples": 300, "validation_fraction": 0.2}
    given = [f"--{name}={value}" for name, value in part.items()]
    outcome = evaluate(exported, "--split=validation", *given)
    assert outcome.code == 0, outcome.err
    held_out = data.load("digits", **part)
    expected = evaluate_network(partly_zero, held_out, "validation")
    assert measured(tmp_path)["images"] == 60
    assert measured(tmp_path)["top1"] == expected.accuracy


def module(tmp_path, function, shape, dtype, **options):
    """What a program without Keras saves."""
    import tensorflow as tf

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.kernel = tf.Variable(
                np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)
            )

        @tf.function(input_signature=[tf.TensorSpec(shape, dtype, name="input_1")])
        def predict(self, input_1):
            return {"dense": function(tf, input_1, self.kernel)}

    folder = tmp_path / "theirs"
    tf.saved_model.save(Module(), str(folder), **options)
    return folder


def product(tf, images, kernel):
    flat = tf.reshape(tf.cast(images, tf.float32), (-1, 64))
    return tf.nn.softmax(flat @ kernel)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((None, 8, 8, 1), "float32"),
        ((None, 1, 8, 8), "float32"),
        ((None, 8, 8), "float64"),
        ((None, 64), "uint8"),
        ((128, 64), "int32"),
        (None, "float32"),
    ],
)
def test_another_programs_model(evaluate, digits, tmp_path, shape, dtype):
    folder = module(tmp_path, product, shape, dtype)
    outcome = evaluate(folder)
    assert outcome.code == 0, outcome.err
    right = 0
    kernel = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)
    for x, y in digits.evaluation_batches("test", 500):
        right += ((np.rint(x * 16).reshape(-1, 64) @ kernel).argmax(axis=1) == y).sum()
    assert measured(tmp_path)["top1"] == right / 450


def test_images_are_normalised_on_demand(evaluate, partly_zero, digits, tmp_path):
    exporting.export(partly_zero, tmp_path / "normalised")
    evaluate(tmp_path / "normalised", "--normalize")
    with_flag = measured(tmp_path)["loss"]
    assert with_flag == pytest.approx(
        evaluate_network(partly_zero, digits, "test").loss, abs=1e-5
    )
    evaluate(tmp_path / "normalised")
    assert measured(tmp_path)["loss"] != pytest.approx(with_flag, abs=1e-3)


def test_a_model_without_variables(evaluate, tmp_path):
    folder = module(tmp_path, lambda tf, x, _: x[:, :10], (None, 64), "float32")
    outcome = evaluate(folder)
    assert outcome.code == 0, outcome.err
    assert "no variables" in outcome.out


@pytest.mark.parametrize(
    ("function", "shape", "words"),
    [
        (product, (None, 32, 32, 3), ["[None, 32, 32, 3]", "8, 8, 1"]),
        (lambda tf, x, kernel: product(tf, x, kernel)[:, :9], (None, 64), ["[450, 9]"]),
    ],
)
def test_a_model_that_does_not_fit(evaluate, tmp_path, function, shape, words):
    outcome = evaluate(module(tmp_path, function, shape, "float32"))
    assert outcome.code == 2
    (line,) = outcome.err.strip().splitlines()
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--signature=predict"], ["`signature`", "predict", "serving_default"]),
        (["--output_name=dense"], ["`output`", "dense", "logits"]),
        (["--split=validation"], ["--split=validation", "--validation_fraction", "0.0"]),
        (["--dataset=digit"], ["'digit'", "'digits'"]),
    ],
)
def test_bad_values_end_in_one_line(evaluate, exported, arguments, words):
    outcome = evaluate(exported, *arguments)
    assert outcome.code == 2
    (line,) = outcome.err.strip().splitlines()
    for word in words:
        assert word in line


def test_a_folder_without_a_saved_model(evaluate, tmp_path):
    outcome = evaluate(tmp_path)
    assert outcome.code == 2
    assert str(tmp_path) in outcome.err


def test_a_damaged_saved_model(evaluate, exported, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    (copy / "saved_model.pb").write_bytes(b"\xff" * 100)
    outcome = evaluate(copy)
    assert outcome.code == 1
    (line,) = outcome.err.strip().splitlines()
    assert str(copy) in line


def test_batches_of_one_size_are_filled_up(tmp_path):
    folder = module(tmp_path, product, (7, 64), "float32")
    classifier = SavedClassifier(folder, None, None)
    images = np.random.default_rng(1).integers(0, 17, (16, 8, 8, 1)).astype(np.float32)
    expected = images.reshape(16, 64) @ next(iter(classifier.weights().values()))
    found = classifier(images)
    np.testing.assert_array_equal(found.argmax(axis=1), expected.argmax(axis=1))
