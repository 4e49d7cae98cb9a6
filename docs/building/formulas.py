"""Formulas as MathML, which browsers show by themselves."""

import html
import re

import latex2mathml.converter

_FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL
)


def on_page_content(text: str, **_: object) -> str:
    """Converts what arithmatex has found in a page."""
    return _FORMULA.sub(_converted, text)


def _converted(found: re.Match[str]) -> str:
    display = "inline" if found[1] == "span" else "block"
    return latex2mathml.converter.convert(html.unescape(found[2]), display=display)
