"""Measuring a SavedModel, whoever made it. Needs TensorFlow, not Keras."""

from dlth_tf.evaluating.classifier import SavedClassifier
from dlth_tf.evaluating.metrics import Metrics, measure
from dlth_tf.evaluating.speed import images_per_second

__all__ = ["Metrics", "SavedClassifier", "images_per_second", "measure"]
