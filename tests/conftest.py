"""What all tests share: quiet TensorFlow, repeatable hypothesis."""

import os

from hypothesis import settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
