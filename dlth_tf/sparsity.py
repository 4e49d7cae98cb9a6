"""Where the sparsity goes: from what a user says to one number per kernel."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

Sparsity = float | Mapping[str, float]
"""One number for every kernel, or numbers by name pattern (`{"stage*": 0.9}`)."""


def sparsity_per_kernel(names: Sequence[str], sparsity: Sparsity) -> dict[str, float]:
    """Resolves a sparsity for each kernel.

    Args:
        names: names of the maskable kernels.
        sparsity: a number in [0, 1) for all of them, or a mapping from shell-style name
            patterns to numbers. The first pattern that matches a name counts; kernels
            that none matches stay dense.

    Raises:
        ValueError: a number outside [0, 1), or a pattern that matches no kernel.

    Example:

    >>> sparsity_per_kernel(["stem", "stage1_conv", "head"], {"stage*": 0.9})
    {'stem': 0.0, 'stage1_conv': 0.9, 'head': 0.0}
    """
    by_pattern = sparsity if isinstance(sparsity, Mapping) else {"*": sparsity}
    for pattern, value in by_pattern.items():
        if not 0.0 <= value < 1.0:
            where = "" if pattern == "*" else f" for '{pattern}'"
            raise ValueError(f"`sparsity` must be in [0, 1). Received: {value}{where}")
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(
                f"The layer pattern '{pattern}' matches no kernel. "
                f"Kernels: {', '.join(names)}"
            )
    return {
        name: next((float(s) for p, s in by_pattern.items() if fnmatchcase(name, p)), 0.0)
        for name in names
    }
