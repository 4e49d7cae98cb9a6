"""Choosing by name, with a helpful answer to a typing error."""

import difflib
import re
from collections.abc import Iterable

# What can be written in place of the capitals of a name
_CAPITALS = {
    **dict.fromkeys(("NAME", "PATH"), ".+"),
    **dict.fromkeys(("DEPTH", "WIDTH"), r"\d+"),
    "ALPHA": r"\d\.\d+",
}


def choose(kind: str, name: str, choices: Iterable[str]) -> str:
    """Returns `name` if it is one of `choices`.

    Args:
        kind: what the name is a name of, as a person says it: `"network"`.
        name: the name asked for.
        choices: the names there are.

    Raises:
        ValueError: `name` is not among them. The message gives the nearest one,
            if any is near, and all that are available.

    Example:

        >>> choose("network", "resnet20", ["mlp", "resnet20"])
        'resnet20'
    """
    available = list(choices)
    if name in available:
        return name
    near = nearest(name, available)
    hint = f" Did you mean {near!r}?" if near else ""
    raise ValueError(f"Unknown {kind} {name!r}.{hint} Available: {', '.join(available)}.")


def nearest(name: str, available: list[str]) -> str | None:
    """Returns the most similar name, the first of several equally similar ones.

    None if no name is near.
    """
    near = difflib.get_close_matches(name, available, n=len(available))

    def similarity(other: str) -> float:
        return difflib.SequenceMatcher(None, other, name).ratio()

    return max((x for x in available if x in near), key=similarity, default=None)


def choose_open(kind: str, name: str, choices: Iterable[str]) -> str:
    """Returns the choice that `name` is, or is written like where it has capitals.

    Raises:
        ValueError: there is none, as for `choose`.

    Example:

        >>> choose_open("network", "wrn-28-10", ["resnet20", "wrn-DEPTH-WIDTH"])
        'wrn-DEPTH-WIDTH'
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
