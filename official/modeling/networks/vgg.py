"""VGG for small images: the convolutions of Simonyan and Zisserman (2015).

One classifier on the average of what is left of the image takes the place of three
fully connected layers, as in Liu et al. (2017), section 4.1, and in Bai et al. (2022).
With BatchNorm (`vgg16_bn`) a convolution has no bias.
"""

import keras

from official.modeling.networks import blocks

# Convolutions in each of the five stages
_CONVOLUTIONS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
_STAGE_FILTERS = (64, 128, 256, 512, 512)


def build(name: str, *, input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Builds `vgg11` to `vgg19`, or `vgg11_bn` to `vgg19_bn`."""
    plain_name = name.removesuffix("_bn")
    normalised = name != plain_name
    x = inputs = keras.Input(input_shape, name="images")
    stages = zip(_STAGE_FILTERS, _CONVOLUTIONS[plain_name], strict=True)
    for stage, (filters, convolutions) in enumerate(stages, start=1):
        if stage > 1:
            # "same" makes no difference to even sizes, and leaves a single pixel be.
            x = keras.layers.MaxPooling2D(2, padding="same", name=f"stage{stage}_pool")(x)
        for index in range(1, convolutions + 1):
            place = f"stage{stage}_{{}}{index}"
            x = blocks.convolution(
                x, filters, use_bias=not normalised, name=place.format("conv")
            )
            if normalised:
                x = blocks.batch_norm(x, name=place.format("bn"))
            x = blocks.relu(x, name=place.format("relu"))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, blocks.classifier(x, classes), name=name)
