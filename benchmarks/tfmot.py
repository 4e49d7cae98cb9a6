"""What a user of TFMOT has, under tf_keras, which TFMOT needs: in a process of its own.

python -m benchmarks.tfmot steps NETWORK on|off        # of `overhead`, by jit_compile
python -m benchmarks.tfmot strip NETWORK WEIGHTS.npz TARGET.h5             # of `sizes`
"""

import os
import sys
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras
from tf_keras import layers

from benchmarks.timing import fit_of, mlp, report, steps_in_turns

_VGG_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
_toolkit = tfmot.sparsity.keras


def resnet20() -> tf_keras.Model:
    """The CIFAR ResNet-20 of `official`, layer by layer, in Keras 2."""
    images = tf_keras.Input((32, 32, 3))
    x = layers.ReLU()(_convolution(images, 16, "stem_conv"))
    for stage, filters in enumerate((16, 32, 64), start=1):
        for block in range(3):
            name = f"stage{stage}_block{block}"
            strides = 1 if x.shape[-1] == filters else 2
            shortcut = x
            if strides == 2:
                sides = ((0, 0), (x.shape[-1] // 2,) * 2)
                pad = layers.ZeroPadding2D(sides, data_format="channels_first")
                shortcut = pad(layers.MaxPooling2D(1, 2)(x))
            x = _convolution(x, filters, f"{name}_conv1", strides)
            x = _convolution(layers.ReLU()(x), filters, f"{name}_conv2")
            x = layers.ReLU()(layers.Add()([x, shortcut]))
    x = layers.GlobalAveragePooling2D()(x)
    return tf_keras.Model(images, layers.Dense(10, name="classifier")(x))


def _convolution(x: Any, filters: int, name: str, strides: int = 1) -> Any:
    if strides > 1:
        x = layers.ZeroPadding2D(1)(x)
    padding = "valid" if strides > 1 else "same"
    x = layers.Conv2D(filters, 3, strides, padding, use_bias=False, name=name)(x)
    return layers.BatchNormalization(name=name.replace("conv", "bn"))(x)


def vgg16() -> tf_keras.Model:
    """The small-image VGG-16 of `official` in Keras 2."""
    images = x = tf_keras.Input((32, 32, 3))
    for stage, (filters, convolutions) in enumerate(_VGG_STAGES, start=1):
        if stage > 1:
            x = layers.MaxPooling2D(2)(x)
        for index in range(1, convolutions + 1):
            name = f"stage{stage}_conv{index}"
            x = layers.Conv2D(filters, 3, padding="same", name=name)(x)
            x = layers.ReLU()(x)
    x = layers.GlobalAveragePooling2D()(x)
    return tf_keras.Model(images, layers.Dense(10, name="classifier")(x))


NETWORKS = {"mlp": lambda: mlp(tf_keras), "resnet20": resnet20, "vgg16": vgg16}


def steps(network: str, jit: str) -> None:
    """Prints what steps take with and without `prune_low_magnitude`."""

    def training(wrapped: bool) -> Any:
        model, callbacks = NETWORKS[network](), []
        if wrapped:
            schedule = _toolkit.ConstantSparsity(0.9, begin_step=0, frequency=100)
            model = _toolkit.prune_low_magnitude(model, schedule)
            callbacks = [_toolkit.UpdatePruningStep()]
        return fit_of(tf_keras, network, jit, model, callbacks)

    fits = {
        "dense": training(False),
        "dense again": training(False),
        "prune_low_magnitude": training(True),
    }
    report(f"{network}, tf_keras, jit_compile {jit}", steps_in_turns(tf_keras, fits))


def strip(network: str, weights: str, target: str) -> None:
    """Writes what one ends with: `strip_pruning`, then `save` to .h5."""
    model, stored = NETWORKS[network](), np.load(weights)
    for layer in model.layers:
        names = [variable.name.split("/")[-1].split(":")[0] for variable in layer.weights]
        layer.set_weights([stored[f"{layer.name}/{variable}"] for variable in names])

    def wrapped(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        inner = layer.name.startswith("stage") and "conv" in layer.name
        return _toolkit.prune_low_magnitude(layer) if inner else layer

    pruned = tf_keras.models.clone_model(model, clone_function=wrapped)
    _toolkit.strip_pruning(pruned).save(target, include_optimizer=False)


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    (strip if command == "strip" else steps)(*arguments)
