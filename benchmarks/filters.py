"""What a ticket of whole filters saves: the dense, the masked and the shrunken network.

    python -m benchmarks.filters

For each network and each fraction of filters removed: parameters, multiply-adds, bytes of
the exported SavedModel, the milliseconds of inference at two batch sizes, as trained and
as exported (BatchNorm folded), and those of a finetuning step (the masked network's under
`FixedTicket`). The networks take turns, one call each, so that other work on the machine
slows all alike; a speed-up is the median of one network's times relative to another's of
the same turn. On a busy machine, `--clock=processor --threads=1` counts only the time for
which this program had a processor. Two tables in Markdown: figures, and what is gained.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.markdown import row
from benchmarks.turns import step_seconds

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

BATCH_SIZE = 128
TRAINING_STEPS = 8
_WARM_UP = 2
_CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
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
    parser.add_argument("--threads", type=int, default=2, help="threads of TensorFlow")
    parser.add_argument("--clock", choices=_CLOCKS, default="wall", help="what is timed")
    arguments = parser.parse_args()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    tf.config.threading.set_inter_op_parallelism_threads(arguments.threads)
    clock = _CLOCKS[arguments.clock]
    print(
        f"Batch {BATCH_SIZE}, {arguments.threads} threads, {arguments.clock} clock.\n"
        f"{row(_FIGURES)}\n{row(['---'] * len(_FIGURES))}"
    )
    gains = []
    for network in arguments.networks:
        for sparsity in arguments.sparsity:
            gains.append(compare(network, sparsity, arguments.rounds, clock))
    print("", row(_GAINS), row(["---"] * len(_GAINS)), *gains, sep="\n")


def compare(network: str, sparsity: float, rounds: int, clock: Callable) -> str:
    """Prints the three networks at one sparsity; what the small one gains, as a row."""
    import dlth_tf as dlth
    from official.modeling.networks import build_network

    dense, masked = (
        build_network(network, input_shape=(32, 32, 3), classes=10) for _ in range(2)
    )
    ticket = dlth.random_ticket(dense, sparsity, seed=0, unit="filter")
    masked.set_weights(dense.get_weights())
    ticket.apply(masked)
    networks = {"dense": dense, "masked": masked, "shrunken": dlth.shrink(dense, ticket)}
    costs = {name: dlth.layer_costs(model) for name, model in networks.items()}
    steps = _finetuning_milliseconds(networks, ticket)
    folded = {name: dlth.fold_batch_norm(model) for name, model in networks.items()}
    trained = _milliseconds(networks | _renamed(folded), BATCH_SIZE, rounds, clock)
    alone = _milliseconds(folded, 1, rounds, clock)
    for name, model in networks.items():
        figures = (
            f"{costs[name].parameters:,}",
            f"{costs[name].multiply_adds:,}",
            f"{_exported_bytes(model):,}",
            *(
                f"{statistics.median(times):.2f}"
                for times in (
                    *(trained[name], trained[_EXPORTED + name], alone[name]),
                    steps[name],
                )
            ),
        )
        print(row((network, f"{sparsity:.0%}", name, *figures)), flush=True)
    fewer = costs["dense"].multiply_adds / costs["shrunken"].multiply_adds
    exported = _gain(trained[f"{_EXPORTED}dense"], trained[f"{_EXPORTED}shrunken"])
    factors = (
        *(exported, _gain(trained["dense"], trained["shrunken"])),
        _gain(trained["dense"], trained[f"{_EXPORTED}shrunken"]),
    )
    return row(
        (
            *(network, f"{sparsity:.0%}", f"{fewer:.1f}x"),
            *(f"{factor:.1f}x ({factor / fewer:.0%})" for factor in factors),
            f"{_gain(steps['dense'], steps['shrunken']):.1f}x",
            *(f"{1 - 1 / fewer:.1%}", f"{1 - 1 / exported:.1%}"),
        )
    )


_EXPORTED = "exported "


def _renamed(folded: dict) -> dict:
    return {f"{_EXPORTED}{name}": model for name, model in folded.items()}


def _gain(slow, fast) -> float:
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def _finetuning_milliseconds(networks: dict, ticket) -> dict[str, np.ndarray]:
    """What each training step takes in each network, the steps taking turns."""
    import keras

    import dlth_tf as dlth

    random = np.random.default_rng(0)
    count = BATCH_SIZE * TRAINING_STEPS
    images = random.normal(size=(count, 32, 32, 3)).astype("float32")
    labels = random.integers(0, 10, count)

    def fit_of(name, model):
        def fit(turnstile):
            model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
            model.fit(
                images,
                labels,
                batch_size=BATCH_SIZE,
                shuffle=False,
                verbose=0,
                callbacks=[
                    turnstile,
                    *([dlth.FixedTicket(ticket)] if name == "masked" else []),
                ],
            )

        return fit

    fits = [fit_of(name, model) for name, model in networks.items()]
    seconds = step_seconds(fits, keras.callbacks.Callback, _WARM_UP)
    return dict(zip(networks, 1e3 * seconds, strict=True))


def _milliseconds(
    networks: dict, batch_size: int, rounds: int, clock: Callable
) -> dict[str, list[float]]:
    """Times of one call, network by network, in turns; short calls are averaged."""
    import tensorflow as tf

    images = tf.random.stateless_normal((batch_size, 32, 32, 3), (0, 0))
    calls = {name: _compiled(model, images) for name, model in networks.items()}
    repeats = {
        name: max(1, int(0.1 / _seconds(call, 3, clock))) for name, call in calls.items()
    }
    times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(_seconds(call, repeats[name], clock) * 1e3)
    return times


def _compiled(model, images) -> Callable:
    import tensorflow as tf

    infer = tf.function(lambda batch: model(batch, training=False))

    def call():
        infer(images).numpy()

    call()
    return call


def _seconds(call: Callable, repeats: int, clock: Callable) -> float:
    start = clock()
    for _ in range(repeats):
        call()
    return (clock() - start) / repeats


def _exported_bytes(model) -> int:
    from dlth_tf.exporting import export
    from official.modeling.layers import plain

    with tempfile.TemporaryDirectory() as folder:
        export(plain(model), Path(folder) / "exported")
        files = (Path(folder) / "exported").rglob("*")
        return sum(file.stat().st_size for file in files if file.is_file())


if __name__ == "__main__":
    main()
