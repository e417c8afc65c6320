"""What was found in one stretch of one patient's ECG, as views take it in.

It is what the functions found and nothing else, wherever they ran: the online path says it segment by
segment, the batch layer of a day, a workflow of a whole recording.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.signal.findings import Episode, Findings, MinuteIntervals
from einthoven.signal.quality import CELL
from einthoven.signal.resampling import FS
from einthoven.signal.rules import Kind, Priority

__all__ = ["CELL_NS", "GRID_NS", "NS", "Past", "Seen", "cell_ns", "grid_ns", "outside", "past_of", "seen_of"]

NS: Final = 10**9
GRID_NS: Final = NS // FS
CELL_NS: Final = CELL * GRID_NS


class Past(msgspec.Struct, frozen=True, array_like=True):
    """An episode by the clock."""

    kind: Kind
    onset_ns: int
    end_ns: int | None
    """None while it goes on."""
    priority: Priority
    confidence: int
    grade: int


class Seen(msgspec.Struct, frozen=True, eq=False):
    """Findings of a stretch of one stream."""

    origin_ns: int
    """UTC of grid position 0, ns since 1970; another one means that the analysis began anew."""
    grid: NDArray[np.int64]
    """Beats on the analysis grid, shape (beats,)."""
    classes: NDArray[np.uint8]
    confidences: NDArray[np.uint8]
    first_cell: int
    cells: NDArray[np.uint16]
    """See `einthoven.signal.quality`."""
    ended: tuple[Past, ...] = ()
    going_on: tuple[Past, ...] = ()
    """Those of the end of the stretch; what a stretch before said of this is over."""
    intervals: tuple[MinuteIntervals, ...] = ()


def seen_of(findings: Findings, origin_ns: int) -> Seen:
    """What findings say, position 0 being at ``origin_ns``."""
    past = [past_of(episode, findings.fs, origin_ns) for episode in findings.episodes]
    return Seen(
        origin_ns=origin_ns,
        grid=findings.beats.grid,
        classes=findings.beats.classes,
        confidences=findings.beats.confidences,
        first_cell=findings.quality.first_cell,
        cells=findings.quality.cells,
        ended=tuple(one for one in past if one.end_ns is not None),
        going_on=tuple(one for one in past if one.end_ns is None),
        intervals=findings.intervals,
    )


def past_of(episode: Episode, fs: float, origin_ns: int) -> Past:
    """An episode by the clock, position 0 being at ``origin_ns``."""
    return Past(
        kind=episode.kind,
        onset_ns=origin_ns + round(episode.onset * NS / fs),
        end_ns=None if episode.end is None else origin_ns + round(episode.end * NS / fs),
        priority=episode.priority,
        confidence=episode.confidence,
        grade=episode.grade,
    )


def grid_ns(seen: Seen) -> NDArray[np.int64]:
    """UTC of the beats, ns since 1970."""
    return seen.origin_ns + seen.grid * GRID_NS


def cell_ns(seen: Seen) -> NDArray[np.int64]:
    """UTC at which the cells begin, ns since 1970."""
    return seen.origin_ns + np.arange(seen.first_cell, seen.first_cell + seen.cells.size) * CELL_NS


def outside(seen: Seen, spans: Iterable[tuple[int, int]]) -> Iterator[Seen]:
    """What of it lies outside of some spans (UTC, ns, the end not included): another source counts there.

    A beat or a second belongs to where it begins. An episode that goes on into a span is taken to end there,
    as long as it is not known to reach beyond.
    """
    pieces = [seen]
    for start_ns, stop_ns in sorted(spans):
        pieces = [part for piece in pieces for part in _apart(piece, start_ns, stop_ns)]
    yield from pieces


def _apart(seen: Seen, start_ns: int, stop_ns: int) -> Iterator[Seen]:
    at, cell_at = grid_ns(seen), cell_ns(seen)
    if not _touches(seen, start_ns, stop_ns, at, cell_at):
        yield seen
        return
    for is_after in (False, True):
        beats = at >= stop_ns if is_after else at < start_ns
        cells = cell_at >= stop_ns if is_after else cell_at < start_ns
        first = seen.first_cell + (int(np.argmax(cells)) if cells.any() else 0)
        minutes = tuple(
            row
            for row in seen.intervals
            if _is_at(is_after, seen.origin_ns + (row.minute + 1) * 60 * NS - 1, start_ns, stop_ns)
        )
        yield Seen(
            origin_ns=seen.origin_ns,
            grid=seen.grid[beats],
            classes=seen.classes[beats],
            confidences=seen.confidences[beats],
            first_cell=first,
            cells=seen.cells[cells],
            ended=tuple(_cut(seen.ended, is_after, start_ns, stop_ns)),
            going_on=tuple(_cut(seen.going_on, is_after, start_ns, stop_ns)),
            intervals=minutes,
        )


def _touches(
    seen: Seen, start_ns: int, stop_ns: int, at: NDArray[np.int64], cell_at: NDArray[np.int64]
) -> bool:
    def has(times: NDArray[np.int64]) -> bool:
        return bool(times.size) and bool(times[0] < stop_ns) and bool(times[-1] >= start_ns)

    episodes = (*seen.ended, *seen.going_on)
    reached = any(
        one.onset_ns < stop_ns and (one.end_ns is None or one.end_ns > start_ns) for one in episodes
    )
    return has(at) or has(cell_at) or reached or bool(seen.intervals)


def _is_at(is_after: bool, instant_ns: int, start_ns: int, stop_ns: int) -> bool:
    return instant_ns >= stop_ns if is_after else instant_ns < start_ns


def _cut(episodes: tuple[Past, ...], is_after: bool, start_ns: int, stop_ns: int) -> Iterator[Past]:
    """What of each lies on one side of a span; one that goes on beyond it has ended before it."""
    for one in episodes:
        if is_after:
            onset_ns = max(one.onset_ns, stop_ns)
            if one.end_ns is None or one.end_ns > onset_ns:
                yield msgspec.structs.replace(one, onset_ns=onset_ns)
        elif one.onset_ns < start_ns:
            end_ns = start_ns if one.end_ns is None else min(one.end_ns, start_ns)
            yield msgspec.structs.replace(one, end_ns=end_ns)
