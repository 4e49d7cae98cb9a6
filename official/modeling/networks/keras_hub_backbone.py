"""Small classifiers with KerasHub's backbones, untrained: `keras_hub:ViT`.

KerasHub has no sizes but those of its trained models, which it downloads. These are made
for small images: eight patches to a side, or sixteen where they are merged on the way.
"""

from typing import Any

import keras

from official.common import choose

try:
    import keras_hub
except ImportError as error:
    raise ImportError("keras_hub:NAME needs KerasHub: pip install keras-hub") from error

_PREFIX = "keras_hub:"
_ENCODER = {"num_layers": 4, "num_heads": 2, "hidden_dim": 128}
_BACKBONES: dict[str, dict[str, Any]] = {
    "ViT": {**_ENCODER, "mlp_dim": 512},
    "DeiT": {**_ENCODER, "intermediate_dim": 512},
    "SwinTransformer": {
        **{"embed_dim": 64, "depths": (2, 2), "num_heads": (2, 4)},
        **{"window_size": 4, "drop_path": 0.0},
    },
}
_PATCHES = {"SwinTransformer": 16}


def check(name: str) -> str:
    """Returns KerasHub's name; raises `ValueError` if it is none of those made here."""
    return choose("network of KerasHub", name.removeprefix(_PREFIX), _BACKBONES)


def build(name: str, *, input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Builds one; raises `ValueError` for images that patches do not divide."""
    kind = check(name)
    patches = _PATCHES.get(kind, 8)
    height, width, _ = input_shape
    if height != width or height % patches:
        raise ValueError(
            f"`input_shape` must be square, its side a multiple of {patches}, for "
            f"{name}. Received: input_shape={input_shape}"
        )
    backbone = getattr(keras_hub.models, f"{kind}Backbone")(
        image_shape=input_shape, patch_size=height // patches, **_BACKBONES[kind]
    )
    make = getattr(keras_hub.models, f"{kind}ImageClassifier")
    task = make(backbone, classes, head_dtype="float32")
    # The task has a `fit` of its own, which makes data sets of what it is given.
    return keras.Model(task.input, task.output, name=f"keras_hub_{kind}")
