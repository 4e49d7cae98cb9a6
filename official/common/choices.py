"""Choosing by name, with a helpful answer to a typing error."""

import dataclasses
import difflib
import importlib
import re
from collections.abc import Iterable, Mapping
from types import ModuleType


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


@dataclasses.dataclass(frozen=True)
class NamedModules:
    """What can be had by name, each from a module that is imported when it is needed.

    Attributes:
        kind: what the names are names of, as a person says it: `"network"`.
        package: the package of the modules.
        closed: the module of each name there is.
        open: the modules that know names without end: by how these are written, as a
            person reads it (`"wrn-DEPTH-WIDTH"`), what one looks like and the module.

    Example:

        >>> closed, open = {"digits": "small_sets"}, {"tfds:NAME": ("tfds:.+", "tfds")}
        >>> NamedModules("dataset", "official.data", closed, open).names
        ('digits', 'tfds:NAME')
    """

    kind: str
    package: str
    closed: Mapping[str, str]
    open: Mapping[str, tuple[str, str]]

    @property
    def names(self) -> tuple[str, ...]:
        """All names, those without end as a person reads them."""
        return (*self.closed, *self.open)

    def check_name(self, name: str) -> str:
        """Returns `name` if it is written like one of `names`; else `ValueError`."""
        self._module_name(name)
        return name

    def module(self, name: str) -> ModuleType:
        """The module that makes what `name` names; raises as `check_name` does."""
        return importlib.import_module(f"{self.package}.{self._module_name(name)}")

    def _module_name(self, name: str) -> str:
        for pattern, module in self.open.values():
            if re.fullmatch(pattern, name, re.DOTALL):
                return module
        if choose(self.kind, name, self.names) in self.open:
            raise ValueError(
                f"Unknown {self.kind} {name!r}: it stands for many. Write one of them, "
                "with something of your own in place of the capitals."
            )
        return self.closed[name]
