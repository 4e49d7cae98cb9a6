"""Fully connected networks of seven layers, width 100 (Lee et al., 2020)."""

import keras

from official.modeling.networks import blocks

_HIDDEN_LAYERS = 6
_WIDTH = 100
_ACTIVATIONS = {"mlp": "relu", "mlp_linear": "linear"}


def build(name: str, *, input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Builds `dense0` to `dense5` and `classifier` on the flattened image.

    `mlp` has rectified units; `mlp_linear`, made for theory, has none.
    """
    inputs = keras.Input(input_shape, name="images")
    x = keras.layers.Flatten(name="flatten")(inputs)
    for index in range(_HIDDEN_LAYERS):
        x = blocks.dense(x, _WIDTH, activation=_ACTIVATIONS[name], name=f"dense{index}")
    return keras.Model(inputs, blocks.classifier(x, classes), name=name)
