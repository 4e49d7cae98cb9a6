"""Magnitude pruning by TensorFlow Model Optimization (TFMOT), for Keras 3 models.

TFMOT's `prune_low_magnitude` wraps layers of Keras 2 and refuses those of Keras 3. Its
schedules and the engine that updates masks know only TensorFlow variables: here they
work on a Keras 3 model's kernels. TensorFlow, TFMOT and `tf_keras` (which TFMOT imports)
are loaded when something here is first used.
"""

from dlth_tf.tfmot.engine import magnitude_ticket
from dlth_tf.tfmot.pruning import MagnitudePruning

__all__ = ["MagnitudePruning", "magnitude_ticket"]
