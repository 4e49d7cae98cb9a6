"""What a user of TFMOT ends with: `strip_pruning`, then `save` to .h5. For `sizes`.

    python -m benchmarks.stripped_models NETWORK WEIGHTS.npz TARGET.h5

Runs under tf_keras, which TFMOT needs, in a process of its own.
"""

import os
import sys

import numpy as np

_BLOCKS_PER_STAGE = 3
_RESNET_FILTERS = (16, 32, 64)
_VGG_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def resnet20(keras):
    """The CIFAR ResNet-20 of `official`, layer by layer, in Keras 2."""
    layers = keras.layers
    images = keras.Input((32, 32, 3))
    x = layers.ReLU()(_convolution(layers, images, 16, "stem_conv"))
    for stage, filters in enumerate(_RESNET_FILTERS, start=1):
        for block in range(_BLOCKS_PER_STAGE):
            name = f"stage{stage}_block{block}"
            strides = 1 if x.shape[-1] == filters else 2
            shortcut = x
            if strides == 2:
                sides = ((0, 0), (x.shape[-1] // 2,) * 2)
                pad = layers.ZeroPadding2D(sides, data_format="channels_first")
                shortcut = pad(layers.MaxPooling2D(1, 2)(x))
            x = _convolution(layers, x, filters, f"{name}_conv1", strides)
            x = _convolution(layers, layers.ReLU()(x), filters, f"{name}_conv2")
            x = layers.ReLU()(layers.Add()([x, shortcut]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, layers.Dense(10, name="classifier")(x))


def _convolution(layers, x, filters, name, strides=1):
    if strides > 1:
        x = layers.ZeroPadding2D(1)(x)
    padding = "valid" if strides > 1 else "same"
    options = {"padding": padding, "use_bias": False, "name": name}
    x = layers.Conv2D(filters, 3, strides, **options)(x)
    return layers.BatchNormalization(name=name.replace("conv", "bn"))(x)


def vgg16(keras):
    """The small-image VGG-16 of `official` in Keras 2."""
    layers = keras.layers
    images = x = keras.Input((32, 32, 3))
    for stage, (filters, convolutions) in enumerate(_VGG_STAGES, start=1):
        if stage > 1:
            x = layers.MaxPooling2D(2)(x)
        for index in range(1, convolutions + 1):
            name = f"stage{stage}_conv{index}"
            x = layers.Conv2D(filters, 3, padding="same", name=name)(x)
            x = layers.ReLU()(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, layers.Dense(10, name="classifier")(x))


NETWORKS = {"resnet20": resnet20, "vgg16": vgg16}


def main() -> None:
    name, weights, target = sys.argv[1:]
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tensorflow_model_optimization as tfmot
    import tf_keras

    model = NETWORKS[name](tf_keras)
    stored = np.load(weights)
    for layer in model.layers:
        names = [variable.name.split("/")[-1].split(":")[0] for variable in layer.weights]
        layer.set_weights([stored[f"{layer.name}/{variable}"] for variable in names])
    pruned = tfmot.sparsity.keras.prune_low_magnitude
    wrapped = tf_keras.models.clone_model(
        model,
        clone_function=lambda layer: (
            pruned(layer)
            if layer.name.startswith("stage") and "conv" in layer.name
            else layer
        ),
    )
    tfmot.sparsity.keras.strip_pruning(wrapped).save(target, include_optimizer=False)


if __name__ == "__main__":
    main()
