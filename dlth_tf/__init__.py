"""Dual lottery tickets and sparse training for Keras 3.

The names below are loaded when first used, so that importing the package is quick.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlth_tf.channels import ChannelGroups as ChannelGroups
    from dlth_tf.channels import channel_groups as channel_groups
    from dlth_tf.cost import layer_costs as layer_costs
    from dlth_tf.dynamic import RigL as RigL
    from dlth_tf.dynamic import SparseEvolutionaryTraining as SparseEvolutionaryTraining
    from dlth_tf.early_bird import EarlyBird as EarlyBird
    from dlth_tf.erdos_renyi import ErdosRenyi as ErdosRenyi
    from dlth_tf.erdos_renyi import ErdosRenyiKernel as ErdosRenyiKernel
    from dlth_tf.fixed_ticket import FixedTicket as FixedTicket
    from dlth_tf.kernels import maskable_kernels as maskable_kernels
    from dlth_tf.ratios import PerLayer as PerLayer
    from dlth_tf.ratios import PerStage as PerStage
    from dlth_tf.saliency import grasp_ticket as grasp_ticket
    from dlth_tf.saliency import snip_ticket as snip_ticket
    from dlth_tf.saliency import synflow_ticket as synflow_ticket
    from dlth_tf.schedules import PenaltyGrowth as PenaltyGrowth
    from dlth_tf.shrinking import shrink as shrink
    from dlth_tf.sparse_model import load as load
    from dlth_tf.sparse_model import save as save
    from dlth_tf.sparsity import Global as Global
    from dlth_tf.sparsity import Uniform as Uniform
    from dlth_tf.tfmot import MagnitudePruning as MagnitudePruning
    from dlth_tf.ticket import Ticket as Ticket
    from dlth_tf.ticket import highest_ticket as highest_ticket
    from dlth_tf.ticket import magnitude_ticket as magnitude_ticket
    from dlth_tf.ticket import random_ticket as random_ticket
    from dlth_tf.transformation import (
        RandomSparseTransformation as RandomSparseTransformation,
    )
    from dlth_tf.weight_decay import CoupledL2 as CoupledL2

_HOME = {
    "ChannelGroups": "channels",
    "CoupledL2": "weight_decay",
    "EarlyBird": "early_bird",
    "ErdosRenyi": "erdos_renyi",
    "ErdosRenyiKernel": "erdos_renyi",
    "FixedTicket": "fixed_ticket",
    "Global": "sparsity",
    "MagnitudePruning": "tfmot",
    "PenaltyGrowth": "schedules",
    "PerLayer": "ratios",
    "PerStage": "ratios",
    "RandomSparseTransformation": "transformation",
    "RigL": "dynamic",
    "SparseEvolutionaryTraining": "dynamic",
    "Ticket": "ticket",
    "Uniform": "sparsity",
    "channel_groups": "channels",
    "grasp_ticket": "saliency",
    "highest_ticket": "ticket",
    "layer_costs": "cost",
    "load": "sparse_model",
    "magnitude_ticket": "ticket",
    "maskable_kernels": "kernels",
    "random_ticket": "ticket",
    "save": "sparse_model",
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
