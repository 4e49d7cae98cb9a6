from pathlib import Path

import pytest

from official.catalogue import data_table, networks_table

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["README.md", "docs/networks_and_data.md"])
def test_the_documentation_has_the_tables(page):
    text = (ROOT / page).read_text()
    assert networks_table() in text
    assert data_table() in text
