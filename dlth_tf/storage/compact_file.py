"""Masks and kept weights in one small file that is safe to read from a stranger.

`docs/ticket_format.md` describes the format. Whatever a file says of itself is checked
before memory is taken for it.
"""

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

import numpy as np

from dlth_tf.storage import mask_codes
from dlth_tf.storage.files import atomic_write
from dlth_tf.storage.mask_codes import MaskCode

# Like PNG's: a high bit and both kinds of line end show a transfer that changed bytes.
MAGIC = b"\x89DLTH\r\n\x1a"
_VERSION = 1
_HEADER_AT_MOST = 1 << 22
_AXES_AT_MOST = 32
_DIGEST = hashlib.sha256
_DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "bfloat16"),
)


class DamagedFile(ValueError):
    """The file is not what it should be; the message says in what."""


@dataclasses.dataclass(frozen=True)
class StoredMask:
    """A mask in a file: its name and shape, the weights it keeps, and its layout."""

    name: str
    shape: tuple[int, ...]
    kept: int
    code: MaskCode

    @property
    def size(self) -> int:
        """Weights, kept and removed."""
        return math.prod(self.shape)


@dataclasses.dataclass(frozen=True)
class StoredVariable:
    """A variable in a file: all its values, or only those that a mask keeps.

    Attributes:
        mask: place of that mask among the file's masks, or None.
        count: values stored.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    mask: int | None
    count: int

    @property
    def size(self) -> int:
        """Bytes stored."""
        return self.count * _dtype(self.dtype).itemsize


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a file's header says is in it."""

    masks: tuple[StoredMask, ...]
    variables: tuple[StoredVariable, ...]

    @property
    def size(self) -> int:
        """Bytes that follow the header, without the checksum."""
        sizes = [mask.code.size for mask in self.masks]
        return sum(sizes) + sum(variable.size for variable in self.variables)


def write(
    path: str | os.PathLike,
    masks: Mapping[str, np.ndarray],
    variables: Sequence[tuple[str, np.ndarray, str | None]] = (),
) -> None:
    """Writes a file, whole or not at all.

    Args:
        path: of the file; its extension has no meaning.
        masks: boolean arrays by name.
        variables: name, values, and the name of the mask that says which values to
            keep, or None to keep all. At most one variable has a given mask.
    """
    places = {name: place for place, name in enumerate(masks)}
    encoded = [mask_codes.encode(mask) for mask in masks.values()]
    kept = [
        value.ravel() if mask is None else value[masks[mask]]
        for _, value, mask in variables
    ]
    header = {
        "version": _VERSION,
        "masks": [
            [name, mask.shape, int(np.count_nonzero(mask)), *dataclasses.astuple(code)]
            for (name, mask), (code, _) in zip(masks.items(), encoded, strict=True)
        ],
        "variables": [
            [name, value.shape, value.dtype.name, places.get(mask), values.size]
            for (name, value, mask), values in zip(variables, kept, strict=True)
        ],
    }
    text = zlib.compress(json.dumps(header, separators=(",", ":")).encode(), 9)
    digest = _DIGEST()
    with atomic_write(path) as file:
        for part in (
            MAGIC + struct.pack("<I", len(text)) + text,
            *(bits for _, bits in encoded),
            *(_little_endian(values) for values in kept),
        ):
            digest.update(part)
            file.write(part)
        file.write(digest.digest())


@contextlib.contextmanager
def reading(path: str | os.PathLike) -> Iterator["CompactFile"]:
    """Opens a file and checks what it says of itself; nothing large is read yet.

    Raises:
        ValueError: the file is damaged or something else.
    """
    try:
        with open(path, "rb") as file:
            yield CompactFile(file)
    except DamagedFile as error:
        raise ValueError(f"'{path}' is not a readable ticket: {error}.") from error


class CompactFile:
    """An open file.

    Attributes:
        contents: what is in it.
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        size = os.fstat(file.fileno()).st_size
        head = file.read(len(MAGIC) + 4)
        if head[: len(MAGIC)] != MAGIC:
            raise DamagedFile("it does not begin like one")
        if len(head) < len(MAGIC) + 4:
            raise DamagedFile("it is cut off")
        (length,) = struct.unpack("<I", head[len(MAGIC) :])
        if length > min(size, _HEADER_AT_MOST):
            raise DamagedFile("its header is longer than the file or 4 MiB")
        self._text = file.read(length)
        self._head = head
        self.contents = _parse(_inflated(self._text))
        expected = len(head) + length + self.contents.size + _DIGEST().digest_size
        if size != expected:
            raise DamagedFile(f"it has {size} bytes, its header tells of {expected}")

    def masks(self) -> list[np.ndarray]:
        """All masks, in the order of the contents."""
        self._read()
        start, masks = 0, []
        for stored in self.contents.masks:
            content = self._payload[start : start + stored.code.size]
            start += stored.code.size
            try:
                mask = mask_codes.decode(stored.code, content, stored.size)
            except ValueError as error:
                raise DamagedFile(str(error)) from error
            if np.count_nonzero(mask) != stored.kept:
                raise DamagedFile(f"mask '{stored.name}' keeps another number of weights")
            masks.append(mask.reshape(stored.shape))
        self._values_start = start
        return masks

    def values(self, masks: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """All variables by name, with zeros where `masks` (see above) say so."""
        start, values = self._values_start, {}
        for stored in self.contents.variables:
            dtype = _dtype(stored.dtype)
            kept = np.frombuffer(self._payload, dtype, stored.count, start)
            start += stored.size
            if stored.mask is None:
                values[stored.name] = kept.reshape(stored.shape)
            else:
                value = np.zeros(stored.shape, dtype)
                value[masks[stored.mask]] = kept
                values[stored.name] = value
        return values

    def _read(self) -> None:
        self._payload = self._file.read(self.contents.size)
        digest = _DIGEST()
        for part in (self._head, self._text, self._payload):
            digest.update(part)
        if self._file.read() != digest.digest():
            raise DamagedFile("its checksum is wrong")


def _inflated(text: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        header = inflater.decompress(text, _HEADER_AT_MOST)
    except zlib.error as error:
        raise DamagedFile(f"its header can't be inflated ({error})") from error
    if not inflater.eof or inflater.unused_data:
        raise DamagedFile("its header is cut off or longer than 4 MiB")
    return header


def _parse(text: bytes) -> Contents:
    try:
        header = json.loads(text)
        version = header["version"]
        if version != _VERSION:
            raise DamagedFile(f"its version is {version!r}, known is {_VERSION}")
        masks = tuple(_mask(*entry) for entry in header["masks"])
        variables = tuple(_variable(masks, *entry) for entry in header["variables"])
    except DamagedFile:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedFile(f"its header makes no sense ({error})") from error
    for entries in (masks, variables):
        if len({entry.name for entry in entries}) != len(entries):
            raise DamagedFile("a name stands in it twice")
    if variables and sorted(v.mask for v in variables if v.mask is not None) != [
        *range(len(masks))
    ]:
        raise DamagedFile("its masks are not each one variable's")
    return Contents(masks, variables)


def _mask(name, shape, kept, code, removed, *numbers) -> StoredMask:
    _require(isinstance(name, str) and type(removed) is bool, "names of masks")
    _require(all(map(_is_count, (kept, *numbers))), f"the mask of '{name}'")
    mask = StoredMask(name, _shape(shape), kept, MaskCode(code, removed, *numbers))
    mask.code.check(mask.size)
    return mask


def _variable(masks, name, shape, dtype, mask, count) -> StoredVariable:
    _require(isinstance(name, str) and dtype in _DTYPES, f"the type {dtype!r}")
    variable = StoredVariable(name, _shape(shape), dtype, mask, count)
    if mask is None:
        _require(_is_count(count) and count == math.prod(shape), f"the size of '{name}'")
    else:
        _require(_is_count(mask) and mask < len(masks), f"the mask of '{name}'")
        expected = masks[mask].shape, masks[mask].kept
        _require(expected == (variable.shape, count), f"the mask of '{name}'")
    return variable


def _shape(shape) -> tuple[int, ...]:
    fits = isinstance(shape, list) and len(shape) <= _AXES_AT_MOST
    _require(fits and all(map(_is_count, shape)), f"the shape {shape!r}"[:80])
    return tuple(shape)


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)


def _is_count(value) -> bool:
    return type(value) is int and 0 <= value < 1 << 48


def _dtype(name: str) -> np.dtype:
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name).newbyteorder("<")


def _little_endian(values: np.ndarray) -> bytes:
    return values.astype(_dtype(values.dtype.name), copy=False).tobytes()
