"""What happens to alerts and streams, as it happens: server-sent events, or the same over a WebSocket.

Every worker reads the table of changes while somebody listens, so it does not matter which worker raised an
alert and which one a listener reached. A listener that comes back says what it heard last (``Last-Event-ID``
or ``after``) and misses nothing. Who asks for ``streams`` is told too, every second, which streams changed;
that has no number, for whoever comes back reads the ward anew.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, Final
from urllib.parse import parse_qs

import msgspec
from litestar import get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter
from litestar.types import ControllerRouterHandler

from einthoven.alerts import Change
from einthoven.clock import Clock
from einthoven.errors import AccessDenied, DefectError, EinthovenError, InputInvalid, PeerError
from einthoven.names import PSEUDONYM, is_pseudonym
from einthoven.server import alert_tables
from einthoven.server.access import STREAM_EVENTS, Wanted, admit
from einthoven.server.alert_routes import AlertSeen, seen
from einthoven.server.connections import Connections
from einthoven.server.grant_tables import grants_for, rule_of
from einthoven.server.identities import Identities, Person
from einthoven.server.ingest import Receive, Scope, Send, status_of
from einthoven.server.ledger_entries import keep_entries
from einthoven.server.listeners import Listener, News, Told, ToldStreams, Wish
from einthoven.server.parties import party_for
from einthoven.server.roles import ROUTES
from einthoven.server.sessions import token_behind
from einthoven.server.ward import StreamNow, changed_streams
from einthoven.storage.database import Database, Statements
from einthoven.trust.grants import Grant, accessed

__all__ = ["EVENTS_PATH", "HANDLERS", "AlertEvent", "Feed", "events_route"]

EVENTS_PATH: Final = "/v1/events"
_EVERY_S: Final = 0.1
_BEAT_S: Final = 5.0
"""A comment so often, so that a broken connection is noticed at both ends, and a look at the token."""
_STREAMS_EVERY_S: Final = 1.0
_LATE_NS: Final = 120 * 10**9
"""A worker may write so much later than it received."""
_RECENT_NS: Final = 10 * 10**9
_MOST: Final = 500
_MISSED: Final = 1000
_STALE_S: Final = 1.0
"""What was decided longer ago is decided again before it is shown."""
_WINDOW: Final = 256
"""Transactions that end side by side may show their numbers out of order; so far back is looked again."""
_TOGETHER: Final = 500
"""Patients that one query names."""
_JSON: Final = msgspec.json.Encoder()


class AlertEvent(msgspec.Struct, frozen=True, rename="camel"):
    """One change of one alert."""

    id: int
    what: str
    by: str
    why: str
    alert: AlertSeen


class StreamsChanged(msgspec.Struct, frozen=True):
    """Streams that said something new."""

    streams: list[StreamNow]


Heard = tuple[int, Change] | StreamsChanged


class _Organisation:
    """The listeners of one organisation and how far was read for them."""

    def __init__(self, newest: int) -> None:
        self.newest = newest
        self.told: set[int] = set()
        self.listeners: set[Listener] = set()
        self.versions: dict[int, int] | None = None
        """Of streams, as they were told last; None while nobody listens to them."""
        self.looked_s = -math.inf

    @property
    def hears_streams(self) -> bool:
        """Whether somebody listens to streams."""
        return any(one.hears_streams for one in self.listeners)


class Feed:
    """Changes of alerts for the listeners of one worker; for one event loop."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._connections = Connections(database, 1, "events")
        self._clock = clock
        self._organisations: dict[str, _Organisation] = {}
        self._task: asyncio.Task[None] | None = None
        self._nudge = asyncio.Event()
        self._is_over = False

    def nudge(self) -> None:
        """Something was committed in this worker: look at once."""
        self._nudge.set()

    async def admit(self, person: Person, wish: Wish) -> None:
        """Enter that somebody begins to listen to alerts, to streams, or to both; or may not.

        Raises
        ------
        AccessDenied : the role may not, or this patient is another one's.
        """
        wanted = Wanted(
            party=party_for(person),
            route=("GET", EVENTS_PATH),
            named={} if wish.patient is None else {"patient": wish.patient},
            may_ask=person.role in ROUTES["GET", EVENTS_PATH],
        )
        of_streams = msgspec.structs.replace(wanted, route=("GET", STREAM_EVENTS))
        await admit(self._connections, self._clock, wanted, *([of_streams] if wish.streams else []))

    async def join(self, person: Person, wish: Wish) -> Listener:
        """One who misses nothing from now on, or from behind a number; to be left, whatever happens."""
        listener = Listener(person, wish)
        try:
            listener.begin(await self._join(listener, wish.after))
        except BaseException:
            self.leave(listener)
            raise
        return listener

    async def listen(
        self, listener: Listener, may_listen: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[Heard | None]:
        """Changes; None now and then where nothing happens.

        Whether this person still may is asked every few seconds, however much or little happens.
        """
        try:
            asked_s = time.monotonic()
            while not self._is_over:
                silent_s = asked_s + _BEAT_S - time.monotonic()
                try:
                    found = await asyncio.wait_for(listener.queue.get(), max(silent_s, 0.001))
                    if found is None:
                        return
                except TimeoutError:
                    found = None
                if time.monotonic() >= asked_s + _BEAT_S:
                    asked_s = time.monotonic()
                    if not await may_listen():
                        return
                if found is None:
                    yield None
                    continue
                told = await self._decided(listener, found)
                if isinstance(told, Told):
                    yield told.number, told.change
                elif told is not None:
                    yield StreamsChanged(told.seen)
        finally:
            self.leave(listener)

    def send_away(self) -> None:
        """End all listening; who comes back reaches another worker."""
        self._is_over = True
        for one in self._organisations.values():
            for listener in one.listeners:
                listener.queue.put_nowait(None)

    async def close(self) -> None:
        """End all listening, and the reading."""
        self.send_away()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._connections.close()

    async def _decided(self, listener: Listener, told: Told | ToldStreams) -> Told | ToldStreams | None:
        """What waited to be taken, as it may be shown now; through a broken glass it is entered first."""
        now: Told | ToldStreams | None = told
        if time.monotonic() > told.decided_s + _STALE_S:
            org = listener.person.org
            news = await self._connections.read(lambda s: self._news(s, org, [], told.patients))
            now = listener.again(told, news)
        if now is None:
            return None
        for ask, decision in now.through:
            glass = decision.grant
            if glass is not None and glass.id not in listener.entered:
                entry = accessed(ask, decision, EVENTS_PATH, self._clock.utc_ns())
                await self._connections.write(lambda s, e=entry: keep_entries(s, listener.person.org, [e]))  # type: ignore[misc]
                listener.entered.add(glass.id)
        return now

    def _news(
        self, statements: Statements, org: str, rows: list[tuple[int, Change]], patients: set[str]
    ) -> News:
        rule = rule_of(statements, org)
        grants: dict[str, list[Grant]] = {}
        named = sorted(patients - {""}) if rule != "open" else []
        for first in range(0, len(named), _TOGETHER):
            for grant in grants_for(statements, org, named[first : first + _TOGETHER]):
                grants.setdefault(grant.patient, []).append(grant)
        return News(rows, rule, grants, self._clock.utc_ns(), time.monotonic())

    def _changes(self, statements: Statements, org: str, after: int, told: set[int]) -> News:
        rows = alert_tables.read_changes(statements, org, after, _MOST)
        patients = {change.alert.patient for number, change in rows if number not in told}
        return self._news(statements, org, rows, patients)

    def _streams(
        self, statements: Statements, org: str, known: dict[int, int], since_ns: int
    ) -> tuple[dict[int, int], list[StreamNow], News]:
        versions, changed = changed_streams(statements, org, known, since_ns)
        return versions, changed, self._news(statements, org, [], {one.patient for one in changed})

    async def _join(self, listener: Listener, after: int | None) -> list[Told]:
        org = listener.person.org
        one = self._organisations.get(org)
        if one is None:
            newest = await self._connections.read(lambda s: alert_tables.newest_change(s, org))
            one = self._organisations.setdefault(org, _Organisation(newest))
        one.listeners.add(listener)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._read())
        if after is None or after >= one.newest:
            return []
        newest, at = one.newest, after
        missed: list[Told] = []
        while True:
            news = await self._connections.read(
                lambda s, at=at: self._changes(s, org, at, set())  # type: ignore[misc]
            )
            page = news.rows
            told = (listener.told(*row, news) for row in page if row[0] <= newest)
            missed += [found for found in told if found is not None]
            if len(page) < _MOST or page[-1][0] >= newest or len(missed) > _MISSED:
                return missed
            at = page[-1][0]

    def leave(self, listener: Listener) -> None:
        """Tell this one no more."""
        one = self._organisations.get(listener.person.org)
        if one is not None:
            one.listeners.discard(listener)
            if not one.listeners:
                del self._organisations[listener.person.org]

    async def _read(self) -> None:
        while self._organisations and not self._is_over:
            for org, one in list(self._organisations.items()):
                since = max(0, one.newest - _WINDOW)
                with contextlib.suppress(EinthovenError):  # the next look is soon
                    news = await self._connections.read(
                        lambda s, org=org, since=since, one=one: self._changes(s, org, since, one.told)  # type: ignore[misc]
                    )
                    self._tell(one, news)
                    await self._look_at_streams(org, one)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._nudge.wait(), _EVERY_S)
            self._nudge.clear()

    async def _look_at_streams(self, org: str, one: _Organisation) -> None:
        """Once a second, while somebody wants to know; the first look is what they have read themselves."""
        if not one.hears_streams:
            one.versions = None
            return
        if time.monotonic() < one.looked_s + _STREAMS_EVERY_S:
            return
        one.looked_s = time.monotonic()
        since_ns = self._clock.utc_ns() - _LATE_NS
        known = one.versions or {}
        versions, changed, news = await self._connections.read(
            lambda s: self._streams(s, org, known, since_ns)
        )
        one.versions = versions
        new = [listener for listener in one.listeners if listener.is_new]
        for listener in one.listeners:
            listener.is_new = False
            listener.put(listener.told_streams(changed, news))
        if new and known:
            recent_ns = self._clock.utc_ns() - _RECENT_NS
            _, recent, news = await self._connections.read(lambda s: self._streams(s, org, {}, recent_ns))
            for listener in new:
                listener.put(listener.told_streams(recent, news))

    @staticmethod
    def _tell(one: _Organisation, news: News) -> None:
        if not one.told:
            one.told = {number for number, _ in news.rows if number <= one.newest}
        for number, change in news.rows:
            if number not in one.told:
                one.told.add(number)
                one.newest = max(one.newest, number)
                for listener in one.listeners:
                    listener.put(listener.told(number, change, news))
        one.told = {number for number in one.told if number > one.newest - 2 * _WINDOW}


@get(
    EVENTS_PATH,
    media_type="text/event-stream",
    responses={200: ResponseSpec(AlertEvent, generate_examples=False, description="Events without end")},
)
async def events(
    after: Annotated[  # noqa: ARG001 - documented
        str | None, QueryParameter(pattern="^[0-9]{1,18}$", description="Id of the last one that was heard.")
    ] = None,
    patient: Annotated[  # noqa: ARG001 - documented
        str | None, QueryParameter(pattern=PSEUDONYM, description="Of this patient only.")
    ] = None,
    streams: Annotated[  # noqa: ARG001 - documented
        bool, QueryParameter(description="Tell of streams too: events `streams`, once a second at most.")
    ] = False,
) -> AlertEvent:
    """Changes of alerts as server-sent events; `after`, or Last-Event-ID, is the id of the last one heard."""
    raise DefectError("this route stands in front of the framework.")


HANDLERS: Final[tuple[ControllerRouterHandler, ...]] = (events,)
"""For the OpenAPI document."""


def events_route(feed: Feed, identities: Identities) -> Any:
    """The ASGI application of `EVENTS_PATH`."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        is_socket = scope["type"] == "websocket"
        if is_socket:
            await receive()
        try:
            token = token_behind(scope)
            person = await identities.person(token)
            wish = _wish(scope)
            await feed.admit(person, wish)
            _check_role(person)
            listener = await feed.join(person, wish)
        except EinthovenError as error:
            await _refuse(send, error, is_socket=is_socket)
            return

        async def may_listen() -> bool:
            try:
                return await identities.person(token) == person
            except PeerError:  # nobody knows at the moment
                return True
            except EinthovenError:
                return False

        stream = feed.listen(listener, may_listen)
        try:
            if is_socket:
                await _over_socket(stream, receive, send)
            else:
                await _as_events(stream, receive, send)
        finally:
            await stream.aclose()  # type: ignore[attr-defined]
            feed.leave(listener)

    return app


def _check_role(person: Person) -> None:
    if person.role not in ROUTES["GET", EVENTS_PATH]:
        raise AccessDenied(
            f"the role {person.role} may not do this.", where="Authorization", remedy="Ask an administrator."
        )


_PARAMETERS: Final = frozenset({"after", "patient", "streams"})


def _wish(scope: Scope) -> Wish:
    query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    if not _PARAMETERS.issuperset(query):
        raise InputInvalid("there is no such parameter.", where="query", remedy="See /schema/openapi.json.")
    if any(len(values) > 1 for values in query.values()):
        raise InputInvalid("a parameter is given twice.", where="query", remedy="Give each once.")
    streams = query.get("streams", ["false"])
    if streams not in (["true"], ["false"]):
        raise InputInvalid(
            "this is neither true nor false.", where="streams", remedy="Give true, or nothing."
        )
    patient = query.get("patient", [None])[0]
    if patient is not None and not is_pseudonym(patient):
        raise InputInvalid("this is no pseudonym.", where="patient", remedy="Give one, or nothing.")
    return Wish(_after(scope), streams == ["true"], patient)


def _after(scope: Scope) -> int | None:
    headers = dict(scope["headers"])
    query = parse_qs(scope["query_string"].decode("latin-1"))
    text = headers.get(b"last-event-id", b"").decode("latin-1") or query.get("after", [""])[0]
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise InputInvalid("this is no number of a change.", where="after", remedy="Give the id of the last.")
    return int(text)


def _encoded(heard: Heard) -> bytes:
    if isinstance(heard, StreamsChanged):
        return _JSON.encode(heard)
    number, change = heard
    step = change.step
    return _JSON.encode(AlertEvent(number, change.what, step.by, step.why, seen(change.alert)))


def _event(heard: Heard | None) -> bytes:
    if heard is None:
        return b": still here\n\nevent: beat\ndata:\n\n"
    if isinstance(heard, StreamsChanged):
        return b"event: streams\ndata: %s\n\n" % _encoded(heard)
    return b"id: %d\nevent: alert\ndata: %s\n\n" % (heard[0], _encoded(heard))


async def _as_events(stream: AsyncIterator[Any], receive: Receive, send: Send) -> None:
    headers = [
        (b"content-type", b"text/event-stream"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b": listening\n\n", "more_body": True})

    async def write() -> None:
        async for found in stream:
            await send({"type": "http.response.body", "body": _event(found), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    await _until_gone(write(), receive, "http.disconnect")


async def _over_socket(stream: AsyncIterator[Any], receive: Receive, send: Send) -> None:
    await send({"type": "websocket.accept"})

    async def write() -> None:
        async for found in stream:
            if found is not None:
                await send({"type": "websocket.send", "text": _encoded(found).decode()})
        await send({"type": "websocket.close", "code": 1012})

    await _until_gone(write(), receive, "websocket.disconnect")


async def _until_gone(writing: Any, receive: Receive, end: str) -> None:
    """Write until there is nothing more, or until nobody reads."""

    async def gone() -> None:
        while (await receive())["type"] != end:
            pass

    tasks = [asyncio.create_task(writing), asyncio.create_task(gone())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _refuse(send: Send, error: EinthovenError, *, is_socket: bool) -> None:
    if is_socket:
        await send({"type": "websocket.close", "code": 1008, "reason": error.code})
        return
    content = _JSON.encode(error.as_dict())
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    if status_of(error) == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status_of(error), "headers": headers})
    await send({"type": "http.response.body", "body": content, "more_body": False})
