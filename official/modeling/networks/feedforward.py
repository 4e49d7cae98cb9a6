"""Networks without shortcuts, from three layers to nineteen.

- `quickstart_cnn` is small, and learns 8x8 digits in seconds.
- LeNet-300-100 and LeNet-5 (LeCun et al., 1998), as they are trained today: rectified
  units and maximum pooling take the place of the original's scaled tanh and trainable
  subsampling; each of LeNet-5's second convolutions sees all first ones.
- `mlp` has seven fully connected layers, width 100 (Lee et al., 2020); `mlp_linear`, made
  for theory, no activations.
- VGG for small images has the convolutions of Simonyan and Zisserman (2015). One
  classifier on the average of what is left of the image takes the place of three fully
  connected layers, as in Liu et al. (2017), section 4.1, and in Bai et al. (2022). With
  BatchNorm (`vgg16_bn`) a convolution has no bias.
"""

import keras

from official.modeling import layers
from official.modeling.layers import Tensor

# Filters and stride of each convolution
_QUICKSTART = {"stem": (16, 1), "stage1": (32, 2), "stage2": (64, 1)}
# Widths of the fully connected layers, and their activation
_DENSE = {
    "lenet_300_100": ((300, 100), "relu"),
    "lenet5": ((120, 84), "relu"),
    "mlp": ((100,) * 6, "relu"),
    "mlp_linear": ((100,) * 6, "linear"),
}
_LENET5_SMALLEST_SIDE = 16
# Convolutions in each of the five stages
_VGG = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
_VGG_FILTERS = (64, 128, 256, 512, 512)


def build(name: str, *, input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Builds one of the networks."""
    inputs = keras.Input(input_shape, name="images")
    if name in _DENSE:
        logits = _dense(inputs, name, classes)
    elif name == "quickstart_cnn":
        logits = _quickstart(inputs, classes)
    else:
        logits = _vgg(inputs, name, classes)
    return keras.Model(inputs, logits, name=name)


def _quickstart(x: Tensor, classes: int) -> Tensor:
    for place, (filters, strides) in _QUICKSTART.items():
        x = layers.normalised(x, filters, strides=strides, name=f"{place}_{{}}")
    return layers.averaged_classifier(x, classes)


def _dense(x: Tensor, name: str, classes: int) -> Tensor:
    if name == "lenet5":
        x = _lenet5_convolutions(x)
    x = keras.layers.Flatten(name="flatten")(x)
    widths, activation = _DENSE[name]
    for index, width in enumerate(widths):
        x = keras.layers.Dense(
            width,
            activation=activation,
            kernel_initializer=layers.kaiming_normal(),
            name=f"dense{index}",
        )(x)
    return layers.classifier(x, classes)


def _lenet5_convolutions(x: Tensor) -> Tensor:
    if min(x.shape[1:3]) < _LENET5_SMALLEST_SIDE:
        raise ValueError(
            f"`input_shape` must be at least {_LENET5_SMALLEST_SIDE} high and wide for "
            f"lenet5. Received: input_shape={x.shape[1:]}"
        )
    for index, filters in enumerate((6, 16)):
        initializer = layers.kaiming_normal()
        x = keras.layers.Conv2D(
            filters, 5, kernel_initializer=initializer, name=f"conv{index}"
        )(x)
        x = keras.layers.ReLU(name=f"relu{index}")(x)
        x = keras.layers.MaxPooling2D(2, name=f"pool{index}")(x)
    return x


def _vgg(x: Tensor, name: str, classes: int) -> Tensor:
    plain_name = name.removesuffix("_bn")
    stages = zip(_VGG_FILTERS, _VGG[plain_name], strict=True)
    for stage, (filters, convolutions) in enumerate(stages, start=1):
        if stage > 1:
            # "same" makes no difference to even sizes, and leaves a single pixel be.
            x = keras.layers.MaxPooling2D(2, padding="same", name=f"stage{stage}_pool")(x)
        for index in range(1, convolutions + 1):
            place = f"stage{stage}_{{}}{index}"
            if name != plain_name:
                x = layers.normalised(x, filters, name=place)
            else:
                conv = place.format("conv")
                x = layers.convolution(x, filters, use_bias=True, name=conv)
                x = keras.layers.ReLU(name=place.format("relu"))(x)
    return layers.averaged_classifier(x, classes)
