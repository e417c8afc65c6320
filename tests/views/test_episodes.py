"""How long rhythms lasted, and what counts where another source takes over."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.errors import ObjectDamaged
from einthoven.signal.findings import MinuteIntervals
from einthoven.signal.rules import KINDS
from einthoven.views import (
    Past,
    Seen,
    burden,
    cell_ns,
    columns_of,
    grid_ns,
    onsets,
    outside,
    pack_episodes,
    pack_part,
    rows_of,
    unpack_episodes,
    unpack_part,
)
from einthoven.views.episodes import PRIORITIES

MS = 1_000_000
MINUTE_NS = 60_000 * MS
START_NS = 28_000_000 * MINUTE_NS
NOW_NS = START_NS + 500 * MINUTE_NS


@st.composite
def pasts(draw: st.DrawFn) -> list[Past]:
    """Episodes of a few hours, some of which go on."""
    found = []
    for _ in range(draw(st.integers(0, 12))):
        onset_ns = START_NS + draw(st.integers(-200, 400)) * MINUTE_NS // 7 // MS * MS
        length_ms = draw(st.one_of(st.none(), st.integers(0, 5_000_000)))
        found.append(
            Past(
                kind=draw(st.sampled_from(KINDS)),
                onset_ns=onset_ns,
                end_ns=None if length_ms is None else onset_ns + length_ms * MS,
                priority=draw(st.sampled_from(PRIORITIES)),
                confidence=draw(st.integers(0, 100)),
                grade=draw(st.integers(1, 3)),
            )
        )
    return found


EDGES = st.lists(st.integers(0, 60), min_size=2, max_size=12, unique=True).map(
    lambda minutes: START_NS + np.array(sorted(minutes), np.int64) * MINUTE_NS
)


@given(pasts(), EDGES)
def test_burden_is_the_time_of_each_span_that_episodes_cover(episodes: list[Past], edges: np.ndarray) -> None:
    found = burden(columns_of(episodes), edges, NOW_NS)
    counts = onsets(columns_of(episodes), edges)
    for kind in KINDS:
        these = [one for one in episodes if one.kind == kind]
        for span, (start, stop) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
            ends = [min(NOW_NS if one.end_ns is None else one.end_ns, NOW_NS) for one in these]
            lasted = sum(
                max(0, min(end, stop) - max(one.onset_ns, start))
                for one, end in zip(these, ends, strict=True)
            )
            assert int(found[kind][span] if kind in found else 0) == lasted // MS
            began = sum(start <= one.onset_ns < stop for one in these)
            assert int(counts[kind][span] if kind in counts else 0) == began


@given(pasts())
def test_episodes_come_back_from_their_bytes(episodes: list[Past]) -> None:
    packed = pack_episodes(columns_of(episodes))
    assert rows_of(unpack_episodes([packed, packed])) == episodes * 2


def test_numbers_of_kinds_mean_what_they_meant_when_they_were_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A later program may have more kinds, or others before them."""
    one = Past("asystole", START_NS, None, "high", 90, 1)
    other = Past("gap", START_NS, START_NS + MS, "technical", 100, 3)
    packed = pack_episodes(columns_of([one, other]))
    kinds = tuple(reversed(KINDS))
    monkeypatch.setattr("einthoven.views.packing.KINDS", kinds)
    monkeypatch.setattr("einthoven.views.packing._NUMBERS", (kinds, PRIORITIES))
    monkeypatch.setattr("einthoven.views.episodes.KINDS", kinds)
    assert rows_of(unpack_episodes([packed])) == [one, other]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x92\x90\xc4\x01a"])
def test_other_bytes_are_damage(content: bytes) -> None:
    for unpack in (lambda: unpack_episodes([content]), lambda: unpack_part(content)):
        with pytest.raises(ObjectDamaged, match="cannot be read"):
            unpack()


def a_stretch(minutes: int, episodes: list[Past]) -> Seen:
    rng = np.random.default_rng(minutes)
    grid = np.cumsum(rng.integers(60, 140, 90 * minutes)).astype(np.int64)
    grid = grid[grid < minutes * 60 * 125]
    return Seen(
        START_NS + 123_456_789,
        grid,
        rng.integers(0, 5, grid.size).astype(np.uint8),
        rng.integers(0, 101, grid.size).astype(np.uint8),
        0,
        rng.integers(1, 4, 60 * minutes).astype(np.uint16),
        ended=tuple(one for one in episodes if one.end_ns is not None),
        going_on=tuple(one for one in episodes if one.end_ns is None),
        intervals=tuple(MinuteIntervals(minute, 60, 800.0, 90.0, None, None) for minute in range(minutes)),
    )


@given(st.integers(1, 30), pasts(), st.lists(st.tuples(st.integers(-5, 35), st.integers(1, 20)), max_size=3))
def test_outside_of_spans_is_all_that_does_not_lie_in_them(
    minutes: int, episodes: list[Past], spans: list[tuple[int, int]]
) -> None:
    whole = a_stretch(minutes, episodes)
    taken = [(START_NS + at * MINUTE_NS, START_NS + (at + length) * MINUTE_NS) for at, length in spans]

    def is_out(instant_ns: int) -> bool:
        return not any(start <= instant_ns < stop for start, stop in taken)

    parts = list(outside(whole, taken))
    for times in (grid_ns, cell_ns):
        left = [at for part in parts for at in times(part).tolist()]
        assert left == [at for at in times(whole).tolist() if is_out(at)]
    assert sum(part.classes.size for part in parts) == sum(part.grid.size for part in parts)
    edges = START_NS + np.arange(0, 41, dtype=np.int64) * MINUTE_NS
    kept = [one for part in parts for one in (*part.ended, *part.going_on)]
    before, after = (
        burden(columns_of([*whole.ended, *whole.going_on]), edges, edges[-1]),
        burden(columns_of(kept), edges, edges[-1]),
    )
    for kind, ms in before.items():
        free = [is_out(start) for start in edges[:-1].tolist()]
        np.testing.assert_array_equal(after.get(kind, np.zeros_like(ms))[free], ms[free])
        assert not after.get(kind, np.zeros_like(ms))[np.logical_not(free)].any()


@given(st.integers(1, 10))
def test_beats_and_seconds_come_back_from_their_bytes(minutes: int) -> None:
    whole = a_stretch(minutes, [])
    (back,) = unpack_part(pack_part([whole]))
    for name in ("grid", "classes", "confidences", "cells"):
        np.testing.assert_array_equal(getattr(back, name), getattr(whole, name))
    assert (back.origin_ns, back.first_cell) == (whole.origin_ns, whole.first_cell)
