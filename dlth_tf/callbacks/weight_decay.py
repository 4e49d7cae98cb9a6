"""Coupled weight decay: L2 that goes through the momentum, as in PyTorch's SGD."""

from dlth_tf.step.callback import StepCallback
from dlth_tf.step.update import Update


class CoupledL2(StepCallback):
    """Adds l2 * W to the gradient of every trainable variable, biases included.

    This is `torch.optim.SGD(weight_decay=l2)`, which the paper's recipes mean. The
    `weight_decay` of Keras's optimizers is decoupled, another algorithm; the layers'
    `keras.regularizers.L2(l2 / 2)` would do the same for the variables that have one. It
    acts through its gradient: the loss that `fit` reports stays the data's.

    Args:
        l2: the coefficient, for instance 5e-4.

    Raises:
        ValueError: `l2` is negative.

    Example:

    >>> model.fit(train, callbacks=[dlth.FixedTicket(ticket), dlth.CoupledL2(5e-4)])
    """

    def __init__(self, l2: float):
        super().__init__()
        if not l2 >= 0:
            raise ValueError(f"`l2` must be 0 or more. Received: {l2}")
        self.l2 = l2

    def before_update(self, update: Update) -> None:
        if self.l2:
            for variable in update.variables:
                update.add_to_gradient(variable, lambda weights: self.l2 * weights)
