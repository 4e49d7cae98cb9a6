"""What the convolutional networks have in common."""

from typing import TypeAlias

import keras

from official.modeling.layers import BatchNormalization

Tensor: TypeAlias = keras.KerasTensor


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
    x: Tensor,
    filters: int,
    *,
    name: str,
    size: int = 3,
    strides: int = 1,
    use_bias: bool = False,
    fan: str = "fan_in",
) -> Tensor:
    """A convolution that pads the same number of pixels on every side.

    With stride 2 the padding is a layer of its own, `NAME_pad`: TensorFlow's
    "same" would pad an even-sized image more on the bottom and the right.
    """
    if strides > 1 and size > 1:
        x = keras.layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
    return keras.layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding="same" if strides == 1 else "valid",
        use_bias=use_bias,
        kernel_initializer=kaiming_normal(fan),
        name=name,
    )(x)


def batch_norm(x: Tensor, *, name: str) -> Tensor:
    """Batch normalization with PyTorch's defaults, momentum in Keras's sense."""
    return BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def relu(x: Tensor, *, name: str) -> Tensor:
    """Rectified linear activation as a layer of its own."""
    return keras.layers.ReLU(name=name)(x)


def normalised_convolution(
    x: Tensor,
    filters: int,
    *,
    name: str,
    size: int = 3,
    strides: int = 1,
    fan: str = "fan_in",
) -> Tensor:
    """A convolution and its normalization, `name` with a place for which it is."""
    x = convolution(
        x, filters, name=name.format("conv"), size=size, strides=strides, fan=fan
    )
    return batch_norm(x, name=name.format("bn"))


def dense(x: Tensor, units: int, *, activation: str, name: str) -> Tensor:
    """A fully connected layer with its activation."""
    return keras.layers.Dense(
        units, activation=activation, kernel_initializer=kaiming_normal(), name=name
    )(x)


def classifier(x: Tensor, classes: int) -> Tensor:
    """The layer `classifier`: float32 logits, also under mixed precision."""
    return keras.layers.Dense(
        classes,
        kernel_initializer=kaiming_normal(),
        dtype="float32",
        name="classifier",
    )(x)


def averaged_classifier(x: Tensor, classes: int) -> Tensor:
    """A classifier on the average of what is left of the image."""
    return classifier(keras.layers.GlobalAveragePooling2D(name="pool")(x), classes)
