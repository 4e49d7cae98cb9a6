"""One short training of each family of networks, on images that stream."""

import keras
import numpy as np
import pytest

from official.data import load
from official.data.feed import feed
from official.modeling.networks import build_network
from official.training.recipe import Recipe
from tests.official.prepared import write_classes

RECIPE = Recipe(1, 4, ((0, 0.01),), momentum=0.9, l2=0.0)
STEPS = 2


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    for split in ("train", "test"):
        write_classes(root / split, dict.fromkeys("abc", 4), 32, 32, 3)
    return load(f"folder:{root}")


@pytest.mark.parametrize(
    "name",
    [
        *("quickstart_cnn", "lenet_300_100", "lenet5", "mlp", "mlp_linear", "resnet20"),
        *("vgg11", "vgg11_bn", "wrn-10-1", "resnet18", "mobilenetv2", "vit-1-64"),
        "keras:MobileNet",
    ],
)
def test_a_network_trains_and_is_evaluated(data, name):
    keras.utils.set_random_seed(0)
    model = build_network(name, input_shape=data.input_shape, classes=3)
    model.compile(
        RECIPE.optimizer(data.steps_per_epoch(RECIPE.batch_size)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    before = [np.array(w) for w in model.trainable_weights]
    dataset = feed(data, RECIPE.batch_size, seed=0)
    history = model.fit(dataset, steps_per_epoch=STEPS, shuffle=False, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    changed = [
        (np.array(w) != old).any()
        for w, old in zip(model.trainable_weights, before, strict=True)
    ]
    assert all(changed[-2:]) and np.mean(changed) > 0.9
    ((images, _),) = data.evaluation_batches("test", 12)
    logits = keras.ops.convert_to_numpy(model(images))
    assert logits.shape == (12, 3) and np.isfinite(logits).all()
