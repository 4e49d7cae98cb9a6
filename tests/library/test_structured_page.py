"""The examples of a page run from its top to its end, as they stand there."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("page", ["structured_tickets.md"])
def test_the_examples_run(page):
    pytest.importorskip("keras_hub", reason="keras-hub is not installed")
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.M | re.S)
    assert blocks
    exec(compile("\n".join(blocks), page, "exec"), {"__name__": "page"})
