"""Code of a user's own that stages depend on: it is part of what defines them."""

import dataclasses
import functools
import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

SOURCES: dict[tuple[str, str], str] = {}
"""Of the networks and data sets that plugins bring, by kind and name."""


@dataclasses.dataclass(frozen=True)
class OwnCode:
    """A function, known by its name and the hash of the file that it stands in."""

    name: str
    source: str
    call: Callable = dataclasses.field(compare=False, repr=False)

    @classmethod
    def of(cls, function: Callable) -> "OwnCode":
        """A ValueError refuses one that name and file don't tell from others."""
        if "<" in getattr(function, "__qualname__", "<"):
            raise ValueError(
                "Code of your own must be a function or class of a module: lambdas, inner"
                f" functions and the like have no name of their own. Received: {function}"
            )
        content = Path(inspect.getfile(function)).read_bytes()
        source = hashlib.sha256(content).hexdigest()[:16]
        return cls(function.__name__, source, naming_its_file(function))


def naming_its_file(function: Callable) -> Callable:
    """The same; what it raises is told with its name and where it was written."""

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        except Exception as error:
            path = inspect.getfile(function)
            raise ValueError(
                f"{path}, {function.__name__}: {type(error).__name__}: {error}"
            ) from error

    return call
