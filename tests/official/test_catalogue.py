from pathlib import Path

from official.catalogue import data_table, networks_table, page

ROOT = Path(__file__).parents[2]


def test_the_page_of_networks_and_data_is_what_the_code_says():
    assert (ROOT / "docs" / "networks_and_data.md").read_text() == page()


def test_the_readme_has_the_tables_of_that_page():
    readme = (ROOT / "README.md").read_text()
    assert networks_table() in readme
    assert data_table() in readme
