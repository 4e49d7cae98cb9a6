"""Examples of docstrings, shown as code by mkdocstrings."""

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^( *)(>>> .*(?:\n\1\S.*)*)", re.MULTILINE)


class Doctests(griffe.Extension):
    """Puts fences around them."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Looks for them in the docstring of whatever has one."""
        if obj.docstring:
            fenced = r"\1```pycon\n\1\2\n\1```"
            obj.docstring.value = _EXAMPLE.sub(fenced, obj.docstring.value)
