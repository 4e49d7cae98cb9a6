"""Following the channels through a model's graph."""

import keras
import numpy as np

from dlth_tf.network.channels.couplings import Channels, Couplings, LeftWhole
from dlth_tf.network.channels.operations import follow_operation
from dlth_tf.network.channels.rules import follow
from dlth_tf.network.graph import functional_graph, require_graph, run_graph

MODEL_INPUT = "its channels are those of the model's input"
MODEL_OUTPUT = "its channels are those of the model's output"


class Analysis:
    """Which channels of a model are coupled, where they lie, and which must stay.

    Args:
        model: a functional or Sequential model.

    Attributes:
        couplings: the channels.

    Raises:
        ValueError: the model has no graph.
    """

    def __init__(self, model: keras.Model):
        self.couplings = Couplings()
        self._reasons: dict[int, str] = {}
        graph = require_graph(model)
        inputs = [self._whole(tensor, MODEL_INPUT) for tensor in graph.inputs]
        for outputs in run_graph(graph, inputs, self._visit):
            self.couplings.keep(outputs.ids, MODEL_OUTPUT, override=True)

    def reason(self, variable: keras.Variable) -> str | None:
        """Why nothing is known of the channels of a variable."""
        return self._reasons.get(id(variable))

    def _visit(self, operation, args, kwargs, outputs) -> list[Channels]:
        values = keras.tree.flatten([args, kwargs])
        tensors = [value for value in values if isinstance(value, Channels)]
        graph = functional_graph(operation)
        try:
            if id(operation) in self._reasons:
                raise LeftWhole(self._reasons[id(operation)])
            if graph is not None:
                self.couplings.size(operation, [x.ids for x in tensors])
                return run_graph(graph, tensors, self._visit)
            if hasattr(operation, "get_prunable_weights"):
                raise LeftWhole("it says itself which of its weights can be masked")
            if len(outputs) != 1:
                raise LeftWhole("it has several outputs")
            if isinstance(operation, keras.layers.Layer):
                return [follow(operation, tensors, outputs[0], self.couplings)]
            return [follow_operation(operation, values, outputs[0], self.couplings)]
        except LeftWhole as reason:
            return self._leave_whole(operation, tensors, outputs, str(reason))

    def _leave_whole(self, operation, tensors, outputs, reason) -> list[Channels]:
        self._reasons[id(operation)] = reason
        said = f"layer '{operation.name}' is left whole: {reason}"
        own = {id(variable) for variable in getattr(operation, "variables", ())}
        self._reasons.update(dict.fromkeys(own, said))
        for use in self.couplings.uses:
            if id(use.variable) in own:
                self.couplings.keep(use.ids, said)
        for x in tensors:
            self.couplings.keep(x.ids, said)
        for ids in self.couplings.sized(operation):
            self.couplings.keep(ids, said)
        return [self._whole(tensor, said) for tensor in outputs]

    def _whole(self, tensor, reason) -> Channels:
        shape = tuple(tensor.shape)
        count = (shape[-1] if len(shape) > 1 else None) or 0
        ids = self.couplings.new(count)
        self.couplings.keep(ids, reason)
        return Channels(ids, np.zeros(count, bool), len(shape) - 1, shape)
