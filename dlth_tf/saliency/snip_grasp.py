"""Two scores of weights by the gradient of the loss: SNIP and GraSP."""

from collections.abc import Callable

import keras
import numpy as np

from dlth_tf.saliency.gradients import Batches, TrainingLoss
from dlth_tf.tickets.selection import highest_ticket
from dlth_tf.tickets.sparsity import Sparsity, name_patterns
from dlth_tf.tickets.ticket import Ticket


def snip_ticket(
    model: keras.Model,
    sparsity: Sparsity,
    x: np.ndarray | Batches,
    y: np.ndarray | None,
    loss: str | Callable,
    unit: str = "weight",
    batch_size: int = 250,
) -> Ticket:
    """Keeps the weights of the highest connection sensitivity |dL/dw * w|.

    It is how fast the loss changes when a weight is scaled away, measured once, before
    training. The paper compares all weights of the network with one another: give
    `dlth.Global(sparsity)` for that. With a plain number each layer keeps the same
    fraction, on equal terms with a random ticket.

    The model is left as it is, moving statistics included.

    Args:
        model: the model at its initial weights.
        sparsity: as for `random_ticket`, distributions included.
        x: inputs of some training examples, `[examples, ...]`; a hundred do.
            Or, if they fill the memory, batches of inputs and targets that can be gone
            through more than once, such as a `tf.data.Dataset`.
        y: their targets; None with batches.
        loss: a Keras loss or its name, as for `compile`.
        unit: what is removed as a whole, as for `random_ticket`.
        batch_size: examples looked at at a time, which batch normalization sees
            together; batches are looked at as they are.

    Raises:
        RuntimeError: Keras runs on another backend than TensorFlow, JAX or torch.
        ValueError: as for `random_ticket`, or a score is not a number.

    Example:

    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> ticket = dlth.snip_ticket(model, dlth.Global(0.95), x[:100], y[:100], loss)
    >>> model.fit(x, y, callbacks=[dlth.FixedTicket(ticket)])

    Source: Lee, Ajanthan and Torr, "SNIP: Single-shot Network Pruning based on
    Connection Sensitivity", ICLR 2019, section 4.
    """
    training = TrainingLoss(model, x, y, loss, batch_size, tables=name_patterns(sparsity))
    gradient, kernels = training.gradient(), training.kernels
    scores = {name: np.abs(gradient[name] * kernels[name]) for name in kernels}
    return highest_ticket(model, sparsity, scores, unit)


def grasp_ticket(
    model: keras.Model,
    sparsity: Sparsity,
    x: np.ndarray | Batches,
    y: np.ndarray | None,
    loss: str | Callable,
    unit: str = "weight",
    batch_size: int = 250,
    temperature: float = 200.0,
) -> Ticket:
    """Removes the weights whose removal leaves the most gradient flow.

    The paper's score of a weight is S = -w * (H g), with the gradient g and the Hessian
    H of the loss by all kernels: half of what the squared norm of the gradient gains, to
    first order, when the weight is removed. The weights of the highest S are removed,
    the most harmful ones first; so the highest w * (H g), signed, stay.

    The paper compares all weights of the network with one another: give
    `dlth.Global(sparsity)` for that. With a plain number each layer keeps the same
    fraction. The model is left as it is, moving statistics included.

    Args:
        model: the model at its initial weights; its outputs are logits.
        sparsity: as for `random_ticket`, distributions included.
        x: inputs of some training examples, `[examples, ...]`; the paper takes ten of
            each class.
            Or, if they fill the memory, batches of inputs and targets that can be gone
            through more than once, such as a `tf.data.Dataset`.
        y: their targets; None with batches.
        loss: a Keras loss or its name, as for `compile`.
        unit: what is removed as a whole, as for `random_ticket`.
        batch_size: examples looked at at a time, which batch normalization sees
            together; batches are looked at as they are.
        temperature: what the logits are divided by, as the authors' program does, so
            that the softmax is far from saturation.

    Raises:
        RuntimeError: Keras runs on another backend than TensorFlow, JAX or torch.
        ValueError: as for `random_ticket`, a temperature that is not positive, or a
            score that is not a number.

    Example:

    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> ticket = dlth.grasp_ticket(model, dlth.Global(0.95), x[:100], y[:100], loss)
    >>> model.fit(x, y, callbacks=[dlth.FixedTicket(ticket)])

    Source: Wang, Zhang and Grosse, "Picking Winning Tickets Before Training by
    Preserving Gradient Flow", ICLR 2020, section 4 and algorithm 1.
    """
    if not temperature > 0:
        raise ValueError(f"`temperature` must be positive. Received: {temperature}")
    training = TrainingLoss(
        model, x, y, loss, batch_size, temperature, tables=name_patterns(sparsity)
    )
    product, kernels = training.hessian_product(training.gradient()), training.kernels
    scores = {name: kernels[name] * product[name] for name in kernels}
    return highest_ticket(model, sparsity, scores, unit)
