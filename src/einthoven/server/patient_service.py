"""The web service of the virtual patients: start, watch and stop runs, from a page or over REST.

A load generator that strangers can reach is a weapon: it listens on this machine alone unless told otherwise,
asks for the token that it made at its start, and sends to this machine alone but for what was allowed at its
start. Each run is a process of its own.
"""

import asyncio
import contextlib
import ipaddress
import secrets
from collections import deque
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from litestar import Litestar, Request, Response, get, post
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException, NotAuthorizedException, NotFoundException
from litestar.handlers import BaseRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.response import Stream

from einthoven.clock import SystemClock
from einthoven.errors import DefectError, DestinationRefused, EinthovenError, InputInvalid, TooManyRuns
from einthoven.runtime.load.target import Target
from einthoven.server.page_files import POLICY, PageFile, page_files
from einthoven.server.patient_runs import Event, RunProcess, RunSettings
from einthoven.simulation.bank import Names
from einthoven.simulation.noise import Noise
from einthoven.simulation.traffic import Traffic
from einthoven.version import __version__

__all__ = ["RunOrder", "Runs", "patient_service"]

AT_ONCE: Final = 4
"""Runs."""
KEPT: Final = 50
"""Runs that are over."""
_EVENTS_KEPT: Final = 3600
_MAX_ORDER_BYTES: Final = 64 * 1024
_ENDINGS: Final = ("summary", "failed")


class RunOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a run is started with; it names no files of this machine."""

    target: Target
    traffic: Traffic = Traffic()
    mix: dict[str, float] | None = None
    noises: tuple[Noise, ...] = ()
    token: str | None = None
    """A gateway's token; it is kept in memory, and given to nobody but the destination."""
    name: str | None = None
    """Begins the patients' pseudonyms; from the time when there is none."""


class RunState(msgspec.Struct, frozen=True):
    """A run as the service shows it."""

    id: str
    state: str
    """``running``, ``stopping``, ``over`` or ``failed``."""
    destination: str
    started_at: str
    """UTC, RFC 3339."""
    traffic: Traffic
    last: Event | None
    """The newest event."""


class _Run:
    """One run and those who watch it."""

    def __init__(self, number: str, settings: RunSettings, started_at: str) -> None:
        self.id = number
        self.process = RunProcess(settings)
        self.events: deque[tuple[int, Event]] = deque(maxlen=_EVENTS_KEPT)
        self.state = "running"
        self._settings = settings
        self._started_at = started_at
        self._news = asyncio.Event()
        self.task = asyncio.create_task(self._follow())

    @property
    def is_over(self) -> bool:
        return self.state in ("over", "failed")

    def described(self, *, is_whole: bool = True) -> RunState:
        """``is_whole``: with the time line of its report."""
        last = self.events[-1][1] if self.events else None
        if last is not None and not is_whole:
            last = {key: value for key, value in last.items() if key != "timeline"}
        return RunState(
            self.id,
            self.state,
            self._settings.target.destination,
            self._started_at,
            self._settings.traffic,
            last,
        )

    async def _follow(self) -> None:
        number = 0
        async for event in self.process.events():
            self._tell(number, event)
            number += 1
        if not self.is_over:
            was_stopped = self.state == "stopping"
            error = (
                InputInvalid("the run was stopped before it began.")
                if was_stopped
                else DefectError("the run ended without a report.")
            )
            self._tell(number, {"event": "failed", "error": error.as_dict()})

    def _tell(self, number: int, event: Event) -> None:
        self.events.append((number, event))
        if event["event"] in _ENDINGS:
            self.state = "over" if event["event"] == "summary" else "failed"
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def watch(self, after: int) -> AsyncIterator[bytes]:
        """Its events as server-sent events, from the one after ``after`` on."""
        while True:
            news = self._news
            for number, event in tuple(self.events):
                if number > after:
                    after = number
                    yield _as_sse(number, event)
            if self.is_over:
                return
            await news.wait()


def _as_sse(number: int, event: Event) -> bytes:
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (number, event["event"].encode(), msgspec.json.encode(event))


class Runs:
    """All runs of this service.

    Parameters
    ----------
    allowed : hosts, or host:port, that may be sent to besides this machine.
    """

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        self._allowed = frozenset(one.lower() for one in allowed)
        self._runs: dict[str, _Run] = {}
        self._clock = SystemClock()

    def start(self, order: RunOrder) -> RunState:
        """Start a run.

        Raises
        ------
        DestinationRefused : not this machine, and not allowed.
        TooManyRuns : as many go on as may.
        InputInvalid : a name or token that cannot be.
        """
        if not self._may_send_to(order.target):
            raise DestinationRefused(
                "the destination is not this machine.",
                where="target.destination",
                remedy="Start the service with --allow-destination HOST, if you may load that host.",
            )
        if sum(not run.is_over for run in self._runs.values()) >= AT_ONCE:
            raise TooManyRuns(f"{AT_ONCE} runs go on.", remedy="Stop one, or wait until it is over.")
        now_ns = self._clock.utc_ns()
        number = secrets.token_hex(6)
        names = Names(run=order.name or f"v{now_ns // 10**6:x}", gateway_token=order.token)
        settings = RunSettings(order.target, order.traffic, names, order.mix, order.noises)
        self._runs[number] = run = _Run(number, settings, _utc(now_ns))
        for old in [one.id for one in self._runs.values() if one.is_over][:-KEPT]:
            del self._runs[old]
        return run.described()

    def all(self) -> list[RunState]:
        """Newest first."""
        return [run.described(is_whole=False) for run in reversed(self._runs.values())]

    def one(self, number: str) -> _Run:
        """By its id."""
        try:
            return self._runs[number]
        except KeyError:
            raise NotFoundException(detail="There is no such run.") from None

    def stop(self, number: str) -> RunState:
        """Let a run send nothing more."""
        run = self.one(number)
        if not run.is_over:
            run.process.stop()
            run.state = "stopping"
        return run.described()

    async def end(self) -> None:
        """Stop all, because the service ends."""
        for run in self._runs.values():
            if not run.is_over:
                run.process.stop()
                run.process.stop()
        tasks = [run.task for run in self._runs.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=5)
        for task in tasks:
            task.cancel()

    def _may_send_to(self, target: Target) -> bool:
        host = target.host.lower()
        if host in self._allowed or f"{host}:{target.port}" in self._allowed or host == "localhost":
            return True
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(host).is_loopback
        return False


def _utc(ns: int) -> str:
    at = datetime.fromtimestamp(ns // 10**9, UTC)
    return at.isoformat().replace("+00:00", "Z")


def patient_service(token: str, allowed: Sequence[str] = ()) -> Litestar:
    """The application; whoever asks must give ``token`` as bearer token, but for the page itself."""
    runs = Runs(allowed)
    files = page_files()

    def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        given = connection.headers.get("authorization", "")
        if not secrets.compare_digest(given.encode(), f"Bearer {token}".encode()):
            raise NotAuthorizedException(
                detail="The token that was printed at the start is missing or wrong."
            )

    @get("/", include_in_schema=False, sync_to_thread=False)
    def show_page() -> Response[bytes]:
        return _page(files["load.html"])

    @get("/pages/{name:str}", include_in_schema=False, sync_to_thread=False)
    def show_file(name: str) -> Response[bytes]:
        if name not in files:
            raise NotFoundException(detail="There is no such file.")
        return _page(files[name])

    @post("/v1/runs", guards=[guard], status_code=201, request_max_body_size=_MAX_ORDER_BYTES)
    async def start_run(data: RunOrder) -> RunState:
        """Start a run."""
        return runs.start(data)

    @get("/v1/runs", guards=[guard], sync_to_thread=False)
    def list_runs() -> list[RunState]:
        """All runs, newest first, without their time lines."""
        return runs.all()

    @get("/v1/runs/{number:str}", guards=[guard], sync_to_thread=False)
    def show_run(number: str) -> RunState:
        """One run; its newest event is the report when it is over."""
        return runs.one(number).described()

    @post("/v1/runs/{number:str}/stop", guards=[guard], status_code=202)
    async def stop_run(number: str) -> RunState:
        """Let a run send nothing more, and end when its answers have come."""
        return runs.stop(number)

    @get("/v1/runs/{number:str}/events", guards=[guard])
    async def watch_run(number: str, request: Request[Any, Any, Any]) -> Stream:
        """What happens in a run, as server-sent events: every second, and the report."""
        last = request.headers.get("last-event-id", "")
        after = int(last) if last.isdecimal() and len(last) < 10 else -1
        return Stream(
            runs.one(number).watch(after),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    return Litestar(
        [show_page, show_file, start_run, list_runs, show_run, stop_run, watch_run],
        exception_handlers={EinthovenError: _problem, HTTPException: _http_problem},
        on_shutdown=[runs.end],
        openapi_config=OpenAPIConfig(
            title="Einthoven virtual patients",
            version=__version__,
            render_plugins=[JsonRenderPlugin()],  # the others load scripts from elsewhere
        ),
    )


def _problem(_: Request[Any, Any, Any], error: EinthovenError) -> Response[dict[str, str]]:
    status = {"caller": 400, "peer": 502, "ours": 500}[error.fault]
    if isinstance(error, TooManyRuns):
        status = 429
    return Response(error.as_dict(), status_code=status)


def _http_problem(_: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, str]]:
    code = {401: "unauthorised", 404: "not-found", 413: "too-large"}.get(error.status_code, "input-invalid")
    what = str(error.detail)
    extra = error.extra[0] if isinstance(error.extra, list) and error.extra else {}
    problem = {"code": code, "fault": "caller", "what": what, "where": "", "remedy": ""}
    if isinstance(extra, dict) and "message" in extra:
        problem |= {"what": str(extra["message"]), "where": str(extra.get("key", ""))}
    return Response(problem, status_code=error.status_code)


def _page(file: PageFile) -> Response[bytes]:
    return Response(file.content, media_type=file.kind, headers={"Content-Security-Policy": POLICY})
