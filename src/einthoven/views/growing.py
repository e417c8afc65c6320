"""The views of one stream, growing stretch by stretch with what was found.

What a stretch adds is counted once it is settled: an interval when the beat behind it is known and the
seconds that it lies in, since both decide whether it is NN. Until then the beats wait in what is carried from
stretch to stretch. So every cut gives the same: the rows that `grow` returns, and at last those of `settled`,
added up.
"""

from collections.abc import Iterable
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.signal.findings import MinuteIntervals
from einthoven.signal.kernel import kernel
from einthoven.signal.quality import CELL, GRADE, LOST
from einthoven.signal.variability import rr_intervals
from einthoven.views.seen import GRID_NS, NS, Seen, cell_ns, grid_ns
from einthoven.views.tallies import FIELDS, Field, Tallies

__all__ = ["Carried", "grow", "grow_all", "settled"]

_MINUTE_NS: Final = 60 * NS
_MS: Final = GRID_NS // 1_000_000
_WINDOW: Final = 8
"""Intervals of which the extreme rates are means."""
_BEFORE: Final = 2
"""Beats before an interval's later one that decide what it is."""
_FAR_CELLS: Final = 8
"""An interval over so many seconds is not sound, whatever lies in it."""
# The kernel takes plain numbers.
_INTERVALS: Final = int(Field.INTERVALS)
_SOUND: Final = int(Field.SOUND)
_SOUND_MS: Final = int(Field.SOUND_MS)
_SLOWEST_MS: Final = int(Field.SLOWEST_MS)
_FASTEST_MS: Final = int(Field.FASTEST_MS)
_NN: Final = int(Field.NN)
_NN_MS: Final = int(Field.NN_MS)
_NN_MS2: Final = int(Field.NN_MS2)
_STEPS: Final = int(Field.STEPS)
_STEP_MS2: Final = int(Field.STEP_MS2)
_STEPS_50: Final = int(Field.STEPS_50)


class Carried(msgspec.Struct, frozen=True, eq=False, array_like=True):
    """What one stretch leaves to the next."""

    origin_ns: int
    next_cell: int
    """The second at which the next stretch must begin, or the analysis began anew."""
    settled: int
    """Of the beats that are kept the intervals between the first so many are counted."""
    grid: NDArray[np.int64]
    classes: NDArray[np.uint8]
    sound: NDArray[np.bool_]
    """Of the intervals between the kept beats: nothing against them is known yet."""
    first_cell: int
    cells: NDArray[np.uint16]
    """From the second of the last beat on."""
    run_ms: NDArray[np.int64]
    """The last intervals, up to seven, back to one that is not sound."""
    nn_ms: int
    """The last interval if it is NN, else 0."""


def grow(carried: Carried | None, seen: Seen) -> tuple[Carried, Tallies]:
    """Take in a stretch; what is carried on, and the rows of a minute that it adds."""
    before: list[Tallies] = []
    if carried is not None and _is_anew(carried, seen):
        before.append(settled(carried))
        carried = None
    if carried is None:
        nothing = np.empty(0, np.int64)
        carried = Carried(
            seen.origin_ns,
            seen.first_cell,
            0,
            nothing,
            np.empty(0, np.uint8),
            np.empty(0, np.bool_),
            seen.first_cell,
            np.empty(0, np.uint16),
            nothing,
            0,
        )
    whole = _with(carried, seen)
    after, counted = _count(whole, _ready(whole))
    return _shortened(after), Tallies.merge([*before, _noticed(seen), counted], 1)


def _with(carried: Carried, seen: Seen) -> Carried:
    grid = np.concatenate((carried.grid, seen.grid))
    classes = np.concatenate((carried.classes, seen.classes))
    cells = np.concatenate((carried.cells, seen.cells))
    sound = rr_intervals(grid, classes, carried.first_cell, cells).sound
    sound[: carried.sound.size] &= carried.sound
    return msgspec.structs.replace(
        carried,
        next_cell=seen.first_cell + seen.cells.size,
        grid=grid,
        classes=classes,
        sound=sound,
        cells=cells,
    )


def grow_all(carried: Carried | None, stretches: Iterable[Seen]) -> tuple[Carried | None, Tallies]:
    """Take in several."""
    parts = [Tallies.none()]
    for seen in stretches:
        carried, part = grow(carried, seen)
        parts.append(part)
    return carried, Tallies.merge(parts, 1)


def settled(carried: Carried | None) -> Tallies:
    """The rows of what waits, if nothing follows any more."""
    if carried is None:
        return Tallies.none()
    _, counted = _count(carried, max(0, carried.grid.size - 1))
    return counted


def _is_anew(carried: Carried, seen: Seen) -> bool:
    return carried.origin_ns != seen.origin_ns or carried.next_cell != seen.first_cell


def _ready(carried: Carried) -> int:
    """How many of the intervals between the kept beats are decided."""
    known = (carried.first_cell + carried.cells.size) * CELL
    inside = int(np.searchsorted(carried.grid, known))
    return max(0, min(inside - 1, carried.grid.size - 2))


def _count(carried: Carried, ready: int) -> tuple[Carried, Tallies]:
    """Count the intervals up to ``ready`` that are not counted yet."""
    if ready <= carried.settled:
        return carried, Tallies.none()
    new = slice(carried.settled, ready)
    sound = carried.sound[new]
    nn = rr_intervals(carried.grid, carried.classes, carried.first_cell, carried.cells).nn[new] & sound
    later = carried.grid[1:][new]
    minute = (carried.origin_ns + later * GRID_NS) // _MINUTE_NS
    starts, rows = _rows(minute)
    run_ms = np.zeros(_WINDOW - 1, np.int64)
    run = carried.run_ms.size
    run_ms[:run] = carried.run_ms
    rr_ms = np.diff(carried.grid)[new] * _MS
    run, nn_ms = _add_intervals(minute - starts[0], rr_ms, sound, nn, run_ms, run, carried.nn_ms, rows)
    after = msgspec.structs.replace(carried, settled=ready, run_ms=run_ms[:run].copy(), nn_ms=int(nn_ms))
    return after, _filled(starts, rows)


def _shortened(carried: Carried) -> Carried:
    """Without the beats and seconds that decide nothing any more."""
    drop = max(0, carried.settled - _BEFORE + 1)
    grid = carried.grid[drop:]
    first = carried.next_cell
    if grid.size:
        first = max(int(grid[-1] // CELL), carried.next_cell - _FAR_CELLS)
    first = min(max(first, carried.first_cell), carried.next_cell)
    return msgspec.structs.replace(
        carried,
        settled=carried.settled - drop,
        grid=grid.copy(),
        classes=carried.classes[drop:].copy(),
        sound=carried.sound[drop:].copy(),
        first_cell=first,
        cells=carried.cells[first - carried.first_cell :].copy(),
    )


def _noticed(seen: Seen) -> Tallies:
    """What counts by itself: beats, seconds, and the minutes' mean beats."""
    beat_minute = grid_ns(seen) // _MINUTE_NS
    cell_minute = cell_ns(seen) // _MINUTE_NS
    row_minute = np.array([_minute_of(seen, row) for row in seen.intervals], np.int64)
    minutes = np.concatenate((beat_minute, cell_minute, row_minute))
    if not minutes.size:
        return Tallies.none()
    starts, rows = _rows(minutes)
    np.add.at(rows, (beat_minute - starts[0], seen.classes), 1)
    grade = (seen.cells & GRADE).astype(np.int64)
    np.add.at(rows, (cell_minute - starts[0], Field.CLEAR_S - 1 + np.clip(grade, 1, 3)), 1)
    np.add.at(rows, (cell_minute - starts[0], Field.MISSING_S), (seen.cells & LOST) > 0)
    for minute, row in zip(row_minute - starts[0], seen.intervals, strict=True):
        for count, total, value_ms in (
            (Field.QRS, Field.QRS_US, row.qrs_ms),
            (Field.QT, Field.QT_US, row.qt_ms),
            (Field.QTC, Field.QTC_US, row.qtc_ms),
        ):
            if value_ms is not None:
                rows[minute, count] += 1
                rows[minute, total] += round(1000 * value_ms)
    return _filled(starts, rows)


def _minute_of(seen: Seen, row: MinuteIntervals) -> int:
    """The clock minute in which the stream's minute begins."""
    return (seen.origin_ns + row.minute * _MINUTE_NS) // _MINUTE_NS


def _rows(minutes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    first, last = int(minutes.min()), int(minutes.max())
    return np.arange(first, last + 1), np.zeros((last + 1 - first, FIELDS), np.int64)


def _filled(starts: NDArray[np.int64], rows: NDArray[np.int64]) -> Tallies:
    has = rows.any(axis=1)
    return Tallies(1, starts[has], rows[has])


@kernel
def _add_intervals(minute, rr_ms, sound, nn, run_ms, run, nn_before, rows):  # type: ignore[no-untyped-def]
    """Add intervals to their minutes; how many ``run_ms`` holds then, and the last if it is NN, in ms."""
    longest = run_ms.size
    for k in range(rr_ms.size):
        row = rows[minute[k]]
        row[_INTERVALS] += 1
        if sound[k]:
            row[_SOUND] += 1
            row[_SOUND_MS] += rr_ms[k]
            if run == longest:
                total = rr_ms[k]
                for j in range(longest):
                    total += run_ms[j]
                row[_SLOWEST_MS] = max(row[_SLOWEST_MS], total)
                row[_FASTEST_MS] = total if row[_FASTEST_MS] == 0 else min(row[_FASTEST_MS], total)
                for j in range(longest - 1):
                    run_ms[j] = run_ms[j + 1]
                run_ms[longest - 1] = rr_ms[k]
            else:
                run_ms[run] = rr_ms[k]
                run += 1
        else:
            run = 0
        if nn[k]:
            row[_NN] += 1
            row[_NN_MS] += rr_ms[k]
            row[_NN_MS2] += rr_ms[k] * rr_ms[k]
            if nn_before > 0:
                step = rr_ms[k] - nn_before
                row[_STEPS] += 1
                row[_STEP_MS2] += step * step
                row[_STEPS_50] += abs(step) > 50
            nn_before = rr_ms[k]
        else:
            nn_before = 0
    return run, nn_before
