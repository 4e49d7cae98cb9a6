"""The fully connected network of seven layers, width 100."""

import keras

from official.modeling.networks import blocks

_HIDDEN_LAYERS = 6
_WIDTH = 100
_ACTIVATIONS = {"mlp": "relu"}


def build(name: str, *, input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Builds `dense0` to `dense5` and `classifier` on the flattened image."""
    inputs = keras.Input(input_shape, name="images")
    x = keras.layers.Flatten(name="flatten")(inputs)
    for index in range(_HIDDEN_LAYERS):
        x = keras.layers.Dense(
            _WIDTH,
            activation=_ACTIVATIONS[name],
            kernel_initializer=blocks.kaiming_normal(),
            name=f"dense{index}",
        )(x)
    return keras.Model(inputs, blocks.classifier(x, classes), name=name)
