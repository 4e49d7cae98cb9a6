"""What `official` relies on of the inside of Keras."""

import keras
import numpy as np
import pytest

from official.modeling.layers import BatchNormalization
from official.private_keras import all_layers, multi_worker_fit, slot_of


def test_names_of_serialised_classes_are_in_a_dictionary():
    from keras.src.api_export import REGISTERED_NAMES_TO_OBJS, REGISTERED_OBJS_TO_NAMES

    name, own = "keras.layers.BatchNormalization", keras.layers.BatchNormalization
    assert REGISTERED_OBJS_TO_NAMES[own] == name
    assert REGISTERED_NAMES_TO_OBJS[name] is own


def test_a_layer_is_saved_as_that_of_keras():
    layer = BatchNormalization(momentum=0.8, name="stem_bn")
    saved = keras.saving.serialize_keras_object(layer)
    loaded = keras.saving.deserialize_keras_object(saved)
    assert type(loaded) is keras.layers.BatchNormalization
    assert loaded.get_config() == layer.get_config()
    older = {"registered_name": "official>BatchNormalization", "module": "official"}
    loaded = keras.saving.deserialize_keras_object(saved | older)
    assert type(loaded) is BatchNormalization


def test_layers_inside_of_others_are_found():
    inner = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="inside")])
    model = keras.Sequential([keras.Input((2,)), inner])
    assert "inside" in {layer.name for layer in all_layers(model)}
    assert model not in all_layers(model)


def test_slots_of_an_optimizer_have_an_index():
    optimizer = keras.optimizers.SGD(1.0, momentum=0.5)
    first, second = (keras.Variable(np.zeros(2, np.float32)) for _ in range(2))
    optimizer.build([first, second])
    assert slot_of(second, optimizer.momentums, optimizer) is optimizer.momentums[1]


def test_an_untested_version_of_keras_is_refused(monkeypatch):
    monkeypatch.setattr(keras, "__version__", "9.1.0")
    with (
        pytest.raises(RuntimeError, match=r"3\.15 only\. The version is 9\.1\.0"),
        multi_worker_fit(),
    ):
        pass


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="it is TensorFlow's")
def test_nothing_of_multi_worker_fit_is_left_in_keras():
    from keras.src.backend.tensorflow import trainer

    def inside():
        return trainer.reduce_per_replica, trainer.TensorFlowTrainer._maybe_symbolic_build

    before = inside()
    with multi_worker_fit():
        assert inside() != before
    assert inside() == before
