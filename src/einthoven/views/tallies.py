"""What can be counted of an ECG, minute by minute, so that any cut of it adds up to the same.

A *tally* is a row of whole numbers: beats by class, seconds by quality, sums over RR and NN intervals, of
which rates and variability are made at the very end. Rows of one minute merge by adding, two columns by their
greatest or least; that is associative and commutative, and whole numbers round nowhere. So it does not matter
in which order, and in how many portions, the minutes of a patient came together.

Measures after the Task Force (Circulation 93(5), 1996), as in `einthoven.signal.variability`. Deviations:
the five-minute means of SDANN are of clock minutes, UTC, to the microsecond; extreme rates are means of eight
intervals always.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import InputInvalid
from einthoven.signal.variability import LEAST_SHARE

__all__ = ["DAY", "FIELDS", "HOUR", "PIECE", "Field", "Measures", "Tallies", "measures"]

PIECE: Final = 5
"""Minutes over which the means of SDANN are taken."""
HOUR: Final = 60
DAY: Final = 1440


class Field(IntEnum):
    """The columns of a tally."""

    NORMAL = 0
    SUPRAVENTRICULAR = 1
    VENTRICULAR = 2
    FUSION = 3
    UNKNOWN = 4
    CLEAR_S = 5
    """Seconds of grade 1."""
    QRS_ONLY_S = 6
    UNREADABLE_S = 7
    """Seconds of grade 3, those without samples among them."""
    MISSING_S = 8
    """Seconds without samples between segments that came."""
    INTERVALS = 9
    SOUND = 10
    SOUND_MS = 11
    SLOWEST_MS = 12
    """Longest sum of eight successive sound intervals; 0 where there are none."""
    FASTEST_MS = 13
    """Shortest sum of them; 0 where there are none."""
    NN = 14
    NN_MS = 15
    NN_MS2 = 16
    STEPS = 17
    """Pairs of successive NN intervals."""
    STEP_MS2 = 18
    STEPS_50 = 19
    """Pairs that differ by more than 50 ms."""
    QRS = 20
    """Minutes of which the QRS width is known."""
    QRS_US = 21
    QT = 22
    QT_US = 23
    QTC = 24
    QTC_US = 25
    PIECES = 26
    """Five-minute pieces with NN intervals; 0 in rows of five minutes or less."""
    PIECE_US = 27
    """Sum of their means."""
    PIECE_US2 = 28


FIELDS: Final = len(Field)
_LARGEST: Final = Field.SLOWEST_MS
_LEAST: Final = Field.FASTEST_MS
_NONE: Final = np.int64(2**62)


class Tallies(msgspec.Struct, frozen=True, eq=False):
    """Tallies of spans of equal width; spans without anything have no row."""

    width: int
    """Minutes of a row."""
    starts: NDArray[np.int64]
    """Minute, counted from 1970 in UTC, in which each row begins, rising; shape (rows,)."""
    rows: NDArray[np.int64]
    """Shape (rows, FIELDS)."""

    def __len__(self) -> int:
        return self.starts.size

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Tallies)
            and self.width == other.width
            and np.array_equal(self.starts, other.starts)
            and np.array_equal(self.rows, other.rows)
        )

    __hash__ = None  # type: ignore[assignment]

    @staticmethod
    def none(width: int = 1) -> "Tallies":
        """Nothing: the zero of `merge`."""
        return Tallies(width, np.empty(0, np.int64), np.empty((0, FIELDS), np.int64))

    @staticmethod
    def merge(parts: "Sequence[Tallies]", width: int | None = None) -> "Tallies":
        """All of them together, in rows of ``width``; of what is finer is made what is coarser.

        Raises
        ------
        InputInvalid : one is coarser than ``width``, or does not divide it.
        """
        if width is None:
            width = max((part.width for part in parts), default=1)
        if width <= PIECE:
            return _sum(parts, width)
        # Pieces have to be whole before their means are taken.
        pieces = _sum([part for part in parts if part.width <= PIECE], PIECE)
        return _sum([_with_means(pieces), *(part for part in parts if part.width > PIECE)], width)

    def between(self, start: int, stop: int) -> "Tallies":
        """The rows that begin in these minutes."""
        a, b = np.searchsorted(self.starts, (start, stop))
        return Tallies(self.width, self.starts[a:b], self.rows[a:b])

    def as_one(self, start: int, width: int) -> "Tallies":
        """All rows merged into one, which is said to begin at a minute and to be so wide."""
        if not len(self):
            return Tallies.none(width)
        return Tallies(width, np.array([start], np.int64), _added(self.rows, np.array([0])))

    def column(self, field: Field) -> NDArray[np.int64]:
        """One number of each row."""
        return self.rows[:, field]


def _sum(parts: Sequence[Tallies], width: int) -> Tallies:
    for part in parts:
        if width % part.width:
            raise InputInvalid(
                f"rows of {part.width} min do not make rows of {width} min.",
                where="width",
                remedy="Ask for a multiple.",
            )
    parts = sorted((part for part in parts if len(part)), key=len)
    if not parts:
        return Tallies.none(width)
    # Much is merged with little, as a rule: the little is sorted, and the much is left as it is.
    much, little = _distinct(parts[-1:], width), parts[:-1]
    return much if not little else _united(much, _distinct(little, width))


def _distinct(parts: Sequence[Tallies], width: int) -> Tallies:
    """All rows of the parts, those of one span merged, in order."""
    starts = np.concatenate([part.starts for part in parts])
    rows = np.concatenate([part.rows for part in parts])
    if width > 1:
        starts = starts // width * width
    if np.any(np.diff(starts) < 0):
        order = np.argsort(starts, kind="stable")
        starts, rows = starts[order], rows[order]
    first = np.concatenate(([0], np.flatnonzero(np.diff(starts)) + 1))
    if first.size == starts.size:
        return Tallies(width, starts, rows)
    return Tallies(width, starts[first], _added(rows, first))


def _united(much: Tallies, little: Tallies) -> Tallies:
    """Two whose rows are distinct and in order."""
    at = np.searchsorted(much.starts, little.starts)
    both = much.starts[np.minimum(at, len(much) - 1)] == little.starts
    rows = much.rows.copy()
    pairs = np.stack((rows[at[both]], little.rows[both]), axis=1).reshape(-1, FIELDS)
    if len(pairs):
        rows[at[both]] = _added(pairs, np.arange(0, len(pairs), 2))
    if both.all():
        return Tallies(much.width, much.starts, rows)
    new = ~both
    starts = np.insert(much.starts, at[new], little.starts[new])
    return Tallies(much.width, starts, np.insert(rows, at[new], little.rows[new], axis=0))


def _added(rows: NDArray[np.int64], first: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows from each ``first`` to the next one, merged."""
    merged: NDArray[np.int64] = np.add.reduceat(rows, first)
    merged[:, _LARGEST] = np.maximum.reduceat(rows[:, _LARGEST], first)
    least = rows[:, _LEAST]
    least = np.minimum.reduceat(np.where(least == 0, _NONE, least), first)
    merged[:, _LEAST] = np.where(least == _NONE, 0, least)
    return merged


def _with_means(pieces: Tallies) -> Tallies:
    """The means of the NN intervals of each piece of five minutes."""
    rows = pieces.rows.copy()
    counts = rows[:, Field.NN]
    known = counts > 0
    # Rounded half up in whole numbers: the same on every machine.
    mean_us = (2000 * rows[:, Field.NN_MS] + counts) // np.maximum(2 * counts, 1)
    rows[:, Field.PIECES] = known
    rows[:, Field.PIECE_US] = np.where(known, mean_us, 0)
    rows[:, Field.PIECE_US2] = rows[:, Field.PIECE_US] ** 2
    return Tallies(pieces.width, pieces.starts, rows)


class Measures(msgspec.Struct, frozen=True, eq=False):
    """What tallies say, row by row; NaN where it cannot be said."""

    heart_rate_mean: NDArray[np.float64]
    heart_rate_min: NDArray[np.float64]
    heart_rate_max: NDArray[np.float64]
    nn_share: NDArray[np.float64]
    mean_nn_ms: NDArray[np.float64]
    sdnn_ms: NDArray[np.float64]
    rmssd_ms: NDArray[np.float64]
    pnn50_percent: NDArray[np.float64]
    sdann_ms: NDArray[np.float64]
    qrs_ms: NDArray[np.float64]
    qt_ms: NDArray[np.float64]
    qtc_ms: NDArray[np.float64]


def measures(tallies: Tallies) -> Measures:
    """Rates, variability and intervals of each row.

    Variability is given where at least `LEAST_SHARE` of the intervals are NN; SDANN for rows of an hour or
    more.
    """
    t: Any = {field: tallies.rows[:, field].astype(np.float64) for field in Field}
    with np.errstate(divide="ignore", invalid="ignore"):
        share = t[Field.NN] / t[Field.INTERVALS]
        nn = np.where((share >= LEAST_SHARE) & (t[Field.NN] > 1), t[Field.NN], np.nan)
        mean = t[Field.NN_MS] / nn
        sdnn = np.sqrt(np.maximum(t[Field.NN_MS2] - t[Field.NN_MS] * mean, 0) / (nn - 1))
        steps = np.where(np.isnan(nn) | (t[Field.STEPS] == 0), np.nan, t[Field.STEPS])
        pieces = np.where(np.isnan(nn) | (t[Field.PIECES] < 2), np.nan, t[Field.PIECES])
        away = t[Field.PIECE_US2] - t[Field.PIECE_US] ** 2 / pieces
        sdann = np.sqrt(np.maximum(away, 0) / (pieces - 1)) / 1000
        return Measures(
            heart_rate_mean=60_000 * t[Field.SOUND] / _or_nan(t[Field.SOUND_MS]),
            heart_rate_min=480_000 / _or_nan(t[Field.SLOWEST_MS]),
            heart_rate_max=480_000 / _or_nan(t[Field.FASTEST_MS]),
            nn_share=share,
            mean_nn_ms=mean,
            sdnn_ms=sdnn,
            rmssd_ms=np.sqrt(t[Field.STEP_MS2] / steps),
            pnn50_percent=100 * t[Field.STEPS_50] / steps,
            sdann_ms=sdann,
            qrs_ms=t[Field.QRS_US] / _or_nan(t[Field.QRS]) / 1000,
            qt_ms=t[Field.QT_US] / _or_nan(t[Field.QT]) / 1000,
            qtc_ms=t[Field.QTC_US] / _or_nan(t[Field.QTC]) / 1000,
        )


def _or_nan(column: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(column == 0, np.nan, column)
