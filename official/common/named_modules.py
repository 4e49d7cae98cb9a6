"""Names, and the module behind each, imported when it is first needed."""

import dataclasses
import importlib
import re
from collections.abc import Mapping
from types import ModuleType

from official.common.choices import choose


@dataclasses.dataclass(frozen=True)
class NamedModules:
    """What can be had by name, each from a module of one package.

    Knowing the names costs no import of a module.

    Attributes:
        kind: what the names are names of, as a person says it: `"network"`.
        package: the package of the modules.
        closed: the module of each name there is.
        open: the modules that know names without end: by how these are written, as a
            person reads it (`"wrn-DEPTH-WIDTH"`), what one looks like and the module.

    Example:

        >>> open_sets = {"tfds:NAME": (re.compile("tfds:.+"), "tfds_any")}
        >>> closed = {"digits": "digits"}
        >>> sets = NamedModules("dataset", "official.data", closed, open_sets)
        >>> sets.names
        ('digits', 'tfds:NAME')
        >>> sets.module_name("tfds:beans")
        'tfds_any'
    """

    kind: str
    package: str
    closed: Mapping[str, str]
    open: Mapping[str, tuple[re.Pattern[str], str]] = dataclasses.field(
        default_factory=dict
    )

    @property
    def names(self) -> tuple[str, ...]:
        """All names, those without end as a person reads them."""
        return (*self.closed, *self.open)

    def check_name(self, name: str) -> str:
        """Returns `name` if it is written like one of `names`.

        Raises:
            ValueError: it is not. The message suggests the nearest of them.
        """
        self.module_name(name)
        return name

    def module_name(self, name: str) -> str:
        """The module that makes what `name` names, as it is called in its package.

        Raises:
            ValueError: as for `check_name`.
        """
        for pattern, module in self.open.values():
            if pattern.fullmatch(name):
                return module
        if choose(self.kind, name, self.names) in self.open:
            raise ValueError(
                f"Unknown {self.kind} {name!r}: it stands for many. Write one of them, "
                "with something of your own in place of the capitals."
            )
        return self.closed[name]

    def module(self, name: str) -> ModuleType:
        """The same module, imported.

        Raises:
            ValueError: as for `check_name`.
        """
        return importlib.import_module(f"{self.package}.{self.module_name(name)}")
