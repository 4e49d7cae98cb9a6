"""Being asked to end (SIGTERM, Ctrl-C), at a moment when nothing is lost by it."""

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import NoReturn

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(BaseException):
    """The program was asked to end. Like KeyboardInterrupt it is no error."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.exit_code = 130 if number == signal.SIGINT else os.EX_TEMPFAIL


class StopSignals:
    """Raises `Stopped` where a signal finds the program, or later if it trains.

    Used as a context manager, in the main thread. A second signal ends the program there
    and then: an exception would be lost wherever Python can't pass it on.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._waits = False

    def __enter__(self) -> "StopSignals":
        self._before = {number: signal.getsignal(number) for number in _SIGNALS}
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def listen(self) -> None:
        """Asks for the signals, once more: TensorFlow takes SIGTERM for its workers."""
        for number in _SIGNALS:
            signal.signal(number, self._receive)

    @contextlib.contextmanager
    def wait(self) -> Iterator[None]:
        """Signals wait while the body runs, which asks for them (`received`)."""
        self._waits = True
        try:
            yield
        finally:
            self._waits = False

    @property
    def received(self) -> bool:
        return self._received is not None

    def end(self) -> NoReturn:
        """Raises `Stopped` because this program, or another worker's, was asked to."""
        raise Stopped(self._received or signal.SIGTERM)

    def _receive(self, number: int, frame: object) -> None:
        stopped = Stopped(number)
        if self.received:
            os.write(2, f"\nStopped at once by a second {stopped}.\n".encode())
            os._exit(stopped.exit_code)
        self._received = number
        if not self._waits:
            raise stopped
