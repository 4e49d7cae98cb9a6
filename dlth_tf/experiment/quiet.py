"""Keeping TensorFlow's start-up messages out of the progress."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator


def start_tensorflow_quietly() -> None:
    """Imports Keras and its backend without the native libraries' chatter.

    They write to the process's standard error before any setting of theirs counts.
    Whoever has set `TF_CPP_MIN_LOG_LEVEL` gets what it asks for.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with _native_stderr_discarded():
        import keras

        keras.ops.zeros(())


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
