"""Dual lottery tickets and sparse training for Keras 3.

The names below are loaded when first used, so that importing the package is quick; for
type checkers they stand in `__init__.pyi`.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_NAMES = {
    "callbacks.dynamic": "RigL SparseEvolutionaryTraining",
    "callbacks.early_bird": "EarlyBird",
    "callbacks.fixed_ticket": "FixedTicket",
    "callbacks.schedules": "PenaltyGrowth",
    "callbacks.transformation": "RandomSparseTransformation",
    "callbacks.weight_decay": "CoupledL2",
    "cost": "layer_costs",
    "litert.exporting": "export_litert",
    "network.channel_groups": "ChannelGroups channel_groups",
    "network.kernels": "maskable_kernels",
    "rebuilding": "fold_batch_norm shrink",
    "regularizer": "Extrusion",
    "saliency": "grasp_ticket snip_ticket synflow_ticket",
    "step.callback": "StepCallback attach",
    "tfmot": "MagnitudePruning",
    "tickets.distributions": (
        "ErdosRenyi ErdosRenyiKernel Global PerLayer PerStage Uniform"
    ),
    "tickets.selection": "highest_ticket magnitude_ticket random_ticket",
    "tickets.ticket": "Ticket load save",
}
_HOME = {name: home for home, names in _NAMES.items() for name in names.split()}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"dlth_tf.{_HOME[name]}"), name)
    raise AttributeError(f"module 'dlth_tf' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
