"""What differs between backends: where TensorFlow is loaded, and what is refused."""

import subprocess
import sys

import keras
import pytest

import dlth_tf as dlth
from tests.library.models import compiled, fit

BACKEND = keras.backend.backend()
_TRAIN = """
import sys
import keras
import dlth_tf as dlth
from tests.library.models import X, Y, compiled, fit

for name in dlth.__all__:
    getattr(dlth, name)
model = compiled()
ticket = dlth.random_ticket(model, 0.5, seed=0)
fit(model, dlth.RandomSparseTransformation(ticket), dlth.CoupledL2(1e-3))
fit(model, dlth.FixedTicket(dlth.grasp_ticket(model, 0.5, X, Y, "mse")))
print(sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.mark.every_backend
def test_the_library_loads_tensorflow_only_where_keras_does():
    done = subprocess.run([sys.executable, "-c", _TRAIN], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ("'tensorflow'" in done.stdout) == (BACKEND == "tensorflow")


@pytest.mark.every_backend
def test_early_bird_finds_its_ticket():
    early_bird = dlth.EarlyBird(0.5, threshold=1.0, window=2)
    history = fit(compiled(), early_bird, epochs=5).history
    assert early_bird.settled_epoch == len(history["loss"]) == 2
    assert early_bird.ticket.sparsity == 0.5


@pytest.mark.every_backend
def test_magnitude_pruning_is_tensorflows():
    if BACKEND == "tensorflow":
        assert dlth.MagnitudePruning(0.5).schedules
    else:
        with pytest.raises(RuntimeError, match=f"TensorFlow.* The backend is {BACKEND}"):
            dlth.MagnitudePruning(0.5)
