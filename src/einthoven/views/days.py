"""A day of one stream, as the batch layer keeps it.

Whole hours are read alone for long spans. A piece of five minutes at the border of the day may get more from
the day beside it, so these are kept apart, not yet summed into an hour; the hours have the others.
"""

from collections.abc import Iterable
from typing import Final

import msgspec
import numpy as np

from einthoven.views.seen import NS, Seen
from einthoven.views.tallies import DAY, HOUR, PIECE, Tallies

__all__ = ["DAY_NS", "day_of", "edges_of", "hours_of", "joined"]

DAY_NS: Final = DAY * 60 * NS


def day_of(instant_ns: int) -> int:
    """The day, counted from 1970 in UTC."""
    return instant_ns // DAY_NS


def hours_of(minutes: Tallies, day: int) -> Tallies:
    """The hours of a day's minutes, without the pieces at its border."""
    return Tallies.merge([minutes.between(day * DAY + PIECE, (day + 1) * DAY - PIECE)], HOUR)


def edges_of(minutes: Tallies, day: int) -> Tallies:
    """The pieces at the border of the day, and what came before or after it."""
    before = minutes.between(0, day * DAY + PIECE)
    after = minutes.between((day + 1) * DAY - PIECE, np.iinfo(np.int64).max)
    return Tallies.merge([before, after], PIECE)


def joined(stretches: Iterable[Seen]) -> list[Seen]:
    """Stretches that follow each other without a break, as one each."""
    found: list[list[Seen]] = []
    for one in stretches:
        last = found[-1][-1] if found else None
        if last is None or (last.origin_ns, last.first_cell + last.cells.size) != (
            one.origin_ns,
            one.first_cell,
        ):
            found.append([])
        found[-1].append(one)
    return [_as_one(run) for run in found]


def _as_one(run: list[Seen]) -> Seen:
    if len(run) == 1:
        return run[0]
    return msgspec.structs.replace(
        run[-1],
        grid=np.concatenate([one.grid for one in run]),
        classes=np.concatenate([one.classes for one in run]),
        confidences=np.concatenate([one.confidences for one in run]),
        first_cell=run[0].first_cell,
        cells=np.concatenate([one.cells for one in run]),
        ended=tuple(past for one in run for past in one.ended),
        intervals=tuple(row for one in run for row in one.intervals),
    )
