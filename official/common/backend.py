"""TensorFlow where Keras runs on it. On another backend it may be missing: None."""

import importlib
from typing import Any

import keras

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
tf: Any = importlib.import_module("tensorflow") if ON_TENSORFLOW else None
