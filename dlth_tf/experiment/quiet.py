"""Keeping TensorFlow's start-up messages out of the progress."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

Begun = TypeVar("Begun")


def start_tensorflow_quietly(begin: Callable[[], Begun] = lambda: None) -> Begun:
    """Imports Keras and its backend without the native libraries' chatter.

    They write to the process's standard error before any setting of theirs counts.
    Whoever has set `TF_CPP_MIN_LOG_LEVEL` gets what it asks for.

    Args:
        begin: what is to be done before anything is computed.

    Returns:
        What `begin` returned.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        return begin()
    # Its errors, too: what they are about comes as an exception, and ends in one line.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with _native_stderr_discarded():
        import keras

        begun = begin()
        keras.ops.zeros(())
    return begun


@contextlib.contextmanager
def _native_stderr_discarded() -> Iterator[None]:
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
