"""What a ticket of whole filters saves: the dense, the masked and the shrunken network.

    python -m benchmarks.filters

For each network and each fraction of filters removed: parameters, multiply-adds, bytes of
the exported SavedModel, the milliseconds of inference at two batch sizes, as trained and
as exported (BatchNorm folded), and those of a finetuning step (the masked network's under
`FixedTicket`). The networks take turns, one call each, so that other work on the machine
slows all alike; a speed-up is the median of one network's times relative to another's of
the same turn. Two tables in Markdown: figures, and what is gained.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import dlth_tf as dlth
from benchmarks import timing
from dlth_tf.exporting import export
from official.modeling.layers import plain
from official.modeling.networks import build_network

BATCH_SIZE = 128
TRAINING_STEPS = 8
WARM_UP = 2
_FIGURES = (
    *("network", "filters removed", "", "parameters", "multiply-adds"),
    *("SavedModel bytes", "ms as trained", "ms exported", "ms exported, batch 1"),
    "finetuning step ms",
)
_GAINS = (
    *("network", "filters removed", "fewer multiply-adds", "faster exported"),
    *("faster as trained", "dense as trained to shrunken exported", "faster finetuning"),
    *("multiply-adds saved", "time saved, exported"),
)


def main() -> None:
    """Runs the comparison and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--networks", nargs="+", default=["vgg16_bn", "resnet56"], metavar="NETWORK"
    )
    parser.add_argument("--sparsity", nargs="+", type=float, default=[0.5, 0.7, 0.9])
    parser.add_argument("--rounds", type=int, default=15, help="turns of each network")
    arguments = parser.parse_args()
    print(timing.head(_FIGURES))
    gains = [
        _compare(network, sparsity, arguments.rounds)
        for network in arguments.networks
        for sparsity in arguments.sparsity
    ]
    print("", timing.head(_GAINS), *gains, sep="\n")


def _compare(network: str, sparsity: float, rounds: int) -> str:
    """Prints the three networks at one sparsity; what the small one gains, as a row."""
    dense, masked = (
        build_network(network, input_shape=(32, 32, 3), classes=10) for _ in range(2)
    )
    ticket = dlth.random_ticket(dense, sparsity, seed=0, unit="filter")
    masked.set_weights(dense.get_weights())
    ticket.apply(masked)
    networks = {"dense": dense, "masked": masked, "shrunken": dlth.shrink(dense, ticket)}
    costs = {name: dlth.layer_costs(model) for name, model in networks.items()}
    fits = {
        name: _finetuning(model, [dlth.FixedTicket(ticket)] if name == "masked" else [])
        for name, model in networks.items()
    }
    steps = timing.steps_in_turns(keras, fits, WARM_UP)
    folded = {
        f"{name} exported": dlth.fold_batch_norm(model)
        for name, model in networks.items()
    }
    times = _inference(networks | folded, BATCH_SIZE, rounds)
    alone = _inference(folded, 1, rounds)
    case = (network, f"{sparsity:.0%}")
    for name, model in networks.items():
        cost, exported = costs[name], f"{name} exported"
        counts = (cost.parameters, cost.multiply_adds, _exported_bytes(model))
        taken = (times[name], times[exported], alone[exported], steps[name])
        figures = [f"{c:,}" for c in counts] + [f"{np.median(t):.2f}" for t in taken]
        print(timing.row((*case, name, *figures)), flush=True)
    fewer = costs["dense"].multiply_adds / costs["shrunken"].multiply_adds
    factors = [
        timing.gain(times["dense exported"], times["shrunken exported"]),
        timing.gain(times["dense"], times["shrunken"]),
        timing.gain(times["dense"], times["shrunken exported"]),
    ]
    return timing.row(
        (
            *(*case, f"{fewer:.1f}x"),
            *(f"{factor:.1f}x ({factor / fewer:.0%})" for factor in factors),
            f"{timing.gain(steps['dense'], steps['shrunken']):.1f}x",
            *(f"{1 - 1 / fewer:.1%}", f"{1 - 1 / factors[0]:.1%}"),
        )
    )


def _finetuning(model: keras.Model, callbacks: list[Any]) -> Callable[[Any], Any]:
    chance = np.random.default_rng(0)
    count = BATCH_SIZE * TRAINING_STEPS
    images = chance.normal(size=(count, 32, 32, 3)).astype("float32")
    labels = chance.integers(0, 10, count)
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    options = {"batch_size": BATCH_SIZE, "shuffle": False, "verbose": 0}
    return lambda first: model.fit(
        images, labels, callbacks=[first, *callbacks], **options
    )


def _inference(
    networks: dict[str, keras.Model], batch_size: int, rounds: int
) -> dict[str, np.ndarray]:
    images = tf.random.stateless_normal((batch_size, 32, 32, 3), (0, 0))

    def call_of(model: keras.Model) -> Callable[[], Any]:
        infer = tf.function(lambda batch: model(batch, training=False))
        return lambda: infer(images).numpy()

    calls = {name: call_of(model) for name, model in networks.items()}
    return timing.calls_in_turns(calls, rounds, 0.1)


def _exported_bytes(model: keras.Model) -> int:
    with tempfile.TemporaryDirectory() as folder:
        export(plain(model), Path(folder) / "exported")
        return timing.folder_bytes(Path(folder))


if __name__ == "__main__":
    main()
