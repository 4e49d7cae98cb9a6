"""Any network of `keras.applications`, untrained: `keras:MobileNetV3Small`.

One has a classifier like that of the other networks here, and takes images of any size:
`mobilenetv2` (Sandler et al., 2018, table 2, at width 1).
"""

import inspect
from collections.abc import Callable

import keras

from official.common import choose
from official.modeling import layers

_PREFIX = "keras:"
_PREPROCESSING = (keras.layers.Rescaling, keras.layers.Normalization)


def check(name: str) -> None:
    """Raises `ValueError` if Keras has no such network; it suggests the nearest."""
    _maker(name)


def build(name: str, *, input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Builds one; raises `ValueError` where Keras has it for other input shapes only."""
    if name == "mobilenetv2":
        images = keras.Input(input_shape, name="images")
        trunk = keras.applications.MobileNetV2(
            input_tensor=images, include_top=False, weights=None
        )
        logits = layers.averaged_classifier(trunk.output, classes)
        return keras.Model(images, logits, name=name)
    make = _maker(name)
    # Images come normalised: its own preprocessing is left out where it is optional.
    options = {"include_preprocessing": False, "classifier_activation": None}
    known = inspect.signature(make).parameters
    network = make(
        weights=None,
        input_shape=input_shape,
        classes=classes,
        **{option: value for option, value in options.items() if option in known},
    )
    if any(isinstance(layer, _PREPROCESSING) for layer in network.layers):
        return keras.models.clone_model(network, clone_function=_without_preprocessing)
    return network


def _without_preprocessing(layer: keras.layers.Layer) -> keras.layers.Layer:
    """EfficientNet's can't be left out by an option."""
    if isinstance(layer, _PREPROCESSING):
        return keras.layers.Identity(name=layer.name)
    return type(layer).from_config(layer.get_config())


def _maker(name: str) -> Callable[..., keras.Model]:
    known = (network for network in dir(keras.applications) if network[0].isupper())
    chosen = choose("network of keras.applications", name.removeprefix(_PREFIX), known)
    return getattr(keras.applications, chosen)
