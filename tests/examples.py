"""How the examples of README, pages and docstrings are found and run, and what they find.

`CONTRIBUTING.md` says what they look like.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from sybil import Document, Example, Region, Sybil
from sybil.evaluators.doctest import DocTestEvaluator
from sybil.parsers.abstract.doctest import DocTestStringParser
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer

ROOT = Path(__file__).parents[1]


def names(namespace: dict) -> None:
    """Gives examples a small network, and data for it, as they call them."""
    import keras
    import numpy as np
    import tensorflow as tf

    import dlth_tf as dlth

    keras.backend.clear_session()  # Layers are numbered as in a program of its own.
    random = np.random.default_rng(0)
    x = random.normal(size=(96, 8, 8, 1)).astype("float32")
    y = random.integers(10, size=96)
    train = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(96).batch(48)
    model = build_model()
    ticket = dlth.random_ticket(model, sparsity=0.5, seed=0)
    namespace |= {"keras": keras, "np": np, "tf": tf, "dlth": dlth, "Path": Path}
    namespace |= {"x": x, "y": y, "images": x, "train": train, "batches": train}
    namespace |= {"model": model, "build_model": build_model, "ticket": ticket}
    namespace |= {"loss_function": model.loss, "find_spec": importlib.util.find_spec}


def build_model():
    """A compiled network of a stem, three stages and a classifier, which gives logits."""
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, padding="same", use_bias=False, name="stem_conv"),
            layers.BatchNormalization(name="stem_bn"),
            layers.Conv2D(8, 1, activation="relu", name="stage1_expand"),
            layers.Conv2D(8, 3, activation="relu", name="stage2_conv"),
            layers.Conv2D(4, 1, name="stage3_project"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, name="classifier"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss, metrics=["accuracy"])
    return model


def _doctest(example: Example) -> str | None:
    """What is shown without output may have some."""
    if example.parsed.want:
        return DocTestEvaluator()(example)
    exec(compile(example.parsed.source, example.path, "exec"), example.namespace)
    return None


def _doctests(document: Document) -> Iterator[Region]:
    yield from DocTestStringParser(_doctest)(document.text, document.path)


def _files(document: Document) -> Iterator[Region]:
    """Blocks with a title, which is the file that they are written to."""
    lexer = FencedCodeBlockLexer(r'python title="[^"]+"')
    for region in lexer(document):
        name = region.lexemes["language"].split('"')[1]
        region.parsed = name, region.lexemes["source"]
        region.evaluator = _write
        yield region


def _write(example: Example) -> None:
    name, source = example.parsed
    (example.namespace["folder"] / name).write_text(source)


def _run(example: Example) -> None:
    beside_python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": beside_python, "PYTHONPATH": str(ROOT)}
    environment["OMP_NUM_THREADS"] = "1"  # torch's threads wait for one another.
    command = ["bash", "-euo", "pipefail", "-c", example.parsed]
    subprocess.run(command, check=True, cwd=example.namespace["folder"], env=environment)


_PAGES = [SkipParser(), PythonCodeBlockParser(), _files, CodeBlockParser("bash", _run)]
_SHARED = {"setup": names, "fixtures": ["folder"]}
DOCUMENTS = [
    Sybil(_PAGES, patterns=["README.md", "docs/*.md"], path=str(ROOT), **_SHARED),
    *(
        Sybil([_doctests], pattern="*.py", path=str(ROOT / package), **_SHARED)
        for package in ("dlth_tf", "official")
    ),
]
