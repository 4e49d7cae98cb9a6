import subprocess
import sys

import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy as to_numpy

from official.modeling.networks import NETWORKS, build_network

CIFAR = (32, 32, 3)


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.mark.parametrize(
    ("name", "parameters", "published"),
    [
        ("resnet20", 269_722, 0.27),
        ("resnet32", 464_154, 0.46),
        ("resnet44", 658_586, 0.66),
        ("resnet56", 853_018, 0.85),
        ("resnet110", 1_727_962, 1.7),
    ],
)
def test_residual_networks_have_the_published_size(name, parameters, published):
    model = build_network(name, input_shape=CIFAR, classes=10)
    assert trainable(model) == parameters
    digits = 1 if published == 1.7 else 2
    assert round(parameters / 1e6, digits) == published


def test_multilayer_perceptron_has_seven_layers_of_width_100():
    model = build_network("mlp", input_shape=(32, 32, 1), classes=10)
    kernels = [w.shape for w in model.trainable_weights if w.name == "kernel"]
    assert kernels == [(1024, 100), *[(100, 100)] * 5, (100, 10)]


def test_quickstart_network_size():
    model = build_network("quickstart_cnn", input_shape=(8, 8, 1), classes=10)
    convolutions = 9 * (1 * 16 + 16 * 32 + 32 * 64)
    assert trainable(model) == convolutions + 2 * (16 + 32 + 64) + 64 * 10 + 10


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("input_shape", [(8, 8, 1), (13, 9, 3)])
def test_logits_have_one_column_per_class(name, input_shape):
    model = build_network(name, input_shape=input_shape, classes=7)
    logits = model(np.zeros((2, *input_shape), np.float32))
    assert logits.shape == (2, 7)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"


def test_logits_are_float32_under_mixed_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = build_network("resnet20", input_shape=CIFAR, classes=10)
        assert model.get_layer("stage1_block0_conv1").compute_dtype == "float16"
        assert model.output.dtype == "float32"
    finally:
        keras.config.set_dtype_policy(policy)


@pytest.mark.parametrize("name", NETWORKS)
def test_names_are_the_same_however_often_networks_are_built(name):
    first, second = (
        [
            [layer.name for layer in model.layers],
            [weight.path for weight in model.weights],
            model.name,
        ]
        for model in (
            build_network(name, input_shape=CIFAR, classes=10) for _ in range(2)
        )
    )
    assert first == second


def test_residual_layers_are_named_by_place():
    model = build_network("resnet20", input_shape=CIFAR, classes=10)
    names = {layer.name for layer in model.layers if layer.weights}
    blocks = [f"stage{s}_block{b}" for s in (1, 2, 3) for b in (0, 1, 2)]
    parts = ["conv1", "bn1", "conv2", "bn2"]
    inside = {f"{block}_{part}" for block in blocks for part in parts}
    assert names == inside | {"stem_conv", "stem_bn", "classifier"}


def test_widening_shortcut_takes_even_pixels_and_pads_both_sides():
    model = build_network("resnet20", input_shape=CIFAR, classes=10)
    before = model.get_layer("stage1_block2_relu2").output
    after = model.get_layer("stage2_block0_shortcut_pad").output
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    source, shortcut = map(to_numpy, keras.Model(model.input, [before, after])(x))
    assert np.any(source)
    np.testing.assert_array_equal(
        shortcut, np.pad(source[:, ::2, ::2], ((0, 0),) * 3 + ((8, 8),))
    )


def test_strided_convolution_pads_one_pixel_on_every_side():
    model = build_network("resnet20", input_shape=CIFAR, classes=10)
    before = model.get_layer("stage1_block2_relu2").output
    layer = model.get_layer("stage2_block0_conv1")
    x = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype(np.float32)
    source, result = map(to_numpy, keras.Model(model.input, [before, layer.output])(x))
    corner = np.pad(source, ((0, 0), (1, 1), (1, 1), (0, 0)))[0, :3, :3]
    expected = np.einsum("hwc,hwco->o", corner, to_numpy(layer.kernel))
    np.testing.assert_allclose(result[0, 0, 0], expected, rtol=1e-4, atol=1e-5)


def test_kernels_are_normal_with_variance_two_over_fan_in_and_not_truncated():
    keras.utils.set_random_seed(0)
    model = build_network("resnet20", input_shape=CIFAR, classes=10)
    for name, fan_in in [("stage3_block2_conv2", 9 * 64), ("stage2_block1_conv1", 288)]:
        scaled = to_numpy(model.get_layer(name).kernel) * np.sqrt(fan_in / 2)
        assert abs(scaled.std() - 1) < 0.03
        assert np.abs(scaled).max() > 3


def test_batch_normalization_has_the_published_constants():
    layer = build_network("resnet20", input_shape=CIFAR, classes=10).get_layer("stem_bn")
    assert (layer.momentum, layer.epsilon) == (0.9, 1e-5)


@pytest.mark.parametrize("name", ["quickstart_cnn", "mlp", "resnet20"])
def test_a_saved_network_loads_and_computes_the_same(name, tmp_path):
    model = build_network(name, input_shape=CIFAR, classes=10)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    np.testing.assert_array_equal(to_numpy(loaded(x)), to_numpy(model(x)))


def test_unknown_network_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"network 'resnet2'. Did you mean 'resnet20'"):
        build_network("resnet2", input_shape=CIFAR, classes=10)


@pytest.mark.parametrize(
    ("sizes", "argument"),
    [
        ({"input_shape": (32, 32), "classes": 10}, "input_shape"),
        ({"input_shape": (0, 32, 3), "classes": 10}, "input_shape"),
        ({"input_shape": CIFAR, "classes": 0}, "classes"),
    ],
)
def test_a_size_out_of_range_is_named(sizes, argument):
    with pytest.raises(ValueError, match=f"^`{argument}` must .* Received: {argument}="):
        build_network("mlp", **sizes)


def test_knowing_the_names_costs_no_keras():
    code = "import sys, official.modeling.networks; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
