"""What each type of layer does to the channels of its inputs.

A rule takes a call of the layer. It returns the output's channels and notes on the way
which positions of which variables they lie at, or raises `LeftWhole`. A type of layer
without a rule is left whole.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import keras
import numpy as np
from keras import layers

from dlth_tf.network.channel_couplings import Call, Channels, LeftWhole, joined
from dlth_tf.network.variables import automatic_name

_ELEMENTWISE = frozenset(
    getattr(keras.activations, name)
    for name in (
        *("celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid"),
        *("hard_silu", "hard_tanh", "leaky_relu", "linear", "log_sigmoid", "mish"),
        *("relu", "relu6", "selu", "sigmoid", "silu", "soft_shrink", "softplus"),
        *("softsign", "squareplus", "tanh", "tanh_shrink"),
    )
)
_OPERATIONS = frozenset(
    ("relu", "relu6", "sigmoid", "hard_sigmoid", "silu", "hard_silu", "gelu", "tanh")
)
"""Those that are operations of Keras as well, under the same names."""


def follow(call: Call, arguments: Sequence) -> Channels:
    """The channels of the output of a layer, or of another operation (`ops.relu`)."""
    if not isinstance(call.layer, layers.Layer):
        return _follow_operation(call, arguments)
    return _no_rule.dispatch(type(call.layer))(call)


@functools.singledispatch
def _no_rule(call: Call) -> Channels:
    raise LeftWhole(f"what a {type(call.layer).__name__} does to channels is not known")


_rule = _no_rule.register


@_rule(layers.Dense)
def _dense(call: Call) -> Channels:
    return _mixing(call, call.along(len(call.x.shape) - 1), (-2, -1))


@_rule(layers.Conv1D | layers.Conv2D | layers.Conv3D)
def _convolution(call: Call) -> Channels:
    x, layer = call.along_data_format(), call.layer
    if layer.groups == 1:
        return _mixing(call, x, (-2, -1))
    if layer.groups != len(x.ids):
        raise LeftWhole("it is a grouped convolution")
    ids = np.repeat(x.ids, layer.filters // layer.groups)
    call.use("kernel", -1, ids, masked=True)
    call.size([x.ids, ids], lambda groups, count: {"groups": groups, "filters": count})
    return _biased(call, ids, x.axis)


@_rule(layers.Conv1DTranspose | layers.Conv2DTranspose | layers.Conv3DTranspose)
def _transposed_convolution(call: Call) -> Channels:
    return _mixing(call, call.along_data_format(), (-1, -2))


def _mixing(call: Call, x: Channels, kernel_axes: tuple[int, int]) -> Channels:
    """Each output channel is made of all input channels."""
    kernel = call.variable("kernel")
    call.couplings.keep(
        x.ids[~x.vanishes],
        "without it a constant other than zero would be left behind, which the next "
        "layer takes in",
    )
    axis_in, axis_out = kernel_axes
    call.couplings.use(kernel, axis_in, x.ids)
    ids = call.couplings.filters(kernel, axis_out)
    name = "units" if isinstance(call.layer, layers.Dense) else "filters"
    call.size([ids], lambda count: {name: count})
    return _biased(call, ids, x.axis)


@_rule(layers.DepthwiseConv1D | layers.DepthwiseConv2D)
def _depthwise_convolution(call: Call) -> Channels:
    x = call.along_data_format()
    call.use("kernel", -2, x.ids, masked=True)
    return _biased(call, np.repeat(x.ids, call.layer.depth_multiplier), x.axis)


@_rule(layers.SeparableConv1D | layers.SeparableConv2D)
def _separable_convolution(call: Call) -> Channels:
    x = call.along_data_format()
    pointwise = call.variable("pointwise_kernel")
    call.use("depthwise_kernel", -2, x.ids, masked=True)
    call.couplings.use(pointwise, -2, np.repeat(x.ids, call.layer.depth_multiplier))
    ids = call.couplings.filters(pointwise, -1)
    call.size([ids], lambda count: {"filters": count})
    return _biased(call, ids, x.axis)


def _biased(call: Call, ids: np.ndarray, axis: int) -> Channels:
    """The rest of a convolution: bias and activation."""
    if call.layer.use_bias:
        call.use("bias", 0, ids, masked=True)
    x = Channels(ids, np.ones(len(ids), bool), axis, call.output.shape)
    return _activated(call, x, call.layer.activation)


@_rule(layers.BatchNormalization)
def _batch_normalization(call: Call) -> Channels:
    layer = call.layer
    if getattr(layer, "renorm", False):
        raise LeftWhole("it is a batch renormalization")
    x = call.along(layer.axis % len(call.x.shape))
    for name in ("gamma", "beta"):
        if getattr(layer, name) is not None:
            call.use(name, 0, x.ids, masked=True)
    # Without a gamma, zero comes out of zero only if the mean is zero as well.
    call.use("moving_mean", 0, x.ids, masked=not layer.scale)
    call.use("moving_variance", 0, x.ids)
    return replace(x, vanishes=x.vanishes | layer.scale, shape=call.output.shape)


@_rule(layers.LayerNormalization | layers.RMSNormalization)
@_rule(layers.GroupNormalization | layers.UnitNormalization)
def _normalization(call: Call) -> Channels:
    raise LeftWhole("its statistics feel every channel")


@_rule(layers.Activation)
def _activation(call: Call) -> Channels:
    if call.x.shape != call.output.shape:
        raise LeftWhole("its activation changes the shape")
    return _activated(call, call.x, call.layer.activation)


@_rule(layers.Softmax)
def _softmax(call: Call) -> Channels:
    return _activated(call, call.x, keras.activations.softmax)


@_rule(layers.ReLU | layers.LeakyReLU | layers.ELU)
def _activation_layer(call: Call) -> Channels:
    return replace(call.x, vanishes=call.x.vanishes & _keeps_zero(call.layer))


@_rule(layers.Identity | layers.ActivityRegularization | layers.GaussianDropout)
@_rule(layers.SpatialDropout1D | layers.SpatialDropout2D | layers.SpatialDropout3D)
def _unchanged(call: Call) -> Channels:
    return call.x


@_rule(layers.Dropout)
def _dropout(call: Call) -> Channels:
    noise = call.layer.noise_shape
    if noise and noise[call.x.axis] not in (None, 1):
        raise LeftWhole("the shape of its noise is fixed")
    return call.x


@_rule(layers.Rescaling)
def _rescaling(call: Call) -> Channels:
    if np.ndim(call.layer.scale) or np.ndim(call.layer.offset):
        raise LeftWhole("it scales every channel differently")
    return replace(call.x, vanishes=call.x.vanishes & (call.layer.offset == 0))


@_rule(layers.MaxPooling1D | layers.MaxPooling2D | layers.MaxPooling3D)
@_rule(layers.AveragePooling1D | layers.AveragePooling2D | layers.AveragePooling3D)
@_rule(layers.UpSampling1D | layers.UpSampling2D | layers.UpSampling3D)
@_rule(layers.Cropping1D | layers.Cropping2D | layers.Cropping3D)
def _spatial(call: Call) -> Channels:
    return replace(call.along_data_format(), shape=call.output.shape)


@_rule(layers.GlobalAveragePooling1D | layers.GlobalMaxPooling1D)
@_rule(layers.GlobalAveragePooling2D | layers.GlobalMaxPooling2D)
@_rule(layers.GlobalAveragePooling3D | layers.GlobalMaxPooling3D)
def _global_pooling(call: Call) -> Channels:
    x = call.along_data_format()
    axis = x.axis if call.layer.keepdims else 1
    return replace(x, axis=axis, shape=call.output.shape)


@_rule(layers.ZeroPadding1D | layers.ZeroPadding2D | layers.ZeroPadding3D)
def _zero_padding(call: Call) -> Channels:
    """Padding of pixels, or, with the axes read the other way, of channels."""
    x, padding = call.x, call.layer.padding
    padding = padding if np.ndim(padding) > 1 else (padding,)
    place = x.axis - (2 if call.layer.data_format == "channels_first" else 1)
    if not 0 <= place < len(padding) or not any(padding[place]):
        return replace(x, shape=call.output.shape)

    def resized(before: int, after: int) -> dict:
        counts = [*padding[:place], (before, after), *padding[place + 1 :]]
        return {"padding": counts[0] if len(counts) == 1 else counts}

    before, after = call.size([call.couplings.new(n) for n in padding[place]], resized)
    return Channels(
        np.concatenate([before, x.ids, after]),
        np.concatenate([before >= 0, x.vanishes, after >= 0]),
        x.axis,
        call.output.shape,
    )


@_rule(layers.Concatenate)
def _concatenation(call: Call) -> Channels:
    axis = call.layer.axis % len(call.output.shape)
    if {x.axis for x in call.inputs} != {axis}:
        return _merge(call)
    return Channels(
        np.concatenate([x.ids for x in call.inputs]),
        np.concatenate([x.vanishes for x in call.inputs]),
        axis,
        call.output.shape,
    )


@_rule(layers.Add | layers.Subtract | layers.Average | layers.Maximum | layers.Minimum)
def _merge(call: Call) -> Channels:
    """Channel by channel: zero where all inputs are."""
    return joined(call, np.logical_and)


@_rule(layers.Multiply)
def _multiplication(call: Call) -> Channels:
    """Channel by channel: zero where any input is."""
    return joined(call, np.logical_or)


@_rule(layers.Flatten)
def _flattening(call: Call) -> Channels:
    x = call.x
    if call.layer.data_format == "channels_first" and len(x.shape) > 2:
        x = call.along(len(x.shape) - 1)
        if any(call.couplings.reason(channel) is None for channel in x.ids.tolist()):
            raise LeftWhole("it moves the channels to another axis")
    return _reshaped(x, call.output.shape)


@_rule(layers.Reshape)
def _reshape(call: Call) -> Channels:
    result = _reshaped(call.x, call.output.shape)
    *others, last = call.layer.target_shape
    call.size(
        [result.ids],
        lambda count: {"target_shape": (*others, last if last == -1 else count)},
    )
    return result


def _reshaped(x: Channels, shape: tuple) -> Channels:
    """The channels of the same numbers in another shape, if they still lie in rows."""
    if None in (*x.shape[1:], *shape[1:]):
        raise LeftWhole("the shapes before and after it are not fixed")
    sizes = [size for size in x.shape[1:] if size is not None]
    places = [1] * len(sizes)
    places[x.axis - 1] = -1
    flat = []
    for values in (x.ids, x.vanishes):
        everywhere = np.broadcast_to(values.reshape(places), sizes)
        rows = everywhere.reshape(-1, shape[-1])
        if not (rows == rows[0]).all():
            raise LeftWhole("it moves parts of the channels to another axis")
        flat.append(rows[0])
    return Channels(flat[0], flat[1], len(shape) - 1, shape)


def _follow_operation(call: Call, arguments: Sequence) -> Channels:
    numbers = [value for value in arguments if isinstance(value, int | float)]
    if len(call.inputs) + len(numbers) != len(arguments):
        return _no_rule(call)
    name = automatic_name(call.layer)
    if name in ("add", "subtract") and numbers:
        return replace(call.x, vanishes=call.x.vanishes & (math.fsum(numbers) == 0))
    if name in ("add", "subtract"):
        return _merge(call)
    if name == "multiply":
        return call.x if numbers else _multiplication(call)
    if name not in _OPERATIONS or numbers:
        return _no_rule(call)
    return _activated(call, call.x, getattr(keras.activations, name))


def _activated(call: Call, x: Channels, activation: Callable) -> Channels:
    """The channels after an activation function."""
    if activation not in _ELEMENTWISE:
        name = getattr(activation, "__name__", type(activation).__name__)
        reason = f"the activation '{name}' may look at all its channels"
        call.couplings.keep(x.ids, reason)
        return x
    return replace(x, vanishes=x.vanishes & _keeps_zero(activation))


def _keeps_zero(activation: Callable) -> bool:
    """Whether an elementwise function or layer is zero at zero."""
    value = activation(keras.ops.zeros((1, 1)))
    return float(keras.ops.squeeze(value)) == 0.0
