"""LeNet-300-100 and LeNet-5 (LeCun et al., 1998), as they are trained today.

Rectified units and maximum pooling take the place of the original's scaled tanh and
trainable subsampling; each of LeNet-5's second convolutions sees all first ones.
"""

import keras

from official.modeling.networks import blocks

_SMALLEST_SIDE = 16


def build(name: str, *, input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Builds `lenet_300_100` or `lenet5`."""
    inputs = keras.Input(input_shape, name="images")
    if name == "lenet5":
        x = _convolutional_part(inputs)
        widths = {"dense0": 120, "dense1": 84}
    else:
        x = inputs
        widths = {"dense0": 300, "dense1": 100}
    x = keras.layers.Flatten(name="flatten")(x)
    for layer, width in widths.items():
        x = blocks.dense(x, width, activation="relu", name=layer)
    return keras.Model(inputs, blocks.classifier(x, classes), name=name)


def _convolutional_part(x: keras.KerasTensor) -> keras.KerasTensor:
    if min(x.shape[1:3]) < _SMALLEST_SIDE:
        raise ValueError(
            f"`input_shape` must be at least {_SMALLEST_SIDE} high and wide for lenet5. "
            f"Received: input_shape={x.shape[1:]}"
        )
    for index, filters in enumerate((6, 16)):
        x = keras.layers.Conv2D(
            filters,
            5,
            kernel_initializer=blocks.kaiming_normal(),
            name=f"conv{index}",
        )(x)
        x = blocks.relu(x, name=f"relu{index}")
        x = keras.layers.MaxPooling2D(2, name=f"pool{index}")(x)
    return x
