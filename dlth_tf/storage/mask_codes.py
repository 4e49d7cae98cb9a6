"""Masks as few bits: what a mask costs on disk.

A mask of n weights with sparsity s holds at least n * H(s) bits if it is random, where
H(s) = -s log2(s) - (1 - s) log2(1 - s). Rice's code of the gaps between the places of
the rarer value comes within 4.3% of that at every sparsity, and NumPy works on all gaps
at once. With parameter 0 it is the plain bit map. A deflated bit map is shorter where
the mask has structure (whole filters), and around sparsity 0.6. The shorter of the two
is taken, mask by mask.

Source: Golomb, "Run-length encodings", IEEE Trans. Information Theory 12, 1966; Rice and
Plaunt, IEEE Trans. Communication Technology 19, 1971 (parameters that are powers of two).
"""

import dataclasses
import zlib

import numpy as np

RICE, DEFLATE = "rice", "deflate"

_EFFORT = 6


@dataclasses.dataclass(frozen=True)
class MaskCode:
    """How the bits of one mask are laid out.

    Attributes:
        code: `"rice"` or `"deflate"`. The following numbers are 0 for the latter.
        removed: whether the places given are those of removed weights, not of kept ones.
        count: how many places are given.
        low_bits: Rice's parameter k: so many low bits of each gap stand as they are.
        unary_bits: length of the part that has the rest of each gap g: g >> k zeros and
            a one.
        size: bytes in all.
    """

    code: str
    removed: bool
    count: int
    low_bits: int
    unary_bits: int
    size: int

    def check(self, weights: int) -> None:
        """Makes sure that decoding takes memory for a mask of so many weights at most.

        Raises:
            ValueError: the numbers contradict one another or the number of weights.
        """
        if self.code not in (RICE, DEFLATE):
            raise ValueError(f"unknown mask code {self.code!r}")
        if not self._is_possible(weights):
            raise ValueError(f"no mask of {weights} weights has the layout {self}")

    def _is_possible(self, weights: int) -> bool:
        if self.code == DEFLATE:
            return self.size <= _bytes(weights)
        return (
            self.count <= weights
            and self.low_bits <= _most_low_bits(weights, self.count)
            and self.unary_bits <= self.count + (weights >> self.low_bits)
            and self.size == _bytes(self.unary_bits) + _bytes(self.count * self.low_bits)
        )


def encode(mask: np.ndarray) -> tuple[MaskCode, bytes]:
    """The shorter code of a boolean mask, and its bits."""
    flat = np.ascontiguousarray(mask, np.bool_).ravel()
    rice = _encode_rice(flat)
    deflated = zlib.compress(np.packbits(flat).tobytes(), _EFFORT)
    if len(deflated) >= rice[0].size:
        return rice
    return MaskCode(DEFLATE, False, 0, 0, 0, len(deflated)), deflated


def decode(code: MaskCode, content: bytes, weights: int) -> np.ndarray:
    """The flat mask of so many weights.

    Raises:
        ValueError: the bits are not what the code says.
    """
    code.check(weights)
    if len(content) != code.size:
        raise ValueError(f"{code.size} bytes of a mask were announced")
    if code.code == DEFLATE:
        return _inflate(content, weights)
    return _decode_rice(code, content, weights)


def _encode_rice(flat: np.ndarray) -> tuple[MaskCode, bytes]:
    removed = bool(np.count_nonzero(flat) > flat.size // 2)
    places = np.flatnonzero(flat != removed)
    gaps = np.diff(places, prepend=-1) - 1
    lengths = {
        k: int((gaps >> k).sum()) + gaps.size
        for k in range(_most_low_bits(flat.size, gaps.size) + 1)
    }
    k = min(lengths, key=lambda k: lengths[k] + k * gaps.size)
    unary = np.zeros(lengths[k], np.bool_)
    unary[np.cumsum((gaps >> k) + 1) - 1] = True
    low = (gaps[:, None] >> np.arange(k)) & 1
    content = np.packbits(unary).tobytes() + np.packbits(low.astype(np.bool_)).tobytes()
    return MaskCode(RICE, removed, gaps.size, k, lengths[k], len(content)), content


def _decode_rice(code: MaskCode, content: bytes, weights: int) -> np.ndarray:
    bits = np.frombuffer(content, np.uint8)
    end = _bytes(code.unary_bits)
    ones = np.flatnonzero(np.unpackbits(bits[:end], count=code.unary_bits))
    if ones.size != code.count or (code.count and ones[-1] != code.unary_bits - 1):
        raise ValueError(f"{code.count} places of a mask were announced")
    gaps = (np.diff(ones, prepend=-1) - 1) << code.low_bits
    low = np.unpackbits(bits[end:], count=code.count * code.low_bits)
    for place, bit in enumerate(low.reshape(code.count, code.low_bits).T):
        gaps += bit.astype(np.int64) << place
    places = np.cumsum(gaps + 1) - 1
    if places.size and places[-1] >= weights:
        raise ValueError(f"place {places[-1]} in a mask of {weights} weights")
    mask = np.full(weights, code.removed)
    mask[places] = not code.removed
    return mask


def _inflate(content: bytes, weights: int) -> np.ndarray:
    inflater = zlib.decompressobj()
    try:
        bits = inflater.decompress(content, _bytes(weights) + 1)
    except zlib.error as error:
        raise ValueError(f"a mask can't be inflated ({error})") from error
    if len(bits) != _bytes(weights) or not inflater.eof or inflater.unused_data:
        raise ValueError(f"a mask does not inflate to {weights} weights")
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=weights).astype(np.bool_)


def _most_low_bits(weights: int, count: int) -> int:
    """A larger parameter is never shorter: it adds a bit per gap and saves less."""
    return (weights // count).bit_length() if count else 0


def _bytes(bits: int) -> int:
    return -(-bits // 8)
