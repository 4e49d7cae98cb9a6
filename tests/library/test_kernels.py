"""Which kernels are masked, and that their names depend on the architecture alone."""

import keras
import numpy as np
import pytest

import dlth_tf as dlth
from tests.library.models import KINDS, Subclassed


def names(model) -> list[str]:
    return list(dlth.maskable_kernels(model))


EXPECTED = {
    "sequential": ["dense", "dense_1"],
    "functional": ["dense", "dense_1", "conv2d", "dense_2"],
    "subclassed": ["dense", "dense_1", "dense_2"],
    "nested": ["first/dense", "inner/dense", "dense"],
}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_names_do_not_follow_keras_counters(kind):
    for _ in range(2):
        assert names(KINDS[kind]()) == EXPECTED[kind]


@pytest.mark.parametrize("kind", ["sequential", "functional", "nested"])
def test_a_model_that_was_saved_and_loaded_has_the_same_names(kind, tmp_path):
    model = KINDS[kind]()
    model.save(tmp_path / "model.keras")
    keras.backend.clear_session()
    KINDS["nested"]()
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    ours, theirs = dlth.maskable_kernels(model), dlth.maskable_kernels(loaded)
    assert list(ours) == list(theirs)
    for name, kernel in ours.items():
        np.testing.assert_array_equal(kernel, theirs[name], err_msg=name)


def test_kernels_of_every_kind_are_masked_and_nothing_else():
    inputs = keras.Input((8, 8, 4))
    x = keras.layers.Conv2D(4, 3)(inputs)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.DepthwiseConv2D(3)(x)
    x = keras.layers.SeparableConv2D(4, 3)(x)
    x = keras.layers.Conv2DTranspose(2, 3)(x)
    x = keras.layers.Reshape((16, 2))(x)
    x = keras.layers.LSTM(3)(x)
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    assert names(model) == [
        "conv2d",
        "depthwise_conv2d",
        "separable_conv2d/depthwise_kernel",
        "separable_conv2d/pointwise_kernel",
        "conv2d_transpose",
        "lstm/kernel",
        "lstm/recurrent_kernel",
        "dense",
    ]


def test_a_layer_used_twice_is_masked_once():
    shared = keras.layers.Dense(4)
    inputs = keras.Input((4,))
    inner = keras.Sequential([keras.Input((4,)), shared], name="inner")
    model = keras.Model(inputs, inner(shared(inputs)))
    assert len(names(model)) == 1


def test_every_kernel_has_a_name_of_its_own():
    """An automatic name may turn into one that another layer was given."""

    class Linear(keras.layers.Dense):
        pass

    model = keras.Sequential(
        [
            keras.Input((4,)),
            Linear(4, name="dense_1"),
            keras.layers.Dense(4, name="dense_7"),
            keras.layers.Dense(4, name="dense_8"),
        ]
    )
    assert len(names(model)) == 3


def test_a_model_without_weights_yet_is_refused():
    with pytest.raises(ValueError, match=r"has no weights yet\. Build the model first"):
        dlth.maskable_kernels(Subclassed())


def test_a_model_without_kernels_is_refused():
    model = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization()])
    with pytest.raises(ValueError, match=r"could be masked.*BatchNormalization"):
        dlth.maskable_kernels(model)


def test_a_lora_kernel_is_refused():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    model.layers[0].enable_lora(2)
    with pytest.raises(ValueError, match="LoRA or quantisation"):
        dlth.maskable_kernels(model)
