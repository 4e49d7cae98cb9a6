"""Scores of weights before training: SNIP, GraSP, and SynFlow, which needs no data."""

from collections.abc import Callable, Sequence

import keras
import numpy as np

from dlth_tf.network.variables import walk_layers
from dlth_tf.saliency.gradients import Batches, SynapticFlow, TrainingLoss
from dlth_tf.tickets.masks import Masks
from dlth_tf.tickets.selection import highest_ticket, shapes_at_hand
from dlth_tf.tickets.sparsity import Pool, Sparsity, name_patterns, sparsity_pools
from dlth_tf.tickets.ticket import Ticket
from dlth_tf.tickets.units import SingleWeights


def snip_ticket(
    model: keras.Model,
    sparsity: Sparsity,
    x: np.ndarray | Batches,
    y: np.ndarray | None,
    loss: str | Callable,
    unit: str = "weight",
    batch_size: int = 250,
    round_to: int = 1,
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
        round_to: of filters, as for `random_ticket`.

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
    return highest_ticket(model, sparsity, scores, unit, round_to)


def grasp_ticket(
    model: keras.Model,
    sparsity: Sparsity,
    x: np.ndarray | Batches,
    y: np.ndarray | None,
    loss: str | Callable,
    unit: str = "weight",
    batch_size: int = 250,
    temperature: float = 200.0,
    round_to: int = 1,
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
        round_to: of filters, as for `random_ticket`.

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
    return highest_ticket(model, sparsity, scores, unit, round_to)


def synflow_ticket(
    model: keras.Model,
    sparsity: Sparsity,
    rounds: int = 100,
    input_shape: Sequence[int] | None = None,
) -> Ticket:
    """Keeps the weights of the highest synaptic flow, found anew in every round.

    With every trainable variable replaced by its magnitude and an input of ones, the
    model's outputs sum up to R; a weight's score is |w| * dR/d|w|, what flows through it
    from input to output. Round k of n prunes to the density (1 - sparsity) ** (k / n),
    then all flows are computed again, which is what keeps layers from losing all they
    have. Batch normalization is in inference mode, as if it were not there in an
    untrained network.

    The paper compares all weights of the network with one another: give
    `dlth.Global(sparsity)` for that. With a plain number each layer keeps the same
    fraction. Single weights only. The model is left as it is.

    Args:
        model: the model at its initial weights; its outputs are logits.
        sparsity: as for `random_ticket`, distributions included.
        rounds: rounds of pruning.
        input_shape: shape of one input, if the model does not know it.

    Raises:
        RuntimeError: Keras runs on another backend than TensorFlow, JAX or torch.
        ValueError: as for `random_ticket`, fewer than one round, an input of unknown
            shape, a sparsity that names an embedding, or a model with a GRU or through
            which nothing flows.

    Example:

    >>> ticket = dlth.synflow_ticket(model, dlth.Global(0.98))
    >>> model.fit(x, y, callbacks=[dlth.FixedTicket(ticket)])

    Source: Tanaka et al., "Pruning neural networks without any data by iteratively
    conserving synaptic flow", NeurIPS 2020, section 6 and algorithm 1.
    """
    if rounds < 1:
        raise ValueError(f"`rounds` must be at least 1. Received: {rounds}")
    shapes = shapes_at_hand(model, name_patterns(sparsity))
    pools = sparsity_pools(shapes, sparsity)
    for path, layer in walk_layers(model):
        if isinstance(layer, keras.layers.GRUCell):
            raise ValueError(
                "SynFlow needs outputs that grow with the weights. Received: model "
                f"'{model.name}' with the GRU '{path}', whose update gate holds back "
                "what its other weights let in."
            )
    flow = SynapticFlow(model, input_shape)
    if tables := shapes.keys() - flow.magnitudes:
        raise ValueError(
            "SynFlow's input of ones looks up one row of a table alone. Received: a "
            f"sparsity that names the embedding '{min(tables)}'"
        )
    masks: Masks = {n: np.ones(k.shape, np.bool_) for n, k in flow.magnitudes.items()}
    for done in range(1, rounds + 1):
        # What is removed comes last whatever the flow, and so stays removed.
        scores = {
            name: np.where(masks[name], score, -np.inf)
            for name, score in flow.scores(masks).items()
        }
        way = done / rounds
        of_round = pools if way == 1 else [_partly(pool, way) for pool in pools]
        masks = SingleWeights(shapes, of_round).highest_masks(scores)
    return Ticket({name: masks[name] for name in flow.magnitudes})


def _partly(pool: Pool, way: float) -> Pool:
    """A pool a part of the way to its density, in equal factors."""
    return Pool(pool.names, 1.0 - (1.0 - float(pool.sparsity)) ** way)
