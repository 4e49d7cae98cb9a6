"""The penalty of RST as a regularizer of Keras, for layers that are built with it."""

import base64
from typing import Any

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="dlth_tf")
class Extrusion(keras.regularizers.Regularizer):
    """penalty / 2 * ||(1 - mask) * W||^2: pushes the weights that a mask removes to zero.

    For layers of one's own making. Its gradient, penalty * (1 - mask) * W, is what
    `RandomSparseTransformation` adds in each step, which needs no regularizer; unlike
    there its value is part of the loss that `fit` reports.

    Args:
        mask: boolean array of the kernel's shape, True where a weight is kept, as in
            `Ticket.masks`.
        penalty: lambda, 0 or more; or a scalar `keras.Variable` that several regularizers
            share.

    Attributes:
        penalty: lambda, a `keras.Variable`: `extrusion.penalty.assign(0.5)` between two
            epochs counts from the next step on. (On JAX a compiled step knows only
            variables of the model: set `model.penalty = extrusion.penalty` before `fit`.)

    Raises:
        ValueError: a negative penalty; in the model, a kernel of another shape.

    Example:

    >>> mask = np.random.default_rng(0).random((8, 4)) < 0.1
    >>> extrusion = dlth.Extrusion(mask, penalty=0.01)
    >>> layer = keras.layers.Dense(4, kernel_regularizer=extrusion)

    Source: Bai et al., "Dual Lottery Ticket Hypothesis", ICLR 2022, section 3.3.
    """

    def __init__(self, mask: np.ndarray, penalty: float | keras.Variable = 0.0):
        self.mask = np.array(mask, np.bool_)
        if not isinstance(penalty, keras.Variable):
            if not penalty >= 0:
                raise ValueError(f"`penalty` must be 0 or more. Received: {penalty}")
            penalty = keras.Variable(penalty, trainable=False, name="penalty")
        self.penalty = penalty

    def __call__(self, weights: Any) -> Any:
        if tuple(weights.shape) != self.mask.shape:
            raise ValueError(
                "`mask` of `Extrusion` must have the shape of the weights, "
                f"{tuple(weights.shape)}. Received: {self.mask.shape}"
            )
        weights = ops.convert_to_tensor(weights)
        removed = ops.where(self.mask, ops.zeros((), weights.dtype), weights)
        return ops.cast(self.penalty.value, weights.dtype) / 2 * ops.sum(removed**2)

    def get_config(self) -> dict:
        bits = base64.b64encode(np.packbits(self.mask).tobytes()).decode()
        return {
            "mask": {"shape": list(self.mask.shape), "bits": bits},
            "penalty": float(ops.convert_to_numpy(self.penalty)),
        }

    @classmethod
    def from_config(cls, config: dict) -> "Extrusion":
        shape, bits = config["mask"]["shape"], base64.b64decode(config["mask"]["bits"])
        kept = np.unpackbits(np.frombuffer(bits, np.uint8), count=int(np.prod(shape)))
        return cls(kept.reshape(shape), config["penalty"])
