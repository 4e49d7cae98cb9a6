"""What zeros at random places buy a dense layer on a CPU; of networks see `browser`.

    python -m benchmarks.sparse_inference

How many times faster than TensorFlow's dense product a product of a sparse matrix with a
batch is by `scipy.sparse` (CSR) and by `tf.sparse.sparse_dense_matmul`. Everything runs
on one thread, and it is the processor's time that counts; each figure is the median over
rounds in which the two alternate.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import scipy.sparse
import tensorflow as tf

from benchmarks.timing import calls_in_turns, gain, head, row

Calls = dict[str, Callable[[], np.ndarray]]

_SPARSITIES = (0.5, 0.7, 0.9, 0.95, 0.98)
_LAYERS = ((1000, 1), (1000, 128), (4096, 1), (4096, 128))
_HEAD = ("dense layer", "batch", "dense ms", *map(str, _SPARSITIES))


def main() -> None:
    """Runs the measurements and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="rounds of each pair")
    arguments = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tables: dict[str, list[str]] = {"scipy.sparse": [], "tf.sparse": []}
    for width, batch in _LAYERS:
        layers = (_products(width, batch, sparsity) for sparsity in _SPARSITIES)
        times = [_milliseconds(layer, arguments.rounds) for layer in layers]
        dense = np.median([t["dense"] for t in times])
        for engine, rows in tables.items():
            gains = [f"{gain(t['dense'], t[engine]):.2f}" for t in times]
            rows.append(row((f"{width} x {width}", str(batch), f"{dense:.3f}", *gains)))
    for engine, rows in tables.items():
        print(f"{engine}, times faster:\n", head(_HEAD), *rows, "", sep="\n")


def _milliseconds(calls: Calls, rounds: int) -> dict[str, np.ndarray]:
    # Of the processor: other work on the machine then counts for nothing.
    return calls_in_turns(calls, rounds, 0.02, time.process_time)


def _products(width: int, batch: int, sparsity: float) -> Calls:
    chance = np.random.default_rng(0)
    weights = chance.normal(size=(width, width)).astype(np.float32)
    weights *= chance.random((width, width)) >= sparsity
    inputs = chance.normal(size=(width, batch)).astype(np.float32)
    rows = scipy.sparse.csr_array(weights)
    matrix, tensor = tf.constant(weights), tf.constant(inputs)
    sparse = tf.sparse.from_dense(matrix)
    dense_product = tf.function(lambda x: matrix @ x)
    sparse_product = tf.function(lambda x: tf.sparse.sparse_dense_matmul(sparse, x))
    calls = {
        "dense": lambda: dense_product(tensor).numpy(),
        "scipy.sparse": lambda: rows @ inputs,
        "tf.sparse": lambda: sparse_product(tensor).numpy(),
    }
    for call in calls.values():
        np.testing.assert_allclose(call(), calls["dense"](), atol=1e-2)
    return calls


if __name__ == "__main__":
    main()
