"""Dual lottery tickets and sparse training for Keras 3.

The names below are loaded when first used, so that importing the package is quick.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlth_tf.early_bird import EarlyBird as EarlyBird
    from dlth_tf.fixed_ticket import FixedTicket as FixedTicket
    from dlth_tf.kernels import maskable_kernels as maskable_kernels
    from dlth_tf.schedules import PenaltyGrowth as PenaltyGrowth
    from dlth_tf.tfmot import MagnitudePruning as MagnitudePruning
    from dlth_tf.ticket import Ticket as Ticket
    from dlth_tf.ticket import magnitude_ticket as magnitude_ticket
    from dlth_tf.ticket import random_ticket as random_ticket
    from dlth_tf.transformation import (
        RandomSparseTransformation as RandomSparseTransformation,
    )
    from dlth_tf.weight_decay import CoupledL2 as CoupledL2

_HOME = {
    "CoupledL2": "weight_decay",
    "EarlyBird": "early_bird",
    "FixedTicket": "fixed_ticket",
    "MagnitudePruning": "tfmot",
    "PenaltyGrowth": "schedules",
    "RandomSparseTransformation": "transformation",
    "Ticket": "ticket",
    "magnitude_ticket": "ticket",
    "maskable_kernels": "kernels",
    "random_ticket": "ticket",
}

__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name in _HOME:
        return getattr(importlib.import_module(f"dlth_tf.{_HOME[name]}"), name)
    raise AttributeError(f"module 'dlth_tf' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
