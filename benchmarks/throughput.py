"""Time of a dense ResNet-20 training step: this project's against plain PyTorch's.

    python -m benchmarks.throughput

Ours is a real `model.fit` on augmented CIFAR-10-shaped batches, input pipeline
included, with SGD with momentum and coupled L2 on every trainable variable.
PyTorch's is forward, backward and SGD on a batch that lies ready. Beside them, our input
pipeline alone (crop, flip, normalise): its batches as NumPy arrays, and through `feed`.
Both sides in bfloat16, too (Keras's `mixed_bfloat16`, PyTorch's autocast), and PyTorch
with channels last, its faster layout on a CPU.
Each has a process of its own (TensorFlow in PyTorch's doubles the time of its steps);
their rounds alternate, one waiting while the others run.
"""

import argparse
import collections
import importlib.util
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import keras
import numpy as np

from official.data import presentation
from official.data.feed import feed
from official.data.image_data import ImageData, image_data
from official.data.images import DecodedImages, ImageSet
from official.modeling.networks import build_network

BATCH_SIZE = 128
L2 = 5e-4
IMAGE = (32, 32, 3)

Train = Callable[[int], Any]
"""Makes so many steps."""


def main() -> None:
    """Runs the comparison and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each side")
    parser.add_argument("--steps", type=int, default=8, help="training steps in a round")
    arguments = parser.parse_args()
    if importlib.util.find_spec("torch") is None:
        parser.exit(1, "This benchmark compares with PyTorch: pip install torch\n")
    workers = [_start(side) for side in SIDES]
    rounds = range(arguments.rounds + 1)
    times = np.array([[_round(w, arguments.steps) for w in workers] for _ in rounds])
    times = times[1:]  # the first compiles
    for side, step in zip(SIDES, times.T, strict=True):
        ratios = times[:, 0] / step
        print(
            f"{side}: {np.median(step):.2f} ms per step, "
            f"{1e3 * BATCH_SIZE / np.median(step):,.0f} images/s; ours / {side}: "
            f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
        )
    for worker in workers:
        worker.communicate()


def _start(side: str) -> subprocess.Popen[str]:
    serve = f"from benchmarks import throughput; throughput.serve({side!r})"
    backend = "torch" if side.startswith("PyTorch") else "tensorflow"
    return subprocess.Popen(
        [sys.executable, "-c", serve],
        env=os.environ | {"KERAS_BACKEND": backend},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _round(worker: subprocess.Popen[str], steps: int) -> float:
    """The milliseconds per step."""
    assert worker.stdin and worker.stdout
    print(steps, file=worker.stdin, flush=True)
    answer = worker.stdout.readline()
    if not answer:
        sys.exit("A side of the comparison ended early; its message stands above.")
    return float(answer)


def serve(side: str) -> None:
    """Answers each number of steps on standard input, as `_round` asks."""
    train = SIDES[side]()
    for line in sys.stdin:
        steps = int(line) if side.startswith(("ours", "PyTorch")) else 25 * int(line)
        start = time.perf_counter()
        train(steps)
        print((time.perf_counter() - start) / steps * 1e3, flush=True)


def _ours(policy: str = "float32") -> Train:
    keras.config.set_dtype_policy(policy)
    model = build_network("resnet20", input_shape=IMAGE, classes=10)
    for variable in model.trainable_variables:
        variable.regularizer = keras.regularizers.L2(L2 / 2)
    model.compile(
        optimizer=keras.optimizers.SGD(0.1, momentum=0.9),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    options = {"x": _fed(), "shuffle": False, "verbose": 0}
    return lambda steps: model.fit(steps_per_epoch=steps, **options)


def _pytorch(channels_last: bool = False, bfloat16: bool = False) -> Train:
    import torch

    images, labels = next(iter(_batches()))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    batch = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=layout)
    target = torch.from_numpy(labels).long()
    modules, network = _resnet20(torch.nn)
    parameters = list(modules.to(memory_format=layout).parameters())
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=L2)

    def train(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                loss = torch.nn.functional.cross_entropy(network(batch), target)
            loss.backward()
            optimizer.step()
            loss.item()

    return train


def _resnet20(nn: ModuleType) -> tuple[Any, Callable[[Any], Any]]:
    """The modules and the forward pass of ResNet-20 in plain PyTorch."""

    def convolution(channels: int, filters: int) -> Any:
        stride = 2 if 3 < channels < filters else 1
        layer = nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False)
        return nn.Sequential(layer, nn.BatchNorm2d(filters))

    def network(images: Any) -> Any:
        x = stem(images).relu()
        for first, second in blocks:
            y = second(first(x).relu())
            if x.shape != y.shape:
                sides = (0, 0, 0, 0, *[(y.shape[1] - x.shape[1]) // 2] * 2)
                x = nn.functional.pad(x[:, :, ::2, ::2], sides)
            x = (x + y).relu()
        return classifier(x.mean(dim=(2, 3)))

    widths = itertools.pairwise([16, 16, 16, 16, 32, 32, 32, 64, 64, 64])
    stem, classifier = convolution(3, 16), nn.Linear(64, 10)
    blocks = [(convolution(a, b), convolution(b, b)) for a, b in widths]
    modules = nn.ModuleList([stem, classifier, *itertools.chain(*blocks)])
    return modules, network


def _drained(batches: Iterable[Any]) -> Train:
    return lambda steps: collections.deque(itertools.islice(batches, steps), maxlen=0)


def _fed() -> Any:
    return feed(_data(), BATCH_SIZE, seed=0)


def _batches() -> Iterable[Any]:
    return _data().train_batches(BATCH_SIZE, seed=0)


def _data() -> ImageData:
    """Random images, shaped and augmented like CIFAR-10's."""
    chance = np.random.default_rng(0)
    pixels = chance.integers(0, 256, (20_000, *IMAGE), np.uint8)
    train = DecodedImages(pixels, chance.integers(0, 10, len(pixels)))
    images = ImageSet(train, train.take(slice(1)), tuple(map(str, range(10))))
    return image_data("cifar_like", images, presentation.small(IMAGE[:2], IMAGE[2]))


SIDES: dict[str, Callable[[], Train]] = {
    "ours": _ours,
    "ours, bfloat16": lambda: _ours("mixed_bfloat16"),
    "PyTorch": _pytorch,
    "PyTorch, channels last": lambda: _pytorch(channels_last=True),
    "PyTorch, channels last, bfloat16": lambda: _pytorch(True, bfloat16=True),
    "NumPy batches": lambda: _drained(_batches()),
    "through feed": lambda: _drained(_fed()),
}


if __name__ == "__main__":
    main()
