"""Tickets from an untrained network: each criterion is a score for every weight."""

from dlth_tf.saliency.snip_grasp import grasp_ticket, snip_ticket
from dlth_tf.saliency.synflow import synflow_ticket

__all__ = ["grasp_ticket", "snip_ticket", "synflow_ticket"]
