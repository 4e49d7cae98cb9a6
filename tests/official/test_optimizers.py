import keras
import numpy as np
import pytest

from official.training.optimizers import SGD


def steps(optimizer, rates, gradient=1.0):
    weight = keras.Variable(np.zeros(3, np.float32))
    optimizer.build([weight])
    for rate in rates:
        optimizer.learning_rate = rate
        optimizer.apply([keras.ops.full((3,), gradient)])
    return keras.ops.convert_to_numpy(weight)[0]


def test_equals_keras_while_the_rate_is_constant():
    rates = [0.1] * 5
    keras_weight = steps(keras.optimizers.SGD(0.1, momentum=0.9), rates)
    assert steps(SGD(0.1, momentum=0.9), rates) == pytest.approx(keras_weight, rel=1e-6)


def test_takes_a_new_rate_at_once():
    # Gathered gradients are 1, then 0.9 + 1.
    assert steps(SGD(0.1, momentum=0.9), [0.1, 0.01]) == pytest.approx(-0.1 - 0.019)


def test_without_momentum():
    assert steps(SGD(0.1), [0.1, 0.2]) == pytest.approx(-0.3)


def test_survives_its_configuration():
    again = SGD.from_config(SGD(0.1, momentum=0.9).get_config())
    assert (again.momentum, float(again.learning_rate)) == (0.9, pytest.approx(0.1))


def test_refuses_nesterov():
    with pytest.raises(ValueError, match="nesterov=True"):
        SGD(0.1, momentum=0.9, nesterov=True)
