"""What the networks compute: as PyTorch computes it, and as keras.applications does."""

import json
import re

import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy as to_numpy

from official.modeling.networks import build_network
from tests.official import torch_networks as stored

OUTPUTS = json.loads(stored.STORED.read_text())


def fixed_network(name):
    model = build_network(
        name, input_shape=stored.image_shape(name), classes=stored.CLASSES
    )
    stored.set_fixed_weights(model)
    return model


@pytest.mark.parametrize("name", OUTPUTS)
def test_logits_are_those_of_pytorch(name):
    expected = np.array(OUTPUTS[name])
    logits = to_numpy(fixed_network(name)(stored.fixed_images(name)))
    np.testing.assert_allclose(logits, expected, rtol=2e-4, atol=2e-5 * np.ptp(expected))


def copy_weights(pairs):
    """Gives each second layer the weights of the first.

    A bias that ours has not is zero, as its BatchNorm sees to shifts.
    """
    for ours, theirs in pairs:
        weights = ours.get_weights()
        if len(theirs.weights) > len(weights):
            weights.append(np.zeros(theirs.weights[-1].shape, np.float32))
        theirs.set_weights(weights)
        if isinstance(theirs, keras.layers.BatchNormalization):
            theirs.epsilon = ours.epsilon


def in_order(*models):
    layers = ([layer for layer in model.layers if layer.weights] for model in models)
    return zip(*layers, strict=True)


def assert_same_logits(ours, theirs, images):
    expected = to_numpy(theirs(images))
    tolerance = 2e-5 * np.ptp(expected)
    np.testing.assert_allclose(to_numpy(ours(images)), expected, 2e-4, tolerance)


@pytest.mark.parametrize(
    ("name", "theirs", "last"),
    [("vgg16", "VGG16", "block5_conv3"), ("vgg19", "VGG19", "block5_conv4")],
)
def test_vgg_has_the_convolutions_of_keras_applications(name, theirs, last):
    ours = fixed_network(name)
    trunk = getattr(keras.applications, theirs)(
        weights=None, include_top=False, input_shape=(32, 32, 3)
    )
    x = keras.layers.GlobalAveragePooling2D()(trunk.get_layer(last).output)
    model = keras.Model(trunk.input, keras.layers.Dense(stored.CLASSES)(x))
    copy_weights(in_order(ours, model))
    assert_same_logits(ours, model, stored.fixed_images(name))


@pytest.mark.parametrize(
    ("name", "theirs"),
    [("mobilenetv1-0.25", "MobileNet"), ("mobilenetv2-0.35", "MobileNetV2")],
)
def test_mobilenets_are_those_of_keras_applications_in_the_mirror(name, theirs):
    """They pad on the other side, which is the same to whom sees everything mirrored."""
    shape = (128, 128, 3)
    ours = build_network(name, input_shape=shape, classes=stored.CLASSES)
    stored.set_fixed_weights(ours)
    trunk = getattr(keras.applications, theirs)(
        weights=None, include_top=False, input_shape=shape, alpha=float(name[-4:])
    )
    x = keras.layers.GlobalAveragePooling2D()(trunk.output)
    model = keras.Model(trunk.input, keras.layers.Dense(stored.CLASSES)(x))
    copy_weights(in_order(ours, model))
    for layer in model.layers:
        if len(layer.weights[0].shape if layer.weights else ()) == 4:
            layer.set_weights([layer.get_weights()[0][::-1, ::-1]])
    images = stored.fixed_array("images", (2, *shape))
    expected = to_numpy(model(images[:, ::-1, ::-1]))
    tolerance = 2e-5 * np.ptp(expected)
    np.testing.assert_allclose(to_numpy(ours(images)), expected, 2e-4, tolerance)


def our_name_in_resnet50(name):
    """`stage1_block0_conv2` for Keras's `conv2_block1_2_conv`."""
    others = {
        "conv1_conv": "stem_conv",
        "conv1_bn": "stem_bn",
        "predictions": "classifier",
    }
    if name in others:
        return others[name]
    stage, block, index, part = re.fullmatch(
        r"conv(\d)_block(\d)_(\d)_(\w+)", name
    ).groups()
    place = f"stage{int(stage) - 1}_block{int(block) - 1}"
    return f"{place}_shortcut_{part}" if index == "0" else f"{place}_{part}{index}"


def with_stride_in_the_3x3_convolution(layer):
    config = layer.get_config()
    if layer.name.endswith("block1_1_conv"):
        config["strides"] = (1, 1)
    if layer.name in {f"conv{stage}_block1_2_conv" for stage in (3, 4, 5)}:
        config["strides"] = (2, 2)
    return type(layer).from_config(config)


def test_resnet50_is_that_of_keras_applications_but_for_the_place_of_the_stride():
    # With such a size Keras's "same" pads the same number of pixels on every side.
    shape = (33, 33, 3)
    ours = build_network("resnet50", input_shape=shape, classes=stored.CLASSES)
    stored.set_fixed_weights(ours)
    theirs = keras.models.clone_model(
        keras.applications.ResNet50(
            weights=None,
            input_shape=shape,
            classes=stored.CLASSES,
            classifier_activation=None,
        ),
        clone_function=with_stride_in_the_3x3_convolution,
    )
    copy_weights(
        (ours.get_layer(our_name_in_resnet50(layer.name)), layer)
        for layer in theirs.layers
        if layer.weights
    )
    assert_same_logits(ours, theirs, stored.fixed_array("images", (2, *shape)))
