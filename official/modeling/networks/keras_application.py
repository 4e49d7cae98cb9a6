"""Any network of `keras.applications`, untrained: `keras:MobileNetV3Small`."""

import inspect
from collections.abc import Callable

import keras

from official.common.choices import choose

PREFIX = "keras:"


def check(name: str) -> None:
    """Finds out whether Keras has the network.

    Raises:
        ValueError: it has none of that name. The message suggests the nearest.
    """
    _maker(name)


def build(name: str, *, input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Builds a network of `keras.applications` that returns logits.

    Its own preprocessing is left out where Keras makes it optional: images come
    normalised.

    Raises:
        ValueError: as for `check`, or Keras has it for other input shapes only.
    """
    make = _maker(name)
    options = {"include_preprocessing": False, "classifier_activation": None}
    known = inspect.signature(make).parameters
    return make(
        weights=None,
        input_shape=input_shape,
        classes=classes,
        **{option: value for option, value in options.items() if option in known},
    )


def _maker(name: str) -> Callable[..., keras.Model]:
    networks = {
        network: getattr(keras.applications, network)
        for network in dir(keras.applications)
        if network[0].isupper()
    }
    chosen = choose("network of keras.applications", name.removeprefix(PREFIX), networks)
    return networks[chosen]
