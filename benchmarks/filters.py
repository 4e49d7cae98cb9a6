"""What a ticket of whole filters saves: the dense, the masked and the shrunken network.

    python -m benchmarks.filters

For each network and each fraction of filters removed: parameters, multiply-adds, bytes of
the `.keras` file and of a SavedModel, the milliseconds of inference at two batch sizes,
and those of a finetuning step (the masked network's under `FixedTicket`). The three
networks take turns, one call each, so that other work on the machine slows all alike; the
speed-up is the median of the dense network's times relative to the shrunken one's of the
same turn. On a busy machine, `--clock=processor --threads=1` counts only the time for
which this program had a processor.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.turns import step_seconds

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

BATCH_SIZES = (128, 1)
TRAINING_BATCH_SIZE = 128
TRAINING_STEPS = 8
_WARM_UP = 2
_CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
HEADER = (
    f"{'filters removed':<16}{'network':<9}{'parameters':>11}{'multiply-adds':>15}"
    f"{'.keras':>12}{'SavedModel':>12}"
    + "".join(f"{f'batch {size}':>12}" for size in BATCH_SIZES)
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
    for network in arguments.networks:
        print(
            f"\n{network}, {arguments.threads} threads, milliseconds by the "
            f"{arguments.clock} clock\n{HEADER}"
        )
        for sparsity in arguments.sparsity:
            compare(network, sparsity, arguments.rounds, _CLOCKS[arguments.clock])


def compare(network: str, sparsity: float, rounds: int, clock: Callable) -> None:
    """Prints the three networks at one sparsity, and what the small one gains."""
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
    times = {size: _milliseconds(networks, size, rounds, clock) for size in BATCH_SIZES}
    for name, model in networks.items():
        cost = costs[name]
        medians = [statistics.median(times[size][name]) for size in BATCH_SIZES]
        print(
            f"{sparsity:<16.0%}{name:<9}{cost.parameters:>11,}{cost.multiply_adds:>15,}"
            f"{_keras_bytes(model):>12,}{_saved_model_bytes(model):>12,}"
            + "".join(f"{median:>12.2f}" for median in medians),
            flush=True,
        )
    fewer = costs["dense"].multiply_adds / costs["shrunken"].multiply_adds
    for size in BATCH_SIZES:
        gain = statistics.median(
            dense / small
            for dense, small in zip(
                times[size]["dense"], times[size]["shrunken"], strict=True
            )
        )
        print(
            f"  batch {size}: {fewer:.1f} times fewer multiply-adds, {gain:.1f} times "
            f"faster ({gain / fewer:.0%}); {1 - 1 / fewer:.1%} of them and "
            f"{1 - 1 / gain:.1%} of the time saved",
            flush=True,
        )
    print(_finetuning(networks, ticket), flush=True)


def _finetuning(networks: dict, ticket) -> str:
    """What a training step takes in each network, the steps taking turns."""
    import keras

    import dlth_tf as dlth

    random = np.random.default_rng(0)
    count = TRAINING_BATCH_SIZE * TRAINING_STEPS
    images = random.normal(size=(count, 32, 32, 3)).astype("float32")
    labels = random.integers(0, 10, count)

    def fit_of(name, model):
        def fit(turnstile):
            model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
            model.fit(
                images,
                labels,
                batch_size=TRAINING_BATCH_SIZE,
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
    gain = np.median(seconds[0] / seconds[2])
    medians = ", ".join(
        f"{name} {1e3 * np.median(steps):.1f} ms"
        for name, steps in zip(networks, seconds, strict=True)
    )
    return (
        f"  finetuning, batch {TRAINING_BATCH_SIZE}: {medians}; {gain:.1f} times faster"
    )


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


def _keras_bytes(model) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        return path.stat().st_size


def _saved_model_bytes(model) -> int:
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, verbose=False)
        return sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file())


if __name__ == "__main__":
    main()
