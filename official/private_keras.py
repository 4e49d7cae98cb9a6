"""All that relies on the inside of Keras, which may change with any version of it.

`tests/official/test_private_keras.py` says what that is. And `tf`, which is TensorFlow
where Keras runs on it; on another backend it may be missing, and is None.

Under MultiWorkerMirroredStrategy Keras 3's `fit` fails in two places
(https://github.com/keras-team/keras/issues/20585):

- `_maybe_symbolic_build` draws a batch to learn its shape and reduces it over workers,
  whose parts it can't be reduced to one by. The shapes stand in the data set's
  description; no batch is needed.
- `reduce_per_replica` averages a step's loss and metrics along their first axis. They are
  numbers and have none.
"""

import contextlib
import importlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras.src import api_export

TESTED_KERAS = ("3.15",)

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
tf: Any = importlib.import_module("tensorflow") if ON_TENSORFLOW else None


def save_as(name: str, cls: type) -> None:
    """Lets the objects of a class be saved as those of Keras's own class `name`.

    A program that loads them needs to know Keras alone, and gets Keras's own.
    """
    api_export.REGISTERED_OBJS_TO_NAMES[cls] = name


def all_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """The layers of a model, and those inside of them."""
    return model._flatten_layers(include_self=False)


def slot_of(variable: keras.Variable, slots: Sequence[Any], optimizer: Any) -> Any:
    """The one of an optimizer's slots that goes with a trained variable."""
    return slots[optimizer._get_variable_index(variable)]


@contextlib.contextmanager
def multi_worker_fit() -> Iterator[None]:
    """Makes `fit` and `evaluate` work under MultiWorkerMirroredStrategy meanwhile.

    It changes nothing for other strategies, and nothing is left of it afterwards. It can
    go once `tests/distribution/test_multi_worker.py` says that `fit` works without it.

    Raises:
        RuntimeError: a version of Keras that it was not tested with.
    """
    if ".".join(keras.__version__.split(".")[:2]) not in TESTED_KERAS:
        raise RuntimeError(
            "`multi_worker_fit` changes the inside of Keras and was tested with "
            f"{', '.join(TESTED_KERAS)} only. The version is {keras.__version__}; see "
            "https://github.com/keras-team/keras/issues/20585."
        )
    from keras.src.backend.tensorflow import trainer

    own_reduce = trainer.reduce_per_replica
    own_build = trainer.TensorFlowTrainer._maybe_symbolic_build

    def reduce_per_replica(values: Any, strategy: Any, reduction: str) -> Any:
        if reduction == "auto" and _is_multi_worker(strategy):
            return keras.tree.map_structure(
                lambda value: strategy.reduce("MEAN", value, axis=None), values
            )
        return own_reduce(values, strategy, reduction)

    def maybe_symbolic_build(
        model: keras.Model, iterator: Any = None, data_batch: Any = None
    ) -> None:
        if iterator is None or not _is_multi_worker(model.distribute_strategy):
            return own_build(model, iterator, data_batch)
        whole = iterator._distributed_dataset.element_spec
        # The description of one replica's part of the batch
        part = keras.tree.map_structure(
            lambda spec: getattr(spec, "_value_specs", (spec,))[0], whole
        )
        with model.distribute_strategy.scope():
            model._symbolic_build(data_batch=part)

    trainer.reduce_per_replica = reduce_per_replica
    trainer.TensorFlowTrainer._maybe_symbolic_build = maybe_symbolic_build
    try:
        yield
    finally:
        trainer.reduce_per_replica = own_reduce
        trainer.TensorFlowTrainer._maybe_symbolic_build = own_build


def _is_multi_worker(strategy: Any) -> bool:
    kind = tf.distribute.MultiWorkerMirroredStrategy
    return isinstance(strategy, kind) and strategy.extended._in_multi_worker_mode()
