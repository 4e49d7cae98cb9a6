"""Networks to ship: SavedModel, `.keras`, LiteRT. Needs Keras on TensorFlow.

What is written needs nothing of this project to be loaded. A sparse network is as large
here as a dense one, for these formats store zeros; `dlth_tf.save` stores it compactly.
"""

from dlth_tf.exporting.artifacts import FORMATS
from dlth_tf.exporting.export import ExportFailed, Normalization, export

__all__ = ["FORMATS", "ExportFailed", "Normalization", "export"]
