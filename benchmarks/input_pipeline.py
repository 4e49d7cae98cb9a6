"""Images per second of the input pipeline alone, against what ResNet-20 trains.

    python -m benchmarks.input_pipeline

Measures CIFAR-10-shaped batches (crop, flip, normalise) as NumPy arrays and through
`feed`, then a `model.fit` on the same `feed` and on one batch that lies ready: the
difference between these two is what the pipeline costs training.
"""

import argparse
import itertools
import os
import statistics
import time
from collections.abc import Callable

BATCH_SIZE = 128


def main() -> None:
    """Runs the measurement and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each")
    parser.add_argument("--batches", type=int, default=200, help="pipeline batches")
    parser.add_argument("--steps", type=int, default=10, help="training steps")
    arguments = parser.parse_args()

    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    from benchmarks.synthetic import cifar_like
    from official.data.feed import feed

    data = cifar_like()
    batches = data.train_batches(BATCH_SIZE, seed=0)
    dataset = feed(data, BATCH_SIZE, seed=0)
    train = _trainer(data.input_shape)
    ready = dataset.take(1).cache().repeat()
    measurements = {
        "NumPy batches": (arguments.batches, lambda count: _drain(batches, count)),
        "through feed": (arguments.batches, lambda count: _drain(dataset, count)),
        "training from feed": (arguments.steps, lambda steps: train(dataset, steps)),
        "training, batch ready": (arguments.steps, lambda steps: train(ready, steps)),
    }
    speeds = {name: [] for name in measurements}
    for number in range(1, arguments.rounds + 1):
        for name, (count, run) in measurements.items():
            speeds[name].append(_images_per_second(run, count))
        print(f"round {number} of {arguments.rounds} done", flush=True)
    medians = {name: statistics.median(each) for name, each in speeds.items()}
    for name, speed in medians.items():
        print(f"{name}: {speed:,.0f} images/s")
    training = medians["training, batch ready"]
    for name in ("NumPy batches", "through feed"):
        print(f"{name} / training: {medians[name] / training:.0f}")
    print(f"training from feed / batch ready: {_paired(speeds):.3f}")


def _paired(speeds: dict[str, list[float]]) -> float:
    pairs = zip(
        speeds["training from feed"], speeds["training, batch ready"], strict=True
    )
    return statistics.median(fed / ready for fed, ready in pairs)


def _drain(batches, count: int) -> None:
    for _ in itertools.islice(batches, count):
        pass


def _images_per_second(run: Callable[[int], None], count: int) -> float:
    start = time.perf_counter()
    run(count)
    return count * BATCH_SIZE / (time.perf_counter() - start)


def _trainer(input_shape: tuple[int, int, int]) -> Callable:
    import keras
    import numpy as np

    from official.modeling.networks import build_network

    model = build_network("resnet20", input_shape=input_shape, classes=10)
    model.compile(
        optimizer=keras.optimizers.SGD(0.1, momentum=0.9),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    images = np.zeros((BATCH_SIZE, *input_shape), np.float32)
    model.train_on_batch(images, np.zeros(BATCH_SIZE, np.int32))

    def train(dataset, steps: int) -> None:
        model.fit(dataset, steps_per_epoch=steps, shuffle=False, verbose=0)

    return train


if __name__ == "__main__":
    main()
