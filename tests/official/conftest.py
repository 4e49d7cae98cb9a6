"""Tests of data sets have no network, and notice if one is wanted."""

import pytest


@pytest.fixture
def no_network(monkeypatch):
    """Fails every request, and the test if a download is begun all the same."""
    requests = pytest.importorskip("requests")
    tfds = pytest.importorskip("tensorflow_datasets")

    def refuse(*arguments, **options):
        raise requests.ConnectionError("a long story\nof several lines")

    def download(*arguments, **options):
        pytest.fail("began a download without a network")

    monkeypatch.setattr(requests, "head", refuse)
    builder = tfds.core.DatasetBuilder
    monkeypatch.setattr(builder, "download_and_prepare", download)
    # `monkeypatch` would look at the class property, which reads files.
    url_infos = vars(builder)["url_infos"]
    builder.url_infos = {"https://example.org/set.tar": None}
    yield
    builder.url_infos = url_infos
