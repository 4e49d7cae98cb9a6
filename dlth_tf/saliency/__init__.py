"""Tickets from an untrained network: each criterion is a score for every weight."""

from dlth_tf.saliency.criteria import grasp_ticket, snip_ticket, synflow_ticket

__all__ = ["grasp_ticket", "snip_ticket", "synflow_ticket"]
