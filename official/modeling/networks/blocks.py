"""What the convolutional networks have in common."""

import keras

from official.modeling.layers import BatchNormalization


def kaiming_normal(fan: str = "fan_in") -> keras.initializers.Initializer:
    """Normal with variance 2 / fan, not truncated (He et al., 2015).

    `keras.initializers.HeNormal` cuts the tails off at two standard deviations.

    Args:
        fan: `"fan_in"` or `"fan_out"`: inputs or outputs that a weight connects.
    """
    return keras.initializers.VarianceScaling(
        scale=2.0, mode=fan, distribution="untruncated_normal"
    )


def convolution(
    x: keras.KerasTensor,
    filters: int,
    *,
    name: str,
    size: int = 3,
    strides: int = 1,
    use_bias: bool = False,
    fan: str = "fan_in",
) -> keras.KerasTensor:
    """A convolution that pads the same number of pixels on every side.

    With stride 2 the padding is a layer of its own, `NAME_pad`: TensorFlow's
    "same" would pad an even-sized image more on the bottom and the right.
    """
    x, padding = _padded(x, size, strides, name)
    return keras.layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding=padding,
        use_bias=use_bias,
        kernel_initializer=kaiming_normal(fan),
        name=name,
    )(x)


def depthwise_convolution(
    x: keras.KerasTensor, *, name: str, strides: int = 1
) -> keras.KerasTensor:
    """A 3x3 convolution of each channel by itself, padded like `convolution`."""
    x, padding = _padded(x, 3, strides, name)
    return keras.layers.DepthwiseConv2D(
        3,
        strides=strides,
        padding=padding,
        use_bias=False,
        depthwise_initializer=keras.initializers.RandomNormal(stddev=(2 / 9) ** 0.5),
        name=name,
    )(x)


def _padded(
    x: keras.KerasTensor, size: int, strides: int, name: str
) -> tuple[keras.KerasTensor, str]:
    """The input of a strided convolution, and the padding left to the convolution."""
    if strides == 1 or size == 1:
        return x, "same" if strides == 1 else "valid"
    return keras.layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x), "valid"


def batch_norm(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    """Batch normalization with PyTorch's defaults, momentum in Keras's sense."""
    return BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def relu(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    """Rectified linear activation as a layer of its own."""
    return keras.layers.ReLU(name=name)(x)


def dense(
    x: keras.KerasTensor, units: int, *, activation: str, name: str
) -> keras.KerasTensor:
    """A fully connected layer with its activation."""
    return keras.layers.Dense(
        units, activation=activation, kernel_initializer=kaiming_normal(), name=name
    )(x)


def classifier(x: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """The layer `classifier`: float32 logits, also under mixed precision."""
    return keras.layers.Dense(
        classes,
        kernel_initializer=kaiming_normal(),
        dtype="float32",
        name="classifier",
    )(x)
