import functools
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy as to_numpy

from official.modeling.networks import NETWORKS, build_network, check_exists, check_name
from tests.official.tables import SIZES

CIFAR = (32, 32, 3)


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@functools.cache
def network(name):
    """A network of its published size, built once."""
    size = SIZES[name]
    return build_network(name, input_shape=size.input_shape, classes=size.classes)


@pytest.mark.parametrize("name", SIZES)
def test_parameters(name):
    assert trainable(network(name)) == SIZES[name].parameters


def test_every_network_has_its_size_in_the_table():
    named = {name for name in NETWORKS if name.islower()}
    assert named <= set(SIZES)
    assert {name.split("-")[0] for name in set(SIZES) - named} == {
        *("wrn", "mobilenetv1", "mobilenetv2", "vit")
    }


def classifier_parameters(filters, classes=10):
    return (filters + 1) * classes


FULLY_CONNECTED = (512 * 49 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 1000


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("vgg11", 132_863_336),
        ("vgg13", 133_047_848),
        ("vgg16", 138_357_544),
        ("vgg19", 143_667_240),
    ],
)
def test_vgg_has_the_published_convolutions(name, published):
    """The totals are those of torchvision's documentation."""
    convolutions = SIZES[name].parameters - classifier_parameters(512)
    assert convolutions == published - FULLY_CONNECTED


@pytest.mark.parametrize("name", ["vgg11", "vgg13", "vgg16", "vgg19"])
def test_batch_normalization_replaces_the_biases_of_vgg(name):
    biases = sum(
        layer.filters
        for layer in network(name).layers
        if isinstance(layer, keras.layers.Conv2D)
    )
    difference = SIZES[f"{name}_bn"].parameters - SIZES[name].parameters
    assert difference == 2 * biases - biases


@pytest.mark.parametrize("name", [name for name in SIZES if SIZES[name].published])
def test_parameters_round_to_the_published_number(name):
    size = SIZES[name]
    number, unit = re.fullmatch(r"([\d.,]+)([KM]?)", size.published).groups()
    decimals = len(number.partition(".")[2])
    published = float(number.replace(",", ""))
    if name == "lenet5":  # "only 60,000", says the paper
        decimals, published, unit = -4, 0.06e6, ""
    in_units = size.parameters / {"": 1, "K": 1e3, "M": 1e6}[unit]
    if name == "lenet_300_100":  # cut off, not rounded
        in_units = int(in_units)
    assert round(in_units, decimals) == published


@pytest.mark.parametrize(
    ("name", "activation"), [("mlp", "relu"), ("mlp_linear", "linear")]
)
def test_multilayer_perceptrons_have_seven_layers_of_width_100(name, activation):
    model = network(name)
    assert {layer.activation.__name__ for layer in model.layers[2:-1]} == {activation}
    kernels = [w.shape for w in model.trainable_weights if w.name == "kernel"]
    assert kernels == [(1024, 100), *[(100, 100)] * 5, (100, 10)]


# One of each family, and those that a family builds in another way
FAMILIES = (
    *("quickstart_cnn", "lenet_300_100", "mlp", "resnet20", "vgg11", "vgg11_bn"),
    *("wrn-10-1", "resnet18", "mobilenetv2", "mobilenetv1-0.25", "mobilenetv2-0.35"),
)
# Those that do not take images of every size
PARTICULAR = ("lenet5", "vit-2-64")


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("input_shape", [(8, 8, 1), (13, 9, 3)])
def test_logits_have_one_column_per_class(name, input_shape):
    model = build_network(name, input_shape=input_shape, classes=7)
    logits = model(np.zeros((2, *input_shape), np.float32))
    assert logits.shape == (2, 7)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"


@pytest.mark.parametrize(
    ("side", "left"),
    [(32, 4), (64, 4), (96, 6), (128, 4), (160, 5), (224, 7)],
)
@pytest.mark.parametrize("name", ["mobilenetv1-0.25", "mobilenetv2-0.35"])
def test_mobilenets_leave_something_of_small_images(name, side, left):
    model = build_network(name, input_shape=(side, side, 3), classes=10)
    assert model.get_layer("pool").input.shape[1:3] == (left, left)
    assert model.get_layer("stem_conv").output.shape[1:3] == (side // 2, side // 2)


def test_logits_are_float32_under_mixed_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = build_network("resnet20", input_shape=CIFAR, classes=10)
        assert model.get_layer("stage1_block0_conv1").compute_dtype == "float16"
        assert model.output.dtype == "float32"
    finally:
        keras.config.set_dtype_policy(policy)


@pytest.mark.parametrize("name", (*FAMILIES, *PARTICULAR))
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


def test_saved_networks_load_without_this_package_and_compute_the_same(tmp_path):
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    for name in (*FAMILIES, *PARTICULAR):
        model = build_network(name, input_shape=CIFAR, classes=10)
        model.save(tmp_path / f"{name}.keras")
        np.savez(tmp_path / f"{name}.npz", x=x, logits=to_numpy(model(x)))
    code = """
import pathlib, sys
import keras, numpy as np
for path in pathlib.Path(sys.argv[1]).glob("*.keras"):
    model, known = keras.saving.load_model(path), np.load(path.with_suffix(".npz"))
    logits = keras.ops.convert_to_numpy(model(known["x"]))
    np.testing.assert_array_equal(logits, known["logits"])
assert not any(name.startswith("official") for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True, cwd=tmp_path)


def test_unknown_network_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"network 'resnet2'. Did you mean 'resnet20'"):
        build_network("resnet2", input_shape=CIFAR, classes=10)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wrn-29-10", "depth of 10, 16, 22, .* Received: 'wrn-29-10'"),
        ("wrn-28-0", "width of at least 1"),
        ("wrn-28", "Unknown network 'wrn-28'"),
        ("wrn-DEPTH-WIDTH", "Unknown network 'wrn-DEPTH-WIDTH': it stands for many"),
        ("mobilenetv1-0.0", "width must be from 0.1 to 4"),
        ("mobilenetv1", "Unknown network 'mobilenetv1'. Did you mean 'mobilenetv2'"),
        ("vit-0-64", "depth of at least 1 and a width of 64, 128, .*'vit-0-64'"),
        ("vit-4-96", "width of 64, 128, 192, .* Received: 'vit-4-96'"),
        ("keras:MobilNetV2", "'MobilNetV2'. Did you mean 'MobileNetV2'"),
        ("lenet5", "at least 16 high and wide for lenet5"),
    ],
)
def test_a_network_that_cannot_be_built_is_explained(name, message):
    with pytest.raises(ValueError, match=message):
        build_network(name, input_shape=(8, 8, 3), classes=10)


def test_check_name_knows_how_names_are_written():
    for name in ("resnet20", "wrn-28-10", "keras:Xception"):
        assert check_name(name) == name
    with pytest.raises(ValueError, match="Did you mean 'vgg16_bn'"):
        check_name("vgg16-bn")


@pytest.mark.parametrize(
    "name", ["resnet20", "wrn-28-10", "mobilenetv2-0.35", "vit-4-128", "keras:Xception"]
)
def test_check_exists_returns_the_names_of_networks(name):
    assert check_exists(name) == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet2", "Did you mean 'resnet20'"),
        ("wrn-29-10", "depth of 10, 16, 22"),
        ("keras:Xcepton", "'Xcepton'. Did you mean 'Xception'"),
    ],
)
def test_check_exists_refuses_others(name, message):
    with pytest.raises(ValueError, match=message):
        check_exists(name)


def test_efficientnet_does_not_normalise_normalised_images_again():
    model = build_network("keras:EfficientNetB0", input_shape=(32, 32, 3), classes=2)
    stem = keras.Model(model.input, model.get_layer("stem_conv_pad").output)
    images = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype("float32")
    np.testing.assert_array_equal(stem(images)[:, :-1, :-1], images)


def test_a_network_of_keras_applications_takes_normalised_images_to_logits():
    model = build_network("keras:MobileNetV3Small", input_shape=CIFAR, classes=7)
    assert model.output.shape == (None, 7)
    assert model.layers[-1].activation is keras.activations.linear
    layers = {type(layer).__name__ for layer in model.layers}
    assert not layers & {"Rescaling", "Normalization"}


def test_a_vision_transformer_sees_patches_and_where_they_are():
    """Against numpy: what enters the first block is x E + E_pos, patch by patch."""
    model = build_network("vit-1-64", input_shape=(8, 12, 2), classes=10)
    x = np.random.default_rng(0).normal(size=(1, 8, 12, 2)).astype(np.float32)
    kernel, places = map(to_numpy, model.get_layer("embedding").weights)
    tokens = keras.Model(model.input, model.get_layer("embedding").output)(x)
    for place in range(6):
        row, column = divmod(place, 3)
        patch = x[0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].ravel()
        expected = patch @ kernel + places[place]
        np.testing.assert_allclose(to_numpy(tokens)[0, place], expected, atol=1e-5)
    assert abs(places.std() - 0.02) < 0.003 and abs(kernel.std() - 0.02) < 0.003


def test_a_vision_transformer_has_no_part_of_a_patch():
    with pytest.raises(ValueError, match=r"multiple of the 4 pixels .*=\(30, 32, 3\)"):
        build_network("vit-1-64", input_shape=(30, 32, 3), classes=10)


@pytest.mark.parametrize(
    "name", ["ViT", "DeiT", pytest.param("SwinTransformer", marks=pytest.mark.long)]
)
def test_a_network_of_keras_hub_takes_images_to_logits(name):
    pytest.importorskip("keras_hub", reason="keras-hub is not installed")
    model = build_network(f"keras_hub:{name}", input_shape=CIFAR, classes=7)
    logits = model(np.zeros((2, *CIFAR), np.float32))
    assert logits.shape == (2, 7) and 500_000 < model.count_params() < 900_000
    with pytest.raises(ValueError, match="square, its side a multiple of"):
        build_network(f"keras_hub:{name}", input_shape=(32, 30, 3), classes=7)


def test_what_is_no_network_of_keras_hub():
    pytest.importorskip("keras_hub", reason="keras-hub is not installed")
    with pytest.raises(ValueError, match=r"'Vit'\. Did you mean 'ViT'"):
        check_exists("keras_hub:Vit")


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
