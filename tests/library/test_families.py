"""Shrunken and masked agree for a network of each family of applications and KerasHub."""

import keras
import numpy as np
import pytest

from benchmarks import families

QUICK = (
    *("MobileNetV3Small", "ResNet50V2"),
    *("Bert", "DistilBert", "GPT2", "Llama", "ViT", "Roberta", "Gemma"),
)
UNKNOWN = ("HGNetV2", "MiT", "Mixtral")
"""Those of which no part can be removed."""


def named(names) -> list:
    return [pytest.param(n, marks=[pytest.mark.long] * (n not in QUICK)) for n in names]


def assert_exact(model: keras.Model) -> keras.Model:
    size = model.count_params()
    small, difference = families.shrunken(model)
    assert difference <= 1e-5
    assert small.count_params() < size
    assert small.output_shape == model.output_shape
    return small


@pytest.mark.parametrize("name", named(families.APPLICATIONS))
def test_networks_of_keras_applications(name):
    side = families.APPLICATIONS[name]
    network = getattr(keras.applications, name)
    assert_exact(network(weights=None, input_shape=(side, side, 3), classes=10))


@pytest.fixture
def hub():
    return pytest.importorskip("keras_hub", reason="keras-hub is not installed")


def backbone(hub, name) -> keras.Model:
    return getattr(hub.models, f"{name}Backbone")(**families.KERAS_HUB[name])


@pytest.mark.parametrize("name", named(n for n in families.KERAS_HUB if n not in UNKNOWN))
def test_backbones_of_keras_hub_stay_what_they_are(hub, name, tmp_path):
    model = backbone(hub, name)
    small = assert_exact(model)
    small.save(tmp_path / "small.keras")
    loaded = keras.saving.load_model(tmp_path / "small.keras")
    for again, first in zip(*map(families.outputs_of, (loaded, small)), strict=True):
        np.testing.assert_array_equal(again, first)
    if name in QUICK:
        assert type(loaded) is type(model)


@pytest.mark.parametrize("name", named(UNKNOWN))
def test_what_can_not_be_removed_is_named(hub, name):
    with pytest.raises(ValueError, match=r"no filter .* is left whole: what a"):
        families.shrunken(backbone(hub, name))
