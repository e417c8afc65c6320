"""Tallies add up to the same however they are put together."""

from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.errors import InputInvalid, ObjectDamaged
from einthoven.views import (
    DAY,
    HOUR,
    PIECE,
    Field,
    Tallies,
    edges_of,
    hours_of,
    measures,
    pack_tallies,
    unpack_days,
    unpack_tallies,
)
from einthoven.views.tallies import FIELDS

WIDTHS = (1, 5, 15, 60, 360, 1440)
MEANS = (Field.PIECES, Field.PIECE_US, Field.PIECE_US2)


@st.composite
def tallies(draw: st.DrawFn, width: int = 1) -> Tallies:
    """A few rows within three days."""
    starts = sorted(draw(st.sets(st.integers(0, 3 * DAY // width - 1), max_size=12)))
    numbers = draw(st.integers(0, 2**31))
    rng = np.random.default_rng(numbers)
    rows = rng.integers(0, 100_000, (len(starts), FIELDS))
    rows[:, Field.FASTEST_MS] *= rng.integers(0, 2, len(starts))  # none in some
    rows[:, MEANS] = 0
    return Tallies(width, np.array(starts, np.int64) * width, rows)


PARTS = st.lists(tallies(), min_size=1, max_size=5)


def plainly(parts: list[Tallies], width: int) -> dict[int, list[int]]:
    """The same, row by row."""
    found: dict[int, list[int]] = {}
    for part in parts:
        for start, row in zip(part.starts.tolist(), part.rows.tolist(), strict=True):
            into = found.setdefault(start // width * width, [0] * FIELDS)
            for field in Field:
                if field is Field.SLOWEST_MS:
                    into[field] = max(into[field], row[field])
                elif field is Field.FASTEST_MS:
                    into[field] = min(filter(None, (into[field], row[field])), default=0)
                else:
                    into[field] += row[field]
    return found


@given(PARTS, st.sampled_from(WIDTHS))
def test_rows_merge_by_adding_and_by_their_extremes(parts: list[Tallies], width: int) -> None:
    merged = Tallies.merge(parts, width)
    expected = plainly(parts, width)
    assert merged.starts.tolist() == sorted(expected)
    for start, row in zip(merged.starts.tolist(), merged.rows.tolist(), strict=True):
        assert row[: Field.PIECES] == expected[start][: Field.PIECES]


@given(PARTS, st.sampled_from(WIDTHS), st.randoms(use_true_random=False))
def test_neither_order_nor_grouping_matters(parts: list[Tallies], width: int, chance: object) -> None:
    at_once = Tallies.merge(parts, width)
    mixed = list(parts)
    chance.shuffle(mixed)  # type: ignore[attr-defined]
    assert Tallies.merge(mixed, width) == at_once
    one_by_one = reduce(lambda a, b: Tallies.merge([a, b], 1), mixed)
    assert Tallies.merge([one_by_one], width) == at_once
    assert Tallies.merge([Tallies.none(), *parts], width) == at_once


@given(PARTS)
def test_hours_of_days_and_the_pieces_between_them_are_the_hours_of_the_minutes(parts: list[Tallies]) -> None:
    """What is kept of a day gives what its minutes would, whatever lies beyond its borders."""
    minutes = Tallies.merge(parts, 1)
    # Some of what belongs to one day is in the row of the day beside it.
    shares = [
        minutes.between(0, DAY + 3),
        minutes.between(DAY + 3, 2 * DAY - 2),
        minutes.between(2 * DAY - 2, 9**9),
    ]
    kept = [one for day, share in enumerate(shares) for one in (hours_of(share, day), edges_of(share, day))]
    for width in (HOUR, DAY):
        assert Tallies.merge(kept, width) == Tallies.merge([minutes], width)
    assert Tallies.merge(
        [*unpack_days([pack_tallies(one, is_plain=True) for one in kept])], HOUR
    ) == Tallies.merge([minutes], HOUR)


@given(tallies())
def test_the_means_of_sdann_are_those_of_clock_pieces(minutes: Tallies) -> None:
    whole = Tallies.merge([minutes], DAY).rows.sum(axis=0)
    means = []
    for _, row in sorted(plainly([minutes], PIECE).items()):
        if row[Field.NN]:
            means.append((2000 * row[Field.NN_MS] + row[Field.NN]) // (2 * row[Field.NN]))
    assert whole[Field.PIECES] == len(means)
    assert whole[Field.PIECE_US] == sum(means)
    assert whole[Field.PIECE_US2] == sum(mean * mean for mean in means)


def test_coarse_rows_are_not_made_finer() -> None:
    hour = Tallies(60, np.array([0]), np.ones((1, FIELDS), np.int64))
    with pytest.raises(InputInvalid, match="do not make rows of 5 min"):
        Tallies.merge([hour], 5)


def test_a_row_without_anything_says_nothing_instead_of_zero() -> None:
    said = measures(Tallies(60, np.array([0]), np.zeros((1, FIELDS), np.int64)))
    for name in said.__struct_fields__:
        assert np.isnan(getattr(said, name)).all(), name


def test_variability_is_not_told_of_intervals_most_of_which_are_not_normal() -> None:
    rows = np.zeros((2, FIELDS), np.int64)
    rows[:, Field.INTERVALS] = 100
    rows[:, Field.NN] = (79, 80)
    rows[:, Field.NN_MS] = (79 * 800, 80 * 800)
    rows[:, Field.NN_MS2] = (79 * 800**2, 80 * 800**2)
    said = measures(Tallies(60, np.array([0, 60]), rows))
    assert np.isnan(said.mean_nn_ms).tolist() == [True, False]
    assert said.nn_share.tolist() == [0.79, 0.8]
    assert said.sdnn_ms[1] == 0


@given(tallies(), st.booleans())
def test_packed_and_unpacked_they_are_the_same(one: Tallies, is_plain: bool) -> None:
    assert unpack_tallies(pack_tallies(one, is_plain=is_plain)) == one


@given(tallies(), st.booleans(), st.data())
def test_cut_off_bytes_are_damage_and_no_tallies(one: Tallies, is_plain: bool, data: st.DataObject) -> None:
    content = pack_tallies(one, is_plain=is_plain)
    cut = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(ObjectDamaged, match="cannot be read"):
        unpack_tallies(content[:cut])
