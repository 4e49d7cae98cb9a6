"""Time of a dense ResNet-20 training step: this project's against plain PyTorch's.

    python -m benchmarks.throughput

Ours is a real `model.fit` on augmented CIFAR-10-shaped batches, input pipeline
included, with SGD with momentum and coupled L2 on every trainable variable.
PyTorch's is forward, backward and SGD on batches that lie ready. Each runs in its
own process; their rounds alternate, one waiting while the other runs.
"""

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

BATCH_SIZE = 128
L2 = 5e-4
TARGET = 0.83


def main() -> None:
    """Runs the comparison and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each side")
    parser.add_argument("--steps", type=int, default=8, help="steps in a round")
    parser.add_argument("--threads", type=int, default=2, help="threads of each side")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        _serve(SIDES[arguments.side](arguments.threads), arguments.steps)
    elif importlib.util.find_spec("torch") is None:
        parser.exit(1, "This benchmark compares with PyTorch: pip install torch\n")
    else:
        _compare(arguments)


def _compare(arguments: argparse.Namespace) -> None:
    workers = {side: _start(side, arguments) for side in SIDES}
    rounds = {side: [] for side in SIDES}
    for side, worker in workers.items():
        print(f"{side}: first steps", flush=True)
        _round(worker)
    for number in range(1, arguments.rounds + 1):
        for side, worker in workers.items():
            rounds[side].append(_round(worker))
        latest = ", ".join(f"{side} {rounds[side][-1]:.1f} ms" for side in SIDES)
        print(f"round {number} of {arguments.rounds}: {latest}", flush=True)
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    for side in SIDES:
        step = statistics.median(rounds[side])
        speed = BATCH_SIZE / step * 1e3
        print(
            f"{side}: median {step:.1f} ms per step, {speed:.0f} images/s, "
            f"fastest round {min(rounds[side]):.1f} ms"
        )
    ratios = [ours / theirs for ours, theirs in zip(*rounds.values(), strict=True)]
    quietest = min(rounds["ours"]) / min(rounds["PyTorch"])
    print(
        f"ours / PyTorch: median of the rounds {statistics.median(ratios):.3f} "
        f"({min(ratios):.3f} to {max(ratios):.3f}), "
        f"fastest rounds {quietest:.3f}; the aim is at most {TARGET}"
    )


def _start(side: str, arguments: argparse.Namespace) -> subprocess.Popen:
    command = [sys.executable, "-m", "benchmarks.throughput", "--side", side]
    command += ["--steps", str(arguments.steps), "--threads", str(arguments.threads)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _round(worker: subprocess.Popen) -> float:
    worker.stdin.write("\n")
    worker.stdin.flush()
    answer = worker.stdout.readline()
    if not answer:
        sys.exit("A side of the comparison ended early; its message stands above.")
    return float(answer)


def _serve(train: Callable[[int], None], steps: int) -> None:
    """Answers each line of standard input with the milliseconds per step."""
    for _ in sys.stdin:
        start = time.perf_counter()
        train(steps)
        print((time.perf_counter() - start) / steps * 1e3, flush=True)


def _ours(threads: int) -> Callable[[int], None]:
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras
    import tensorflow as tf

    from benchmarks.synthetic import cifar_like
    from official.data.feed import feed
    from official.modeling.networks import build_network

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    data = cifar_like()
    model = build_network("resnet20", input_shape=data.input_shape, classes=10)
    for variable in model.trainable_variables:
        variable.regularizer = keras.regularizers.L2(L2 / 2)
    model.compile(
        optimizer=keras.optimizers.SGD(0.1, momentum=0.9),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    dataset = feed(data, BATCH_SIZE, seed=0)

    def train(steps: int) -> None:
        model.fit(dataset, steps_per_epoch=steps, shuffle=False, verbose=0)

    return train


def _pytorch(threads: int) -> Callable[[int], None]:
    import torch

    from benchmarks.synthetic import cifar_like
    from benchmarks.torch_resnet import ResNet20

    torch.set_num_threads(threads)
    images, labels = next(iter(cifar_like().train_batches(BATCH_SIZE, seed=0)))
    images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    labels = torch.from_numpy(labels).long()
    model = ResNet20()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=L2)

    def train(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            loss.item()

    return train


SIDES = {"ours": _ours, "PyTorch": _pytorch}


if __name__ == "__main__":
    main()
