"""Where the images of TFRecord files lie, so that any one can be read by itself.

TensorFlow Datasets stores a set as such files: a row of records, each a serialised
`tf.train.Example` with an encoded image and its label. One pass over the records'
frames finds every image and label; the images themselves are passed over.
"""

import mmap
import os
import struct
from collections.abc import Iterator, Sequence

import numpy as np

from official.data.images import EncodedImages

# A record is its length (8 bytes), a checksum (4), the data and a checksum (4).
_LENGTH = struct.Struct("<Q")
_HEADER_BYTES = 12
_FOOTER_BYTES = 4

# Field numbers and types of tensorflow/core/example/{example,feature}.proto
_FEATURES = _KEY = 1
_FEATURE = 2
_BYTES, _INTEGERS = 1, 3
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}


def index_images(files: Sequence[str]) -> EncodedImages:
    """Finds the features `image` and `label` of the records in files, in stored order.

    Raises:
        OSError: a file is not made of such records.
    """
    rows = [
        (number, *row) for number, path in enumerate(files) for row in _images_of(path)
    ]
    table = np.array(rows, np.int64).reshape(-1, 4)
    return EncodedImages(
        files=tuple(files),
        file=table[:, 0],
        begin=table[:, 1],
        length=table[:, 2],
        labels=table[:, 3],
    )


def _images_of(path: str) -> Iterator[tuple[int, int, int]]:
    """First byte, length and label of each image in a file."""
    if not os.path.getsize(path):
        return
    with (
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        if hasattr(data, "madvise"):
            data.madvise(mmap.MADV_RANDOM)  # pass over the images, don't read them
        position = 0
        try:
            while position < len(data):
                (length,) = _LENGTH.unpack_from(data, position)
                begin = position + _HEADER_BYTES
                position = begin + length + _FOOTER_BYTES
                features = dict(_features(data, begin, begin + length))
                first, last = _only(data, *features[b"image"], _BYTES)
                packed, _ = _only(data, *features[b"label"], _INTEGERS)
                yield first, last - first, _signed(_varint(data, packed)[0])
        except (LookupError, ValueError, OverflowError, struct.error) as error:
            raise OSError(
                f"{path} does not hold records of an encoded 'image' and a 'label'"
            ) from error


def _features(
    data: mmap.mmap, begin: int, end: int
) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Name and extent of each feature of the Example at `begin`."""
    for number, first, last in _fields(data, begin, end):
        if number != _FEATURES:
            continue
        for _, entry_first, entry_last in _fields(data, first, last):
            parts = {n: (a, b) for n, a, b in _fields(data, entry_first, entry_last)}
            yield data[slice(*parts[_KEY])], parts[_FEATURE]


def _only(data: mmap.mmap, begin: int, end: int, kind: int) -> tuple[int, int]:
    """Extent of the value of a feature that has exactly one, of this kind."""
    ((number, first, last),) = _fields(data, begin, end)
    if number != kind:
        raise ValueError("a feature of another kind")
    ((_, value_first, value_last),) = _fields(data, first, last)
    return value_first, value_last


def _fields(data: mmap.mmap, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number and extent of each field of a protocol buffer message."""
    while begin < end:
        tag, begin = _varint(data, begin)
        kind = tag & 7
        if kind == _VARINT:
            last = _varint(data, begin)[1]
        elif kind == _DELIMITED:
            size, begin = _varint(data, begin)
            last = begin + size
        else:
            last = begin + _WIDTHS[kind]
        if last > end:
            raise ValueError("a field that is longer than its message")
        yield tag >> 3, begin, last
        begin = last


def _signed(value: int) -> int:
    """A whole number whose 64 bits were read as one without a sign."""
    return int.from_bytes(value.to_bytes(8, "little"), "little", signed=True)


def _varint(data: mmap.mmap, position: int) -> tuple[int, int]:
    """A whole number, and the position after it."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
