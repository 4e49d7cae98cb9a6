"""What all tests share: quiet TensorFlow, repeatable hypothesis."""

import os

from hypothesis import settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


def pytest_collection_modifyitems(items):
    """The program's tests, the slow ones, come first: no process ends with them alone."""
    items.sort(key=lambda item: "program" not in item.path.parts)
