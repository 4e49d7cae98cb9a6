"""What zeros at random places buy at inference on a CPU, with engines there are.

    python -m benchmarks.sparse_inference

Two tables. One layer: a product of a sparse matrix with a batch by `scipy.sparse` (CSR)
and by `tf.sparse.sparse_dense_matmul`, against TensorFlow's dense product. Whole
networks: LiteRT with weights stored sparsely (`EXPERIMENTAL_SPARSITY`) against LiteRT
with the same zeros stored densely, both on XNNPACK. A speed-up above 1 means that the
zeros help. Everything runs on one thread, and it is the processor's time that counts;
each figure is the median over rounds in which the two alternate.

With the package ai-edge-litert its interpreter is used, else TensorFlow's own.
"""

import argparse
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.markdown import row

_SPARSITIES = (0.5, 0.7, 0.9, 0.95, 0.98)
_LAYERS = ((1000, 1), (1000, 128), (4096, 1), (4096, 128))
_NETWORKS = {
    "mlp": (32, 32, 1),
    "resnet20": (32, 32, 3),
    "mobilenetv2": (96, 96, 3),
}
_ROUND_SECONDS = 0.02


def main() -> None:
    """Runs the measurements and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="rounds of each pair")
    parser.add_argument("--networks", default=",".join(_NETWORKS))
    arguments = parser.parse_args()
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    _layer_table(arguments.rounds)
    print()
    _network_table([n for n in arguments.networks.split(",") if n], arguments.rounds)


def _layer_table(rounds: int) -> None:
    _print_row("weights", "batch", "sparsity", "dense ms", "scipy speed-up", "tf.sparse")
    _print_row(*["---"] * 6)
    for width, batch in _LAYERS:
        for sparsity in _SPARSITIES:
            dense, scipy_product, tf_product = _products(width, batch, sparsity)
            milliseconds, by_scipy = _paired(dense, scipy_product, rounds)
            _, by_tf = _paired(dense, tf_product, rounds)
            _print_row(
                f"{width} x {width}",
                str(batch),
                f"{sparsity:g}",
                f"{milliseconds:.3f}",
                f"{by_scipy:.2f}",
                f"{by_tf:.2f}",
            )


def _products(width: int, batch: int, sparsity: float) -> tuple[Callable, ...]:
    import scipy.sparse
    import tensorflow as tf

    chance = np.random.default_rng(0)
    weights = chance.normal(size=(width, width)).astype(np.float32)
    weights *= chance.random((width, width)) >= sparsity
    inputs = chance.normal(size=(width, batch)).astype(np.float32)
    rows = scipy.sparse.csr_array(weights)
    matrix, tensor = tf.constant(weights), tf.constant(inputs)
    sparse = tf.sparse.from_dense(matrix)
    dense_product = tf.function(lambda x: matrix @ x)
    sparse_product = tf.function(lambda x: tf.sparse.sparse_dense_matmul(sparse, x))
    expected = dense_product(tensor).numpy()
    np.testing.assert_allclose(rows @ inputs, expected, atol=1e-2)
    np.testing.assert_allclose(sparse_product(tensor), expected, atol=1e-2)
    return (
        lambda: dense_product(tensor).numpy(),
        lambda: rows @ inputs,
        lambda: sparse_product(tensor).numpy(),
    )


def _network_table(networks: list[str], rounds: int) -> None:
    _print_row(
        *("network", "sparsity", "dense bytes", "sparse bytes", "dense ms", "speed-up")
    )
    _print_row(*["---"] * 6)
    for name in networks:
        for sparsity in _SPARSITIES:
            with tempfile.TemporaryDirectory() as folder:
                _print_row(
                    name, f"{sparsity:g}", *_network(name, sparsity, folder, rounds)
                )


def _network(name: str, sparsity: float, folder: str, rounds: int) -> list[str]:
    import tensorflow as tf

    import dlth_tf as dlth
    from official.modeling.networks import build_network

    model = build_network(name, input_shape=_NETWORKS[name], classes=10)
    inner = list(dlth.maskable_kernels(model))[1:-1]
    shared = [kernel for kernel in inner if "depthwise" not in kernel]
    dlth.random_ticket(model, dict.fromkeys(shared, sparsity), seed=0).apply(model)
    images = np.random.default_rng(0).normal(size=(1, *_NETWORKS[name]))
    images = images.astype(np.float32)
    signature = [tf.TensorSpec(images.shape, tf.float32)]
    runs, sizes, outputs = [], [], []
    for optimizations in ([], [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]):
        path = Path(folder, f"{len(runs)}.tflite")
        model.export(
            str(path),
            format="litert",
            verbose=False,
            input_signature=signature,
            optimizations=optimizations,
        )
        sizes.append(path.stat().st_size)
        run = _interpreter(path, images)
        outputs.append(run())
        runs.append(run)
    np.testing.assert_allclose(*outputs, atol=1e-4 * max(1, np.abs(outputs).max()))
    milliseconds, speed_up = _paired(*runs, rounds)
    return [*(f"{size:,}" for size in sizes), f"{milliseconds:.3f}", f"{speed_up:.2f}"]


def _interpreter(path: Path, images: np.ndarray) -> Callable[[], np.ndarray]:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        import tensorflow as tf

        # Loaded when asked for, and so unknown to `from tensorflow.lite import`.
        Interpreter = tf.lite.Interpreter
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


def _paired(first: Callable, second: Callable, rounds: int) -> tuple[float, float]:
    """Milliseconds of the first, and how many times faster the second is."""
    calls = {f: _calls_of_a_round(f) for f in (first, second)}
    times, ratios = [], []
    for _ in range(rounds):
        pair = [_milliseconds(function, calls[function]) for function in (first, second)]
        times.append(pair[0])
        ratios.append(pair[0] / pair[1])
    return statistics.median(times), statistics.median(ratios)


def _calls_of_a_round(function: Callable) -> int:
    function()
    return max(1, round(_ROUND_SECONDS * 1e3 / _milliseconds(function, 3)))


def _milliseconds(function: Callable, calls: int) -> float:
    # Of the processor: other work on the machine then counts for nothing.
    start = time.process_time()
    for _ in range(calls):
        function()
    return (time.process_time() - start) / calls * 1e3


def _print_row(*cells: str) -> None:
    print(row(cells), flush=True)


if __name__ == "__main__":
    main()
