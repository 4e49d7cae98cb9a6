"""Bytes of a sparse network in several formats.

    python -m benchmarks.sizes

A random ticket is drawn (first and last layer dense) and applied; the network is then
written as a SavedModel by `dlth_tf.exporting`, as the .h5 that TFMOT's users end with
(`strip_pruning`, then `save`, under tf_keras in a process of its own), and by
`dlth_tf.save` with float32 and float16 values. The bound is n * H(s) bits for the masks,
32 bits for each kept weight and for each value of every other variable.
"""

import argparse
import gzip
import math
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np

import dlth_tf as dlth
from benchmarks.timing import folder_bytes, head, row
from dlth_tf.exporting import export
from dlth_tf.network.variables import get_weights
from official.modeling.layers import plain
from official.modeling.networks import build_network

_HEAD = (
    *("network", "sparsity", "SavedModel", "gzip", "TFMOT's stripped .h5", "gzip"),
    *("ours", "ours, float16", "ours / bound"),
)
_WITH_TFMOT = ("resnet20", "vgg16")


def main() -> None:
    """Runs the measurement and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default="resnet20", help="separated by commas")
    parser.add_argument("--sparsity", default="0.5,0.7,0.9,0.95,0.98")
    arguments = parser.parse_args()
    print(head(_HEAD), flush=True)
    for network in arguments.networks.split(","):
        for sparsity in map(float, arguments.sparsity.split(",")):
            print(row(_measure(network, sparsity)), flush=True)


def _measure(name: str, sparsity: float) -> list[str]:
    model = build_network(name, input_shape=(32, 32, 3), classes=10)
    inner = list(dlth.maskable_kernels(model))[1:-1]
    ticket = dlth.random_ticket(model, dict.fromkeys(inner, sparsity), seed=0)
    ticket.apply(model)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        export(plain(model), root / "exported")
        (root / "exported" / "metadata.json").unlink()
        dlth.save(root / "ours", model, ticket)
        dlth.save(root / "ours16", model, ticket, dtype="float16")
        ours, ours16 = ((root / file).stat().st_size for file in ("ours", "ours16"))
        archive = shutil.make_archive(str(root / "zipped"), "gztar", root / "exported")
        others = [folder_bytes(root / "exported"), Path(archive).stat().st_size]
        others += _stripped_sizes(name, model, root)
    sizes = [f"{size:,}" if size else "-" for size in (*others, ours, ours16)]
    return [name, f"{sparsity:g}", *sizes, f"{ours / _bound(model, ticket):.3f}"]


def _stripped_sizes(name: str, model: keras.Model, root: Path) -> tuple[int, int]:
    if name not in _WITH_TFMOT:
        return 0, 0
    weights, target = root / "weights.npz", root / "stripped.h5"
    np.savez(weights, **get_weights(model))  # type: ignore[arg-type]
    command = [sys.executable, "-m", "benchmarks.tfmot", "strip", name]
    subprocess.run([*command, str(weights), str(target)], check=True, capture_output=True)
    content = target.read_bytes()
    return len(content), len(gzip.compress(content, 9))


def _bound(model: keras.Model, ticket: dlth.Ticket) -> float:
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
