"""A LiteRT file computes what Keras does, and says whether its zeros make it faster."""

import importlib.util
import re

import keras
import numpy as np
import pytest
from keras import layers

import dlth_tf as dlth
from dlth_tf.litert import converting, exporting
from dlth_tf.litert.qualification import qualification
from dlth_tf.litert.rearranging import rearranged
from dlth_tf.litert.running import LiteRTFile

APPLICATIONS = {
    "MobileNet": {"alpha": 0.25},
    "MobileNetV2": {"alpha": 0.35},
    "MobileNetV3Small": {"alpha": 0.75, "include_preprocessing": False},
    "EfficientNetB0": {},
}


def images_of(model, number=4):
    high = 255 if model.name.startswith("efficient") else 1
    shape = (number, *model.input_shape[1:])
    return np.random.default_rng(0).uniform(-high, high, shape).astype(np.float32)


def settled(model, sparsity=0.9):
    """Statistics as after some training, and zeros in the 1x1 convolutions."""
    chance = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.5
        elif layer.name.startswith("pointwise") or is_pointwise(layer):
            kernel = keras.ops.convert_to_numpy(layer.kernel)
            kept = chance.random(kernel.shape) >= sparsity
            layer.kernel.assign(kernel * kept / np.sqrt(1 - sparsity))
    model(images_of(model), training=True)
    return model


def is_pointwise(layer):
    return type(layer) is layers.Conv2D and tuple(layer.kernel_size) == (1, 1)


def small(sparsity=0.9, middle=None, stem=None, head=None, channels=3, side=16):
    """A network of a few layers that qualifies, unless some of it is changed."""
    keras.utils.set_random_seed(0)
    x = images = keras.Input((side, side, channels), name="images")
    stem = stem or layers.Conv2D(8, 3, strides=2, padding="same", name="stem")
    x = layers.ReLU(6.0)(layers.BatchNormalization()(stem(x)))
    x = layers.Conv2D(16, 1, use_bias=False, name="pointwise0")(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = middle(x) if middle else x
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", name="depthwise")(x)
    x = layers.Conv2D(32, 1, name="pointwise1")(x)
    x = head(x) if head else layers.GlobalAveragePooling2D(name="pool")(x)
    return settled(keras.Model(images, layers.Dense(5)(x), name="small"), sparsity)


def largest_difference(file, model, images):
    expected = model.predict_on_batch(images)
    (found,) = LiteRTFile(file.read_bytes())(images).values()
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("name", APPLICATIONS)
def test_networks_of_keras_qualify_and_compute_the_same(name, tmp_path):
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(
        weights=None,
        input_shape=(64, 64, 3),
        classes=10,
        classifier_activation=None,
        **APPLICATIONS[name],
    )
    settled(model)
    images = images_of(model)
    done = dlth.export_litert(model, tmp_path / "model.tflite", images=images)
    assert done.qualification.qualifies, str(done)
    assert done.qualification.sparsity == pytest.approx(0.9, abs=0.01)
    assert largest_difference(done.path, model, images) < 1e-5
    assert done.bytes < 0.5 * 4 * model.count_params()


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_a_small_network_is_mirrored_and_faster(storage, tmp_path):
    model = small()
    images = images_of(model)
    done = dlth.export_litert(model, tmp_path / "model.tflite", storage=storage)
    assert done.qualification.qualifies
    limit = {"float32": 1e-5, "float16": 5e-3}[storage]
    assert largest_difference(done.path, model, images) < limit
    assert "takes it: 8" in str(done) and "x86 itself runs the file dense" in str(done)
    assert str(done).startswith(f"{done.path}: {done.bytes:,} bytes, {storage}")


@pytest.mark.parametrize("side", [15, 16, 17, 18, 19, 20])
@pytest.mark.parametrize("size", [3, 5])
def test_mirroring_is_exact_for_every_size(side, size):
    def middle(x):
        x = layers.ZeroPadding2D(((0, 1), (1, 0)))(x)
        x = layers.DepthwiseConv2D(size, strides=2)(x)
        x = layers.DepthwiseConv2D(size, strides=2, padding="same")(x)
        return layers.DepthwiseConv2D(3, padding="same", dilation_rate=2)(x)

    model = small(middle=middle, side=2 * side)
    images = images_of(model)
    network = rearranged(model)
    seen = images[:, ::-1, ::-1] if network.mirrored else images
    found = network.model.predict_on_batch(seen)
    np.testing.assert_allclose(found, model.predict_on_batch(images), atol=1e-5)


def test_a_network_padded_evenly_is_not_mirrored():
    stem = keras.Sequential(
        [layers.ZeroPadding2D(1), layers.Conv2D(8, 3, strides=2, name="stem")]
    )
    network = rearranged(small(stem=stem, side=13))
    assert not network.mirrored and not network.unmirrored


def test_a_network_of_ones_own_is_taken_as_it_is(tmp_path):
    class Halves(keras.Model):
        def __init__(self):
            super().__init__(name="halves")
            self.dense = layers.Dense(3)

        def call(self, x):
            return self.dense(x) / 2

    images = keras.Input((4,))
    model = keras.Model(images, Halves()(images))
    assert rearranged(model).model is model
    done = dlth.export_litert(model, tmp_path / "model.tflite")
    assert largest_difference(done.path, model, images_of(model)) < 1e-5


def kept_axes(x):
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Conv2D(24, 1, activation="relu", name="head")(layers.Dropout(0.1)(x))
    return layers.Flatten()(x)


def squeezed(x):
    y = layers.GlobalAveragePooling2D(keepdims=True)(x)
    y = layers.Conv2D(16, 1)(y)
    return layers.Multiply()([x, layers.ReLU(6.0)(y + 3.0) * (1 / 6)])


@pytest.mark.parametrize("changes", [{"head": kept_axes}, {"middle": squeezed}])
def test_heads_and_scalars_that_would_not_qualify_are_mended(changes, tmp_path):
    model = small(**changes)
    done = dlth.export_litert(model, tmp_path / "model.tflite")
    assert done.qualification.qualifies, str(done)


def test_models_within_models_and_several_outputs(tmp_path):
    images = keras.Input((16, 16, 3), name="images")
    logits = small()(layers.Rescaling(0.5, offset=0.1)(images))
    probabilities = layers.Softmax()(logits)
    outputs = {"probabilities": probabilities, "logits": logits}
    model = keras.Model(images, outputs)
    done = dlth.export_litert(model, tmp_path / "model.tflite")
    assert done.qualification.qualifies
    found = LiteRTFile(done.path.read_bytes())(images_of(model))
    expected = model.predict_on_batch(images_of(model))
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5)


def convolution(**options):
    return lambda x: layers.Conv2D(16, **options, name="middle")(x)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sparsity": 0.4}, "zeros at 5.% of the needed two thirds. Prune them"),
        ({"middle": convolution(kernel_size=3, padding="same")}, "middle: a 3x3 convol"),
        (
            {"middle": convolution(kernel_size=1, strides=2)},
            "middle: a 1x1 convolutio",
        ),
        (
            {"stem": layers.Conv2D(8, 3, padding="same", name="stem")},
            "stem: a .* stride 1",
        ),
        ({"channels": 1}, "stem: a 3x3 convolution of 1 channels. Only the stem"),
        ({"middle": layers.MaxPooling2D(name="max")}, "max: MAX_POOL_2D has no channels"),
        (
            {"middle": lambda x: layers.DepthwiseConv2D(7)(x)},
            "a depthwise 7x7 .*Take",
        ),
        ({"head": layers.Flatten(name="flat")}, "RESHAPE takes an image. GlobalAv"),
        ({"middle": lambda x: layers.Subtract()([x, x * x])}, "SUB has no channels-fir"),
        ({"side": 18}, "padded unevenly. Pad by half"),
    ],
)
def test_what_is_in_the_way_is_named(changes, words, tmp_path):
    model = small(**changes)
    done = dlth.export_litert(model, tmp_path / "model.tflite")
    assert not done.qualification.qualifies
    report = str(done.qualification)
    assert re.search(words, report), report


def test_what_keeps_a_network_from_being_mirrored_is_named(tmp_path):
    model = small(head=layers.Flatten(name="flat"))
    done = dlth.export_litert(model, tmp_path / "model.tflite")
    assert "Not mirrored: 'flat' (Flatten) would see the mirror." in str(done)


def test_without_1x1_convolutions_nothing_is_gained(tmp_path):
    model = keras.Sequential([keras.Input((8,)), layers.Dense(4), layers.Dense(2)])
    done = dlth.export_litert(model, tmp_path / "model.tflite")
    assert "no 1x1 convolution" in str(done)


def test_int8_keeps_zeros_and_the_accuracy_of_outputs(tmp_path):
    model = small()
    images = images_of(model, 32)
    done = dlth.export_litert(
        model, tmp_path / "model.tflite", storage="int8", images=images
    )
    assert done.difference < 0.1
    assert done.qualification.sparsity >= 0.85
    assert "computes in int8" in str(done)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"storage": "int4"}, "`storage` must be one of float32, float16, int8. Rec"),
        ({"storage": "int8"}, "needs `images` to take its ranges from"),
        ({"storage": "int8", "images": np.zeros((0, 16, 16, 3))}, "at least one of sha"),
        ({"images": np.zeros((2, 8, 8, 3))}, r"of shape \(16, 16, 3\). Received: sha"),
    ],
)
def test_what_can_not_be_exported_is_refused(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        dlth.export_litert(small(), tmp_path / "model.tflite", **options)
    assert not list(tmp_path.iterdir())


def test_a_network_that_can_not_be_converted_is_one_line(tmp_path):
    class Printing(layers.Layer):
        def call(self, x):
            import tensorflow as tf

            return tf.py_function(lambda y: y, [x], tf.float32)

        def compute_output_shape(self, shape):
            return shape

    images = keras.Input((4,))
    model = keras.Model(images, Printing()(images), name="odd")
    with pytest.raises(RuntimeError, match=r"^'odd' can't be converted to LiteRT: .*$"):
        dlth.export_litert(model, tmp_path / "model.tflite")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content[: len(content) // 2], "can't be run: "),
        (lambda content: b"", "can't be run: "),
    ],
)
def test_a_file_that_can_not_be_run_is_not_written(
    change, message, tmp_path, monkeypatch
):
    convert = converting.convert
    monkeypatch.setattr(converting, "convert", lambda *given: change(convert(*given)))
    with pytest.raises(RuntimeError, match=f"{message}.*Nothing was written"):
        dlth.export_litert(small(), tmp_path / "model.tflite")
    assert not list(tmp_path.iterdir())


def test_a_file_that_disagrees_is_not_written(tmp_path, monkeypatch):
    other = converting.convert(rearranged(small(sparsity=0.8)), "float32")
    monkeypatch.setattr(converting, "convert", lambda *given: other)
    with pytest.raises(RuntimeError, match="output_0 differ from Keras's by"):
        dlth.export_litert(small(), tmp_path / "model.tflite")
    assert not list(tmp_path.iterdir())


def test_what_is_no_litert_file_is_said():
    with pytest.raises(ValueError, match="no LiteRT file"):
        qualification(b"something else")


def test_on_another_backend_it_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting.keras.backend, "backend", lambda: "jax")
    with pytest.raises(RuntimeError, match=r"needs Keras on TensorFlow .* is jax"):
        dlth.export_litert(small(), tmp_path / "model.tflite")


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_without_its_own_package_tensorflow_runs_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = dlth.export_litert(small(), tmp_path / "model.tflite")
    assert done.difference < 1e-5
