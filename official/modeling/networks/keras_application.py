"""Any network of `keras.applications`, untrained: `keras:MobileNetV3Small`."""

import inspect

import keras

from official.common.choices import choose

PREFIX = "keras:"


def build(name: str, *, input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Builds a network of `keras.applications` that returns logits.

    Its own preprocessing is left out where Keras makes it optional: images come
    normalised.

    Raises:
        ValueError: Keras has no network of that name, or none for that input shape.
    """
    networks = {
        network: getattr(keras.applications, network)
        for network in dir(keras.applications)
        if network[0].isupper()
    }
    chosen = choose("network of keras.applications", name.removeprefix(PREFIX), networks)
    make = networks[chosen]
    options = {"include_preprocessing": False, "classifier_activation": None}
    known = inspect.signature(make).parameters
    return make(
        weights=None,
        input_shape=input_shape,
        classes=classes,
        **{option: value for option, value in options.items() if option in known},
    )
