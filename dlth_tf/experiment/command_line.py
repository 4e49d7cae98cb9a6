"""What all programs here do alike: parsing flags, and saying what is wrong."""

import os
import signal
import sys
from collections.abc import Callable

from absl import app, flags, logging

USAGE, FAILURE = 2, 1


def say(error: object, code: int) -> int:
    """Says in one line why the program ends with this exit code."""
    print(f"Error: {error}", file=sys.stderr)
    return code


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


def start(main: Callable[[list[str]], int]) -> None:
    """Parses the command line, runs `main`, and exits with what it returns."""

    def run(argv: list[str]) -> int:
        code = main(argv)
        # Nothing is left to be done, and Python would answer Ctrl-C by a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        return code

    logging.set_verbosity(logging.WARNING)
    app.run(run, flags_parser=_parse_flags)


def _parse_flags(argv: list[str]) -> list[str]:
    """Like absl's own, but usage errors exit with 2, and asking for help is none."""
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        sys.exit(say(error, USAGE))
    except SystemExit:
        sys.exit(0)
