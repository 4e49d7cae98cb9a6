"""What a user types: names to choose among, with help for typing errors, and paths."""

import difflib
import os
import re
from collections.abc import Iterable
from functools import partial

from absl import flags

# What can be written in place of the capitals of a name
_CAPITALS = {
    **dict.fromkeys(("NAME", "PATH"), ".+"),
    **dict.fromkeys(("DEPTH", "WIDTH"), r"\d+"),
    "ALPHA": r"\d\.\d+",
}

_NEAR = 0.6


def choose(kind: str, name: str, choices: Iterable[str]) -> str:
    """Returns `name` if it is one of `choices`, those of a kind such as `"network"`.

    If not, a ValueError gives the nearest one, if any is near, and all that there are.
    """
    available = list(choices)
    if name in available:
        return name
    near = nearest(name, available)
    hint = f" Did you mean {near!r}?" if near else ""
    raise ValueError(f"Unknown {kind} {name!r}.{hint} Available: {', '.join(available)}.")


def nearest(name: str, available: list[str]) -> str | None:
    """The most similar name if any is near, the first of several equally similar ones.

    Capitals count like small letters.
    """

    def similarity(other: str) -> float:
        return difflib.SequenceMatcher(None, other.lower(), name.lower()).ratio()

    near = (other for other in available if similarity(other) >= _NEAR)
    return max(near, key=similarity, default=None)


def choose_open(kind: str, name: str, choices: Iterable[str]) -> str:
    """Returns the choice that `name` is, or is written like where it has capitals.

    `"wrn-28-10"` chooses `"wrn-DEPTH-WIDTH"`. Raises as `choose` does.
    """
    choices = list(choices)
    for choice in choices:
        pattern = re.sub("[A-Z]+", lambda capitals: _CAPITALS[capitals[0]], choice)
        if re.fullmatch(pattern, name, re.DOTALL):
            return choice
    if choose(kind, name, choices).islower():
        return name
    raise ValueError(
        f"Unknown {kind} {name!r}: it stands for many. Write one of them, "
        "with something of your own in place of the capitals."
    )


class _PathParser(flags.ArgumentParser):
    """Reads a path; `~` is the home folder, which a shell leaves alone in `--x=~/y`."""

    def parse(self, argument: str) -> str:
        return os.path.expanduser(argument)


# As absl's `DEFINE_string`, for a path
DEFINE_path = partial(flags.DEFINE, _PathParser())
