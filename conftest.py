"""The examples of README, pages and docstrings are tests."""

import contextlib
import shutil
from pathlib import Path

import pytest
from sybil.integration import pytest as integration

from tests.examples import DOCUMENTS
from tests.registries import restored

pytest_collect_file = integration.pytest_integration(*DOCUMENTS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a page's examples write, and its commands run."""
    path: Path = tmp_path_factory.mktemp("examples")
    with contextlib.chdir(path), restored():
        yield path
    shutil.rmtree(path)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        is_example = isinstance(item, integration.SybilItem)
        if is_example and item.example.document.text.startswith("---\nexamples: long\n"):
            item.add_marker("long")
