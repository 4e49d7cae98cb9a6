"""What all programs here do alike: flags, errors in a line, TensorFlow kept quiet."""

import contextlib
import functools
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from absl import app, flags
from absl import logging as absl_logging

from dlth_tf import plugins
from dlth_tf.experiment import flagfiles
from dlth_tf.experiment.help import help_text
from dlth_tf.files import WriteFailed

USAGE, FAILURE = 2, 1
_HELP = {"-h", "-help", "--help", "-?", "--helpshort"}
_NEEDS_UNIX = (
    "The programs need a Unix system (Linux, macOS, WSL on Windows). The library runs "
    "here too, in a program of your own."
)


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


def start(
    main: Callable[[list[str]], int], headings: Mapping[str, str] | None = None
) -> None:
    """Parses the command line, runs `main`, and exits with what it returns.

    `headings` of the flags in `--help`: each by the flag that it stands above.
    """
    if sys.platform == "win32":
        sys.exit(say(_NEEDS_UNIX, USAGE))

    def run(argv: list[str]) -> int:
        code = main(argv)
        # Nothing is left to be done, and Python would answer Ctrl-C by a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        return code

    absl_logging.set_verbosity(absl_logging.WARNING)
    app.run(run, flags_parser=lambda argv: _parsed(argv, main, headings or {}))


def _parsed(
    argv: list[str], main: Callable[[list[str]], int], headings: Mapping[str, str]
) -> list[str]:
    """What is left of the command line; usage errors exit with 2, after help with 0."""
    try:
        arguments = list(flagfiles.in_place(argv[1:]))
        given = [argument for argument in arguments if argument not in _HELP]
        rest = flags.FLAGS([argv[0], *given])
        if flags.FLAGS.plugins:
            with _silence():  # They may import TensorFlow.
                plugins.load(flags.FLAGS.plugins)
    except (flags.Error, ValueError) as error:
        sys.exit(say(error, USAGE))
    except SystemExit:  # By absl, after --helpfull or --helpxml
        sys.exit(0)
    if len(given) < len(arguments):
        show(help_text(main, headings))
        sys.exit(0)
    return rest


def start_tensorflow_quietly(begin: Callable[[], Any] = lambda: None) -> Any:
    """Imports Keras and its backend without the native libraries' chatter.

    `begin` is done before anything is computed, and its result returned.
    """
    with _silence():
        import keras

        result = begin()
        keras.ops.zeros(())
    return result


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Turns the standard error off while native libraries start.

    They write to it before any setting of theirs counts. Whoever has set
    `TF_CPP_MIN_LOG_LEVEL` gets what it asks for, if it isn't silence.
    """
    # Its errors, too: what they are about comes as an exception, and ends in one line.
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "3":
        yield
        return
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
