"""Dual lottery tickets and sparse training for Keras 3.

The names below are loaded when first used, so that importing the package is quick.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlth_tf.callbacks.dynamic import RigL as RigL
    from dlth_tf.callbacks.dynamic import (
        SparseEvolutionaryTraining as SparseEvolutionaryTraining,
    )
    from dlth_tf.callbacks.early_bird import EarlyBird as EarlyBird
    from dlth_tf.callbacks.fixed_ticket import FixedTicket as FixedTicket
    from dlth_tf.callbacks.schedules import PenaltyGrowth as PenaltyGrowth
    from dlth_tf.callbacks.transformation import (
        RandomSparseTransformation as RandomSparseTransformation,
    )
    from dlth_tf.callbacks.weight_decay import CoupledL2 as CoupledL2
    from dlth_tf.cost import layer_costs as layer_costs
    from dlth_tf.folding import fold_batch_norm as fold_batch_norm
    from dlth_tf.network.channels import ChannelGroups as ChannelGroups
    from dlth_tf.network.channels import channel_groups as channel_groups
    from dlth_tf.network.kernels import maskable_kernels as maskable_kernels
    from dlth_tf.regularizer import Extrusion as Extrusion
    from dlth_tf.saliency import grasp_ticket as grasp_ticket
    from dlth_tf.saliency import snip_ticket as snip_ticket
    from dlth_tf.saliency import synflow_ticket as synflow_ticket
    from dlth_tf.shrinking import shrink as shrink
    from dlth_tf.step.attach import attach as attach
    from dlth_tf.step.callback import StepCallback as StepCallback
    from dlth_tf.tfmot import MagnitudePruning as MagnitudePruning
    from dlth_tf.tickets.erdos_renyi import ErdosRenyi as ErdosRenyi
    from dlth_tf.tickets.erdos_renyi import ErdosRenyiKernel as ErdosRenyiKernel
    from dlth_tf.tickets.ratios import PerLayer as PerLayer
    from dlth_tf.tickets.ratios import PerStage as PerStage
    from dlth_tf.tickets.sparse_model import load as load
    from dlth_tf.tickets.sparse_model import save as save
    from dlth_tf.tickets.sparsity import Global as Global
    from dlth_tf.tickets.sparsity import Uniform as Uniform
    from dlth_tf.tickets.ticket import Ticket as Ticket
    from dlth_tf.tickets.ticket import highest_ticket as highest_ticket
    from dlth_tf.tickets.ticket import magnitude_ticket as magnitude_ticket
    from dlth_tf.tickets.ticket import random_ticket as random_ticket

_HOME = {
    "ChannelGroups": "network.channels",
    "CoupledL2": "callbacks.weight_decay",
    "EarlyBird": "callbacks.early_bird",
    "ErdosRenyi": "tickets.erdos_renyi",
    "ErdosRenyiKernel": "tickets.erdos_renyi",
    "Extrusion": "regularizer",
    "FixedTicket": "callbacks.fixed_ticket",
    "Global": "tickets.sparsity",
    "MagnitudePruning": "tfmot",
    "PenaltyGrowth": "callbacks.schedules",
    "PerLayer": "tickets.ratios",
    "PerStage": "tickets.ratios",
    "RandomSparseTransformation": "callbacks.transformation",
    "RigL": "callbacks.dynamic",
    "SparseEvolutionaryTraining": "callbacks.dynamic",
    "StepCallback": "step.callback",
    "Ticket": "tickets.ticket",
    "Uniform": "tickets.sparsity",
    "attach": "step.attach",
    "channel_groups": "network.channels",
    "fold_batch_norm": "folding",
    "grasp_ticket": "saliency",
    "highest_ticket": "tickets.ticket",
    "layer_costs": "cost",
    "load": "tickets.sparse_model",
    "magnitude_ticket": "tickets.ticket",
    "maskable_kernels": "network.kernels",
    "random_ticket": "tickets.ticket",
    "save": "tickets.sparse_model",
    "shrink": "shrinking",
    "snip_ticket": "saliency",
    "synflow_ticket": "saliency",
}

__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name in _HOME:
        return getattr(importlib.import_module(f"dlth_tf.{_HOME[name]}"), name)
    raise AttributeError(f"module 'dlth_tf' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
