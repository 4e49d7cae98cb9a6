"""Networks made of Keras's own layers alone, which any program with Keras can load."""

import keras

from official.modeling.layers import BatchNormalization


def plain(model: keras.Model) -> keras.Model:
    """Returns a copy of a functional or Sequential model without layers of our own.

    Its outputs in inference are the same; trained on, its moving variances follow
    Keras's rule (see `official.modeling.layers.BatchNormalization`).

    Example:

        >>> plain(build_network("resnet20", input_shape=(32, 32, 3), classes=10)).save(
        ...     "resnet20.keras"
        ... )
    """
    copy = keras.models.clone_model(model, clone_function=_plain_layer)
    copy.set_weights(model.get_weights())
    return copy


def _plain_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    if type(layer) is BatchNormalization:
        return keras.layers.BatchNormalization.from_config(layer.get_config())
    return type(layer).from_config(layer.get_config())
