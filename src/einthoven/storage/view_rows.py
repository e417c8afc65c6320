"""The rows of batch views and real-time views, as bytes; what they mean is said by `einthoven.views`.

A *source* is one stream, or one recording that was uploaded whole. Its batch views have a generation: another
one can be made beside the one that is asked, and takes its place in one step.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from einthoven.storage.database import Row, Statements, within

__all__ = [
    "DayRow",
    "DayTraits",
    "Due",
    "LiveRow",
    "SourceRow",
    "advance_source",
    "day_row",
    "day_traits",
    "delete_live",
    "drop_days",
    "due_days",
    "finish_due",
    "forget_waste",
    "live_row",
    "mark_due",
    "name_versions",
    "part_names",
    "put_day",
    "put_live",
    "put_source",
    "put_waste",
    "recordings_in_views",
    "rows_between",
    "source_of_recording",
    "source_of_stream",
    "sources_of",
    "versions_named",
    "waste_before",
]


class SourceRow(msgspec.Struct, frozen=True):
    """What views are made of."""

    id: int
    org: str
    patient: str
    device: str
    stream: int | None
    recording: int | None
    start_ns: int | None
    """A recording's span."""
    until_ns: int | None
    generation: int
    """Of the batch views that are asked."""
    newest: int | None
    """The day up to which they go."""
    through: int
    """The segment, by sequence, up to which they go; -1 for none."""
    version: int = 0
    """One more with each change of them."""


class DayTraits(msgspec.Struct, frozen=True):
    """A day of a source without its contents."""

    day: int
    through: int
    segments: int
    made_by: str
    base: bytes
    """Digest of what the day before left."""


class DayRow(DayTraits, frozen=True, kw_only=True):
    """A day of a source."""

    made_ns: int
    reach_ns: int
    """Onset of the earliest episode that ended in it."""
    edges: bytes
    hours: bytes
    ended: bytes
    going_on: bytes
    parts: bytes
    carried: bytes
    minutes: bytes


class LiveRow(msgspec.Struct, frozen=True):
    """The real-time view of a stream."""

    version: int
    """Of the batch views that it goes on from: it counts with no others."""
    through: int
    made_by: str
    carried: bytes
    minutes: bytes
    ended: bytes
    going_on: bytes


class Due(msgspec.Struct, frozen=True):
    """A day of a stream of which something came into the master dataset."""

    stream: int
    day: int
    since_ns: int


_SOURCE: Final = ", ".join(SourceRow.__struct_fields__)
_TRAITS: Final = ", ".join(DayTraits.__struct_fields__)
_DAY: Final = ", ".join(DayRow.__struct_fields__)
_LIVE: Final = ", ".join(LiveRow.__struct_fields__)


def sources_of(statements: Statements, org: str, patient: str, device: str | None = None) -> list[SourceRow]:
    """What a patient's views are made of, of one device or of all."""
    which, values = ("", (org, patient)) if device is None else (" AND device = ?", (org, patient, device))
    sql = f"SELECT {_SOURCE} FROM view_sources WHERE org = ? AND patient = ?{which} ORDER BY id"  # noqa: S608
    return [SourceRow(*row) for row in statements.rows(sql, values)]


def source_of_stream(statements: Statements, stream: int) -> SourceRow | None:
    """The source that is this stream."""
    rows = statements.rows(f"SELECT {_SOURCE} FROM view_sources WHERE stream = ?", (stream,))  # noqa: S608
    return SourceRow(*rows[0]) if rows else None


def source_of_recording(statements: Statements, recording: int) -> SourceRow | None:
    """The source that is this recording."""
    rows = statements.rows(f"SELECT {_SOURCE} FROM view_sources WHERE recording = ?", (recording,))  # noqa: S608
    return SourceRow(*rows[0]) if rows else None


def recordings_in_views(statements: Statements, org: str) -> list[SourceRow]:
    """The sources of an organisation that are recordings."""
    sql = f"SELECT {_SOURCE} FROM view_sources WHERE org = ? AND recording IS NOT NULL ORDER BY id"  # noqa: S608
    return [SourceRow(*row) for row in statements.rows(sql, (org,))]


def put_source(statements: Statements, source: SourceRow) -> SourceRow:
    """Keep a new source, and give it its number."""
    fields = SourceRow.__struct_fields__[1:]
    marks = ", ".join("?" * len(fields))
    rows = statements.rows(
        f"INSERT INTO view_sources ({', '.join(fields)}) VALUES ({marks}) RETURNING id",  # noqa: S608
        msgspec.structs.astuple(source)[1:],
    )
    return msgspec.structs.replace(source, id=int(rows[0][0]))


def advance_source(statements: Statements, before: SourceRow, after: SourceRow) -> bool:
    """Say how far a source's views go now; False, and nothing done, if they no longer are as they were."""
    changed = statements.run(
        "UPDATE view_sources SET generation = ?, newest = ?, through = ?, start_ns = ?, until_ns = ?, "
        "version = version + 1 WHERE id = ? AND version = ?",
        (
            *(after.generation, after.newest, after.through, after.start_ns, after.until_ns),
            *(before.id, before.version),
        ),
    )
    return changed == 1


def day_traits(statements: Statements, source: int, generation: int) -> list[DayTraits]:
    """The days of one generation, in order, without their contents."""
    rows = statements.rows(
        f"SELECT {_TRAITS} FROM view_days WHERE source = ? AND generation = ? ORDER BY day",  # noqa: S608
        (source, generation),
    )
    return [DayTraits(*row) for row in rows]


def day_row(statements: Statements, source: int, generation: int, day: int) -> DayRow | None:
    """One day, or None."""
    rows = statements.rows(
        f"SELECT {_DAY} FROM view_days WHERE source = ? AND generation = ? AND day = ?",  # noqa: S608
        (source, generation, day),
    )
    return DayRow(**dict(zip(DayRow.__struct_fields__, rows[0], strict=True))) if rows else None


def put_day(statements: Statements, source: int, generation: int, row: DayRow) -> None:
    """Keep a day, in the place of what was there of it."""
    statements.run(
        "DELETE FROM view_days WHERE source = ? AND generation = ? AND day = ?", (source, generation, row.day)
    )
    marks = ", ".join("?" * (2 + len(DayRow.__struct_fields__)))
    statements.run(
        f"INSERT INTO view_days (source, generation, {_DAY}) VALUES ({marks})",  # noqa: S608
        (source, generation, *msgspec.structs.astuple(row)),
    )


def drop_days(statements: Statements, source: int, *, but: int) -> None:
    """Remove all generations but one."""
    statements.run("DELETE FROM view_days WHERE source = ? AND generation <> ?", (source, but))


def part_names(statements: Statements, source: int) -> list[bytes]:
    """What the days of all generations say of the objects where their beats lie."""
    rows = statements.rows("SELECT parts FROM view_days WHERE source = ?", (source,))
    return [row[0] for row in rows]


def live_row(statements: Statements, source: SourceRow) -> LiveRow | None:
    """The real-time view that goes on from a source's batch views as they are, or None."""
    rows = statements.rows(
        f"SELECT {_LIVE} FROM view_live WHERE source = ? AND version = ?",  # noqa: S608
        (source.id, source.version),
    )
    return LiveRow(*rows[0]) if rows else None


def put_live(statements: Statements, source: int, row: LiveRow) -> None:
    """Keep the real-time view of a source."""
    fields = LiveRow.__struct_fields__
    settings = ", ".join(f"{field} = excluded.{field}" for field in fields)
    marks = ", ".join("?" * (1 + len(fields)))
    statements.run(
        f"INSERT INTO view_live (source, {_LIVE}) VALUES ({marks}) "  # noqa: S608
        f"ON CONFLICT (source) DO UPDATE SET {settings}",
        (source, *msgspec.structs.astuple(row)),
    )


def delete_live(statements: Statements, source: int) -> None:
    """Drop the real-time view: batch covers it."""
    statements.run("DELETE FROM view_live WHERE source = ?", (source,))


def mark_due(statements: Statements, days: Iterable[tuple[int, int]], now_ns: int) -> None:
    """Something of these (stream, day) came into the master dataset."""
    statements.run_many(
        "INSERT INTO view_due (stream, day, since_ns) VALUES (?, ?, ?) ON CONFLICT (stream, day) DO NOTHING",
        [(*one, now_ns) for one in sorted(days)],
    )


def due_days(statements: Statements, before_ns: int, limit: int) -> list[Due]:
    """What has been due since then or longer, the longest first."""
    rows = statements.rows(
        "SELECT stream, day, since_ns FROM view_due WHERE since_ns <= ? "
        "ORDER BY since_ns, stream, day LIMIT ?",
        (before_ns, limit),
    )
    return [Due(*row) for row in rows]


def finish_due(statements: Statements, done: Iterable[Due]) -> None:
    """It was seen to."""
    statements.run_many(
        "DELETE FROM view_due WHERE stream = ? AND day = ? AND since_ns = ?",
        [msgspec.structs.astuple(one) for one in done],
    )


def put_waste(statements: Statements, names: Iterable[str], now_ns: int) -> None:
    """These objects are no longer needed; whoever is reading them may finish."""
    statements.run_many(
        "INSERT INTO view_waste (name, since_ns) VALUES (?, ?) ON CONFLICT (name) DO NOTHING",
        [(name, now_ns) for name in sorted(names)],
    )


def waste_before(statements: Statements, before_ns: int, limit: int) -> list[str]:
    """Objects that have not been needed since then."""
    rows = statements.rows("SELECT name FROM view_waste WHERE since_ns <= ? LIMIT ?", (before_ns, limit))
    return [row[0] for row in rows]


def forget_waste(statements: Statements, names: Iterable[str]) -> None:
    """They were seen to."""
    statements.run_many("DELETE FROM view_waste WHERE name = ?", [(name,) for name in names])


def name_versions(statements: Statements, name: str, content: bytes) -> None:
    """Keep what a name of versions stands for."""
    statements.run(
        "INSERT INTO function_versions (name, content) VALUES (?, ?) ON CONFLICT (name) DO NOTHING",
        (name, content),
    )


def versions_named(statements: Statements, names: Sequence[str]) -> dict[str, bytes]:
    """What names of versions stand for."""
    if not names:
        return {}
    rows = statements.rows(
        within("SELECT name, content FROM function_versions WHERE name IN (*)", len(names)), names
    )
    return dict(rows)


def rows_between(
    statements: Statements,
    source: int,
    generation: int,
    first: int,
    last: int,
    columns: str,
    *,
    but: int | None = None,
    reach_ns: int | None = None,
) -> list[Row]:
    """Some columns of a source's days ``first`` to ``last``, both included, in order.

    Parameters
    ----------
    but : a day that is left out.
    reach_ns : days with an episode that began before this.
    """
    sql = (
        f"SELECT {columns} FROM view_days "  # noqa: S608 - fixed texts
        "WHERE source = ? AND generation = ? AND day BETWEEN ? AND ?"
    )
    values = [source, generation, first, last]
    for condition, value in ((" AND day <> ?", but), (" AND reach_ns < ?", reach_ns)):
        if value is not None:
            sql += condition
            values.append(value)
    return statements.rows(f"{sql} ORDER BY day", values)
