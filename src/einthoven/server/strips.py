"""Samples of a patient as they were received, for a strip: from the journal, and where they were sealed."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.server.streams import CLOCK_S, sequence_at
from einthoven.signal.recording import SEGMENT_MAX_S, missing
from einthoven.storage import MasterDataset, ObjectStore
from einthoven.storage.blocks import KeptSegment, segment_of
from einthoven.storage.database import Statements
from einthoven.storage.spans import Located

__all__ = ["Stretch", "read_stretches"]

_NS: Final = 10**9
_MISSING_UV: Final = -32768
_MOST: Final = 2000
"""Segments in one answer."""


class Stretch(msgspec.Struct, frozen=True, eq=False):
    """Samples without a gap, of one device."""

    device: str
    lead: str
    start_ns: int
    fs: float
    """Hz."""
    microvolts: NDArray[np.int16]
    """-32768 is missing."""


def read_stretches(
    statements: Statements,
    store: ObjectStore,
    org: str,
    patient: str,
    from_ns: int,
    until_ns: int,
    *,
    device: str | None = None,
) -> list[Stretch]:
    """What was received of a span, cut at its ends, by device and time.

    Raises
    ------
    ObjectDamaged, StoreUnavailable : see `MasterDataset`.
    """
    found = list(_segments(statements, store, org, patient, from_ns, until_ns, device))
    found.sort(key=lambda one: (one.device, one.start_ns, one.sequence))
    cut = (_cut(one, from_ns, until_ns) for one in found)
    return [one for one in cut if one.microvolts.size]


def _segments(
    statements: Statements,
    store: ObjectStore,
    org: str,
    patient: str,
    from_ns: int,
    until_ns: int,
    device: str | None,
) -> Iterator[KeptSegment]:
    sealed: dict[str, set[int]] = defaultdict(set)
    begin_ns = from_ns - round(SEGMENT_MAX_S * _NS)
    streams = statements.rows(
        "SELECT id, device FROM streams WHERE org = ? AND patient = ? ORDER BY id", (org, patient)
    )
    for id_, name in streams:
        if device is not None and name != device:
            continue
        first = sequence_at(statements, id_, begin_ns - CLOCK_S * _NS)
        last = sequence_at(statements, id_, until_ns + CLOCK_S * _NS)
        for block, object_name, offset in statements.rows(
            _PLACES, (id_, first, last, begin_ns, until_ns, _MOST)
        ):
            if block is not None:
                yield segment_of(bytes(block))[1]
            elif object_name is not None:
                sealed[object_name].add(offset)
    dataset = MasterDataset(store)
    for object_name, offsets in sealed.items():
        located = [
            Located(object_name, entry) for entry in dataset.entries(object_name) if entry.offset in offsets
        ]
        yield from (kept for _, kept in dataset.segments(located) if kept is not None)


_PLACES: Final = (
    "SELECT j.block, o.name, s.place FROM segments s "
    "LEFT JOIN journal j ON j.stream = s.stream AND j.sequence = s.sequence "
    "LEFT JOIN objects o ON o.id = s.object "
    "WHERE s.stream = ? AND s.sequence >= ? AND s.sequence <= ? AND s.start_ns >= ? AND s.start_ns < ? "
    "ORDER BY s.sequence LIMIT ?"
)


def _cut(one: KeptSegment, from_ns: int, until_ns: int) -> Stretch:
    first = max(0, -round((one.start_ns - from_ns) * one.fs / _NS))
    last = min(one.samples.size, max(first, round((until_ns - one.start_ns) * one.fs / _NS)))
    counts = one.samples[first:last]
    exact = (counts.astype(np.float64) - one.baseline) * (1000.0 / one.gain)
    microvolts = np.clip(np.round(exact), -32767, 32767).astype(np.int16)
    microvolts[counts == missing(counts.dtype)] = _MISSING_UV
    return Stretch(one.device, one.lead, one.start_ns + round(first * _NS / one.fs), one.fs, microvolts)
