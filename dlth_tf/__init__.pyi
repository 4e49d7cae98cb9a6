"""The public names and where they are at home, for type checkers."""

from dlth_tf.callbacks.dynamic import RigL, SparseEvolutionaryTraining
from dlth_tf.callbacks.early_bird import EarlyBird
from dlth_tf.callbacks.fixed_ticket import FixedTicket
from dlth_tf.callbacks.schedules import PenaltyGrowth
from dlth_tf.callbacks.transformation import RandomSparseTransformation
from dlth_tf.callbacks.weight_decay import CoupledL2
from dlth_tf.cost import layer_costs
from dlth_tf.litert.exporting import export_litert
from dlth_tf.network.channel_groups import ChannelGroups, channel_groups
from dlth_tf.network.kernels import maskable_kernels
from dlth_tf.rebuilding import fold_batch_norm, shrink
from dlth_tf.regularizer import Extrusion
from dlth_tf.saliency import grasp_ticket, snip_ticket, synflow_ticket
from dlth_tf.step.callback import StepCallback, attach
from dlth_tf.tfmot import MagnitudePruning
from dlth_tf.tickets.distributions import (
    ErdosRenyi,
    ErdosRenyiKernel,
    Global,
    PerLayer,
    PerStage,
    Uniform,
)
from dlth_tf.tickets.selection import highest_ticket, magnitude_ticket, random_ticket
from dlth_tf.tickets.ticket import Ticket, load, save

__version__: str

__all__ = [
    "ChannelGroups",
    "CoupledL2",
    "EarlyBird",
    "ErdosRenyi",
    "ErdosRenyiKernel",
    "Extrusion",
    "FixedTicket",
    "Global",
    "MagnitudePruning",
    "PenaltyGrowth",
    "PerLayer",
    "PerStage",
    "RandomSparseTransformation",
    "RigL",
    "SparseEvolutionaryTraining",
    "StepCallback",
    "Ticket",
    "Uniform",
    "attach",
    "channel_groups",
    "export_litert",
    "fold_batch_norm",
    "grasp_ticket",
    "highest_ticket",
    "layer_costs",
    "load",
    "magnitude_ticket",
    "maskable_kernels",
    "random_ticket",
    "save",
    "shrink",
    "snip_ticket",
    "synflow_ticket",
]
