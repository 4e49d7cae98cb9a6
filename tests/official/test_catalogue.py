from pathlib import Path

from official.catalogue import page

PAGE = Path(__file__).parents[2] / "docs" / "networks_and_data.md"


def test_the_page_of_networks_and_data_is_what_the_code_says():
    assert PAGE.read_text() == page()
