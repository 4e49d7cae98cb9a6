"""What zeros at random places buy at inference on a CPU, with engines there are.

    python -m benchmarks.sparse_inference

One layer: how many times faster than TensorFlow's dense product a product of a sparse
matrix with a batch is by `scipy.sparse` (CSR) and by `tf.sparse.sparse_dense_matmul`.
Whole networks: LiteRT with weights stored sparsely (`EXPERIMENTAL_SPARSITY`) against
LiteRT with the same zeros stored densely, both on XNNPACK. A speed-up above 1 means that
the zeros help. Everything runs on one thread, and it is the processor's time that counts;
each figure is the median over rounds in which the two alternate.

With the package ai-edge-litert its interpreter is used, else TensorFlow's own.
"""

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.sparse
import tensorflow as tf

import dlth_tf as dlth
from benchmarks.timing import calls_in_turns, gain, head, row
from official.modeling.networks import build_network

try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:
    # Loaded when asked for, and so unknown to `from tensorflow.lite import`.
    Interpreter = tf.lite.Interpreter

Calls = dict[str, Callable[[], np.ndarray]]

_SPARSITIES = (0.5, 0.7, 0.9, 0.95, 0.98)
_LAYERS = ((1000, 1), (1000, 128), (4096, 1), (4096, 128))
_NETWORKS = {"mlp": (32, 32, 1), "resnet20": (32, 32, 3), "mobilenetv2": (96, 96, 3)}
_LAYER_HEAD = ("dense layer", "batch", "dense ms", *map(str, _SPARSITIES))
_NETWORK_HEAD = (
    *("network", "sparsity", "dense bytes", "sparse bytes", "dense ms", "times faster"),
)


def main() -> None:
    """Runs the measurements and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="rounds of each pair")
    parser.add_argument("--networks", default=",".join(_NETWORKS))
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
        print(f"{engine}, times faster:\n", head(_LAYER_HEAD), *rows, "", sep="\n")
    print(f"LiteRT:\n\n{head(_NETWORK_HEAD)}")
    for name in filter(None, arguments.networks.split(",")):
        for sparsity in _SPARSITIES:
            print(row(_network(name, sparsity, arguments.rounds)), flush=True)


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


def _network(name: str, sparsity: float, rounds: int) -> list[str]:
    model = build_network(name, input_shape=_NETWORKS[name], classes=10)
    inner = list(dlth.maskable_kernels(model))[1:-1]
    shared = [kernel for kernel in inner if "depthwise" not in kernel]
    dlth.random_ticket(model, dict.fromkeys(shared, sparsity), seed=0).apply(model)
    images = np.random.default_rng(0).normal(size=(1, *_NETWORKS[name]))
    images = images.astype(np.float32)
    storages = {"dense": [], "sparse": [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]}
    calls, sizes = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for storage, optimizations in storages.items():
            path = Path(folder, f"{storage}.tflite")
            model.export(
                str(path),
                format="litert",
                verbose=False,
                input_signature=[tf.TensorSpec(images.shape, tf.float32)],
                optimizations=optimizations,
            )
            sizes.append(f"{path.stat().st_size:,}")
            calls[storage] = _interpreter(path, images)
        dense = calls["dense"]()
        atol = 1e-4 * max(1, np.abs(dense).max())
        np.testing.assert_allclose(calls["sparse"](), dense, atol=atol)
        times = _milliseconds(calls, rounds)
    speed_up = gain(times["dense"], times["sparse"])
    milliseconds = np.median(times["dense"])
    return [name, f"{sparsity:g}", *sizes, f"{milliseconds:.3f}", f"{speed_up:.2f}"]


def _interpreter(path: Path, images: np.ndarray) -> Callable[[], np.ndarray]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]

    def run() -> np.ndarray:
        interpreter.set_tensor(source, images)
        interpreter.invoke()
        return interpreter.get_tensor(target)

    return run


if __name__ == "__main__":
    main()
