"""Where the images of TFRecord files lie, so that any one can be read by itself.

TensorFlow Datasets stores a set as such files: a row of records, each a serialised
`tf.train.Example` with an encoded image and its label. The images are passed over.
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
_VARINT, _DELIMITED = 0, 2


def index_images(files: Sequence[str]) -> EncodedImages:
    """Finds the images of files in stored order; `OSError` if one has other records."""
    rows = [
        (number, *row) for number, path in enumerate(files) for row in _images_of(path)
    ]
    # File, first byte, length and label
    columns = np.array(rows, np.int64).reshape(-1, 4).T
    return EncodedImages(tuple(files), *columns)


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
                bits = _varint(data, packed)[0].to_bytes(8)
                yield first, last - first, int.from_bytes(bits, signed=True)
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
            raise ValueError("a field of a kind that an Example with an image has not")
        if last > end:
            raise ValueError("a field that is longer than its message")
        yield tag >> 3, begin, last
        begin = last


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
