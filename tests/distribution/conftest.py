"""Strategies are TensorFlow's: nothing here is for other backends."""

import os

if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
    collect_ignore_glob = ["test_*.py"]
