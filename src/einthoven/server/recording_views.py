"""Views of recordings that were uploaded whole: what their workflow found, at their place in time.

A recording is more than what a device sent of it piece by piece: where one covers a span, it counts, and the
stream of the same device does not. Both change in one transaction, so that nothing ever counts twice.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec
import numpy as np

from einthoven.errors import Conflict, ObjectDamaged
from einthoven.functions import Joined
from einthoven.runtime.joined_findings import findings_in, joined_in
from einthoven.server.batch_views import BatchLayer, Made
from einthoven.server.view_days import made_row, put_part
from einthoven.server.wire import version_name
from einthoven.storage import Connection, ObjectStore, Statements
from einthoven.storage.recordings import KeptRecording, publish_recording, unpublished_recording
from einthoven.storage.view_rows import (
    DayRow,
    SourceRow,
    advance_source,
    drop_days,
    name_versions,
    put_day,
    put_source,
    source_of_recording,
)
from einthoven.views import (
    DAY_NS,
    Past,
    Seen,
    Tallies,
    cell_ns,
    day_of,
    grid_ns,
    grow_all,
    joined,
    seen_of,
    settled,
)
from einthoven.views.seen import CELL_NS, NS

__all__ = ["RecordingViews"]

_LOG: Final = logging.getLogger("einthoven.views")


class RecordingViews:
    """A job: makes views of what was analysed."""

    def __init__(self, batch: BatchLayer, store: ObjectStore) -> None:
        self._batch = batch
        self._store = store

    def publish(self, connection: Connection, now_ns: int) -> int:
        """Make views of the oldest recording that has none, and let them count; how many were looked at."""
        with connection.reading() as statements:
            one = unpublished_recording(statements)
        if one is None:
            return 0
        if one.start_ns is None or one.fs is None or not one.samples or one.result is None:
            _LOG.warning("a recording without a time is in no view")
            with connection.writing() as statements:
                publish_recording(statements, one, now_ns)
            return 1
        try:
            whole = joined_in(one.result, self._store)
        except ObjectDamaged:
            _LOG.error("a recording's result holds no findings")
            with connection.writing() as statements:
                publish_recording(statements, one, now_ns)
            return 1
        span = (one.start_ns, one.start_ns + round(one.samples * NS / one.fs))
        with connection.reading() as statements:
            streams = statements.rows(
                "SELECT id FROM streams WHERE org = ? AND device = ? AND patient = ?",
                (one.org, one.device, one.patient),
            )
        room = [self._batch.making_room(connection, int(row[0]), span) for row in streams]
        source, made = self._made(connection, one, whole, span, now_ns)
        try:
            with connection.writing() as statements:
                self._put(statements, one, source, made, room, now_ns)
                name_versions(statements, version_name(whole.versions), msgspec.json.encode(whole.versions))
        except Conflict:
            _LOG.info("views of the same device went on meanwhile; the next attempt sees to them")
        return 1

    def _put(
        self,
        statements: Statements,
        one: KeptRecording,
        source: SourceRow,
        rows: Sequence[DayRow],
        room: Sequence[tuple[SourceRow, Made]],
        now_ns: int,
    ) -> None:
        for stream, made in room:
            is_kept = (
                self._batch.keep(statements, stream, made, now_ns)
                if made.rows
                else advance_source(statements, stream, stream)  # its real-time view begins anew too
            )
            if not is_kept:
                raise _faster()
        newest = max(row.day for row in rows)
        after = msgspec.structs.replace(
            source, generation=source.generation + 1, newest=newest, through=newest
        )
        if not advance_source(statements, source, after):
            raise _faster()
        for row in rows:
            put_day(statements, source.id, after.generation, row)
        drop_days(statements, source.id, but=after.generation)
        publish_recording(statements, one, now_ns)

    def _made(
        self,
        connection: Connection,
        one: KeptRecording,
        whole: Joined,
        span: tuple[int, int],
        now_ns: int,
    ) -> tuple[SourceRow, list[DayRow]]:
        """The recording's source and days; the source covers nothing as yet."""
        with connection.writing() as statements:
            source = source_of_recording(statements, one.number)
            if source is None:
                new = SourceRow(
                    id=0,
                    org=one.org,
                    patient=one.patient,
                    device=one.device,
                    stream=None,
                    recording=one.number,
                    start_ns=None,
                    until_ns=None,
                    generation=0,
                    newest=None,
                    through=-1,
                )
                source = put_source(statements, new)
        made_by = version_name(whole.versions)
        rows = []
        carried = None
        parts_seen = (seen_of(findings, span[0]) for findings in findings_in(whole, self._store))
        for day, pieces in _by_day(parts_seen, span):
            carried, minutes = grow_all(carried, pieces)
            if day == day_of(span[1] - 1):
                minutes = Tallies.merge([minutes, settled(carried)], 1)
            parts = put_part(self._store, source, day, joined(pieces))
            rows.append(
                made_row(
                    day,
                    minutes,
                    [episode for piece in pieces for episode in piece.ended],
                    (),
                    parts=parts,
                    through=day,
                    segments=1,
                    made_by=made_by,
                    made_ns=now_ns,
                )
            )
        return msgspec.structs.replace(source, start_ns=span[0], until_ns=span[1]), rows


def _faster() -> Conflict:
    return Conflict("somebody was faster with these views.", where="views")


def _by_day(parts: Iterable[Seen], span: tuple[int, int]) -> Iterator[tuple[int, list[Seen]]]:
    """A recording day by day, from consecutive parts of it.

    What goes on at its end has ended there; it counts where it ends. How an episode ended may be decided in
    the part behind, so a day waits for that.
    """
    waiting: dict[int, list[Seen]] = {}
    day = day_of(span[0])
    for seen in parts:
        for of_day, piece in _pieces(seen, span, day):
            _add_piece(waiting.setdefault(of_day, []), piece)
        while day < day_of(int(seen.origin_ns + seen.first_cell * CELL_NS)):
            yield day, waiting.pop(day, [])
            day += 1
    while day <= day_of(span[1] - 1):
        yield day, waiting.pop(day, [])
        day += 1


def _add_piece(pieces: list[Seen], piece: Seen) -> None:
    """What was decided late belongs to what was there already."""
    if pieces and not piece.grid.size and not piece.cells.size:
        last = pieces.pop()
        piece = msgspec.structs.replace(
            last, ended=(*last.ended, *piece.ended), intervals=(*last.intervals, *piece.intervals)
        )
    pieces.append(piece)


def _pieces(seen: Seen, span: tuple[int, int], since: int) -> Iterator[tuple[int, Seen]]:
    """What a part says of each day, of none before ``since``."""
    ended = (*seen.ended, *(msgspec.structs.replace(one, end_ns=span[1]) for one in seen.going_on))
    last = day_of(span[1] - 1)

    def inside(day: int) -> int:
        return min(max(day, since), last)

    beat_day = np.clip(grid_ns(seen) // DAY_NS, since, last)
    cell_day = np.clip(cell_ns(seen) // DAY_NS, since, last)
    end_day = [inside(_day_of_end(one, span)) for one in ended]
    row_day = [inside(day_of(seen.origin_ns + row.minute * 60 * NS)) for row in seen.intervals]
    for day in sorted({*np.unique(beat_day).tolist(), *np.unique(cell_day).tolist(), *end_day, *row_day}):
        beats = beat_day == day
        cells = np.flatnonzero(cell_day == day)
        first = int(cells[0]) if cells.size else int(np.searchsorted(cell_day, day))
        yield (
            day,
            Seen(
                origin_ns=seen.origin_ns,
                grid=seen.grid[beats],
                classes=seen.classes[beats],
                confidences=seen.confidences[beats],
                first_cell=seen.first_cell + first,
                cells=seen.cells[cells],
                ended=tuple(one for one, of_day in zip(ended, end_day, strict=True) if of_day == day),
                intervals=tuple(
                    row for row, of_day in zip(seen.intervals, row_day, strict=True) if of_day == day
                ),
            ),
        )


def _day_of_end(one: Past, span: tuple[int, int]) -> int:
    end_ns = span[1] if one.end_ns is None else one.end_ns
    return day_of(min(end_ns, span[1] - 1))
