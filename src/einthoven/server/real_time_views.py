"""The speed layer: views of what the batch views do not cover yet, from the answers of the online path.

A real-time view begins where the batch views of its stream end, with what they left open, and takes in answer
by answer. When the batch views get further it is dropped, and begins again there. Whoever asks takes in what
it lacks, so that it is always as new as the newest answer; a job keeps that little.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from msgspec import UNSET

from einthoven.server.batch_views import carried_views, covered_by_recordings
from einthoven.server.wire import KeptAnswer, decode_kept
from einthoven.signal.findings import BEAT_CLASSES
from einthoven.storage import Connection, Statements
from einthoven.storage.view_rows import LiveRow, SourceRow, day_row, live_row, put_live, source_of_stream
from einthoven.views import (
    Carried,
    Past,
    Seen,
    Tallies,
    columns_of,
    grow_all,
    joined,
    outside,
    pack_carried,
    pack_episodes,
    pack_tallies,
    past_of,
    rows_of,
    unpack_carried,
    unpack_episodes,
    unpack_tallies,
)

__all__ = ["RealTimeView", "SpeedLayer", "real_time_view", "recent_stretches"]

_CODES: Final = np.zeros(128, np.uint8)
_CODES[np.frombuffer(BEAT_CLASSES.encode(), np.uint8)] = np.arange(len(BEAT_CLASSES))
_AT_ONCE: Final = 2000
"""Answers that are taken in together."""


class RealTimeView(msgspec.Struct, frozen=True, eq=False):
    """What the online path found of a stream behind its batch views."""

    through: int
    """The segment, by sequence, up to which it goes."""
    made_by: str
    carried: Carried | None
    minutes: Tallies
    ended: tuple[Past, ...]
    going_on: tuple[Past, ...]


def real_time_view(statements: Statements, stream: int, source: SourceRow | None) -> RealTimeView:
    """The real-time view of a stream, with all that was answered."""
    view = _kept(statements, source)
    covered = [] if source is None else covered_by_recordings(statements, source)
    while True:
        rows = statements.rows(_ANSWERS, (stream, view.through, _AT_ONCE))
        if rows:
            view = _grown(view, [(sequence, decode_kept(content)) for sequence, content in rows], covered)
        if len(rows) < _AT_ONCE:
            return view


def recent_stretches(statements: Statements, stream: int, source: SourceRow | None) -> list[Seen]:
    """Beats and seconds of a stream behind its batch views."""
    covered = [] if source is None else covered_by_recordings(statements, source)
    through = -1 if source is None else source.through
    seen: list[Seen] = []
    while True:
        rows = statements.rows(_ANSWERS, (stream, through, _AT_ONCE))
        seen += [part for _, content in rows for part in outside(_seen(decode_kept(content)), covered)]
        if len(rows) < _AT_ONCE:
            return joined(seen)
        through = rows[-1][0]


class SpeedLayer:
    """A job: keeps what real-time views took in, once it is enough.

    Parameters
    ----------
    least : answers of a stream that are worth a write.
    """

    def __init__(self, least: int = 20) -> None:
        self._least = least

    def keep(self, connection: Connection, _now_ns: int) -> int:
        """Keep the real-time views of the streams with the most answers that are not in them; how many."""
        with connection.reading() as statements:
            streams = [row[0] for row in statements.rows(_BEHIND, (self._least,))]
        done = 0
        for stream in streams:
            with connection.reading() as statements:
                source = source_of_stream(statements, stream)
                if source is None:
                    continue
                view = real_time_view(statements, stream, source)
            with connection.writing() as statements:
                put_live(statements, source.id, _row(view, source))
            done += 1
        return done


_ANSWERS: Final = (
    "SELECT sequence, answer FROM segments WHERE stream = ? AND sequence > ? AND status = 'analysed' "
    "ORDER BY sequence LIMIT ?"
)
_BEHIND: Final = (
    "SELECT t.id FROM streams t JOIN view_sources v ON v.stream = t.id "
    "LEFT JOIN view_live l ON l.source = v.id AND l.version = v.version "
    "WHERE t.next_sequence - 1 - COALESCE(l.through, v.through) >= ? "
    "ORDER BY COALESCE(l.through, v.through) - t.next_sequence LIMIT 64"
)


def _kept(statements: Statements, source: SourceRow | None) -> RealTimeView:
    """As far as it is kept; from the end of the batch views if nothing is."""
    if source is None:
        return RealTimeView(-1, "", None, Tallies.none(), (), ())
    row = live_row(statements, source)
    if row is not None:
        return RealTimeView(
            through=row.through,
            made_by=row.made_by,
            carried=unpack_carried(row.carried),
            minutes=unpack_tallies(row.minutes),
            ended=tuple(rows_of(unpack_episodes([row.ended]))),
            going_on=tuple(rows_of(unpack_episodes([row.going_on]))),
        )
    carried: Carried | None = None
    going_on: tuple[Past, ...] = ()
    if source.newest is not None:
        day = day_row(statements, source.id, source.generation, source.newest)
        if day is not None:
            carried = carried_views(day.carried)
            going_on = tuple(rows_of(unpack_episodes([day.going_on])))
    return RealTimeView(source.through, "", carried, Tallies.none(), (), going_on)


def _row(view: RealTimeView, source: SourceRow) -> LiveRow:
    return LiveRow(
        version=source.version,
        through=view.through,
        made_by=view.made_by,
        carried=pack_carried(view.carried),
        minutes=pack_tallies(view.minutes, is_plain=False),
        ended=pack_episodes(columns_of(view.ended)),
        going_on=pack_episodes(columns_of(view.going_on)),
    )


def _grown(
    view: RealTimeView, answers: Sequence[tuple[int, KeptAnswer]], covered: Sequence[tuple[int, int]]
) -> RealTimeView:
    ended, going_on = list(view.ended), list(view.going_on)
    seen: list[Seen] = []
    for _, answer in answers:
        going_on = []
        for one in outside(_seen(answer), covered):
            seen.append(one)
            ended += one.ended
            going_on += one.going_on
    carried, more = grow_all(view.carried, joined(seen))
    return RealTimeView(
        through=answers[-1][0],
        made_by=answers[-1][1].made_by,
        carried=carried,
        minutes=Tallies.merge([view.minutes, more], 1),
        ended=tuple(ended),
        going_on=tuple(going_on),
    )


def _seen(answer: KeptAnswer) -> Seen:
    beats = None if answer.beats is UNSET else answer.beats
    positions = np.array(beats.positions if beats else [], np.int64)
    grid = positions if answer.grid is UNSET else np.frombuffer(answer.grid, np.int64)
    episodes = () if answer.episodes is UNSET else answer.episodes
    fs = 125.0 if answer.fs is UNSET else answer.fs
    past = [past_of(episode, fs, answer.origin_ns) for episode in episodes]
    return Seen(
        origin_ns=answer.origin_ns,
        grid=grid,
        classes=_CODES[np.frombuffer((beats.classes if beats else "").encode(), np.uint8)],
        confidences=np.array(beats.confidences if beats else [], np.uint8),
        first_cell=answer.first_cell,
        cells=np.frombuffer(answer.cells, np.uint16),
        ended=tuple(one for one in past if one.end_ns is not None),
        going_on=tuple(one for one in past if one.end_ns is None),
        intervals=answer.intervals,
    )
