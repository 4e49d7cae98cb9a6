"""What the library must do on the JAX backend; run by `test_jax_backend`."""

import sys
import traceback

import keras
import numpy as np

import dlth_tf as dlth
from tests.library import golden
from tests.library.models import KINDS, assert_same, compiled, fit


def library_without_tensorflow():
    for name in dlth.__all__:
        if name != "MagnitudePruning":
            getattr(dlth, name)
    model = compiled()
    ticket = dlth.random_ticket(model, 0.5, seed=0)
    fit(model, dlth.RandomSparseTransformation(ticket), dlth.CoupledL2(1e-3))
    fit(model, dlth.FixedTicket(ticket))
    assert not [name for name in sys.modules if name.split(".")[0] == "tensorflow"]


def golden_mlp():
    for found in golden.read_all():
        if found.config["network"] == "mlp" and not found.cycles:
            measured = golden.lambdas_in_step(found.transformation())
            error = np.abs(measured - found.lambdas).max()
            assert error <= golden.LAMBDA_TOLERANCE
            golden.follow_transformation(found)
            golden.follow_transformation(found, steps_per_execution=7)
            golden.follow_finetuning(found)


def zeros():
    from tests.library.test_fixed_ticket import EXTRAS, OPTIMIZERS, WatchZeros

    for name, extra in [
        ("sgd", "plain"),
        ("adam", "ema"),
        ("adam", "ema overwrites"),
        ("adamw", "accumulation"),
    ]:
        model = compiled(optimizer=OPTIMIZERS[name](**EXTRAS[extra]))
        if not model.optimizer.use_ema:  # Keras on JAX cannot `fit` twice with it.
            fit(model)
        ticket = dlth.random_ticket(model, 0.7, seed=3)
        watch = WatchZeros(ticket)
        fit(model, dlth.FixedTicket(ticket), watch, epochs=2)
        assert watch.steps == 12


def schedule():
    from tests.library.test_transformation import (
        GROWING,
        lambdas_through_fit,
        pullable,
        rst,
    )

    for optimizer, every in [
        (keras.optimizers.SGD(1.0), 1),
        (keras.optimizers.SGD(1.0, gradient_accumulation_steps=2), 2),
    ]:
        model = pullable(optimizer, jit_compile=True)
        fit(model, epochs=2)
        transformation = rst(model, bound=1.0)
        lambdas = lambdas_through_fit(model, transformation, steps=4, epochs=2)
        wanted = GROWING[: 8 // every]
        np.testing.assert_allclose(lambdas[every - 1 :: every], wanted, atol=1e-6)
        assert transformation.step == 8 // every


def stops():
    from tests.library.test_transformation import rst

    model = compiled()
    transformation = rst(model, growth=0.1, bound=0.45, hold=9)
    fit(model, transformation, epochs=10)
    assert int(model.optimizer.iterations) == transformation.schedule.steps == 14


def no_trace():
    for kind in KINDS.values():
        model, twin = compiled(kind), compiled(kind)
        fit(twin)
        ticket = dlth.random_ticket(model, 0.5, seed=0)
        transformation = dlth.RandomSparseTransformation(ticket, growth=0.1)
        fit(model, transformation, dlth.FixedTicket(ticket))
        assert set(vars(model)) == set(vars(twin))
        ours = model.variables + model.optimizer.variables
        theirs = twin.variables + twin.optimizer.variables
        for a, b in zip(ours, theirs, strict=True):
            a.assign(np.array(b.value))
        fit(model), fit(twin)
        assert_same(model, twin)


CHECKS = [library_without_tensorflow, golden_mlp, zeros, schedule, stops, no_trace]

if __name__ == "__main__":
    for check in CHECKS:
        try:
            check()
        except BaseException as error:
            traceback.print_exc()
            print(f"{check.__name__}: {error!r}")
        else:
            print(f"{check.__name__}: passed")
