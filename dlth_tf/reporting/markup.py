"""Writing HTML."""

import html
from collections.abc import Iterable, Sequence


def text(value: object) -> str:
    """Anything as text that can't be taken for markup."""
    return html.escape(str(value))


def tag(name: str, *content: str, **attributes: object) -> str:
    """An element around markup; `class_` stands for `class`, `_` for `-`."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>{''.join(content)}</{name}>"


def paragraph(*sentences: str) -> str:
    """Sentences of plain text; empty ones are left out."""
    return tag("p", text(" ".join(s for s in sentences if s)))


def items(lines: Iterable[str], **attributes: object) -> str:
    """A list of plain texts."""
    return tag("ul", *(tag("li", text(line)) for line in lines), **attributes)


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], caption: str, **attributes: object
) -> str:
    """A table of markup whose first column heads the rows, in a frame that scrolls.

    The caption is plain text.
    """
    body = [
        tag("tr", tag("th", first, scope="row"), *(tag("td", cell) for cell in rest))
        for first, *rest in rows
    ]
    whole = tag(
        "table",
        tag("caption", text(caption)),
        tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in head))),
        tag("tbody", *body),
        **attributes,
    )
    return tag(
        "div", whole, class_="scroll", tabindex=0, role="group", aria_label=caption
    )
