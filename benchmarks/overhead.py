"""What the transformation and the masks add to a training step.

    python -m benchmarks.overhead

Compares a dense step with a step under `RandomSparseTransformation` and one under
`FixedTicket`, for an MLP and for ResNet-20; and a dense step of tf_keras with one under
TFMOT's own wrapper `prune_low_magnitude`. On Keras 3 all have the recipe's L2 but the
plain step without callbacks. The steps of one comparison take turns in one process and
include everything between two batches. Two dense models show what noise makes of nothing.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import keras

import dlth_tf as dlth
from benchmarks.timing import TRAININGS, fit_of, mlp, report, steps_in_turns
from official.modeling.networks import build_network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=TRAININGS, help="only this one")
    parser.add_argument("--jit", choices=["on", "off"], help="only this way of compiling")
    arguments = parser.parse_args()
    for network in [arguments.network] if arguments.network else TRAININGS:
        for jit in [arguments.jit] if arguments.jit else ["on", "off"]:
            report(f"{network}, Keras 3, jit_compile {jit}", steps(network, jit))
            # tf_keras and Keras 3 do not share a process well.
            other = [sys.executable, "-m", "benchmarks.tfmot", "steps", network, jit]
            subprocess.run(other, check=True)


def steps(network: str, jit: str) -> dict[str, Any]:
    """Milliseconds of steps on Keras 3, by what is done in them."""

    def training(*callbacks_of: Callable[[dlth.Ticket], Any], l2: bool = True) -> Any:
        if network == "mlp":
            model = mlp(keras)
        else:
            model = build_network(network, input_shape=(32, 32, 3), classes=10)
        ticket = dlth.random_ticket(model, 0.9, seed=0)
        callbacks = [make(ticket) for make in callbacks_of]
        callbacks = [dlth.CoupledL2(5e-4), *callbacks] if l2 else []
        return fit_of(keras, network, jit, model, callbacks)

    fits = {
        "dense": training(),
        "dense again": training(),
        "RandomSparseTransformation": training(
            lambda ticket: dlth.RandomSparseTransformation(ticket, growth=1.0)
        ),
        "FixedTicket": training(dlth.FixedTicket),
        "plain Keras, no L2": training(l2=False),
    }
    return steps_in_turns(keras, fits)


if __name__ == "__main__":
    main()
