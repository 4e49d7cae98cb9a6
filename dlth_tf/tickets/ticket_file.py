"""Masks and kept weights in one small file: safetensors, compressed by xz.

`docs/ticket_format.md` describes it. What a file says of itself is checked before memory
is taken for it, so that files of strangers can be read.
"""

import contextlib
import json
import lzma
import math
import os
from collections.abc import Iterator, Mapping, Sequence

import ml_dtypes
import numpy as np
import safetensors.numpy

from dlth_tf.files import atomic_write

_XZ = b"\xfd7zXZ\0"
_EARLIER = (b"\x89DLTH", b"PK\3\4")
_HEADER_AT_MOST = 1 << 22
_INFLATER_AT_MOST = 1 << 27
_DTYPES = {
    **{"BOOL": "bool", "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64"},
    **{"U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64"},
    **{"F16": "float16", "F32": "float32", "F64": "float64"},
    "BF16": ml_dtypes.bfloat16,
}


def write(
    path: str | os.PathLike,
    masks: Mapping[str, np.ndarray],
    variables: Sequence[tuple[str, np.ndarray, str | None]] = (),
) -> None:
    """Writes masks; of variables name, values, and the mask whose values are kept."""
    variable_of = {mask: name for name, _, mask in variables}
    tensors = {f"mask/{name}": np.packbits(mask) for name, mask in masks.items()}
    for name, value, mask in variables:
        kept = value if mask is None else value[masks[mask]]
        tensors[f"value/{name}"] = np.asarray(kept, order="C")
    listed = [[name, mask.shape, variable_of.get(name)] for name, mask in masks.items()]
    content = safetensors.numpy.save(tensors, {"masks": json.dumps(listed)})
    # Random bits have no neighbours to learn from; each of a float's bytes is of a kind.
    contexts = {"lc": 0, "lp": 2 if variables else 0, "pb": 0}
    coder = {"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20, **contexts}
    with atomic_write(path) as file:
        file.write(lzma.compress(content, check=lzma.CHECK_SHA256, filters=[coder]))


class TicketFile:
    """A file's header: shapes of `masks` and `variables` by name, `size` in bytes."""

    def __init__(self, path: str | os.PathLike):
        self._path = path
        with _damage_named(path), open(path, "rb") as file:
            start = file.read(len(_XZ))
            current = not start.startswith(_EARLIER)
            _require(current, "it is of an earlier version, whose files are not read")
            _require(start == _XZ, "it does not begin like an xz file")
            self._inflater = lzma.LZMADecompressor(lzma.FORMAT_XZ, _INFLATER_AT_MOST)
            self._body = self._inflater.decompress(start + file.read(), _HEADER_AT_MOST)
            end = 8 + int.from_bytes(self._body[:8], "little")
            _require(end <= len(self._body), "its header is cut off or above 4 MiB")
            self._parse(json.loads(self._body[8:end]))
            self._missing = max(end + self.size - len(self._body), 0)

    def _parse(self, header: dict) -> None:
        listed = json.loads(header.pop("__metadata__")["masks"])
        self.masks = {name: _shape(shape) for name, shape, _ in listed}
        self._mask_of = {variable: name for name, _, variable in listed if variable}
        stored = {name: _shape(tensor["shape"]) for name, tensor in header.items()}
        self.size = sum(
            np.dtype(_DTYPES[tensor["dtype"]]).itemsize * math.prod(stored[name])
            for name, tensor in header.items()
        )
        for name, shape in self.masks.items():
            packed = (-(-math.prod(shape) // 8),)
            _require(stored.pop("mask/" + name) == packed, f"the size of mask {name!r}")
        self.variables = {name.removeprefix("value/"): stored[name] for name in stored}
        _require(len(self.variables) == len(stored), "a variable stands in it twice")
        for name, mask in self._mask_of.items():
            (kept,) = self.variables[name]
            _require(kept <= math.prod(self.masks[mask]), f"the size of {name!r}")
            self.variables[name] = self.masks[mask]
        masked = len(listed) if self.variables else 0
        _require(len(self._mask_of) == masked, "its masks are not each one variable's")

    def read(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Masks by name, and what is stored of the variables, flat."""
        with _damage_named(self._path):
            if not self._inflater.eof:
                self._body += self._inflater.decompress(b"", self._missing + 1)
            whole = self._inflater.eof and not self._inflater.unused_data
            _require(whole, "it is cut off or longer than its header says")
            arrays = {
                name: np.frombuffer(tensor["data"], _DTYPES[tensor["dtype"]])
                for name, tensor in safetensors.deserialize(self._body)
            }
            masks = {
                name: np.unpackbits(arrays[f"mask/{name}"], count=math.prod(shape))
                .astype(np.bool_)
                .reshape(shape)
                for name, shape in self.masks.items()
            }
            values = {name: arrays[f"value/{name}"] for name in self.variables}
            for name, mask in self._mask_of.items():
                fits = values[name].size == np.count_nonzero(masks[mask])
                _require(fits, f"mask {mask!r} keeps another number of weights")
        return masks, values

    def in_full(self, masks: Mapping, values: Mapping) -> dict[str, np.ndarray]:
        """The variables, of what `read` gave: zeros where their masks say so."""
        full = {}
        for name, shape in self.variables.items():
            if name in self._mask_of:
                full[name] = np.zeros(shape, values[name].dtype)
                full[name][masks[self._mask_of[name]]] = values[name]
            else:
                full[name] = values[name].reshape(shape)
        return full


@contextlib.contextmanager
def _damage_named(path: str | os.PathLike) -> Iterator[None]:
    try:
        yield
    except (ValueError, lzma.LZMAError, safetensors.SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"'{path}' is not a readable ticket: {reason}.") from error
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"its header makes no sense ({error!r:.80})"
        raise ValueError(f"'{path}' is not a readable ticket: {reason}.") from error


def _shape(shape: list[int]) -> tuple[int, ...]:
    fits = len(shape) <= 32 and all(type(n) is int and 0 <= n < 1 << 48 for n in shape)
    _require(fits, f"the shape {shape!r:.40}")
    return tuple(shape)


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)
