"""Joining what was found in consecutive spans of a recording, one after the other, exactly.

Beats and seconds of the spans are those of the whole (`einthoven.functions.chunks`). Episodes may be longer
than any overlap, and so they are folded anew. Nothing that is decided is kept: joining a month takes no more
memory than joining an hour.
"""

from collections.abc import Iterable, Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import InputInvalid
from einthoven.functions.chunks import in_sequence
from einthoven.functions.contract import function
from einthoven.functions.ecg import Joined
from einthoven.functions.finalization import conditions_of
from einthoven.functions.postprocessing import episodes_of, fold_span
from einthoven.signal.findings import BEAT_CLASSES, Findings
from einthoven.signal.quality import CELL, GRADE
from einthoven.signal.resampling import Ratio, ratio_of
from einthoven.signal.rhythm import RhythmState
from einthoven.signal.rules import Criteria
from einthoven.signal.variability import (
    IntervalSums,
    PendingIntervals,
    add_intervals,
    grow_intervals,
    heart_rate,
    variability,
)

__all__ = ["Joining", "join", "joined"]


class Joining:
    """Consecutive spans becoming one; give it each, and at last ask for the totals.

    Parameters
    ----------
    criteria : limits of the rhythm rules; the defaults when None.
    """

    def __init__(self, criteria: Criteria | None = None) -> None:
        self._criteria = criteria or Criteria()
        self._before: _Folded | None = None
        self._totals = Joined()

    def add(self, part: Findings, *, is_last: bool) -> Findings:
        """The findings of the next span, as the whole recording has them.

        Its episodes are those that end in it, and at last those that go on. Its rates and variability are of
        the intervals that are decided by its end.

        Raises
        ------
        InputInvalid : the span does not follow the one before.
        """
        ratio = ratio_of(part.fs)
        before = self._before or _Folded.at(part, ratio)
        if part.quality.first_cell != before.next_cell:
            raise InputInvalid("the spans do not follow each other.", where="parts")
        self._before, whole = _fold(before, part, ratio, self._criteria, is_last=is_last)
        self._totals = _more(self._totals, whole, self._before.sums)
        return whole

    @property
    def totals(self) -> Joined:
        """What can be said of all spans so far together."""
        return self._totals


class _Folded(msgspec.Struct, frozen=True, eq=False):
    """What one span leaves to the next."""

    rhythm: RhythmState
    until: int
    """Grid position up to which the rhythm is folded."""
    cells: NDArray[np.uint16]
    """Those that wait for the beats around them."""
    next_cell: int
    pending: PendingIntervals
    sums: IntervalSums

    @staticmethod
    def at(part: Findings, ratio: Ratio) -> "_Folded":
        """Before a recording's first span."""
        cell = part.quality.first_cell
        start = -(-part.first * ratio.up // ratio.down)
        nothing = np.empty(0, np.uint16)
        return _Folded(
            RhythmState.at(start), start, nothing, cell, PendingIntervals.at(cell), IntervalSums.none()
        )


def _fold(
    before: _Folded, part: Findings, ratio: Ratio, criteria: Criteria, *, is_last: bool
) -> tuple[_Folded, Findings]:
    beats, quality = part.beats, part.quality
    next_cell = quality.first_cell + quality.cells.size
    waiting = np.concatenate((before.cells, quality.cells))
    # Of what follows nothing is known but that it lies behind the last beat.
    until = max(before.until, int(beats.grid[-1]) + 1 if len(beats) else 0)
    if is_last:
        until = max(until, next_cell * CELL)
    first_cell = next_cell - waiting.size
    folded = min(waiting.size, max(0, until // CELL - first_cell))
    rhythm, beats, ended = fold_span(before.rhythm, beats, waiting[:folded], until, criteria)
    episodes = episodes_of(ended, rhythm, ratio)
    if not is_last:
        episodes = tuple(episode for episode in episodes if episode.end is not None)
    pending, intervals = grow_intervals(
        before.pending, beats.grid, beats.classes, quality.cells, is_last=is_last
    )
    sums = add_intervals(intervals)
    after = _Folded(
        rhythm,
        until,
        waiting[folded:].copy(),
        next_cell,
        pending,
        add_intervals(intervals, before.sums),
    )
    whole = msgspec.structs.replace(
        part,
        beats=beats,
        episodes=episodes,
        heart_rate=heart_rate(sums),
        variability=variability(sums),
        conditions=conditions_of(episodes),
    )
    return after, whole


def _more(totals: Joined, part: Findings, sums: IntervalSums) -> Joined:
    counts = np.bincount(part.beats.classes, minlength=len(BEAT_CLASSES)).tolist()
    grades = np.bincount(part.quality.cells & GRADE, minlength=GRADE + 1).tolist()
    return Joined(
        fs=part.fs,
        first=totals.first if totals.beats else part.first,
        until=part.until,
        beats={name: totals.beats.get(name, 0) + n for name, n in zip(BEAT_CLASSES, counts, strict=True)},
        seconds=tuple(old + new for old, new in zip(totals.seconds, grades[1:], strict=True)),
        episodes=totals.episodes + len(part.episodes),
        heart_rate=heart_rate(sums),
        variability=variability(sums),
        versions=part.versions,
    )


def joined(parts: Iterable[Findings], joining: Joining) -> Iterator[Findings]:
    """Each span as the whole recording has it, as soon as the next one is there."""
    last: Findings | None = None
    for part in parts:
        if last is not None:
            yield joining.add(last, is_last=False)
        last = part
    if last is not None:
        yield joining.add(last, is_last=True)


@function(version="1.0", memory_mb=256, timeout_s=60.0)
def join(parts: Iterable[Findings], criteria: Criteria | None = None) -> Findings:
    """The findings of the whole from those of consecutive spans, in order.

    The spans are own parts of chunks, or the findings of consecutive segments.

    Raises
    ------
    InputInvalid : there are none, or they do not follow each other.
    """
    spans = list(joined(parts, Joining(criteria)))
    if not spans:
        raise InputInvalid("there is nothing to join.", where="parts")
    return in_sequence(spans)
