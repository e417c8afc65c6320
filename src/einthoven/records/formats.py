"""WFDB signal formats (signal(5)): how samples lie in a file, and back.

Every decoder takes whole groups of bytes and gives whole groups of samples, so that a span is read by seeking
to the group that holds its first sample.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["FORMATS", "Format", "encode_16", "encode_24", "encode_32", "encode_212"]

_Bytes = NDArray[np.uint8]
_Counts = NDArray[np.int16] | NDArray[np.int32]


class Format(NamedTuple):
    """One format: groups of ``samples`` samples in ``octets`` bytes."""

    samples: int
    octets: int
    decode: Callable[[_Bytes], _Counts]
    invalid: int
    """The count that marks a missing sample in the file."""
    dtype: type[np.int16] | type[np.int32]
    unfinished: tuple[int, ...] = (0,)
    """Bytes that the first 0, 1, ... samples of a group need."""

    def octets_of(self, samples: int) -> int:
        """The fewest bytes that hold so many samples from the start of a group on."""
        whole, rest = divmod(samples, self.samples)
        return whole * self.octets + self.unfinished[rest]

    def samples_in(self, octets: int) -> int:
        """The samples that so many bytes hold."""
        whole, rest = divmod(max(octets, 0), self.octets)
        return whole * self.samples + sum(needed <= rest for needed in self.unfinished[1:])


def _from_212(octets: _Bytes) -> NDArray[np.int16]:
    triple = octets.reshape(-1, 3).astype(np.int16)
    out = np.empty((triple.shape[0], 2), np.int16)
    out[:, 0] = triple[:, 0] | ((triple[:, 1] & 0x0F) << 8)
    out[:, 1] = triple[:, 2] | ((triple[:, 1] & 0xF0) << 4)
    out -= (out & 0x800) << 1
    return out.reshape(-1)


def _from_310(octets: _Bytes) -> NDArray[np.int16]:
    word = octets.view("<u2").reshape(-1, 2)
    out = np.empty((word.shape[0], 3), np.int32)
    out[:, 0] = (word[:, 0] >> 1) & 0x3FF
    out[:, 1] = (word[:, 1] >> 1) & 0x3FF
    out[:, 2] = (word[:, 0] >> 11) | ((word[:, 1] >> 11).astype(np.int32) << 5)
    out -= (out & 0x200) << 1
    return out.reshape(-1).astype(np.int16)


def _from_311(octets: _Bytes) -> NDArray[np.int16]:
    word = octets.view("<u4").astype(np.int64)
    out = np.stack([word & 0x3FF, (word >> 10) & 0x3FF, (word >> 20) & 0x3FF], axis=1)
    out -= (out & 0x200) << 1
    return out.reshape(-1).astype(np.int16)


def _from_24(octets: _Bytes) -> NDArray[np.int32]:
    triple = octets.reshape(-1, 3).astype(np.int32)
    out = triple[:, 0] | (triple[:, 1] << 8) | (triple[:, 2] << 16)
    return np.asarray(out - ((out & 0x800000) << 1), np.int32)


FORMATS: Final[dict[int, Format]] = {
    16: Format(1, 2, lambda b: b.view("<i2").astype(np.int16), -32768, np.int16),
    61: Format(1, 2, lambda b: b.view(">i2").astype(np.int16), -32768, np.int16),
    80: Format(1, 1, lambda b: b.astype(np.int16) - np.int16(128), -128, np.int16),
    160: Format(1, 2, lambda b: (b.view("<u2").astype(np.int32) - 32768).astype(np.int16), -32768, np.int16),
    212: Format(2, 3, _from_212, -2048, np.int16, (0, 2)),
    310: Format(3, 4, _from_310, -512, np.int16, (0, 2, 4)),
    311: Format(3, 4, _from_311, -512, np.int16, (0, 2, 3)),
    24: Format(1, 3, _from_24, -(2**23), np.int32),
    32: Format(1, 4, lambda b: b.view("<i4").astype(np.int32), -(2**31), np.int32),
}
"""The formats that are read, by WFDB's number."""


def encode_16(counts: NDArray[np.int16]) -> bytes:
    """Samples in time order (leads interleaved) as format 16."""
    return np.ascontiguousarray(counts, "<i2").tobytes()


def encode_24(counts: NDArray[np.int32]) -> bytes:
    """Samples in time order as format 24: the low three bytes of each."""
    return np.ascontiguousarray(counts, "<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()


def encode_32(counts: NDArray[np.int32]) -> bytes:
    """Samples in time order as format 32."""
    return np.ascontiguousarray(counts, "<i4").tobytes()


def encode_212(counts: NDArray[np.int16]) -> bytes:
    """Samples in time order as format 212; every one must lie in -2048 (missing) to 2047."""
    values = counts.astype(np.int32) & 0xFFF
    if values.size % 2:
        values = np.append(values, 0)
    pairs = values.reshape(-1, 2)
    out = np.empty((pairs.shape[0], 3), np.uint8)
    out[:, 0] = pairs[:, 0] & 0xFF
    out[:, 1] = (pairs[:, 0] >> 8) | ((pairs[:, 1] >> 8) << 4)
    out[:, 2] = pairs[:, 1] & 0xFF
    return out.tobytes()
