"""The batch layer: views of each stream, day by day, from the master dataset.

The segments of a day are replayed in the order of their numbers through the very functions of the online
path, from the state that the day before left. So what came late stands in its place, what came twice counts
once, and a stream that came in order gives what was answered online. A day to which only something was added
goes on from where it stood; any other is replayed from its beginning, and the days behind it as long as what
is left to them differs from what they began with. All of it is committed at once.

What is to be done is a list in the database that the sealer writes as segments enter the master dataset.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import cached_property
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec
import numpy as np

from einthoven.errors import CallerError, Conflict, DefectError, EinthovenError, StateUnreadable
from einthoven.functions import Ecg, PatientState, analyse, decode_state, encode_state
from einthoven.runtime.online import Advanced, Placed, Stream, advance_all, place
from einthoven.server.kept_segments import segment_kept
from einthoven.server.logs import place_of
from einthoven.server.metrics import METRICS
from einthoven.server.view_days import made_row, parts_in, put_part
from einthoven.server.wire import version_name
from einthoven.signal.rules import Criteria
from einthoven.storage import Connection, MasterDataset, ObjectStore, Statements
from einthoven.storage.spans import Located
from einthoven.storage.view_rows import (
    DayRow,
    DayTraits,
    Due,
    SourceRow,
    advance_source,
    day_row,
    day_traits,
    delete_live,
    drop_days,
    due_days,
    finish_due,
    forget_waste,
    name_versions,
    part_names,
    put_day,
    put_source,
    put_waste,
    source_of_stream,
    sources_of,
    waste_before,
)
from einthoven.views import (
    DAY_NS,
    Carried,
    Past,
    Seen,
    Tallies,
    day_of,
    grow_all,
    joined,
    outside,
    pack_carried,
    rows_of,
    seen_of,
    unpack_carried,
    unpack_episodes,
    unpack_tallies,
)

__all__ = [
    "BatchLayer",
    "Limits",
    "Made",
    "Progress",
    "carried_views",
    "covered_by_recordings",
]

_LOG: Final = logging.getLogger("einthoven.views")
_TOGETHER: Final = 16
"""Streams that are replayed side by side."""
_PORTION: Final = 120
"""Segments of a stream that are in memory at once."""
_NS: Final = 10**9
_GRACE_NS: Final = 600 * _NS
"""So long may an object be read by whoever learnt its name before it was replaced."""
_WASTE_AT_ONCE: Final = 200

Limits = Callable[[Statements, str, str], Criteria | None]
"""Limits of the rhythm rules for a patient."""


class Progress(NamedTuple):
    """How far a rebuild is."""

    stream: int
    day: int
    """Days that are done of this stream."""
    days: int


class _Followed(msgspec.Struct, frozen=True):
    """A stream as the batch layer needs it."""

    id: int
    org: str
    patient: str
    device: str


class _Left(msgspec.Struct, frozen=True, array_like=True):
    """What a day leaves to the next."""

    stream: Stream | None
    state: bytes
    views: bytes


_NOTHING: Final = msgspec.msgpack.encode(_Left(None, b"", b""))
_Asked = tuple[Sequence[Placed], PatientState]
_Replay = Generator[_Asked, Advanced | EinthovenError, "Made"]


class Made(NamedTuple):
    """Days that are to be committed, and the objects that they no longer need."""

    rows: list[DayRow]
    needless: set[str]


class BatchLayer:
    """Makes batch views; for one thread at a time.

    Parameters
    ----------
    limits : of the rhythm rules, as they are in force now.
    after_s : something that came into the master dataset waits so long for more.
    """

    def __init__(
        self, dataset: MasterDataset, store: ObjectStore, limits: Limits, *, after_s: float = 0.0
    ) -> None:
        self._dataset = dataset
        self._store = store
        self._limits = limits
        self._after_ns = round(after_s * _NS)

    @cached_property
    def versions(self) -> dict[str, str]:
        """The versions of the functions, as they are now."""
        result, _ = analyse(Ecg(samples=np.empty(0, np.int32)), PatientState())
        return result.versions

    @cached_property
    def made_by(self) -> str:
        """The name of all versions together."""
        return version_name(self.versions)

    def refresh(self, connection: Connection, now_ns: int) -> int:
        """See to what is due of a few streams; how many days of streams it was."""
        with connection.reading() as statements:
            waiting = due_days(statements, now_ns, _TOGETHER)
        METRICS.views_behind.set((now_ns - waiting[0].since_ns) / _NS if waiting else 0.0)
        due = [one for one in waiting if one.since_ns <= now_ns - self._after_ns]
        return self._see_to(connection, due, now_ns)

    def rebuild(
        self, connection: Connection, stream: int, now_ns: int, told: Callable[[Progress], object]
    ) -> int:
        """Make all views of a stream anew, beside those that are asked, and let them take their place.

        What an earlier attempt made with the same versions is kept. Returns the days that were made.

        Raises
        ------
        DatabaseUnavailable, StoreUnavailable : begun again, it goes on.
        """
        followed, source = self._source(connection, stream)
        generation = source.generation + 1
        with connection.writing() as statements:
            made = day_traits(statements, source.id, generation)
            if any(one.made_by != self.made_by for one in made):
                drop_days(statements, source.id, but=source.generation)
                made = []
        done = {one.day for one in made}
        days = self._days(connection, stream)
        count = 0
        for number, day in enumerate(days):
            if day not in done:
                count += self._rebuild_days(connection, followed, source, [day], now_ns)
            told(Progress(stream, number + 1, len(days)))
        # Meanwhile the views that are asked may have gone on.
        tried: set[tuple[int, int]] = set()
        while (behind := self._switch(connection, stream, source, tried, now_ns)) is not None:
            count += self._rebuild_days(
                connection, followed, source, sorted(day for day, _ in behind), now_ns
            )
            tried |= behind
        return count

    @staticmethod
    def _days(connection: Connection, stream: int) -> list[int]:
        """On which something was sealed; a clock may have been years away."""
        with connection.reading() as statements:
            rows = statements.rows(_DAYS, (DAY_NS, stream))
        return [int(row[0]) for row in rows]

    def _rebuild_days(
        self, connection: Connection, followed: _Followed, source: SourceRow, days: Sequence[int], now_ns: int
    ) -> int:
        generation = source.generation + 1
        (made,) = _drive([self._replay(connection, followed, source, generation, days)])
        if isinstance(made, EinthovenError):
            raise made
        with connection.writing() as statements:
            for row in made.rows:
                put_day(statements, source.id, generation, msgspec.structs.replace(row, made_ns=now_ns))
            put_waste(statements, made.needless, now_ns)
            self._name(statements)
        return len(made.rows)

    @staticmethod
    def _switch(
        connection: Connection, stream: int, source: SourceRow, tried: set[tuple[int, int]], now_ns: int
    ) -> set[tuple[int, int]] | None:
        """Let the next generation take the place of the one that is asked.

        If that has days with more segments: those, and how many; but what was tried has no more any longer.
        """
        generation = source.generation + 1
        with connection.writing() as statements:
            now = source_of_stream(statements, stream)
            if now is None or now.generation != source.generation:
                raise Conflict(
                    "another process made these views anew.", where="views", remedy="Nothing needs doing."
                )
            asked = day_traits(statements, source.id, source.generation)
            made = {one.day: one for one in day_traits(statements, source.id, generation)}
            behind = {
                (one.day, one.segments)
                for one in asked
                if one.day not in made or made[one.day].segments < one.segments
            }
            if behind - tried:
                return behind - tried
            before = _names(part_names(statements, source.id))
            newest = max(made.values(), key=lambda row: row.through, default=None)
            if not advance_source(statements, now, _advanced(source, generation, newest)):
                return set()  # somebody was faster just now
            drop_days(statements, source.id, but=generation)
            delete_live(statements, source.id)
            put_waste(statements, before - _names(part_names(statements, source.id)), now_ns)
        return None

    def making_room(
        self, connection: Connection, stream: int, span: tuple[int, int]
    ) -> tuple[SourceRow, Made]:
        """The days of a stream as they are when a recording covers a span (UTC, ns); nothing is kept yet.

        Raises
        ------
        DatabaseUnavailable, StoreUnavailable : try again.
        """
        followed, source = self._source(connection, stream)
        with connection.reading() as statements:
            known = day_traits(statements, source.id, source.generation)
        days = [one.day for one in known if day_of(span[0]) - 1 <= one.day <= day_of(span[1]) + 1]
        replay = self._replay(connection, followed, source, source.generation, days, also_covered=[span])
        (made,) = _drive([replay])
        if isinstance(made, EinthovenError):
            raise made
        return source, made

    def tidy(self, connection: Connection, now_ns: int) -> int:
        """Delete objects that views no longer need, and that nobody can be reading any more; how many."""
        with connection.reading() as statements:
            names = waste_before(statements, now_ns - _GRACE_NS, _WASTE_AT_ONCE)
            sources = {int(name.split("/")[2]) for name in names}
            needed = {name for source in sources for name in _names(part_names(statements, source))}
        for name in names:
            if name not in needed:
                self._store.delete(name)
        with connection.writing() as statements:
            forget_waste(statements, names)
        return len(names)

    # ---------------------------------------------------------------- what is due

    def _see_to(self, connection: Connection, due: Sequence[Due], now_ns: int) -> int:
        """Replay and commit, each stream by itself: what is wrong with one is not the others' fault."""
        by_stream: dict[int, list[Due]] = defaultdict(list)
        for one in due:
            by_stream[one.stream].append(one)
        sources = {stream: self._source(connection, stream) for stream in by_stream}
        replays = [
            self._replay(
                connection, followed, source, source.generation, [one.day for one in by_stream[stream]]
            )
            for stream, (followed, source) in sources.items()
        ]
        for (stream, (_, source)), made in zip(sources.items(), _drive(replays), strict=True):
            if isinstance(made, EinthovenError):
                _LOG.error("views of a stream could not be made", extra={"code": made.code})
                self._put_off(connection, by_stream[stream], now_ns)
                continue
            self._commit(connection, source, made, by_stream[stream], now_ns)
            METRICS.view_days.inc(len(made.rows))
        return len(due)

    def _commit(
        self, connection: Connection, source: SourceRow, made: Made, due: Sequence[Due], now_ns: int
    ) -> None:
        with connection.writing() as statements:
            if self.keep(statements, source, made, now_ns):
                finish_due(statements, due)
                self._name(statements)

    @staticmethod
    def keep(statements: Statements, source: SourceRow, made: Made, now_ns: int) -> bool:
        """Put days in the place of what was there; False, and nothing done, if others took their place."""
        if made.rows:
            newest: DayTraits = max(made.rows, key=lambda row: row.through)
            if newest.through < source.through:  # the newest one is another, and stays
                rows = day_traits(statements, source.id, source.generation)
                newest = max(rows, key=lambda row: row.through)
            if not advance_source(statements, source, _advanced(source, source.generation, newest)):
                return False
            delete_live(statements, source.id)
        for row in made.rows:
            put_day(statements, source.id, source.generation, msgspec.structs.replace(row, made_ns=now_ns))
        put_waste(statements, made.needless, now_ns)
        return True

    def _name(self, statements: Statements) -> None:
        name_versions(statements, self.made_by, msgspec.json.encode(self.versions))

    @staticmethod
    def _put_off(connection: Connection, due: Sequence[Due], now_ns: int) -> None:
        """Let others have their turn; it is tried again."""
        with connection.writing() as statements:
            statements.run_many(
                "UPDATE view_due SET since_ns = ? WHERE stream = ? AND day = ?",
                [(now_ns, one.stream, one.day) for one in due],
            )

    @staticmethod
    def _source(connection: Connection, stream: int) -> tuple[_Followed, SourceRow]:
        """The stream and its source, which is made where there is none."""
        with connection.writing() as statements:
            rows = statements.rows("SELECT id, org, patient, device FROM streams WHERE id = ?", (stream,))
            followed = _Followed(*rows[0])
            source = source_of_stream(statements, stream)
            if source is None:
                new = SourceRow(
                    id=0,
                    org=followed.org,
                    patient=followed.patient,
                    device=followed.device,
                    stream=stream,
                    recording=None,
                    start_ns=None,
                    until_ns=None,
                    generation=1,
                    newest=None,
                    through=-1,
                )
                source = put_source(statements, new)
        return followed, source

    # ---------------------------------------------------------------- replay

    def _replay(
        self,
        connection: Connection,
        followed: _Followed,
        source: SourceRow,
        generation: int,
        days: Sequence[int],
        *,
        also_covered: Sequence[tuple[int, int]] = (),
    ) -> _Replay:
        """Make these days of a stream, and those behind them that come out otherwise.

        Parameters
        ----------
        also_covered : spans that a recording is about to cover; the days are made anew for it.
        """
        with connection.reading() as statements:
            traits = {one.day: one for one in day_traits(statements, source.id, generation)}
            covered = [*covered_by_recordings(statements, source), *also_covered]
            criteria = self._limits(statements, followed.org, followed.patient)
        made: dict[int, DayRow] = {}
        needless: set[str] = set()
        pending = sorted(set(days))
        while pending:
            day = pending.pop(0)
            known = traits.keys() | made.keys()
            before = max((one for one in known if one < day), default=None)
            with connection.reading() as statements:
                left = _NOTHING
                if before is not None:
                    left = (
                        made[before].carried
                        if before in made
                        else self._left(statements, source.id, generation, before)
                    )
                old = day_row(statements, source.id, generation, day) if day in traits else None
                segments = self._segments(statements, followed, day)
            is_anew = bool(also_covered) and day in days
            work = _Day(day, None if is_anew else old, left, segments, covered, criteria)
            row = yield from self._day(source, work)
            if row is None:
                continue
            made[day] = row
            if old is not None:
                needless |= _names([old.parts]) - _names([row.parts])
            following = min((one for one in traits if one > day), default=None)
            if (
                following is not None
                and following not in pending
                and traits[following].base != _digest(row.carried)
            ):
                pending.insert(0, following)
        return Made(list(made.values()), needless)

    @staticmethod
    def _left(statements: Statements, source: int, generation: int, day: int) -> bytes:
        row = day_row(statements, source, generation, day)
        return _NOTHING if row is None else row.carried

    def _segments(self, statements: Statements, followed: _Followed, day: int) -> "_Segments":
        """The segments of a day, in the order of their numbers, each once."""
        found = self._dataset.find(
            followed.org, followed.patient, day * DAY_NS, (day + 1) * DAY_NS, device=followed.device
        )
        once = {
            one.entry.sequence: one
            for one in sorted(found, key=lambda one: one.name, reverse=True)
            if one.entry.start_ns // DAY_NS == day
        }
        located = [once[sequence] for sequence in sorted(once)]
        last: set[int] = set()
        if located:
            span = (followed.id, located[0].entry.sequence, located[-1].entry.sequence)
            last = {row[0] for row in statements.rows(_LAST_ONES, span)}
        return _Segments(located, frozenset(last))

    def _day(
        self, source: SourceRow, work: "_Day"
    ) -> Generator[_Asked, Advanced | EinthovenError, DayRow | None]:
        """One day anew, or what was added to it; None if nothing was."""
        day, old, located = work.day, work.old, work.segments.located
        base = _digest(work.left)
        standing = 0
        if old is not None and (old.base, old.made_by) == (base, self.made_by):
            standing = sum(one.entry.sequence <= old.through for one in located)
            standing = standing if standing == old.segments else 0
        if standing == len(located):
            return None
        minutes, ended, parts = Tallies.none(), [], []
        left = msgspec.msgpack.decode(work.left, type=_Left)
        going_on: tuple[Past, ...] = ()
        if old is not None and standing:
            left = msgspec.msgpack.decode(old.carried, type=_Left)
            minutes = unpack_tallies(old.minutes)
            ended, going_on = (
                rows_of(unpack_episodes([old.ended])),
                tuple(rows_of(unpack_episodes([old.going_on]))),
            )
            parts = parts_in(old.parts)
        stream, state, views = _resumed(left)
        seen: list[Seen] = []
        for portion in _portions(located[standing:]):
            placed, stream = self._placed(portion, stream, work)
            if not placed:
                continue
            answer = yield placed, state
            if isinstance(answer, EinthovenError):
                raise answer
            state = answer.state
            for one, findings in zip(placed, answer.findings, strict=True):
                going_on = ()
                for piece in outside(seen_of(findings, one.after.start_ns), work.covered):
                    seen.append(piece)
                    ended += piece.ended
                    going_on += piece.going_on
        stretches = joined(seen)
        views, more = grow_all(views, stretches)
        minutes = Tallies.merge([minutes, more], 1)
        part = put_part(self._store, source, day, stretches)
        carried = msgspec.msgpack.encode(_Left(stream, encode_state(state), pack_carried(views)))
        return made_row(
            day,
            minutes,
            ended,
            going_on,
            parts=parts + part,
            through=located[-1].entry.sequence,
            segments=len(located),
            made_by=self.made_by,
            base=base,
            carried=carried,
        )

    def _placed(
        self, portion: Sequence[Located], stream: Stream | None, work: "_Day"
    ) -> tuple[list[Placed], Stream | None]:
        """Segments at their places. What a stream leaves open is decided where it begins anew."""
        placed: list[Placed] = []
        for entry, kept in self._dataset.segments(portion):
            if kept is None:
                _LOG.error("a damaged segment is left out of the views")
                continue
            is_last = entry.sequence in work.segments.last
            try:
                one = place(stream, segment_kept(kept), is_last=is_last, criteria=work.criteria)
            except CallerError as error:
                _LOG.warning("a segment is left out of the views", extra={"code": error.code})
                continue
            if one.is_begin and stream is not None:
                placed.append(_end_of(stream, work.criteria))
            placed.append(one)
            stream = one.after
        return placed, stream


class _Segments(NamedTuple):
    located: list[Located]
    last: frozenset[int]
    """Those with which their device said that it ends."""


class _Day(NamedTuple):
    """What is known before a day is replayed."""

    day: int
    old: DayRow | None
    left: bytes
    segments: _Segments
    covered: list[tuple[int, int]]
    """Spans in which a recording that was uploaded counts, not the stream."""
    criteria: Criteria | None


_DAYS: Final = (
    "SELECT DISTINCT start_ns / ? AS day FROM segments WHERE stream = ? AND object IS NOT NULL ORDER BY day"
)
_LAST_ONES: Final = (
    "SELECT sequence FROM segments WHERE stream = ? AND sequence BETWEEN ? AND ? AND is_last = 1"
)


def _resumed(left: _Left) -> tuple[Stream | None, PatientState, Carried | None]:
    """What a day goes on from. A state of an earlier program is not read: the stream begins anew there."""
    if not left.state:
        return None, PatientState(), None
    try:
        return left.stream, decode_state(left.state), unpack_carried(left.views)
    except StateUnreadable:
        _LOG.warning("a patient state of another version ends here; `einthoven views rebuild` mends it")
        return None, PatientState(), None


def _names(contents: Iterable[bytes]) -> set[str]:
    return {part.name for content in contents for part in parts_in(content)}


def _drive(replays: Sequence[_Replay]) -> list[Made | EinthovenError]:
    """Perform replays side by side: their analysis shares the cost of each step."""
    results: dict[int, Made | EinthovenError] = {}
    asked: dict[int, _Asked] = {}

    def go_on(number: int, answer: Advanced | EinthovenError | None) -> None:
        try:
            asked[number] = replays[number].send(answer)  # type: ignore[arg-type]
        except StopIteration as end:
            results[number] = end.value
        except EinthovenError as error:
            results[number] = error
        except Exception as error:  # noqa: BLE001 - the other streams go on
            _LOG.error("a stream broke the batch layer", extra=place_of(error))
            results[number] = DefectError("this stream broke the batch layer.", where="views")

    for number in range(len(replays)):
        go_on(number, None)
    while asked:
        now, asked_now = list(asked), list(asked.values())
        asked.clear()
        for number, answer in zip(now, advance_all(asked_now), strict=True):
            go_on(number, answer)
    return [results[number] for number in range(len(replays))]


def _portions(located: Sequence[Located]) -> Iterator[Sequence[Located]]:
    for first in range(0, len(located), _PORTION):
        yield located[first : first + _PORTION]


def _end_of(stream: Stream, criteria: Criteria | None) -> Placed:
    """Nothing more of a stream: its newest edge is decided."""
    end = Ecg(
        fs=stream.fs,
        gain=stream.lead.gain,
        baseline=stream.lead.baseline,
        lead=stream.lead.name,
        first=stream.next_position,
        is_last=True,
        samples=np.empty(0, np.int32),
        criteria=criteria,
    )
    return Placed(stream, (end,), is_begin=False, has_gap=False)


def covered_by_recordings(statements: Statements, source: SourceRow) -> list[tuple[int, int]]:
    """Spans (UTC, ns) in which recordings of the same device count, and its stream does not."""
    return [
        (one.start_ns, one.until_ns)
        for one in sources_of(statements, source.org, source.patient, source.device)
        if one.recording is not None and one.start_ns is not None and one.until_ns is not None
    ]


def carried_views(content: bytes) -> Carried | None:
    """What the views of a day carry on."""
    return unpack_carried(msgspec.msgpack.decode(content, type=_Left).views)


def _advanced(source: SourceRow, generation: int, newest: DayTraits | None) -> SourceRow:
    return msgspec.structs.replace(
        source,
        generation=generation,
        newest=None if newest is None else newest.day,
        through=-1 if newest is None else newest.through,
    )


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()
