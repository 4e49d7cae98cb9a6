"""Tickets from an untrained network: each criterion is a score for every weight.

`snip`, `grasp` and `synflow` say what theirs is; `gradients` is the one place that knows
how a backend differentiates, and `objective` what is differentiated.
"""

from dlth_tf.saliency.grasp import grasp_ticket
from dlth_tf.saliency.snip import snip_ticket
from dlth_tf.saliency.synflow import synflow_ticket

__all__ = ["grasp_ticket", "snip_ticket", "synflow_ticket"]
