"""A patient's span of time as one recording, put together from the segments that are kept.

What was not sent is missing; what came twice counts once; what came late stands in its place. The samples are
read when they are asked for, a stretch of neighbouring segments at a time.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec
import numpy as np

from einthoven.errors import InputInvalid, ObjectDamaged, RecordingNotFound
from einthoven.signal.recording import Counts, Lead, RecordingInfo, missing
from einthoven.storage.containers import Entry, read_segment
from einthoven.storage.objects import ObjectStore

__all__ = ["Located", "Placed", "Span", "in_runs", "place"]

_JITTER_S: Final = 0.1
"""The next segment of a device joins the one before if its clock says so to within this."""
_MOST_AT_ONCE: Final = 8 * 2**20
_NS: Final = 10**9
_NARROW: Final = np.dtype(np.int16)
_WIDE: Final = np.dtype(np.int32)


class Located(msgspec.Struct, frozen=True):
    """A segment and the container that it lies in."""

    name: str
    entry: Entry


class Placed(msgspec.Struct, frozen=True):
    """Which samples of a span a segment gives."""

    located: Located
    start: int
    stop: int
    skip: int
    """Samples of the segment before ``start``."""


def place(segments: Iterable[Located], start_ns: int, samples: int) -> list[Placed]:
    """Where segments of one device, lead and rate lie in a span, in order and without overlap.

    Where two overlap the one that began earlier gives the samples.
    """
    placed: list[Placed] = []
    seen: set[tuple[int, int]] = set()
    before: Entry | None = None
    end = reached = 0
    for one in sorted(segments, key=lambda one: (one.entry.start_ns, one.entry.sequence, one.name)):
        entry = one.entry
        if (entry.start_ns, entry.sequence) in seen:
            continue
        seen.add((entry.start_ns, entry.sequence))
        at = round((entry.start_ns - start_ns) * entry.fs / _NS)
        follows = before is not None and entry.sequence == before.sequence + 1
        if follows and abs(at - end) <= _JITTER_S * entry.fs:
            at = end
        before = entry
        end = at + entry.count
        start, stop = max(at, reached, 0), min(end, samples)
        if start < stop:
            placed.append(Placed(one, start, stop, start - at))
        reached = max(reached, end)
    return placed


class Span:
    """The recording of a span; see `RecordingSource`.

    Parameters
    ----------
    store : where the containers lie
    name : what the recording is called
    segments : all that begin in the span or reach into it, in any order
    start_ns, until_ns : the span, UTC, ns since the epoch
    damaged_is_missing : a damaged segment gives missing samples instead of an error

    Raises
    ------
    RecordingNotFound : no segments.
    InputInvalid : segments of several devices, leads, rates or gains, or a span that ends before it begins.
    """

    def __init__(
        self,
        store: ObjectStore,
        name: str,
        segments: Sequence[Located],
        start_ns: int,
        until_ns: int,
        *,
        damaged_is_missing: bool = False,
    ) -> None:
        if until_ns < start_ns:
            raise InputInvalid("the span ends before it begins.", where="span")
        if not segments:
            raise RecordingNotFound(
                "no segment of this span is kept.", where="span", remedy="Ask for another span."
            )
        first = segments[0].entry
        for what, found in (
            ("devices", {one.entry.device for one in segments}),
            ("leads", {one.entry.lead for one in segments}),
            ("rates or gains", {(one.entry.fs, one.entry.gain, one.entry.baseline) for one in segments}),
        ):
            if len(found) > 1:
                raise InputInvalid(
                    f"the span holds segments of {len(found)} {what}.",
                    where="span",
                    remedy="Name a device and a lead, or ask for the parts one by one.",
                )
        samples = round((until_ns - start_ns) * first.fs / _NS)
        lead = Lead(first.lead or "ECG", first.gain, first.baseline)
        self._info = RecordingInfo(name, first.fs, (lead,), samples, start_ns)
        self._store = store
        self._placed = place(segments, start_ns, samples)
        self._stops = [piece.stop for piece in self._placed]
        wide = any(one.entry.width == 4 for one in segments)
        self._dtype = _WIDE if wide else _NARROW
        self._damaged_is_missing = damaged_is_missing

    @property
    def info(self) -> RecordingInfo:
        """See `RecordingSource`."""
        return self._info

    @property
    def placed(self) -> tuple[Placed, ...]:
        """Which segment gives which samples; what lies between is missing."""
        return tuple(self._placed)

    def read(self, start: int, stop: int, lead: int | None = None) -> Counts:  # noqa: ARG002 - there is one
        """See `RecordingSource`.

        Raises
        ------
        ObjectDamaged : a segment is damaged; the message names the container and the place.
        RecordingNotFound, StoreUnavailable : see `ObjectStore`.
        """
        start, stop = max(0, start), min(max(0, stop), self._info.samples)
        counts: Counts = np.full((1, max(0, stop - start)), missing(self._dtype), self._dtype)
        pieces = []
        for piece in self._placed[bisect_right(self._stops, start) :]:
            if piece.start >= stop:
                break
            pieces.append(piece)
        of = {piece.located: piece for piece in pieces}
        for run in in_runs(of):
            first, last = run[0].entry, run[-1].entry
            name = run[0].name
            content = self._store.read(name, first.offset, last.offset + last.length - first.offset)
            for located in run:
                piece, entry = of[located], located.entry
                at = entry.offset - first.offset
                try:
                    kept = read_segment(content[at : at + entry.length], entry, name).samples
                except ObjectDamaged:
                    if not self._damaged_is_missing:
                        raise
                    continue
                begin, end = max(start, piece.start), min(stop, piece.stop)
                offset = piece.skip - piece.start
                part = kept[begin + offset : end + offset]
                into = counts[0, begin - start : end - start]
                into[:] = part
                if part.dtype != self._dtype:
                    into[part == np.iinfo(part.dtype).min] = missing(self._dtype)
        return counts


def in_runs(located: Iterable[Located]) -> Iterator[list[Located]]:
    """Segments that lie behind each other in one container, so that they are read at once."""
    run: list[Located] = []
    for one in located:
        if run:
            first, last = run[0], run[-1]
            behind = last.entry.offset + last.entry.length == one.entry.offset
            size = one.entry.offset + one.entry.length - first.entry.offset
            if one.name != first.name or not behind or size > _MOST_AT_ONCE:
                yield run
                run = []
        run.append(one)
    if run:
        yield run
