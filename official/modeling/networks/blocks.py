"""What the convolutional networks have in common."""

import keras

from official.modeling.layers import BatchNormalization


def kaiming_normal() -> keras.initializers.Initializer:
    """Normal with variance 2 / fan-in, not truncated (He et al., 2015).

    `keras.initializers.HeNormal` cuts the tails off at two standard deviations.
    """
    return keras.initializers.VarianceScaling(
        scale=2.0, mode="fan_in", distribution="untruncated_normal"
    )


def convolution(
    x: keras.KerasTensor, filters: int, *, name: str, strides: int = 1
) -> keras.KerasTensor:
    """A 3x3 convolution without bias that pads one pixel on every side.

    With stride 2 the padding is a layer of its own, `NAME_pad`: TensorFlow's
    "same" would pad an even-sized image on the bottom and the right only.
    """
    padding = "same"
    if strides > 1:
        x = keras.layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
        padding = "valid"
    return keras.layers.Conv2D(
        filters,
        3,
        strides=strides,
        padding=padding,
        use_bias=False,
        kernel_initializer=kaiming_normal(),
        name=name,
    )(x)


def batch_norm(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    """Batch normalization with PyTorch's defaults, momentum in Keras's sense."""
    return BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def relu(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    """Rectified linear activation as a layer of its own."""
    return keras.layers.ReLU(name=name)(x)


def classifier(x: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """The layer `classifier`: float32 logits, also under mixed precision."""
    return keras.layers.Dense(
        classes,
        kernel_initializer=kaiming_normal(),
        dtype="float32",
        name="classifier",
    )(x)
