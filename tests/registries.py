"""What is registered by name, as it was before a test."""

import contextlib

from dlth_tf import plugins
from dlth_tf.experiment.plan.methods import METHODS
from dlth_tf.experiment.plan.own_code import SOURCES
from official import data
from official.modeling import networks


@contextlib.contextmanager
def restored():
    registries = METHODS, networks._FAMILIES, data._SOURCES, plugins.REGISTERED, SOURCES
    copies = [dict(registry) for registry in registries]
    yield
    for registry, copy in zip(registries, copies, strict=True):
        registry.clear()
        registry.update(copy)
