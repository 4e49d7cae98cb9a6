"""After `fit`, however it ended, the model carries nothing of ours."""

import keras
import numpy as np
import pytest

import dlth_tf as dlth
from tests.library.models import KINDS, X, Y, assert_same, compiled, fit


def callbacks_for(model):
    ticket = dlth.random_ticket(model, 0.5, seed=0)
    return [
        dlth.RandomSparseTransformation(ticket, growth=0.1, bound=0.3),
        dlth.CoupledL2(0.01),
        dlth.FixedTicket(ticket),
    ]


def hooks(model):
    """All that training could find on a model, and what Keras's own `fit` changes."""
    return {
        "attributes": set(vars(model)),
        "regularizers": [v.regularizer for v in model.variables],
        "constraints": [getattr(v, "constraint", None) for v in model.variables],
        "non-trainable": [id(v) for v in model.non_trainable_variables],
        "variables": [id(v) for v in model.variables],
        "optimizer variables": [v.path for v in model.optimizer.variables],
        "train step": "train_step" in vars(model),
        "train function": type(model.train_function).__module__,
    }


def same_start(model, twin):
    """Gives both the same weights, optimizer state and random seeds."""
    own = model.variables + model.optimizer.variables
    theirs = twin.variables + twin.optimizer.variables
    for a, b in zip(theirs, own, strict=True):
        b.assign(keras.ops.convert_to_numpy(a).copy())


@pytest.mark.every_backend
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_plain_fit_afterwards_is_that_of_an_untouched_twin(kind):
    model, twin = (compiled(KINDS[kind], jit_compile=False) for _ in range(2))
    fit(twin)
    before = hooks(twin)
    fit(model, *callbacks_for(model))
    after = hooks(model)
    for part in ("attributes", "regularizers", "constraints", "train step"):
        assert after[part] == before[part], part
    assert len(after["variables"]) == len(before["variables"])
    assert len(after["non-trainable"]) == len(before["non-trainable"])
    assert len(after["optimizer variables"]) == len(before["optimizer variables"])
    assert after["train function"] == before["train function"]
    same_start(model, twin)
    fit(model, epochs=2), fit(twin, epochs=2)
    assert_same(model, twin)


def test_the_models_own_compiled_step_is_used_again():
    model = compiled(jit_compile=False)
    fit(model)
    own = model.train_function
    fit(model, *callbacks_for(model))
    assert model.train_function is own


class Raise(keras.callbacks.Callback):
    def __init__(self, hook, error):
        super().__init__()
        self.hook = hook
        self.error = error

    def _maybe(self, hook, count):
        if hook == self.hook and count == 1:
            raise self.error("from " + hook)

    def on_train_begin(self, logs=None):
        self._maybe("on_train_begin", 1)

    def on_epoch_end(self, epoch, logs=None):
        self._maybe("on_epoch_end", epoch)

    def on_train_batch_begin(self, batch, logs=None):
        self._maybe("on_train_batch_begin", batch)

    def on_train_batch_end(self, batch, logs=None):
        self._maybe("on_train_batch_end", batch)

    def on_train_end(self, logs=None):
        self._maybe("on_train_end", 1)


HOOKS = [
    "on_train_begin",
    "on_epoch_end",
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_train_end",
]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("hook", HOOKS)
def test_when_another_callback_raises(hook, first):
    raising = Raise(hook, KeyboardInterrupt if first else RuntimeError)
    model, twin = (compiled(jit_compile=False) for _ in range(2))
    ours = callbacks_for(model)
    with pytest.raises(raising.error, match=hook):
        fit(model, *([raising, *ours] if first else [*ours, raising]), epochs=3)
    assert "train_step" not in vars(model)
    assert all(v.regularizer is None and v.constraint is None for v in model.variables)
    fit(twin)
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    same_start(model, twin)
    fit(model), fit(twin)
    assert_same(model, twin)


@pytest.mark.every_backend
def test_when_the_data_raise():
    def batches():
        for start in range(0, 48, 16):
            yield X[start : start + 16], Y[start : start + 16]
        raise OSError("disk gone")

    model, twin = (compiled(jit_compile=False) for _ in range(2))
    with pytest.raises(Exception, match="disk gone"):
        model.fit(batches(), epochs=2, verbose=0, callbacks=callbacks_for(model))
    assert type(model.train_function).__module__.startswith("builtins")
    fit(twin)
    same_start(model, twin)
    fit(model), fit(twin)
    assert_same(model, twin)


@pytest.mark.every_backend
def test_when_a_step_raises_while_it_is_traced():
    def broken_loss(y, p):
        raise ZeroDivisionError("in the loss")

    model = compiled(jit_compile=False)
    callbacks = callbacks_for(model)
    model.compile("sgd", broken_loss)
    with pytest.raises(ZeroDivisionError, match="in the loss"):
        fit(model, *callbacks)
    assert "train_step" not in vars(model)
    assert all(v.regularizer is None and v.constraint is None for v in model.variables)


@pytest.mark.every_backend
def test_a_different_transformation_after_one_that_raised():
    """The next `fit` does not go on with the step of the one before."""
    model = compiled(jit_compile=False)
    with pytest.raises(RuntimeError):
        fit(model, *callbacks_for(model), Raise("on_train_batch_begin", RuntimeError))
    model.set_weights([np.ones_like(w) for w in model.get_weights()])
    ticket = dlth.random_ticket(model, 0.25, seed=9)
    fit(model, dlth.FixedTicket(ticket))
    for _, kernel, mask in ticket.pairs(model):
        left = np.count_nonzero(keras.ops.convert_to_numpy(kernel))
        assert left == np.count_nonzero(mask)


@pytest.mark.every_backend
def test_train_on_batch_after_fit_is_plain():
    model, twin = (compiled(jit_compile=False) for _ in range(2))
    fit(model, *callbacks_for(model)), fit(twin)
    same_start(model, twin)
    for either in (model, twin):
        either.train_on_batch(X[:16], Y[:16])
    assert_same(model, twin)


@pytest.mark.every_backend
def test_a_checkpoint_from_within_fit_is_plain_keras(tmp_path):
    model = compiled(KINDS["functional"], jit_compile=False)
    path = tmp_path / "model.keras"
    checkpoint = keras.callbacks.ModelCheckpoint(path, save_freq=3)
    fit(model, *callbacks_for(model), checkpoint)
    loaded = keras.saving.load_model(path)
    assert_same(loaded, model)
    assert all(v.regularizer is None for v in loaded.variables)
    fit(loaded)


def test_a_model_saved_afterwards_loads_in_plain_keras(tmp_path):
    model = compiled(jit_compile=False)
    before = model.get_config()
    fit(model, *callbacks_for(model))
    assert model.get_config() == before
    model.save(tmp_path / "model.keras")
    assert_same(keras.saving.load_model(tmp_path / "model.keras"), model)
