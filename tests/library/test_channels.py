"""Which filters go together, found from the graph alone."""

import keras
import pytest
from keras import layers

import dlth_tf as dlth
from official.modeling.networks import build_network
from tests.library import channel_models as models


def sizes(model) -> dict:
    return {group.kernels: len(group) for group in dlth.channel_groups(model).groups}


def test_residual_streams_with_padded_shortcuts_split_by_where_channels_begin():
    model = build_network("resnet20", input_shape=(8, 8, 3), classes=10)
    found = {kernels: size for kernels, size in sizes(model).items() if len(kernels) > 1}
    second = [
        tuple(f"stage{stage}_block{block}_conv2" for block in range(3))
        for stage in (1, 2, 3)
    ]
    assert found == {
        ("stem_conv", *second[0], *second[1], *second[2]): 16,
        (*second[1], *second[2]): 16,
        second[2]: 32,
    }


def test_padding_couples_shifted_channels():
    groups = dlth.channel_groups(models.padded_shortcut()).groups
    both = next(group for group in groups if len(group.kernels) == 2)
    assert len(both) == 6
    for channel in both.channels:
        (narrow,), (wide,) = (channel[name] for name in both.kernels)
        assert wide == narrow + 2


def test_names_play_no_part():
    first = sizes(models.residual())
    model = models.residual()
    renamed = keras.models.clone_model(model, clone_function=_under_another_name)
    assert list(sizes(renamed).values()) == list(first.values())


def _under_another_name(layer):
    return type(layer).from_config(layer.get_config() | {"name": f"x{id(layer)}"})


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (models.residual, [((0, 2), 8), ((1,), 6)]),
        (models.dense_block, [((0,), 5), ((1,), 4), ((2,), 4), ((3,), 6)]),
        (models.squeeze_excite, [((0, 2), 8), ((1,), 4)]),
        (models.shared, [((0, 1), 5), ((2,), 6)]),
        (models.nested, [((0,), 5), ((1, 2), 6)]),
    ],
)
def test_groups_of_small_models(build, expected):
    model = build()
    order = list(dlth.maskable_kernels(model))
    found = [
        (tuple(sorted(order.index(name) for name in kernels)), size)
        for kernels, size in sizes(model).items()
    ]
    assert sorted(found) == expected


def test_a_depthwise_convolution_goes_with_its_input():
    groups = dlth.channel_groups(models.depthwise())
    (group,) = (g for g in groups.groups if "depthwise_conv2d_1" in g.kernels)
    assert group.kernels == ("conv2d", "depthwise_conv2d_1", *group.kernels[2:])
    channel = group.channels[3]
    assert channel["conv2d"] == channel["depthwise_conv2d_1"] == (3,)
    assert channel["depthwise_conv2d_1/bias"] == (6, 7)
    assert (
        groups.whole["depthwise_conv2d"] == "its channels are those of the model's input"
    )


def _classifier_after(*stack):
    inputs = keras.Input((8, 8, 3))
    x = models.of(inputs, layers.Conv2D(6, 3, name="conv"), *stack)
    return keras.Model(inputs, models.of(x, layers.Flatten(), layers.Dense(4)))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (layers.LayerNormalization(), "its statistics feel every channel"),
        (layers.Lambda(lambda x: x), "a Lambda does to channels is not known"),
        (layers.Conv2D(4, 1, groups=2), "it is a grouped convolution"),
        (layers.Softmax(), "the activation 'softmax' may look at all its channels"),
        (layers.Activation("sigmoid"), "a constant other than zero would be left behind"),
        (layers.Permute((3, 1, 2)), "a Permute does to channels is not known"),
        (layers.Reshape((6, 12, 3)), "moves parts of the channels to another axis"),
    ],
)
def test_what_cannot_be_analysed_stays_whole_for_a_reason(layer, reason):
    assert reason in dlth.channel_groups(_classifier_after(layer)).whole["conv"]


def test_an_unknown_layer_spares_the_rest():
    model = _classifier_after(layers.LayerNormalization(), layers.Conv2D(5, 1, name="on"))
    assert sizes(model) == {("on",): 5}


def test_a_shared_layer_left_whole_once_is_left_whole_everywhere():
    inputs = keras.Input((8,))
    norm = layers.LayerNormalization()
    left = norm(layers.Dense(5)(inputs))
    x = layers.Dense(5)(inputs)
    shared = layers.Dense(4)
    outputs = layers.Concatenate()([shared(left), shared(layers.Lambda(abs)(x))])
    model = keras.Model(inputs, layers.Dense(2)(outputs))
    assert set(sizes(model)) == {("dense_2",)}


def test_the_output_of_a_model_stays():
    model = models.residual()
    whole = dlth.channel_groups(model).whole
    assert whole == {"dense": "its channels are those of the model's output"}


def test_a_subclassed_model_has_no_graph():
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(3)

        def call(self, x):
            return self.dense(x)

    model = Subclassed()
    model(keras.ops.ones((1, 4)))
    with pytest.raises(ValueError, match=r"^`model` must be a functional .*Subclassed$"):
        dlth.channel_groups(model)
