"""From the journal into the master dataset: samples that have waited long enough, or are many enough.

First the container is safe in the object store, then small transactions note where its segments lie and take
them out of the journal. A crash before the first leaves a container that the next attempt makes again, byte
for byte, under the same name. A crash between two of them leaves segments that are sealed once more, in
another container; whoever reads takes either.
"""

import time
from collections.abc import Callable
from typing import Final

from einthoven.server.metrics import METRICS
from einthoven.storage.database import Connection, Row
from einthoven.storage.dataset import MasterDataset
from einthoven.storage.view_rows import mark_due
from einthoven.views import DAY_NS

__all__ = ["Sealer"]

_TYPICAL_BYTES: Final = 2500
"""Of one block; how many make an object is estimated with it."""
_MOST: Final = 20_000
_TOGETHER: Final = 512
_PAUSE_S: Final = 0.002
_NS: Final = 10**9


class Sealer:
    """A job; for one thread.

    Parameters
    ----------
    after_s : samples that waited so long are sealed.
    bytes_ : so many are sealed at once.
    """

    def __init__(
        self,
        dataset: MasterDataset,
        *,
        after_s: float,
        bytes_: int,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._pause = pause
        self._dataset = dataset
        self._after_ns = round(after_s * _NS)
        self._count = min(_MOST, max(1, bytes_ // _TYPICAL_BYTES))

    def seal(self, connection: Connection, now_ns: int) -> int:
        """Seal one batch if it is due; how many segments it was."""
        rows = self._due(connection, now_ns)
        if not rows:
            return 0
        streams = {(row[0], row[1]): row[2] for row in rows}
        sealed = self._dataset.seal_blocks(row[3] for row in rows)
        done = 0
        for one in sealed:
            with connection.writing() as statements:
                number = statements.rows(
                    "INSERT INTO objects (name, org, bytes, segments, made_ns) VALUES (?, ?, ?, ?, ?) "
                    "ON CONFLICT (name) DO UPDATE SET made_ns = excluded.made_ns RETURNING id",
                    (one.name, one.name.split("/")[1], one.size, len(one.entries), now_ns),
                )[0][0]
            for first in range(0, len(one.entries), _TOGETHER):
                places = [
                    (number, entry.offset, streams[entry.org, (entry.device, entry.sequence)], entry.sequence)
                    for entry in one.entries[first : first + _TOGETHER]
                ]
                days = {
                    (place[2], entry.start_ns // DAY_NS)
                    for place, entry in zip(places, one.entries[first:], strict=False)
                }
                self._move(connection, places, days, now_ns)
                done += len(places)
        METRICS.sealed.inc(done)
        return done

    def _move(
        self,
        connection: Connection,
        places: list[tuple[int, int, int, int]],
        days: set[tuple[int, int]],
        now_ns: int,
    ) -> None:
        """Out of the journal; a few at a time, and then others have their turn."""
        with connection.writing() as statements:
            statements.run_many(
                "UPDATE segments SET object = ?, place = ? WHERE stream = ? AND sequence = ?", places
            )
            statements.run_many(
                "DELETE FROM journal WHERE stream = ? AND sequence = ?",
                [(stream, sequence) for _, _, stream, sequence in places],
            )
            mark_due(statements, days, now_ns)
        self._pause(_PAUSE_S)

    def _due(self, connection: Connection, now_ns: int) -> list[Row]:
        """Organisation, (device, sequence), stream and block of what is to be sealed now, oldest first."""
        with connection.reading() as statements:
            oldest = statements.rows("SELECT received_ns FROM journal ORDER BY received_ns LIMIT 1")
            if not oldest:
                return []
            is_old = oldest[0][0] <= now_ns - self._after_ns
            is_full = bool(
                statements.rows(
                    "SELECT received_ns FROM journal ORDER BY received_ns LIMIT 1 OFFSET ?", (self._count,)
                )
            )
            if not is_old and not is_full:
                return []
            rows = statements.rows(
                "SELECT t.org, t.device, j.sequence, j.stream, j.block FROM journal j "
                "JOIN segments s ON s.stream = j.stream AND s.sequence = j.sequence "
                "JOIN streams t ON t.id = j.stream "
                "WHERE s.status <> 'accepted' ORDER BY j.received_ns LIMIT ?",
                (self._count,),
            )
        return [(org, (device, sequence), stream, block) for org, device, sequence, stream, block in rows]
