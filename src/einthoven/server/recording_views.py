"""Views of recordings that were uploaded whole: what their workflow found, at their place in time.

A recording is more than what a device sent of it piece by piece: where one covers a span, it counts, and the
stream of the same device does not. Both change in one transaction, so that nothing ever counts twice.
"""

import logging
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from einthoven.errors import Conflict
from einthoven.runtime.invocation import fetch
from einthoven.server.batch_views import BatchLayer, Made
from einthoven.server.view_days import made_row, put_part
from einthoven.server.wire import version_name
from einthoven.signal.findings import Findings
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
    grow,
    joined,
    seen_of,
    settled,
)
from einthoven.views.seen import NS

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
        findings = fetch(one.result, self._store).findings
        if findings is None:
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
        source, made = self._made(connection, one, findings, span, now_ns)
        try:
            with connection.writing() as statements:
                self._put(statements, one, source, made, room, now_ns)
                name_versions(
                    statements, version_name(findings.versions), msgspec.json.encode(findings.versions)
                )
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
        findings: Findings,
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
        made_by = version_name(findings.versions)
        rows = []
        carried = None
        pieces = _by_day(seen_of(findings, span[0]), span)
        for number, (day, seen) in enumerate(pieces):
            carried, minutes = grow(carried, seen)
            if number == len(pieces) - 1:
                minutes = Tallies.merge([minutes, settled(carried)], 1)
            parts = put_part(self._store, source, day, joined([seen]))
            rows.append(
                made_row(
                    day,
                    minutes,
                    seen.ended,
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


def _by_day(seen: Seen, span: tuple[int, int]) -> list[tuple[int, Seen]]:
    """A recording day by day. What goes on at its end has ended there; it counts where it ends."""
    ended = (*seen.ended, *(msgspec.structs.replace(one, end_ns=span[1]) for one in seen.going_on))
    beat_day, cell_day = grid_ns(seen) // DAY_NS, cell_ns(seen) // DAY_NS
    found = []
    for day in range(day_of(span[0]), day_of(span[1] - 1) + 1):
        beats = beat_day == day
        cells = np.flatnonzero(cell_day == day)
        first = int(cells[0]) if cells.size else int(np.searchsorted(cell_day, day))
        piece = Seen(
            origin_ns=seen.origin_ns,
            grid=seen.grid[beats],
            classes=seen.classes[beats],
            confidences=seen.confidences[beats],
            first_cell=seen.first_cell + first,
            cells=seen.cells[cells],
            ended=tuple(one for one in ended if _day_of_end(one, span) == day),
            intervals=tuple(
                row for row in seen.intervals if day_of(seen.origin_ns + row.minute * 60 * NS) == day
            ),
        )
        found.append((day, piece))
    return found


def _day_of_end(one: Past, span: tuple[int, int]) -> int:
    end_ns = span[1] if one.end_ns is None else one.end_ns
    return day_of(min(end_ns, span[1] - 1))
