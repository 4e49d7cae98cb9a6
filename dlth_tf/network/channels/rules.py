"""What each type of layer does to the channels of its inputs.

A rule takes the layer, its inputs, the symbolic output and the couplings. It returns the
output's channels and notes on the way which positions of which variables they lie at, or
raises `LeftWhole`. A type of layer without a rule is left whole.
"""

import functools
from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import layers

from dlth_tf.network.channels.activations import is_elementwise, keeps_zero
from dlth_tf.network.channels.couplings import Channels, Couplings, LeftWhole


@functools.singledispatch
def follow(layer, inputs: Sequence, output, couplings: Couplings) -> Channels:
    """The channels of a layer's output."""
    raise LeftWhole(f"what a {type(layer).__name__} does to channels is not known")


def _rule(*types):
    def register(function):
        for layer_type in types:
            follow.register(layer_type)(function)
        return function

    return register


@_rule(layers.Dense)
def _dense(layer, inputs, output, couplings):
    x = _only(inputs)
    x = _along(x, len(x.shape) - 1, couplings)
    return _mixing(layer, x, (-2, -1), output, couplings)


@_rule(layers.Conv1D, layers.Conv2D, layers.Conv3D)
def _convolution(layer, inputs, output, couplings):
    x = _along_data_format(layer, _only(inputs), couplings)
    if layer.groups == 1:
        return _mixing(layer, x, (-2, -1), output, couplings)
    if layer.groups != len(x.ids):
        raise LeftWhole("it is a grouped convolution")
    return _grouped_depthwise_convolution(layer, x, output, couplings)


def _grouped_depthwise_convolution(layer, x, output, couplings):
    ids = np.repeat(x.ids, layer.filters // layer.groups)
    couplings.use(_plain(layer, "kernel"), -1, ids, masked=True)
    couplings.size(
        layer, [x.ids, ids], lambda groups, count: {"groups": groups, "filters": count}
    )
    return _biased(layer, ids, x.axis, output, couplings)


@_rule(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
def _transposed_convolution(layer, inputs, output, couplings):
    x = _along_data_format(layer, _only(inputs), couplings)
    return _mixing(layer, x, (-1, -2), output, couplings)


def _mixing(layer, x, kernel_axes, output, couplings):
    """Each output channel is made of all input channels."""
    kernel = _plain(layer, "kernel")
    _require_zeros(x, couplings)
    axis_in, axis_out = kernel_axes
    couplings.use(kernel, axis_in, x.ids)
    ids = couplings.filters(kernel, axis_out)
    name = "units" if isinstance(layer, layers.Dense) else "filters"
    couplings.size(layer, [ids], lambda count: {name: count})
    return _biased(layer, ids, x.axis, output, couplings)


@_rule(layers.DepthwiseConv1D, layers.DepthwiseConv2D)
def _depthwise_convolution(layer, inputs, output, couplings):
    x = _along_data_format(layer, _only(inputs), couplings)
    couplings.use(_plain(layer, "kernel"), -2, x.ids, masked=True)
    ids = np.repeat(x.ids, layer.depth_multiplier)
    return _biased(layer, ids, x.axis, output, couplings)


@_rule(layers.SeparableConv1D, layers.SeparableConv2D)
def _separable_convolution(layer, inputs, output, couplings):
    x = _along_data_format(layer, _only(inputs), couplings)
    depthwise = _plain(layer, "depthwise_kernel")
    pointwise = _plain(layer, "pointwise_kernel")
    couplings.use(depthwise, -2, x.ids, masked=True)
    couplings.use(pointwise, -2, np.repeat(x.ids, layer.depth_multiplier))
    ids = couplings.filters(pointwise, -1)
    couplings.size(layer, [ids], lambda count: {"filters": count})
    return _biased(layer, ids, x.axis, output, couplings)


def _biased(layer, ids, axis, output, couplings):
    """The rest of a convolution: bias and activation."""
    if layer.use_bias:
        couplings.use(layer.bias, 0, ids, masked=True)
    zero = np.ones(len(ids), bool)
    return activated(Channels(ids, zero, axis, output.shape), layer.activation, couplings)


def activated(x: Channels, activation, couplings: Couplings) -> Channels:
    """The channels after an activation function."""
    if not is_elementwise(activation):
        name = getattr(activation, "__name__", type(activation).__name__)
        couplings.keep(x.ids, f"the activation '{name}' may look at all its channels")
        return x
    vanishes = x.vanishes & keeps_zero(activation)
    return Channels(x.ids, vanishes, x.axis, x.shape)


@_rule(layers.BatchNormalization)
def _batch_normalization(layer, inputs, output, couplings):
    if getattr(layer, "renorm", False):
        raise LeftWhole("it is a batch renormalization")
    x = _only(inputs)
    x = _along(x, layer.axis % len(x.shape), couplings)
    for name in ("gamma", "beta"):
        if getattr(layer, name) is not None:
            couplings.use(getattr(layer, name), 0, x.ids, masked=True)
    # Without a gamma, zero comes out of zero only if the mean is zero as well.
    couplings.use(layer.moving_mean, 0, x.ids, masked=not layer.scale)
    couplings.use(layer.moving_variance, 0, x.ids)
    return Channels(x.ids, x.vanishes | layer.scale, x.axis, output.shape)


@_rule(layers.Activation)
def _activation(layer, inputs, output, couplings):
    x = _only(inputs)
    if x.shape != output.shape:
        raise LeftWhole("its activation changes the shape")
    return activated(x, layer.activation, couplings)


@_rule(layers.Softmax)
def _softmax(layer, inputs, output, couplings):
    return activated(_only(inputs), keras.activations.softmax, couplings)


@_rule(layers.ReLU, layers.LeakyReLU, layers.ELU)
def _activation_layer(layer, inputs, output, couplings):
    x = _only(inputs)
    return Channels(x.ids, x.vanishes & keeps_zero(layer), x.axis, x.shape)


@_rule(
    layers.Identity,
    layers.ActivityRegularization,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.GaussianDropout,
)
def _unchanged(layer, inputs, output, couplings):
    return _only(inputs)


@_rule(layers.Dropout)
def _dropout(layer, inputs, output, couplings):
    x = _only(inputs)
    if layer.noise_shape and layer.noise_shape[x.axis] not in (None, 1):
        raise LeftWhole("the shape of its noise is fixed")
    return x


@_rule(layers.Rescaling)
def _rescaling(layer, inputs, output, couplings):
    x = _only(inputs)
    if np.ndim(layer.scale) or np.ndim(layer.offset):
        raise LeftWhole("it scales every channel differently")
    return Channels(x.ids, x.vanishes & (layer.offset == 0), x.axis, x.shape)


@_rule(layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D)
@_rule(layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D)
@_rule(layers.UpSampling2D, layers.UpSampling3D)
@_rule(layers.Cropping1D, layers.Cropping2D, layers.Cropping3D)
def _spatial(layer, inputs, output, couplings):
    x = _along_data_format(layer, _only(inputs), couplings)
    return Channels(x.ids, x.vanishes, x.axis, output.shape)


@_rule(layers.UpSampling1D)
def _upsampling(layer, inputs, output, couplings):
    x = _along(_only(inputs), 2, couplings)
    return Channels(x.ids, x.vanishes, x.axis, output.shape)


@_rule(
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalAveragePooling3D,
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.GlobalMaxPooling3D,
)
def _global_pooling(layer, inputs, output, couplings):
    x = _along_data_format(layer, _only(inputs), couplings)
    axis = x.axis if layer.keepdims else 1
    return Channels(x.ids, x.vanishes, axis, output.shape)


@_rule(layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D)
def _zero_padding(layer, inputs, output, couplings):
    """Padding of pixels, or, with the axes read the other way, of channels."""
    x = _only(inputs)
    padding = layer.padding if np.ndim(layer.padding) > 1 else (layer.padding,)
    first = 2 if layer.data_format == "channels_first" else 1
    place = x.axis - first
    if not 0 <= place < len(padding) or not any(padding[place]):
        return Channels(x.ids, x.vanishes, x.axis, output.shape)

    def resized(before, after):
        counts = [*padding[:place], (before, after), *padding[place + 1 :]]
        return {"padding": counts[0] if len(counts) == 1 else counts}

    zeros = couplings.size(layer, [couplings.new(n) for n in padding[place]], resized)
    before, after = zeros
    return Channels(
        np.concatenate([before, x.ids, after]),
        np.concatenate([before >= 0, x.vanishes, after >= 0]),
        x.axis,
        output.shape,
    )


@_rule(layers.Concatenate)
def _concatenation(layer, inputs, output, couplings):
    axis = layer.axis % len(output.shape)
    axes = {x.axis for x in inputs}
    if axes != {axis}:
        return _merge(layer, inputs, output, couplings)
    return Channels(
        np.concatenate([x.ids for x in inputs]),
        np.concatenate([x.vanishes for x in inputs]),
        axis,
        output.shape,
    )


@_rule(layers.Add, layers.Subtract, layers.Average, layers.Maximum, layers.Minimum)
def _merge(layer, inputs, output, couplings):
    """Channel by channel: zero where all inputs are."""
    return joined(inputs, output, couplings, np.logical_and)


@_rule(layers.Multiply)
def _multiplication(layer, inputs, output, couplings):
    """Channel by channel: zero where any input is."""
    return joined(inputs, output, couplings, np.logical_or)


def joined(inputs, output, couplings: Couplings, vanishing: Callable) -> Channels:
    """The channels of tensors that are combined channel by channel, broadcast.

    Args:
        vanishing: from what vanishes in two of them to what vanishes in the result.

    Raises:
        LeftWhole: they do not fit each other.
    """
    if any(len(x.shape) != len(output.shape) for x in inputs):
        raise LeftWhole("it combines tensors of different ranks")
    axis = max(inputs, key=lambda x: len(x.ids)).axis
    inputs = [_along(x, axis, couplings) for x in inputs]
    count = max(len(x.ids) for x in inputs)
    ids, zero = None, None
    for x in inputs:
        if len(x.ids) == 1 < count:
            couplings.keep(x.ids, "it is spread over all channels of another tensor")
            x = Channels(np.repeat(x.ids, count), np.zeros(count, bool), axis, x.shape)
        elif ids is None:
            ids = x.ids
        else:
            couplings.couple(ids, x.ids)
        zero = x.vanishes if zero is None else vanishing(zero, x.vanishes)
    return Channels(ids, zero, axis, output.shape)


@_rule(layers.Flatten)
def _flattening(layer, inputs, output, couplings):
    x = _only(inputs)
    if layer.data_format == "channels_first" and len(x.shape) > 2:
        x = _along(x, len(x.shape) - 1, couplings)
        if any(couplings.reason(channel) is None for channel in x.ids.tolist()):
            raise LeftWhole("it moves the channels to another axis")
    return _reshaped(x, output)


@_rule(layers.Reshape)
def _reshape(layer, inputs, output, couplings):
    result = _reshaped(_only(inputs), output)
    *others, last = layer.target_shape
    couplings.size(
        layer,
        [result.ids],
        lambda count: {"target_shape": (*others, last if last == -1 else count)},
    )
    return result


def _reshaped(x, output):
    """The channels of the same numbers in another shape, if they still lie in rows."""
    if None in (*x.shape[1:], *output.shape[1:]):
        raise LeftWhole("the shapes before and after it are not fixed")
    places = [1] * len(x.shape[1:])
    places[x.axis - 1] = -1
    flat = []
    for values in (x.ids, x.vanishes):
        everywhere = np.broadcast_to(values.reshape(places), x.shape[1:])
        rows = everywhere.reshape(-1, output.shape[-1])
        if not (rows == rows[0]).all():
            raise LeftWhole("it moves parts of the channels to another axis")
        flat.append(rows[0])
    return Channels(*flat, len(output.shape) - 1, output.shape)


def _plain(layer, attribute) -> keras.Variable:
    kernel = getattr(layer, attribute)
    if not isinstance(kernel, keras.Variable):
        raise LeftWhole("its kernel is computed from other variables")
    return kernel


def _only(inputs) -> Channels:
    if len(inputs) != 1:
        raise LeftWhole(f"it is called on {len(inputs)} tensors")
    return inputs[0]


def _along_data_format(layer, x, couplings):
    first = layer.data_format == "channels_first" if hasattr(layer, "data_format") else 0
    return _along(x, 1 if first else len(x.shape) - 1, couplings)


def _along(x: Channels, axis: int, couplings: Couplings) -> Channels:
    """The tensor with another axis read as its channels: possible if none may go."""
    if axis == x.axis:
        return x
    reasons = {couplings.reason(channel) for channel in x.ids.tolist()}
    if None in reasons or x.shape[axis] is None:
        raise LeftWhole("it takes another axis for that of the channels")
    ids = couplings.new(x.shape[axis])
    couplings.keep(ids, next(iter(reasons), "its size is not fixed"))
    return Channels(ids, np.zeros(len(ids), bool), axis, x.shape)


def _require_zeros(x, couplings):
    couplings.keep(
        x.ids[~x.vanishes],
        "without it a constant other than zero would be left behind, which the next "
        "layer takes in",
    )
