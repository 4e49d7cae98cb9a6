"""The masks of a file, whichever format it has."""

import json
import math
import os
import zipfile

import numpy as np

from dlth_tf.storage import compact_file

LARGEST_TICKET = 1 << 28
_FIRST_BYTES_OF_ZIP = b"PK"


def load_masks(path: str | os.PathLike, max_weights: int) -> dict[str, np.ndarray]:
    """The masks by name, from a compact file or from the `.npz` of earlier versions.

    Raises:
        ValueError: the file is damaged, has more weights than `max_weights`, or holds no
            masks.
    """
    with open(path, "rb") as file:
        is_zip = file.read(2) == _FIRST_BYTES_OF_ZIP
    if is_zip:
        return _load_npz(path, max_weights)
    with compact_file.reading(path) as file:
        stored = file.contents.masks
        _limit(path, sum(mask.size for mask in stored), max_weights)
        return dict(zip((mask.name for mask in stored), file.masks(), strict=True))


def _load_npz(path: str | os.PathLike, max_weights: int) -> dict[str, np.ndarray]:
    """Eight weights to the byte (`numpy.packbits`), shapes as JSON in an array."""
    try:
        with zipfile.ZipFile(path) as archive:
            packed = sum(member.file_size for member in archive.infolist())
        _limit(path, packed, max_weights)
        with np.load(path, allow_pickle=False) as arrays:
            shapes = json.loads(str(arrays["shapes"]))
            _limit(path, sum(map(math.prod, shapes.values())), max_weights)
            return {
                name: np.unpackbits(arrays[f"mask/{name}"], count=math.prod(shape))
                .astype(np.bool_)
                .reshape(shape)
                for name, shape in shapes.items()
            }
    except Exception as error:
        # NumPy and zipfile raise a dozen kinds of error on damaged files.
        if isinstance(error, OSError | _TooLarge):
            raise
        raise ValueError(f"'{path}' is not a readable ticket: {error}") from error


class _TooLarge(ValueError):
    pass


def _limit(path: str | os.PathLike, weights: int, max_weights: int) -> None:
    if weights > max_weights:
        raise _TooLarge(
            f"'{path}' says it has {weights:,} weights, more than `max_weights` "
            f"({max_weights:,}). Raise it if you trust the file."
        )
