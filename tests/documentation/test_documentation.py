"""The documentation is whole, its tutorial runs. (Examples: `tests/examples.py`.)"""

import os
import re

import pytest

import dlth_tf
from tests.examples import ROOT


def test_the_reference_has_every_public_name_once():
    pages = (ROOT / "docs" / "reference").glob("*.md")
    text = "\n".join(page.read_text() for page in pages)
    assert sorted(re.findall(r"^::: dlth_tf\.(\w+)$", text, re.M)) == dlth_tf.__all__


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


@pytest.mark.long
def test_the_tutorial_runs(tmp_path):
    nbclient, nbformat = map(pytest.importorskip, ("nbclient", "nbformat"))
    notebook = nbformat.read(ROOT / "docs" / "tutorial.ipynb", as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    client = nbclient.NotebookClient(notebook, timeout=600, resources=resources)
    client.execute(env=os.environ | {"PYTHONPATH": str(ROOT)})
