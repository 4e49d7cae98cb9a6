"""The networks of `official/`, the deeper ones of each family apart."""

import pytest

from official.modeling.networks import NETWORKS

# One depth of each family is tested every time, the others with `pytest -m long`.
_DEEPER = (
    *("resnet32", "resnet44", "resnet56", "resnet110", "resnet34", "resnet50"),
    *("vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"),
)

EVERY_NETWORK = [
    pytest.param(name, marks=[pytest.mark.long] * (name in _DEEPER))
    for name in NETWORKS
    if not name.startswith("keras_hub:")  # KerasHub need not be there.
]
