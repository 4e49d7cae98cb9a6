"""Bytes of a sparse network in several formats.

    python -m benchmarks.sizes

A random ticket is drawn (first and last layer dense) and applied; the network is then
written as a SavedModel by `dlth_tf.exporting`, as the .h5 that TFMOT's users end with
(`strip_pruning`, then `save`, under tf_keras in a process of its own), and by
`dlth_tf.save` with float32 and float16 values. Each is gzipped, too, where that helps.
The bound is n * H(s) bits for the masks, 32 bits for each kept weight and for each value
of every other variable.
"""

import argparse
import gzip
import io
import math
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.markdown import row

_HEAD = (
    *("network", "sparsity", "SavedModel", "gzip", "TFMOT .h5", "gzip"),
    *("ours", "float16", "bound", "ours / bound", "save s", "load s"),
)


def main() -> None:
    """Runs the measurement and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default="resnet20", help="separated by commas")
    parser.add_argument("--sparsity", default="0.5,0.7,0.9,0.95,0.98")
    arguments = parser.parse_args()
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    print(row(_HEAD), row(["---"] * len(_HEAD)), sep="\n", flush=True)
    for network in arguments.networks.split(","):
        for sparsity in map(float, arguments.sparsity.split(",")):
            print(row(_measure(network, sparsity)), flush=True)


def _measure(name: str, sparsity: float) -> list[str]:
    import dlth_tf as dlth
    from dlth_tf.exporting import export
    from dlth_tf.network.variables import get_weights
    from official.modeling.layers import plain
    from official.modeling.networks import build_network

    model = build_network(name, input_shape=(32, 32, 3), classes=10)
    inner = list(dlth.maskable_kernels(model))[1:-1]
    ticket = dlth.random_ticket(model, dict.fromkeys(inner, sparsity), seed=0)
    ticket.apply(model)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        export(plain(model), root / "exported")
        (root / "exported" / "metadata.json").unlink()
        np.savez(root / "weights.npz", **get_weights(model))
        saved = time.perf_counter()
        dlth.save(root / "ours", model, ticket)
        loaded = time.perf_counter()
        dlth.load(root / "ours", model)
        done = time.perf_counter()
        dlth.save(root / "ours16", model, ticket, dtype="float16")
        sizes = [
            *_folder_sizes(root / "exported"),
            *_stripped_sizes(name, root),
            (root / "ours").stat().st_size,
            (root / "ours16").stat().st_size,
        ]
    bound = _bound(model, ticket)
    return [
        name,
        f"{sparsity:g}",
        *(f"{size:,}" if size else "-" for size in [*sizes, round(bound)]),
        f"{sizes[-2] / bound:.3f}",
        f"{loaded - saved:.2f}",
        f"{done - loaded:.2f}",
    ]


def _folder_sizes(folder: Path) -> tuple[int, int]:
    plain = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=9) as archive:
        archive.add(folder, arcname="model")
    return plain, len(buffer.getvalue())


def _stripped_sizes(name: str, root: Path) -> tuple[int, int]:
    from benchmarks import stripped_models

    if name not in stripped_models.NETWORKS:
        return 0, 0
    target = root / "stripped.h5"
    command = [sys.executable, "-m", "benchmarks.stripped_models", name]
    subprocess.run(
        [*command, str(root / "weights.npz"), str(target)],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    content = target.read_bytes()
    return len(content), len(gzip.compress(content, 9))


def _bound(model, ticket) -> float:
    """Bytes that no code can do without, if masks and values are random."""
    bits = 32.0 * sum(math.prod(variable.shape) for variable in model.variables)
    for mask in ticket.masks.values():
        removed = mask.size - np.count_nonzero(mask)
        bits -= 32 * removed
        for count in (removed, mask.size - removed):
            bits -= count * math.log2(count / mask.size) if count else 0
    return bits / 8


if __name__ == "__main__":
    main()
