"""What happens to alerts, as it happens: server-sent events, or the same over a WebSocket.

Every worker reads the table of changes while somebody listens, so it does not matter which worker raised an
alert and which one a listener reached. A listener that comes back says what it heard last (``Last-Event-ID``
or ``after``) and misses nothing.
"""

import asyncio
import contextlib
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
from einthoven.errors import AccessDenied, DefectError, EinthovenError, InputInvalid, PeerError
from einthoven.server import alert_tables
from einthoven.server.alert_routes import AlertSeen, seen
from einthoven.server.connections import Connections
from einthoven.server.identities import Identities, Person
from einthoven.server.ingest import Receive, Scope, Send, status_of, token_in
from einthoven.server.roles import ROUTES
from einthoven.storage.database import Database

__all__ = ["EVENTS_PATH", "HANDLERS", "AlertEvent", "Feed", "events_route"]

EVENTS_PATH: Final = "/v1/events"
_EVERY_S: Final = 0.1
_BEAT_S: Final = 5.0
"""A comment so often, so that a broken connection is noticed at both ends, and a look at the token."""
_MOST: Final = 500
_WAITING: Final = 1000
_WINDOW: Final = 256
"""Transactions that end side by side may show their numbers out of order; so far back is looked again."""
_JSON: Final = msgspec.json.Encoder()


class AlertEvent(msgspec.Struct, frozen=True, rename="camel"):
    """One change of one alert."""

    id: int
    what: str
    by: str
    why: str
    alert: AlertSeen


class _Listener:
    """What one listener has not taken yet."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.queue: asyncio.Queue[tuple[int, Change] | None] = asyncio.Queue()

    def sees(self, change: Change) -> bool:
        """Whether this person may."""
        return self.person.role != "patient" or change.alert.patient == self.person.patient

    def put(self, number: int, change: Change) -> None:
        """Hand on what this person may see; one that is too slow is cut off, and comes back for the rest."""
        if not self.sees(change):
            return
        if self.queue.qsize() < _WAITING:
            self.queue.put_nowait((number, change))
        elif self.queue.qsize() == _WAITING:
            self.queue.put_nowait(None)


class _Organisation:
    """The listeners of one organisation and how far was read for them."""

    def __init__(self, newest: int) -> None:
        self.newest = newest
        self.told: set[int] = set()
        self.listeners: set[_Listener] = set()


class Feed:
    """Changes of alerts for the listeners of one worker; for one event loop."""

    def __init__(self, database: Database) -> None:
        self._connections = Connections(database, 1, "events")
        self._organisations: dict[str, _Organisation] = {}
        self._task: asyncio.Task[None] | None = None
        self._nudge = asyncio.Event()
        self._is_over = False

    def nudge(self) -> None:
        """Something was committed in this worker: look at once."""
        self._nudge.set()

    async def listen(
        self, person: Person, after: int | None, may_listen: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[tuple[int, Change] | None]:
        """Changes from now on, or from behind a number; None now and then where nothing happens.

        Whether this person still may is asked every few seconds, however much or little happens.
        """
        listener = _Listener(person)
        missed = await self._join(listener, after)
        try:
            for number, change in missed:
                listener.put(number, change)
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
                yield found
        finally:
            self._leave(listener)

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

    async def _join(self, listener: _Listener, after: int | None) -> list[tuple[int, Change]]:
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
        newest, missed, at = one.newest, [], after
        while True:
            page = await self._connections.read(
                lambda s, at=at: alert_tables.read_changes(s, org, at, _MOST)  # type: ignore[misc]
            )
            missed += [row for row in page if row[0] <= newest and listener.sees(row[1])]
            if len(page) < _MOST or page[-1][0] >= newest or len(missed) > _WAITING:
                return missed
            at = page[-1][0]

    def _leave(self, listener: _Listener) -> None:
        one = self._organisations.get(listener.person.org)
        if one is not None:
            one.listeners.discard(listener)
            if not one.listeners:
                del self._organisations[listener.person.org]

    async def _read(self) -> None:
        while self._organisations:
            for org, one in list(self._organisations.items()):
                since = max(0, one.newest - _WINDOW)
                with contextlib.suppress(EinthovenError):  # the next look is soon
                    rows = await self._connections.read(
                        lambda s, org=org, since=since: alert_tables.read_changes(s, org, since, _MOST)  # type: ignore[misc]
                    )
                    self._tell(one, rows)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._nudge.wait(), _EVERY_S)
            self._nudge.clear()

    @staticmethod
    def _tell(one: _Organisation, rows: list[tuple[int, Change]]) -> None:
        if not one.told:
            one.told = {number for number, _ in rows if number <= one.newest}
        for number, change in rows:
            if number not in one.told:
                one.told.add(number)
                one.newest = max(one.newest, number)
                for listener in one.listeners:
                    listener.put(number, change)
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
            token = token_in(dict(scope["headers"]).get(b"authorization", b""))
            person = await _listener(token, identities)
            after = _after(scope)
        except EinthovenError as error:
            await _refuse(send, error, is_socket=is_socket)
            return

        async def may_listen() -> bool:
            try:
                return await _listener(token, identities) == person
            except PeerError:  # nobody knows at the moment
                return True
            except EinthovenError:
                return False

        stream = feed.listen(person, after, may_listen)
        try:
            if is_socket:
                await _over_socket(stream, receive, send)
            else:
                await _as_events(stream, receive, send)
        finally:
            await stream.aclose()  # type: ignore[attr-defined]

    return app


async def _listener(token: str, identities: Identities) -> Person:
    person = await identities.person(token)
    if person.role not in ROUTES["GET", EVENTS_PATH]:
        raise AccessDenied(
            f"the role {person.role} may not do this.", where="Authorization", remedy="Ask an administrator."
        )
    return person


def _after(scope: Scope) -> int | None:
    headers = dict(scope["headers"])
    query = parse_qs(scope["query_string"].decode("latin-1"))
    text = headers.get(b"last-event-id", b"").decode("latin-1") or query.get("after", [""])[0]
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise InputInvalid("this is no number of a change.", where="after", remedy="Give the id of the last.")
    return int(text)


def _event(number: int, change: Change) -> bytes:
    step = change.step
    return _JSON.encode(AlertEvent(number, change.what, step.by, step.why, seen(change.alert)))


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
            body = (
                b": still here\n\n"
                if found is None
                else b"id: %d\nevent: alert\ndata: %s\n\n" % (found[0], _event(*found))
            )
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    await _until_gone(write(), receive, "http.disconnect")


async def _over_socket(stream: AsyncIterator[Any], receive: Receive, send: Send) -> None:
    await send({"type": "websocket.accept"})

    async def write() -> None:
        async for found in stream:
            if found is not None:
                await send({"type": "websocket.send", "text": _event(*found).decode()})
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
