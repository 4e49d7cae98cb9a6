"""What zeros and whole numbers buy in a browser, and on the same machine without one.

    python -m benchmarks.browser
    python -m benchmarks.browser --experiment=runs/browser --data_dir=~/data

Networks are built, masked at random places (1x1 convolutions alone, as
`--layers=xnnpack` does), and exported for LiteRT: dense, at four sparsities, and in int8.
Headless Chromium runs the files of a network by LiteRT.js, on one thread, one image at a
time, in turns; then LiteRT's own interpreter does so natively. Every output is compared
with the native one of the same file before a time counts. A cell is how many times faster
than dense a file is: the median over rounds of the ratio of neighbours, the middle half
in brackets. Of an experiment the networks of its runs are exported as they are, and each
is compared with that of the first run by name. It needs Chromium and npm, and a machine
that does nothing else.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import dlth_tf as dlth
from benchmarks.chromium import report_of
from benchmarks.timing import calls_in_turns, head, row
from dlth_tf.browser import litert_js
from dlth_tf.browser.demonstration import PAGE
from dlth_tf.experiment.plan.protocol import XNNPACK, SparsityPlacement
from dlth_tf.experiment.results.results import FinishedRun
from dlth_tf.experiment.running import export_run
from dlth_tf.litert.running import LiteRTFile
from official import data
from official.modeling.networks import build_network

Times = dict[str, np.ndarray]
"""Milliseconds in each round, by file."""

NETWORKS = (
    *("mobilenetv1-1.0@224", "mobilenetv2-1.0@224"),
    *("mobilenetv1-1.0@128", "mobilenetv2-1.0@128"),
    *("keras:MobileNetV2@96", "keras:EfficientNetB0@96"),
    *("mobilenetv1-0.5@32", "mobilenetv2-0.5@32"),
)
_SPARSITIES = (0.7, 0.8, 0.9, 0.95)
_FILES = ("dense", *(f"{sparsity:.0%}" for sparsity in _SPARSITIES), "int8")
_HEAD = ("network", "pixels", "engine", "dense ms", *_FILES[1:])
_SECONDS = 0.02  # of a native time
_IMAGES = 16
_RUNS_HEAD = ("run", "test accuracy %", "bytes", "browser ms", "times faster")


def main() -> None:
    """Runs the measurement and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default=",".join(NETWORKS), help="NAME@PIXELS")
    parser.add_argument("--rounds", type=int, default=100, help="rounds of each network")
    parser.add_argument("--experiment", type=Path, help="folder of one, for its runs")
    parser.add_argument("--data_dir", help="where an experiment's images lie")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        litert_js.fetch(folder / "litert")
        shutil.copy(PAGE / "engine.js", folder)
        shutil.copy(Path(__file__).with_suffix(".html"), folder)
        if arguments.experiment:
            _print_runs(arguments, folder)
        else:
            _print_networks(arguments, folder)


def _print_networks(arguments: argparse.Namespace, folder: Path) -> None:
    print(head(_HEAD), flush=True)
    for network in arguments.networks.split(","):
        name, _, pixels = network.rpartition("@")
        image = _export(name, int(pixels), folder)
        for engine, times in _times(folder, _FILES, image, arguments.rounds).items():
            dense = f"{np.median(times['dense']):.2f}"
            gains = (_gain(times["dense"], times[file]) for file in _FILES[1:])
            print(row((name, pixels, engine, dense, *gains)), flush=True)


def _print_runs(arguments: argparse.Namespace, folder: Path) -> None:
    runs = {
        path.name: FinishedRun.read(path)
        for path in sorted((arguments.experiment / "runs").iterdir())
    }
    first, *_ = runs
    task = runs[first].task
    images = data.load(
        task.dataset, data_dir=arguments.data_dir, image_size=task.image_size
    )
    for name, run in runs.items():
        export_run(run, folder / "exported", images, ["litert"])
        (folder / "exported" / "model.tflite").rename(folder / name)
        shutil.rmtree(folder / "exported")
    image, _ = next(iter(images.as_they_come().evaluation_batches("test", 1)))
    times = next(iter(_times(folder, tuple(runs), image, arguments.rounds).values()))
    print(head(_RUNS_HEAD))
    for name, run in runs.items():
        size, accuracy = (folder / name).stat().st_size, run.row.test_accuracy
        assert accuracy is not None, "the run is finished"
        told = (f"{100 * accuracy:.2f}", f"{size:,}", f"{np.median(times[name]):.3f}")
        print(row((name, *told, _gain(times[first], times[name]))))


def _export(name: str, pixels: int, folder: Path) -> np.ndarray:
    """Writes a network's files; returns an image for them."""
    keras.utils.set_random_seed(0)
    classes = 1000 if pixels > 64 else 10
    model = build_network(name, input_shape=(pixels, pixels, 3), classes=classes)
    shape = (_IMAGES, pixels, pixels, 3)
    images = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    _settle(model, images)
    for file in ("dense", "int8"):
        storage = "int8" if file == "int8" else "float32"
        dlth.export_litert(model, folder / file, storage=storage, images=images)
    weights = model.get_weights()
    for sparsity, file in zip(_SPARSITIES, _FILES[1:-1], strict=True):
        model.set_weights(weights)
        placed = SparsityPlacement((XNNPACK,)).sparsity(
            dlth.maskable_kernels(model), sparsity
        )
        dlth.random_ticket(model, placed, seed=0).apply(model)
        _settle(model, images)
        done = dlth.export_litert(model, folder / file, images=images)
        if not done.qualification.qualifies:
            raise SystemExit(str(done))
    return images[:1]


def _settle(model: keras.Model, images: np.ndarray) -> None:
    """Statistics as after some training: untrained, deep networks run away."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.5
    model(images, training=True)


def _times(
    folder: Path, files: Sequence[str], image: np.ndarray, rounds: int
) -> dict[str, Times]:
    """The times of each engine, the browser first, once it computed what it should."""
    natives = {name: LiteRTFile((folder / name).read_bytes()) for name in files}
    plan = {"files": files, "shape": image.shape[1:], "rounds": rounds}
    (folder / "rounds.json").write_text(json.dumps(plan))
    image.tofile(folder / "image.bin")
    report = report_of(folder, "browser.html")
    if "error" in report:
        raise SystemExit(f"The browser could not run the files: {report['error']}")
    browser = {}
    for (name, native), result in zip(natives.items(), report["results"], strict=True):
        outputs = native(image)
        (expected,) = outputs.get("logits", next(iter(outputs.values())))
        _compare(name, result["outputs"], expected)
        browser[name] = np.array(result["milliseconds"])
    calls = {name: lambda file=file: file(image) for name, file in natives.items()}
    kind = "browser" if report["relaxed"] else "browser, no relaxed SIMD"
    return {
        kind: browser,
        "x86": calls_in_turns(calls, rounds, _SECONDS, time.process_time),
    }


def _compare(name: str, outputs: Iterable, expected: np.ndarray) -> None:
    """LiteRT.js computes something else, very fast, where it could not get memory."""
    difference = np.abs(np.array(outputs) - expected).max() / np.abs(expected).max()
    # int8 may be rounded to a neighbour.
    if not difference <= (0.05 if name == "int8" else 1e-4):
        raise SystemExit(f"The browser's outputs of {name} differ by {difference:.2g}.")


def _gain(slow: np.ndarray, fast: np.ndarray) -> str:
    low, median, high = np.percentile(slow / fast, (25, 50, 75))
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(1)
    main()
