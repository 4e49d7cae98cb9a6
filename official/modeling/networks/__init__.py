"""Networks by name.

A network is a flat functional Keras model that returns float32 logits. Its layers
are named by their place (`stem_conv`, `stage1_block0_conv1`, `classifier`), the
same in every process, so that files and patterns can refer to them.
"""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from official.common import choose_open
from official.modeling.networks.own_network import OwnNetwork

if TYPE_CHECKING:
    import keras

# Each family is a module with `build(name, *, input_shape, classes)`, imported
# when one of its networks is built: this module costs no Keras import. A family
# with names without end also has `check(name)` for these. Or it is an `OwnNetwork`.
_FAMILIES: dict[str, Any] = {
    name: family
    for family, names in (
        ("feedforward", "quickstart_cnn lenet_300_100 lenet5 mlp mlp_linear"),
        ("resnet", "resnet20 resnet32 resnet44 resnet56 resnet110"),
        ("feedforward", "vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn"),
        ("resnet", "resnet18 resnet34 resnet50"),
        ("keras_application", "mobilenetv2"),
        ("mobilenet", "mobilenetv1-ALPHA mobilenetv2-ALPHA"),
        ("resnet", "wrn-DEPTH-WIDTH"),
        ("vision_transformer", "vit-DEPTH-WIDTH"),
        ("keras_application", "keras:NAME"),
        ("keras_hub_backbone", "keras_hub:NAME"),
    )
    for name in names.split()
}

NETWORKS = _FAMILIES.keys()


def register(name: str, build: Callable[..., "keras.Model"]) -> None:
    """Adds a network, which `build(input_shape=..., classes=...)` makes.

    Args:
        name: its name from now on, in small letters.
        build: returns a functional model from images `[batch, height, width, channels]`
            to logits `[batch, classes]`. Its layers with weights have names of their
            own, the same whenever it is called.

    Example:

        >>> from official.modeling import networks
        >>> def linear(input_shape, classes):
        ...     layers = [keras.layers.Flatten(), keras.layers.Dense(classes, name="out")]
        ...     return keras.Sequential([keras.Input(input_shape), *layers])
        >>> networks.register("linear", linear)
        >>> sizes = {"input_shape": (8, 8, 1), "classes": 2}
        >>> networks.build_network("linear", **sizes).count_params()
        130
    """
    _FAMILIES[name] = OwnNetwork(build)


def check_name(name: str) -> str:
    """Returns `name` if it is written like one of `NETWORKS`, or raises `ValueError`."""
    choose_open("network", name, NETWORKS)
    return name


def _family(name: str) -> Any:
    family = _FAMILIES[choose_open("network", name, NETWORKS)]
    if isinstance(family, str):
        return importlib.import_module(f"{__name__}.{family}")
    return family


def check_exists(name: str) -> str:
    """Returns `name` if there is a network called so, or raises `ValueError`.

    Beyond `check_name` it asks the family where names are without end: it imports Keras.
    An `ImportError` says what is to be installed for one of KerasHub's.
    """
    if not choose_open("network", name, NETWORKS).islower():
        _family(name).check(name)
    return name


def build_network(
    name: str, *, input_shape: tuple[int, int, int], classes: int
) -> "keras.Model":
    """Builds the network called `name` with freshly initialised weights.

    Args:
        name: one of `NETWORKS`: a wide residual network says its depth and width
            (`wrn-28-10`), and so does a vision transformer (`vit-12-192`), a MobileNet
            its width (`mobilenetv1-0.25`), one of `keras.applications` its name there
            (`keras:MobileNetV3Small`), a backbone of KerasHub too (`keras_hub:ViT`).
        input_shape: height, width and channels of one image.
        classes: number of classes, and so of logits.

    Returns:
        A functional model from images `[batch, height, width, channels]` to
        float32 logits `[batch, classes]`. `keras.utils.set_random_seed` beforehand
        makes the initial weights repeatable. Saved, it loads in any program with Keras.

    Raises:
        ImportError: the network is one of KerasHub, which is not installed.
        ValueError: the name is unknown, or `input_shape` or `classes` is no size.

    Example:

        >>> from official.modeling.networks import build_network
        >>> build_network("resnet20", input_shape=(32, 32, 3), classes=10).count_params()
        271098
    """
    family = _family(name)
    if len(input_shape) != 3 or not all(size >= 1 for size in input_shape):
        raise ValueError(
            "`input_shape` must be (height, width, channels), each at least 1. "
            f"Received: input_shape={input_shape}"
        )
    if classes < 1:
        raise ValueError(f"`classes` must be at least 1. Received: classes={classes}")
    return family.build(name, input_shape=tuple(input_shape), classes=classes)
