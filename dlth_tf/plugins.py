"""Methods, networks and data sets of one's own, for the programs' `--plugins`.

A plugin is a Python file, or an installed module, whose functions say what they are:

    from dlth_tf import plugins

    @plugins.method
    def warm(trial):
        \"\"\"Train first, then transform a random ticket.\"\"\"
        ticket, trained = trial.random_ticket(), trial.train(trial.initial_weights())
        return trial.finetune(trial.transform(trained, ticket), ticket)

They are then found like those that are there: by `--method`, `--model` and `--dataset`,
in `--help`, dry runs, tables and reports. `docs/own_method.md` tells the rest.
"""

import functools
import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import TypeVar

from dlth_tf.experiment.plan.methods import METHODS, summary
from dlth_tf.experiment.plan.own_code import SOURCES, OwnCode, naming_its_file
from official import data
from official.modeling import networks

Function = TypeVar("Function", bound=Callable)

REGISTERED: dict[str, list[str]] = {}
"""What plugins brought, in a line each, by the flag that chooses it."""


def method(function: Function) -> Function:
    """Registers a function from a `Trial` to its last stage, as `--method=NAME`.

    The first line of its docstring is its summary. What a method is made of says all that
    its results depend on, so its own source is in no key: stages that it has in common
    with other methods are computed once.

    Raises:
        ValueError: a method is called so, or the name is none.
    """
    name = _new("method", function, METHODS)
    METHODS[name] = naming_its_file(function)
    _note("method", f"{name}: {summary(METHODS[name])}".removesuffix("."))
    return function


def network(function: Function) -> Function:
    """Registers `function(input_shape, classes)`, which builds a model: `--model=NAME`.

    The model must be one by Keras's functional API, from images to logits, its layers
    named by their place. Its file's source is in the key of every stage that uses it.

    Raises:
        ValueError: a network is called so, or the name is none.
    """
    name, code = _new("network", function, networks.NETWORKS), OwnCode.of(function)
    networks.register(name, code.call)
    SOURCES["network", name] = code.source
    _note("model", name)
    return function


def dataset(function: Function) -> Function:
    """Registers `function(data_dir)`, which returns images: `--dataset=NAME`.

    It returns `(images, labels), (test_images, test_labels)`, as `keras.datasets` do:
    pixels 0 to 255 `[images, height, width, 1 or 3]`, labels from 0. Its file's source
    is in the key of every stage that uses it.

    Raises:
        ValueError: a data set is called so, or the name is none.
    """
    name, code = _new("dataset", function, data.DATASETS), OwnCode.of(function)
    data.register(name, code.call)
    SOURCES["dataset", name] = code.source
    _note("dataset", name)
    return function


def load(places: Iterable[str]) -> None:
    """Imports plugins, each once: files that end in .py, or modules.

    Raises:
        ValueError: what one raised, with its file and line.
    """
    for place in places:
        _imported(place, f"--plugins={place}")


def named(text: str, flag: str) -> Callable:
    """What `module:name` or `file.py:name` is; a ValueError begins with the flag."""
    place, colon, name = text.rpartition(":")
    if not (place and colon and name.isidentifier()):
        raise ValueError(
            f"{flag} must be module:Class or file.py:Class. Received: {text}"
        )
    found = getattr(_imported(place, f"{flag}={text}"), name, None)
    if not callable(found):
        raise ValueError(f"{flag}={text}: '{place}' has no class '{name}'.")
    return found


def _imported(place: str, told: str) -> ModuleType:
    if not place.endswith(".py"):
        path, find = None, functools.partial(importlib.import_module, place)
    else:
        path = os.path.realpath(os.path.expanduser(place))
        find = functools.partial(_from_file, path)
    try:
        return find()
    except Exception as error:
        trace = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in trace if frame.filename == path]
        where = f", line {lines[-1]}" if lines else ""
        raise ValueError(f"{told}{where}: {type(error).__name__}: {error}") from error


def _from_file(path: str) -> ModuleType:
    # Known by the whole path: two plugins may have files of one name.
    if path not in sys.modules:
        spec = importlib.util.spec_from_file_location(path, path)
        assert spec is not None and spec.loader is not None
        sys.modules[path] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(sys.modules[path])
        except BaseException:
            del sys.modules[path]
            raise
    return sys.modules[path]


def _new(kind: str, function: Callable, taken: Iterable[str]) -> str:
    name = function.__name__
    if name in taken:
        raise ValueError(f"There is a {kind} '{name}' already.")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(
            f"A {kind} must be called by small letters, digits and _. Received: {name}"
        )
    return name


def _note(flag: str, line: str) -> None:
    REGISTERED.setdefault(flag, []).append(line)
