"""N:M sparsity: of every M neighbouring weights N are kept, as hardware wants it."""

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np

from dlth_tf.tickets.sparsity import Pool
from dlth_tf.tickets.units import Unit

_GROUPS_AT_A_TIME = 1 << 18
_TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True)
class GroupedWeights(Unit):
    """Of every `of` consecutive weights along the input axis `kept` are kept.

    The input axis is the one that the layer's matrix product sums over: of a dense
    kernel [in, out] the groups lie along `in`, for each output; of a convolution
    [height, width, in, out] along `in`, for each position and output. A pool's sparsity
    must be 1 - kept / of, or 0 to leave its kernels dense.

    Args:
        kept: weights of a group that stay (N).
        of: weights of a group (M).

    Raises:
        ValueError: not 1 <= kept < of.

    Source: Zhou et al., "Learning N:M Fine-grained Structured Sparse Neural Networks
    From Scratch", ICLR 2021; Mishra et al., "Accelerating Sparse Deep Neural Networks",
    2021, arXiv 2104.08378 (2:4).
    """

    kept: int
    of: int

    def __post_init__(self):
        if not 1 <= self.kept < self.of:
            raise ValueError(
                f"`unit` N:M must have 1 <= N < M. Received: {self.kept}:{self.of}"
            )

    @property
    def sparsity(self) -> float:
        return 1 - self.kept / self.of

    def random_masks(self, model, pools, seed, within=None):
        if within is not None:
            raise ValueError(
                "`within` needs single weights: N:M removes the same fraction always. "
                f"Received: unit '{self.kept}:{self.of}'"
            )
        masks = {}
        for place, name, shape, axis in self._kernels(model, pools):
            seed_of_kernel = np.random.SeedSequence(seed, spawn_key=(place,))
            if axis is None:
                masks[name] = np.ones(shape, np.bool_)
            else:
                masks[name] = _laid_out(self._drawn(shape, seed_of_kernel), shape, axis)
        return masks

    def highest_masks(self, model, pools, scores):
        masks = {}
        for _, name, shape, axis in self._kernels(model, pools):
            if axis is None:
                masks[name] = np.ones(shape, np.bool_)
            else:
                groups = np.moveaxis(scores[name], axis, -1).reshape(-1, self.of)
                masks[name] = _laid_out(self._highest(groups), shape, axis)
        return masks

    def _kernels(self, model, pools: Sequence[Pool]) -> Iterator[tuple]:
        """Place, name, shape and input axis of each kernel; no axis: it stays dense."""
        from dlth_tf.network.kernels import input_axes, kernel_shapes

        sparsities = {name: pool.sparsity for pool in pools for name in pool.names}
        axes, shapes = input_axes(model, sparsities), kernel_shapes(model, sparsities)
        for place, (name, shape) in enumerate(shapes.items()):
            if sparsities[name]:
                self._check(name, sparsities[name], shape, axes[name])
            yield place, name, shape, axes[name] if sparsities[name] else None

    def _check(self, name, sparsity, shape, axis) -> None:
        if abs(sparsity - self.sparsity) > _TOLERANCE:
            raise ValueError(
                f"With unit '{self.kept}:{self.of}' the sparsity of a kernel must be "
                f"{self.sparsity:.4g}, or 0. Received: {float(sparsity):.4g} for '{name}'"
            )
        inputs = 1 if axis is None else shape[axis]
        if inputs % self.of:
            raise ValueError(
                f"Unit '{self.kept}:{self.of}' needs kernels whose inputs are a multiple "
                f"of {self.of}. Received: {inputs} of '{name}', shape {shape}. Choose "
                "layers by name patterns that leave it out"
            )

    def _drawn(self, shape, seed: np.random.SeedSequence) -> np.ndarray:
        """A random mask of a kernel's groups, made a block at a time to save memory."""
        bits = np.random.PCG64(seed)
        mask = np.empty((math.prod(shape) // self.of, self.of), np.bool_)
        for start in range(0, len(mask), _GROUPS_AT_A_TIME):
            block = mask[start : start + _GROUPS_AT_A_TIME]
            block[:] = self._highest(bits.random_raw(block.size).reshape(block.shape))
        return mask

    def _highest(self, groups: np.ndarray) -> np.ndarray:
        """Of groups `[groups, of]` those that are kept; of equal ones the last."""
        lowest_first = np.argsort(groups, axis=1, kind="stable")
        mask = np.ones(groups.shape, np.bool_)
        removed = lowest_first[:, : self.of - self.kept]
        np.put_along_axis(mask, removed, False, axis=1)
        return mask


def _laid_out(groups: np.ndarray, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """The groups along an axis of a kernel."""
    inputs_last = (*shape[:axis], *shape[axis + 1 :], shape[axis])
    return np.ascontiguousarray(np.moveaxis(groups.reshape(inputs_last), -1, axis))
