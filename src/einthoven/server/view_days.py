"""A day's views as they are kept: a row of the database, and objects with its beats and seconds."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec
import numpy as np

from einthoven.storage import ObjectStore
from einthoven.storage.view_rows import DayRow, SourceRow
from einthoven.views import (
    DAY,
    DAY_NS,
    GOES_ON,
    Past,
    Seen,
    Tallies,
    cell_ns,
    columns_of,
    edges_of,
    grid_ns,
    hours_of,
    pack_episodes,
    pack_part,
    pack_tallies,
    unpack_episodes,
    unpack_part,
    unpack_tallies,
)

__all__ = ["Part", "made_row", "moved", "parts_in", "put_part"]


class Part(NamedTuple):
    """An object with beats and seconds of a day."""

    name: str
    start_ns: int
    until_ns: int
    """No beat and no second in it begins then or later."""


def made_row(
    day: int,
    minutes: Tallies,
    ended: Sequence[Past],
    going_on: Sequence[Past],
    *,
    parts: Sequence[Part],
    through: int,
    segments: int,
    made_by: str,
    made_ns: int = 0,
    base: bytes = b"",
    carried: bytes = b"",
) -> DayRow:
    """A day as it is kept."""
    return DayRow(
        day=day,
        through=through,
        segments=segments,
        made_by=made_by,
        base=base,
        made_ns=made_ns,
        reach_ns=min((one.onset_ns for one in ended), default=2**62),
        edges=pack_tallies(edges_of(minutes, day), is_plain=True),
        hours=pack_tallies(hours_of(minutes, day), is_plain=True),
        ended=pack_episodes(columns_of(ended)),
        going_on=pack_episodes(columns_of(going_on)),
        parts=msgspec.msgpack.encode(parts),
        carried=carried,
        minutes=pack_tallies(minutes, is_plain=False),
    )


def _reach(seen: Seen) -> Iterator[np.int64]:
    """The first and the last of its times."""
    for times in (grid_ns(seen), cell_ns(seen)):
        if times.size:
            yield from (times[0], times[-1])


def parts_in(content: bytes) -> list[Part]:
    """Where the beats of a day lie."""
    return [Part(*one) for one in msgspec.msgpack.decode(content, type=list[tuple[str, int, int]])]


def moved(row: DayRow, days: int, source: SourceRow, store: ObjectStore) -> DayRow:
    """The same views at another date: a year of them is made in seconds, for whoever measures."""
    away_ns = days * DAY_NS
    ended, going_on = unpack_episodes([row.ended]).copy(), unpack_episodes([row.going_on]).copy()
    for episodes in (ended, going_on):
        episodes["onset_ns"] += away_ns
        episodes["end_ns"][episodes["end_ns"] != GOES_ON] += away_ns
    parts = []
    for part in parts_in(row.parts):
        stretches = [
            msgspec.structs.replace(one, origin_ns=one.origin_ns + away_ns)
            for one in unpack_part(store.get(part.name))
        ]
        parts.append(put_part(store, source, row.day + days, stretches))
    edges, hours, minutes = (
        msgspec.structs.replace(found, starts=found.starts + days * DAY)
        for found in map(unpack_tallies, (row.edges, row.hours, row.minutes))
    )
    return msgspec.structs.replace(
        row,
        day=row.day + days,
        reach_ns=row.reach_ns + away_ns,
        edges=pack_tallies(edges, is_plain=True),
        hours=pack_tallies(hours, is_plain=True),
        ended=pack_episodes(ended),
        going_on=pack_episodes(going_on),
        parts=msgspec.msgpack.encode([one for some in parts for one in some]),
        minutes=pack_tallies(minutes, is_plain=False),
    )


def put_part(store: ObjectStore, source: SourceRow, day: int, stretches: Sequence[Seen]) -> list[Part]:
    """Keep beats and seconds as an object."""
    times = [int(edge) for one in stretches for edge in _reach(one)]
    if not times:
        return []
    content = pack_part(stretches)
    digest = blake2b(content, digest_size=16).hexdigest()
    name = f"views/{source.org}/{source.id}/{day}/{digest}.beats"
    store.create(name, content)
    return [Part(name, min(times), max(times) + 1)]
