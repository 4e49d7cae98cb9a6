"""What activations do to a channel that is zero."""

import keras

_ELEMENTWISE = frozenset(
    {
        keras.activations.celu,
        keras.activations.elu,
        keras.activations.exponential,
        keras.activations.gelu,
        keras.activations.hard_shrink,
        keras.activations.hard_sigmoid,
        keras.activations.hard_silu,
        keras.activations.hard_tanh,
        keras.activations.leaky_relu,
        keras.activations.linear,
        keras.activations.log_sigmoid,
        keras.activations.mish,
        keras.activations.relu,
        keras.activations.relu6,
        keras.activations.selu,
        keras.activations.sigmoid,
        keras.activations.silu,
        keras.activations.soft_shrink,
        keras.activations.softplus,
        keras.activations.softsign,
        keras.activations.squareplus,
        keras.activations.tanh,
        keras.activations.tanh_shrink,
    }
)


def is_elementwise(activation) -> bool:
    """Whether a function is known to treat every channel by itself."""
    return activation in _ELEMENTWISE


def keeps_zero(activation) -> bool:
    """Whether an elementwise function or layer is zero at zero."""
    value = activation(keras.ops.zeros((1, 1)))
    return float(keras.ops.squeeze(value)) == 0.0
