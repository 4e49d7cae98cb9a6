"""What trainings run on: devices, machines, and how steps are compiled."""

import contextlib
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from official.distribution.cluster import Workers

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Hardware:
    """Where and how trainings run. Their results do not depend on it, but for rounding.

    Attributes:
        strategy: what networks are trained under, or None.
        jit_compile: whether XLA compiles the training step.

    Raises:
        ValueError: XLA is to compile a step that it can't.
    """

    strategy: "tf.distribute.Strategy | keras.distribution.DataParallel | None" = None
    jit_compile: bool = False

    def __post_init__(self):
        if not self.jit_compile or self.replicas == 1:
            return
        devices = self.strategy.extended.worker_devices
        if len(devices) > 1 or "GPU" not in devices[0]:
            raise ValueError(
                "--jit_compile needs one device, or one GPU per process: XLA sums no "
                f"gradients otherwise. Received: {len(devices)} of {self.replicas} "
                f"replicas in this process, the first on {devices[0]}"
            )

    @property
    def workers(self) -> Workers:
        """The processes that train together."""
        return Workers(self.strategy)

    @property
    def replicas(self) -> int:
        """Devices of all workers."""
        return self.workers.replicas

    def scope(self) -> contextlib.AbstractContextManager:
        """Where networks that are to be trained are made."""
        return self.strategy.scope() if self.strategy else contextlib.nullcontext()

    def fitting(self) -> contextlib.AbstractContextManager:
        """What `fit` needs around it."""
        import keras

        from official.private_keras import multi_worker_fit

        if self.workers.count > 1:
            return multi_worker_fit()
        # There Keras asks in every step how data lie on the devices.
        on_jax = keras.backend.backend() == "jax"
        return self.scope() if on_jax else contextlib.nullcontext()


ONE_DEVICE = Hardware()


def check_batches(sizes: Mapping[str, int], replicas: int) -> None:
    """Makes sure that so many replicas can share every batch.

    Args:
        sizes: of the batches, by flag.
        replicas: devices of all workers.

    Raises:
        ValueError: they can't, evenly.
    """
    uneven = {flag: size for flag, size in sizes.items() if size % replicas}
    if uneven:
        received = " ".join(f"--{flag}={size}" for flag, size in uneven.items())
        raise ValueError(
            f"{' and '.join(f'--{flag}' for flag in uneven)} must be a multiple of the "
            f"{replicas} replicas that share a batch. Received: {received}"
        )
