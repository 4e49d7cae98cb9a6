"""What the transformation and the masks add to a training step.

    python -m benchmarks.overhead

Compares a dense step with a step under `RandomSparseTransformation` and one under
`FixedTicket`, for an MLP and for ResNet-20; and a dense step of tf_keras with one under
TFMOT's own wrapper `prune_low_magnitude`. All have the recipe's L2 but the plain step of
Keras, which has no callback at all. The steps of one comparison are interleaved in
one process and include everything between two batches. Two dense models are compared
too: how far their ratio is from 1 is what the machine's noise makes of nothing.
"""

import argparse
import os
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from scipy.stats import bootstrap

from benchmarks.turns import step_seconds

SPARSITY = 0.9
WARM_UP = 10
NETWORKS = {"mlp": ((784,), 64, 150), "resnet20": ((32, 32, 3), 128, 20)}
"""Shape of an input, batch size, and steps that are measured."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Times the steps of a training with masks against a dense one's."
    )
    parser.add_argument("--network", choices=NETWORKS, help="only this one")
    parser.add_argument("--jit", choices=["on", "off"], help="only this way of compiling")
    parser.add_argument("--tfmot", action="store_true", help="only TFMOT's own wrapper")
    args = parser.parse_args()
    networks = [args.network] if args.network else list(NETWORKS)
    ways = [args.jit == "on"] if args.jit else [True, False]
    for network in networks:
        for jit in ways:
            if not args.tfmot:
                report(f"{network}, Keras 3, jit_compile={jit}", ours(network, jit))
                # tf_keras and Keras 3 do not share a process well.
                again = ["--tfmot", "--network", network, "--jit", "on" if jit else "off"]
                subprocess.run([sys.executable, "-m", __spec__.name, *again], check=True)
            else:
                title = f"{network}, tf_keras, jit_compile={jit}"
                report(title, tfmot_wrapper(network, jit))


def report(title: str, seconds: dict[str, np.ndarray]) -> None:
    """Prints medians and ratios to the first, of steps that were neighbours."""
    print(f"\n{title}", flush=True)
    dense = next(iter(seconds.values()))
    for name, steps in seconds.items():
        ratios = steps / dense
        low, high = bootstrap(
            (ratios,), np.median, n_resamples=1000, confidence_level=0.9,
            method="percentile", rng=0,
        ).confidence_interval  # fmt: skip
        print(
            f"  {name:<28} {1000 * np.median(steps):7.2f} ms   "
            f"x {np.median(ratios):.3f}   ({low:.3f} to {high:.3f})",
            flush=True,
        )


def ours(network: str, jit: bool) -> dict[str, np.ndarray]:
    """Steps on Keras 3, in seconds, by what is done in them."""
    import keras

    import dlth_tf as dlth

    def prepared(*callbacks_of, l2=True):
        model = _mlp(keras) if network == "mlp" else _resnet20()
        model.compile(
            keras.optimizers.SGD(0.01, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=jit,
        )
        ticket = dlth.random_ticket(model, SPARSITY, seed=0)
        callbacks = [make(ticket) for make in callbacks_of]
        return _fit(model, network, [dlth.CoupledL2(5e-4), *callbacks] if l2 else [])

    fits = {
        "dense": prepared(),
        "dense again": prepared(),
        "RandomSparseTransformation": prepared(
            lambda ticket: dlth.RandomSparseTransformation(ticket, growth=1.0)
        ),
        "FixedTicket": prepared(dlth.FixedTicket),
        "plain Keras, no L2": prepared(l2=False),
    }
    times = step_seconds(list(fits.values()), keras.callbacks.Callback, WARM_UP)
    return dict(zip(fits, times, strict=True))


def tfmot_wrapper(network: str, jit: bool) -> dict[str, np.ndarray]:
    """Steps on tf_keras, in seconds, with and without TFMOT's wrapper."""
    import tensorflow_model_optimization as tfmot
    import tf_keras

    sparsity = tfmot.sparsity.keras

    def prepared(wrapped: bool):
        model, callbacks = _mlp(tf_keras), []
        if network == "resnet20":
            model = _resnet20_of_tf_keras(tf_keras)
        if wrapped:
            schedule = sparsity.ConstantSparsity(SPARSITY, begin_step=0, frequency=100)
            model = sparsity.prune_low_magnitude(model, schedule)
            callbacks = [sparsity.UpdatePruningStep()]
        model.compile(
            tf_keras.optimizers.SGD(0.01, momentum=0.9),
            tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=jit,
        )
        return _fit(model, network, callbacks)

    fits = {
        "dense": prepared(False),
        "dense again": prepared(False),
        "prune_low_magnitude": prepared(True),
    }
    times = step_seconds(list(fits.values()), tf_keras.callbacks.Callback, WARM_UP)
    return dict(zip(fits, times, strict=True))


def _fit(model, network: str, callbacks: list):
    import tensorflow as tf

    shape, batch_size, steps = NETWORKS[network]
    generator = np.random.default_rng(0)
    x = generator.normal(size=(batch_size, *shape)).astype("float32")
    y = generator.integers(0, 10, batch_size)
    batches = tf.data.Dataset.from_tensors((x, y)).repeat()

    def fit(turnstile):
        model.fit(
            batches,
            steps_per_epoch=steps + WARM_UP + 1,
            verbose=0,
            callbacks=[turnstile, *callbacks],
        )

    return fit


def _mlp(library):
    layers = library.layers
    hidden = [layers.Dense(1000, activation="relu") for _ in range(4)]
    return library.Sequential([layers.InputLayer((784,)), *hidden, layers.Dense(10)])


def _resnet20():
    from official.modeling.networks import build_network

    return build_network("resnet20", input_shape=(32, 32, 3), classes=10)


def _resnet20_of_tf_keras(library):
    """ResNet-20 in layers that TFMOT knows."""
    layers = library.layers

    def convolution(x, filters, strides=1):
        x = layers.Conv2D(filters, 3, strides, "same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    inputs = library.Input((32, 32, 3))
    x = layers.ReLU()(convolution(inputs, 16))
    for filters in (16, 32, 64):
        for _ in range(3):
            strides = 1 if x.shape[-1] == filters else 2
            shortcut = x
            if strides == 2:
                missing = (filters - x.shape[-1]) // 2
                shortcut = layers.Permute((3, 1, 2))(layers.MaxPooling2D(1, 2)(x))
                shortcut = layers.ZeroPadding2D(((missing, missing), (0, 0)))(shortcut)
                shortcut = layers.Permute((2, 3, 1))(shortcut)
            y = layers.ReLU()(convolution(x, filters, strides))
            x = layers.ReLU()(layers.Add()([convolution(y, filters), shortcut]))
    outputs = layers.Dense(10)(layers.GlobalAveragePooling2D()(x))
    return library.Model(inputs, outputs)


if __name__ == "__main__":
    begin = time.perf_counter()
    main()
    print(f"({time.perf_counter() - begin:.0f} s)")
