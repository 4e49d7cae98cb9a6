"""What all programs here do alike: flags, errors in a line, TensorFlow kept quiet."""

import functools
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from absl import app, flags
from absl import logging as absl_logging

from dlth_tf.files import WriteFailed

USAGE, FAILURE = 2, 1


def say(error: object, code: int) -> int:
    """Says in one line why the program ends with this exit code."""
    print(f"Error: {error}", file=sys.stderr)
    return code


def with_advice(error: Exception) -> str:
    """An error's message, and what to do about a full disk."""
    advice = " The same command goes on once there is room."
    return f"{error}{advice * isinstance(error, WriteFailed)}"


def show(text: str) -> None:
    """Prints what a program found. A reader that has seen enough (`head`) is no error."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Python flushes once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def reject_arguments(argv: list[str]) -> None:
    """Raises a ValueError if anything but flags was given."""
    if len(argv) > 1:
        raise ValueError(f"Flags begin with --. Received: {' '.join(argv[1:])}")


def ends_in_a_line(program: Callable[[], None]) -> Callable[[list[str]], int]:
    """A program's `main`, which says in one line what its body raised."""

    @functools.wraps(program)
    def main(argv: list[str]) -> int:
        try:
            reject_arguments(argv)
            program()
        except (ValueError, FileNotFoundError) as error:
            return say(error, USAGE)
        except (OSError, RuntimeError, ImportError) as error:
            return say(error, FAILURE)
        return 0

    return main


def start(main: Callable[[list[str]], int]) -> None:
    """Parses the command line, runs `main`, and exits with what it returns."""

    def run(argv: list[str]) -> int:
        code = main(argv)
        # Nothing is left to be done, and Python would answer Ctrl-C by a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        return code

    absl_logging.set_verbosity(absl_logging.WARNING)
    app.run(run, flags_parser=_parse_flags)


def _parse_flags(argv: list[str]) -> list[str]:
    """Like absl's own, but usage errors exit with 2, and asking for help is none."""
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        sys.exit(say(error, USAGE))
    except SystemExit:
        sys.exit(0)


def start_tensorflow_quietly(begin: Callable[[], Any] = lambda: None) -> Any:
    """Imports Keras and its backend without the native libraries' chatter.

    They write to the process's standard error before any setting of theirs counts.
    Whoever has set `TF_CPP_MIN_LOG_LEVEL` gets what it asks for. `begin` is done before
    anything is computed, and its result returned.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        return begin()
    # Its errors, too: what they are about comes as an exception, and ends in one line.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import keras

        result = begin()
        keras.ops.zeros(())
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
    return result
