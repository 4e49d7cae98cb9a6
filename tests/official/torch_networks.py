"""The networks written once more, in PyTorch, to know what they should compute.

    python -m tests.official.torch_networks

writes `stored_outputs.json`, against which `test_network_outputs.py` holds ours. Only
this needs PyTorch. Weights and images come from `fixed_arrays`, by layer name.
"""

import json
import sys
from pathlib import Path

import numpy as np

STORED = Path(__file__).with_name("stored_outputs.json")
IMAGES = {
    **dict.fromkeys(("lenet_300_100", "lenet5", "mlp", "mlp_linear"), (32, 32, 1)),
    **dict.fromkeys(("resnet18", "resnet34", "resnet50"), (64, 64, 3)),
}
NAMES = (
    *("lenet_300_100", "lenet5", "mlp", "mlp_linear"),
    "resnet20",
    *(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")),
    *("wrn-10-2", "wrn-16-1"),
    *("resnet18", "resnet34", "resnet50"),
)
CLASSES = 7


def image_shape(name: str) -> tuple[int, int, int]:
    return IMAGES.get(name, (32, 32, 3))


def fixed_array(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers in [-1, 1) that follow from a name, the same on every machine."""
    entropy = int.from_bytes(key.encode(), "big")
    raw = np.random.Philox(np.random.SeedSequence(entropy)).random_raw(
        int(np.prod(shape))
    )
    return (raw / 2.0**63 - 1.0).reshape(shape).astype(np.float32)


def fixed_images(name: str) -> np.ndarray:
    return fixed_array("images", (2, *image_shape(name)))


def set_fixed_weights(model) -> None:
    """Gives every variable fixed values of a sensible size."""
    for layer in model.layers:
        layer.set_weights(
            [_fixed_weight(layer.name, w.name, tuple(w.shape)) for w in layer.weights]
        )


def _fixed_weight(layer: str, name: str, shape: tuple[int, ...]) -> np.ndarray:
    values = fixed_array(f"{layer}/{name}", shape)
    if name == "kernel":
        depthwise = "depthwise" in layer
        fan_in = np.prod(shape[:2] if depthwise else shape[:-1])
        return values * np.float32(np.sqrt(6 / fan_in))
    if name in ("gamma", "moving_variance"):
        return 1 + values / 2
    return values / 4


class Weights:
    """Operations of PyTorch with the weights of a Keras model's layers."""

    def __init__(self, model):
        import torch

        self.of = {
            layer.name: {w.name: torch.tensor(np.array(w)) for w in layer.weights}
            for layer in model.layers
        }

    def conv(self, x, name, stride=1, padding=1, groups=1):
        from torch.nn.functional import conv2d

        weights = self.of[name]
        order = (2, 3, 0, 1) if groups > 1 else (3, 2, 0, 1)
        kernel = weights["kernel"].permute(*order)
        return conv2d(x, kernel, weights.get("bias"), stride, padding, groups=groups)

    def norm(self, x, name):
        from torch.nn.functional import batch_norm

        parts = ("moving_mean", "moving_variance", "gamma", "beta")
        return batch_norm(x, *(self.of[name][part] for part in parts), eps=1e-5)

    def dense(self, x, name):
        return x @ self.of[name]["kernel"] + self.of[name]["bias"]

    def classify(self, x):
        return self.dense(x.mean((2, 3)), "classifier")


def flat(x):
    """Keras flattens with the channels last."""
    return x.permute(0, 2, 3, 1).flatten(1)


def perceptron(w, x, name):
    x = flat(x)
    for layer in sorted(layer for layer in w.of if layer.startswith("dense")):
        x = w.dense(x, layer)
        x = x if name == "mlp_linear" else x.relu()
    return w.dense(x, "classifier")


def lenet5(w, x, name):
    from torch.nn.functional import max_pool2d

    for layer in ("conv0", "conv1"):
        x = max_pool2d(w.conv(x, layer, padding=0).relu(), 2)
    x = flat(x)
    for layer in ("dense0", "dense1"):
        x = w.dense(x, layer).relu()
    return w.dense(x, "classifier")


def cifar_resnet(w, x, name):
    from torch.nn.functional import pad

    blocks = (int(name.removeprefix("resnet")) - 2) // 6
    x = w.norm(w.conv(x, "stem_conv"), "stem_bn").relu()
    for stage in (1, 2, 3):
        for block in range(blocks):
            place, stride = f"stage{stage}_block{block}", 1 + (stage > 1 and block == 0)
            y = w.norm(w.conv(x, f"{place}_conv1", stride), f"{place}_bn1").relu()
            y = w.norm(w.conv(y, f"{place}_conv2"), f"{place}_bn2")
            more = (y.shape[1] - x.shape[1]) // 2
            x = (y + pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, more, more))).relu()
    return w.classify(x)


def vgg(w, x, name):
    from torch.nn.functional import max_pool2d

    for stage in range(1, 6):
        x = x if stage == 1 else max_pool2d(x, 2)
        for index in range(1, 5):
            if f"stage{stage}_conv{index}" in w.of:
                x = w.conv(x, f"stage{stage}_conv{index}")
                x = w.norm(x, f"stage{stage}_bn{index}") if "bn" in name else x
                x = x.relu()
    return w.classify(x)


def wide_resnet(w, x, name):
    depth, _ = map(int, name.split("-")[1:])
    x = w.conv(x, "stem_conv")
    for stage in (1, 2, 3):
        for block in range((depth - 4) // 6):
            place, stride = f"stage{stage}_block{block}", 1 + (stage > 1 and block == 0)
            a = w.norm(x, f"{place}_bn1").relu()
            y = w.norm(w.conv(a, f"{place}_conv1", stride), f"{place}_bn2").relu()
            y = w.conv(y, f"{place}_conv2")
            widened = f"{place}_shortcut_conv"
            x = y + (w.conv(a, widened, stride, 0) if widened in w.of else x)
    return w.classify(w.norm(x, "final_bn").relu())


def imagenet_resnet(w, x, name):
    from torch.nn.functional import max_pool2d

    counts = {"resnet18": (2, 2, 2, 2)}.get(name, (3, 4, 6, 3))
    kernels = (1, 3, 1) if name == "resnet50" else (3, 3)
    x = w.norm(w.conv(x, "stem_conv", 2, 3), "stem_bn").relu()
    x = max_pool2d(x, 3, 2, 1)
    for stage, count in enumerate(counts, 1):
        for block in range(count):
            place, stride = f"stage{stage}_block{block}", 1 + (stage > 1 and block == 0)
            y, strided = x, kernels.index(3)
            for index, size in enumerate(kernels):
                conv = f"{place}_conv{index + 1}"
                y = w.conv(y, conv, stride if index == strided else 1, size // 2)
                y = w.norm(y, f"{place}_bn{index + 1}")
                y = y.relu() if index < len(kernels) - 1 else y
            if f"{place}_shortcut_conv" in w.of:
                x = w.conv(x, f"{place}_shortcut_conv", stride, 0)
                x = w.norm(x, f"{place}_shortcut_bn")
            x = (x + y).relu()
    return w.classify(x)


FAMILIES = {
    "lenet_300_100": perceptron,
    "lenet5": lenet5,
    "mlp": perceptron,
    "vgg": vgg,
    "wrn": wide_resnet,
    **dict.fromkeys(("resnet18", "resnet34", "resnet50"), imagenet_resnet),
    "resnet": cifar_resnet,
}


def main() -> None:
    import torch

    from official.modeling.networks import build_network

    stored = {}
    for name in NAMES:
        model = build_network(name, input_shape=image_shape(name), classes=CLASSES)
        set_fixed_weights(model)
        forward = next(f for prefix, f in FAMILIES.items() if name.startswith(prefix))
        images = torch.tensor(fixed_images(name)).permute(0, 3, 1, 2)
        logits = forward(Weights(model), images, name)
        stored[name] = [[float(f"{value:.7g}") for value in row] for row in logits]
        print(name, stored[name][0], file=sys.stderr)
    STORED.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
