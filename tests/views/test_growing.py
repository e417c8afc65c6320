"""Views grow to the same however the findings come in portions."""

from typing import NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from einthoven.signal.findings import MinuteIntervals
from einthoven.signal.quality import CELL
from einthoven.signal.variability import add_intervals, heart_rate, rr_intervals, variability
from einthoven.views import (
    DAY,
    Carried,
    Field,
    Seen,
    Tallies,
    grow,
    grow_all,
    joined,
    measures,
    pack_carried,
    settled,
    unpack_carried,
)

ORIGIN_NS = 1_700_000_000_123_456_789
WHOLE = 10 * DAY


class Rhythm(NamedTuple):
    """Findings of some minutes as one stretch."""

    seen: Seen
    until: int
    """Grid position up to which the beats are known."""


@st.composite
def rhythms(draw: st.DrawFn) -> Rhythm:
    """Beats of all classes, pauses, and seconds that cannot be read."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    seconds = draw(st.integers(1, 900))
    rate = draw(st.sampled_from([30, 60, 90, 180]))
    steps = np.maximum(rng.normal(60 / rate, 0.1 * 60 / rate, 3 * seconds), 0.25)
    far = rng.random(steps.size) < draw(st.sampled_from([0.0, 0.01]))
    steps[far] += rng.uniform(3, 40, int(far.sum()))
    grid = np.cumsum(np.rint(125 * steps).astype(np.int64))
    grid = grid[grid < seconds * CELL]
    share = draw(st.sampled_from([0.0, 0.05, 0.5]))
    classes = np.where(rng.random(grid.size) < share, rng.integers(1, 5, grid.size), 0).astype(np.uint8)
    cells = np.where(rng.random(seconds) < draw(st.sampled_from([0.0, 0.02, 0.3])), 3 | 4, 1 << 8 | 1)
    first = draw(st.sampled_from([0, 7, 100_000]))
    minutes = tuple(
        MinuteIntervals(minute, 40, 800.0, 88.0, 360.0 if minute % 2 else None, None)
        for minute in range(first // 60, (first + seconds) // 60)
    )
    seen = Seen(
        ORIGIN_NS,
        grid + first * CELL,
        classes,
        rng.integers(0, 101, grid.size).astype(np.uint8),
        first,
        cells.astype(np.uint16),
        intervals=minutes,
    )
    return Rhythm(seen, (first + seconds) * CELL)


def cut(whole: Seen, cuts: list[int], lags: list[int]) -> list[Seen]:
    """The same in portions: the seconds cut at ``cuts``, the beats as much later as ``lags`` say."""
    parts = []
    cell, beat, row = 0, 0, 0
    for stop, lag in [*zip(sorted(cuts), lags, strict=True), (whole.cells.size, 10**9)]:
        stop_cell = max(cell, min(stop, whole.cells.size))
        known = (whole.first_cell + stop_cell) * CELL + lag
        stop_beat = max(beat, int(np.searchsorted(whole.grid, known)))
        rows = [one for one in whole.intervals[row:] if (one.minute + 1) * 60 * CELL <= known]
        parts.append(
            Seen(
                whole.origin_ns,
                whole.grid[beat:stop_beat],
                whole.classes[beat:stop_beat],
                whole.confidences[beat:stop_beat],
                whole.first_cell + cell,
                whole.cells[cell:stop_cell],
                intervals=tuple(rows),
            )
        )
        cell, beat, row = stop_cell, stop_beat, row + len(rows)
    return parts


def grown(parts: list[Seen]) -> Tallies:
    carried, found = grow_all(None, parts)
    return Tallies.merge([found, settled(carried)], 1)


@given(rhythms(), st.data())
def test_every_cut_gives_the_same(rhythm: Rhythm, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, 12))
    cuts = data.draw(st.lists(st.integers(0, rhythm.seen.cells.size), min_size=count, max_size=count))
    lags = data.draw(st.lists(st.integers(0, 400), min_size=count, max_size=count))
    parts = cut(rhythm.seen, cuts, lags)
    whole = grown([rhythm.seen])
    assert grown(parts) == whole
    assert grown(joined(parts)) == whole
    for place in range(len(parts) + 1):
        carried, batch = grow_all(None, parts[:place])
        after, real_time = grow_all(_through_bytes(carried), parts[place:])
        assert Tallies.merge([real_time, batch, settled(after)], 1) == whole


def _through_bytes(carried: Carried | None) -> Carried | None:
    return unpack_carried(pack_carried(carried))


@given(rhythms())
@example(Rhythm(Seen(ORIGIN_NS, *([np.empty(0, kind) for kind in "qBB"]), 0, np.empty(0, "H")), 0))  # type: ignore[call-overload]
def test_views_say_of_a_whole_what_its_findings_say(rhythm: Rhythm) -> None:
    seen = rhythm.seen
    whole = grown([seen]).as_one(0, WHOLE)
    if not len(whole):
        assert not seen.grid.size
        assert not seen.cells.size
        return
    row, said = whole.rows[0], measures(whole)
    assert row[: len("NSVFQ")].tolist() == np.bincount(seen.classes, minlength=5).tolist()
    assert row[Field.CLEAR_S : Field.MISSING_S].tolist() == [
        int(np.count_nonzero((seen.cells & 3) == grade)) for grade in (1, 2, 3)
    ]
    assert row[Field.MISSING_S] == np.count_nonzero(seen.cells & 4)
    intervals = rr_intervals(seen.grid, seen.classes, seen.first_cell, seen.cells)
    assert (row[Field.INTERVALS], row[Field.SOUND]) == (intervals.rr_s.size, intervals.sound.sum())
    sums = add_intervals(intervals)
    rate, spread = heart_rate(sums), variability(sums)
    _near(said.heart_rate_mean[0], rate.mean)
    if row[Field.SLOWEST_MS]:
        _near(said.heart_rate_min[0], rate.min)
        _near(said.heart_rate_max[0], rate.max)
    for name in ("mean_nn_ms", "sdnn_ms", "rmssd_ms", "pnn50_percent"):
        _near(getattr(said, name)[0], getattr(spread, name))
    if row[Field.INTERVALS]:
        _near(said.nn_share[0], spread.nn_share)
    measured = [one for one in seen.intervals if one.qt_ms is not None]
    _near(said.qrs_ms[0], 88.0 if seen.intervals else None)
    assert row[Field.QT] == len(measured)


def _near(ours: float, theirs: float | None) -> None:
    assert np.isnan(ours) == (theirs is None)
    if theirs is not None:
        assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-6)


def test_beats_and_intervals_count_in_the_minute_of_their_clock() -> None:
    """The interval counts where its later beat lies."""
    minute = ORIGIN_NS // 60_000_000_000
    to_border = round((60_000_000_000 * (minute + 1) - ORIGIN_NS) / 8_000_000)
    grid = np.array([to_border - 100, to_border - 1, to_border + 99, to_border + 199])
    seen = Seen(ORIGIN_NS, grid, np.zeros(4, np.uint8), np.zeros(4, np.uint8), 0, np.full(120, 1, np.uint16))
    found = grown([seen])
    assert found.starts.tolist() == [minute, minute + 1, minute + 2]
    assert found.column(Field.NORMAL).tolist() == [2, 2, 0]
    assert found.column(Field.INTERVALS).tolist() == [1, 2, 0]
    assert found.column(Field.CLEAR_S).sum() == 120


@pytest.mark.parametrize("change", [{"origin_ns": ORIGIN_NS + 1}, {"first_cell": 40}])
def test_no_interval_reaches_over_where_the_analysis_began_anew(change: dict[str, int]) -> None:
    cells = np.full(30, 1, np.uint16)
    nothing = np.empty(0, np.uint8)
    zeros = np.zeros(3, np.uint8)
    first = Seen(ORIGIN_NS, np.array([100, 200, 300]), zeros, zeros, 0, cells)
    then = Seen(ORIGIN_NS, np.empty(0, np.int64), nothing, nothing, 30, cells)
    anew = msgspec.structs.replace(
        msgspec.structs.replace(then, **change),
        grid=np.array([5100, 5200]),
        classes=zeros[:2],
        confidences=zeros[:2],
    )
    found = grown([first, anew]).as_one(0, WHOLE)
    assert found.rows[0, Field.INTERVALS] == 3
    together = grown([first, then, msgspec.structs.replace(anew, origin_ns=ORIGIN_NS, first_cell=60)])
    assert together.as_one(0, WHOLE).rows[0, Field.INTERVALS] == 4


def test_what_is_carried_stays_small_through_hours_without_a_beat() -> None:
    cells = np.full(30, 3, np.uint16)
    nothing, none = np.empty(0, np.uint8), np.empty(0, np.int64)
    carried, _ = grow(
        None, Seen(ORIGIN_NS, np.array([125, 250]), np.zeros(2, np.uint8), np.zeros(2, np.uint8), 0, cells)
    )
    for number in range(1, 400):
        carried, _ = grow(carried, Seen(ORIGIN_NS, none, nothing, nothing, 30 * number, cells))
    assert len(pack_carried(carried)) < 200
