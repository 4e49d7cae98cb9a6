"""Layers that the networks have in common, one of them Keras's own made faster."""

from typing import Any, TypeAlias

import keras

from official.private_keras import ON_TENSORFLOW, save_as, tf

Tensor: TypeAlias = keras.KerasTensor

_FUSED_DTYPES = ("float32", "float16", "bfloat16")


@keras.saving.register_keras_serializable(package="official")  # for older files
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch normalization through TensorFlow's fused operation.

    Use it in place of `keras.layers.BatchNormalization`: arguments, variables,
    their names, outputs and gradients are the same. While training on images
    (4-D, channels last) on the TensorFlow backend it runs one fused operation
    where Keras runs a dozen, each of which reads and writes the whole activation.
    Everywhere else (inference, other backends, ranks and axes, masks, float64,
    `renorm`, `synchronized`) it is Keras's own layer.

    One number differs. The moving variance follows the unbiased variance of each
    batch, n / (n - 1) times the biased one that normalizes it (n values per
    channel). This is what the fused operation returns, and what PyTorch stores as
    `running_var`; Keras stores the biased one.
    A saved model has Keras's own layer in its place: any program with Keras loads it.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if training and self.trainable and self._is_fusible(inputs, mask):
            return self._fused_training_call(inputs)
        return super().call(inputs, training=training, mask=mask)

    def _is_fusible(self, inputs: Any, mask: Any) -> bool:
        return (
            ON_TENSORFLOW
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and mask is None
            and not self.renorm
            and not self.synchronized
            and keras.backend.standardize_dtype(inputs.dtype) in _FUSED_DTYPES
        )

    def _fused_training_call(self, inputs: Any) -> Any:
        channels = (inputs.shape[-1],)
        # The statistics of half-precision inputs stay in float32 inside the
        # operation. `tf.compat.v1.nn.fused_batch_norm` is the same operation but
        # raises epsilon to 1.001e-5 at least.
        outputs = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.cast(self.gamma, "float32") if self.scale else tf.ones(channels),
            offset=tf.cast(self.beta, "float32") if self.center else tf.zeros(channels),
            mean=tf.zeros((0,)),
            variance=tf.zeros((0,)),
            epsilon=self.epsilon,
            is_training=True,
        )
        self._follow(self.moving_mean, outputs.batch_mean)
        self._follow(self.moving_variance, outputs.batch_variance)
        return keras.ops.cast(outputs.y, self.compute_dtype)

    def _follow(self, average: keras.Variable, value: Any) -> None:
        value = keras.ops.cast(value, average.dtype)
        average.assign(average * self.momentum + value * (1.0 - self.momentum))


save_as("keras.layers.BatchNormalization", BatchNormalization)


def plain(model: keras.Model) -> keras.Model:
    """Returns a copy of a functional or Sequential model without layers of our own.

    Its outputs in inference are the same; trained on, its moving variances follow
    Keras's rule (see `BatchNormalization`).
    """
    copy = keras.models.clone_model(model, clone_function=_plain_layer)
    copy.set_weights(model.get_weights())
    return copy


def _plain_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    ours = type(layer) is BatchNormalization
    kind = keras.layers.BatchNormalization if ours else type(layer)
    return kind.from_config(layer.get_config())


def kaiming_normal(fan: str = "fan_in") -> keras.initializers.Initializer:
    """Normal with variance 2 / fan (He et al., 2015), not truncated like Keras's own."""
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
    """A convolution that pads the same number of pixels on every side."""
    # "same" would pad an even-sized image more on the bottom and the right.
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


def normalised(
    x: Tensor,
    filters: int,
    *,
    name: str,
    size: int = 3,
    strides: int = 1,
    fan: str = "fan_in",
    activated: bool = True,
) -> Tensor:
    """Convolution, normalization and activation, `name` with a place for which it is."""
    place = name.format("conv")
    x = convolution(x, filters, name=place, size=size, strides=strides, fan=fan)
    x = batch_norm(x, name=name.format("bn"))
    return keras.layers.ReLU(name=name.format("relu"))(x) if activated else x


def classifier(x: Tensor, classes: int) -> Tensor:
    """The layer `classifier`: float32 logits, also under mixed precision."""
    return keras.layers.Dense(
        classes, kernel_initializer=kaiming_normal(), dtype="float32", name="classifier"
    )(x)


def averaged_classifier(x: Tensor, classes: int) -> Tensor:
    """A classifier on the average of what is left of the image."""
    return classifier(keras.layers.GlobalAveragePooling2D(name="pool")(x), classes)
