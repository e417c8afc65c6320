"""The service as processes: one supervisor, and workers that are alike and share nothing but the database.

A worker that dies is started again; what it had not acknowledged its senders send again. A worker whose
supervisor dies drains and ends. SIGTERM drains all: no new requests, what was accepted is finished.
"""

import asyncio
import errno
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import MutableMapping
from contextlib import AsyncExitStack
from types import FrameType
from typing import Any, Final, cast

import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.supervisors import Multiprocess

from einthoven.clock import SystemClock
from einthoven.errors import DefectError, EinthovenError, InputInvalid
from einthoven.placement import Terms
from einthoven.runtime.hosted import ANALYSES
from einthoven.runtime.kernels import warm_kernels
from einthoven.runtime.regional_analyst import RegionalAnalyst
from einthoven.runtime.segment_analysis import Analyst, analyse_here
from einthoven.server.app import App, build_app
from einthoven.server.channels import open_channels, read_channels
from einthoven.server.data_gate import DataGate
from einthoven.server.delivery import Dispatcher, Outcome
from einthoven.server.desk import Desk, Raised
from einthoven.server.engine import Engine
from einthoven.server.identities import Identities, Rates
from einthoven.server.ingest import INGEST_PATH, Receive, Scope, Send
from einthoven.server.intake import Intake
from einthoven.server.keys import signing_keys
from einthoven.server.logs import configure_logs, place_of
from einthoven.server.metrics import CONTENT_TYPE, METRICS, count_alerts, exposition, totals
from einthoven.server.reception import Service
from einthoven.server.served_regions import ServedRegions
from einthoven.server.settings import Settings, hand_over, handed_over
from einthoven.server.sql_outbox import SqlOutbox
from einthoven.server.tracing import open_spans
from einthoven.storage import open_database

__all__ = ["listen", "run_workers", "worker"]

_LOG: Final = logging.getLogger("einthoven.worker")
_METRICS: Final = "PROMETHEUS_MULTIPROC_DIR"
_BACKLOG: Final = 4096
HEARTBEAT: Final = 6
"""Urgency of a heart-beat; what is less is an alert."""
_PORT_S: Final = 3.0
_AGAIN_S: Final = 1.0
_ATTEMPTS: Final = 2
"""In regions; then a segment is analysed here."""
_GC: Final = (50_000, 20, 50)
"""States of thousands of patients are long-lived and in no cycle; to look through them all again and again
costs time and holds requests up."""
_SWITCH_S: Final = 0.02
"""The engine's thread lets the other go on whenever a kernel runs; to be interrupted more often costs a tenth
of the throughput."""


def listen(settings: Settings) -> socket.socket:
    """The socket that all workers accept from; with port 0 a free one.

    Raises
    ------
    InputInvalid : the address cannot be had; a port only after some seconds, since workers whose supervisor
        died still hold it for a moment.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    until_s = time.monotonic() + _PORT_S
    while True:
        try:
            accepting = socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and time.monotonic() < until_s:
                time.sleep(0.1)
                continue
            raise InputInvalid(
                f"this address cannot be listened at ({error.strerror}).",
                where=f"{settings.host}:{settings.port}",
                remedy="End what listens there, or give --port another number; 0 takes a free one.",
            ) from error
        accepting.set_inheritable(True)
        return accepting


def run_workers(settings: Settings, accepting: socket.socket) -> dict[str, int]:
    """Serve until SIGTERM or Ctrl-C; segments by what became of them, and alerts."""
    with tempfile.TemporaryDirectory(prefix="einthoven-metrics-") as folder:
        os.environ[_METRICS] = folder
        hand_over(settings)
        config = uvicorn.Config(
            "einthoven.server.workers:worker",
            factory=True,
            workers=settings.processes,
            loop="uvloop",
            http="httptools",
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,  # below, and not on the hot route
            date_header=False,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=max(1, round(settings.drain_s)),
        )
        configure_logs(settings.log_level)
        background = _Background()
        try:
            Multiprocess(config, sockets=[accepting]).run()
        finally:
            background.stop()
        return totals(folder)


class _Background:
    """Keeps the process beside the workers alive."""

    def __init__(self) -> None:
        self._is_stopping = threading.Event()
        self._process = self._start()
        self._thread = threading.Thread(target=self._keep, name="background", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it as the workers end."""
        self._is_stopping.set()
        self._process.terminate()
        self._thread.join()

    @staticmethod
    def _start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "einthoven.server.background"])

    def _keep(self) -> None:
        while True:
            self._process.wait()
            if self._is_stopping.wait(_AGAIN_S):
                return
            _LOG.error("the background process ended; it is started again")
            self._process = self._start()


def worker() -> "Worker":
    """What each process serves; its settings come from the supervisor."""
    settings, _ = handed_over()
    configure_logs(settings.log_level)
    return Worker(settings)


class Worker:
    """One process's ASGI application and all that runs beside it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        self._app: App | None = None
        self._behind_proxy: Any = None
        self._dispatcher: Dispatcher | None = None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request, or the process's life."""
        if scope["type"] != "lifespan":
            if self._app is None:
                raise DefectError("a request came before the worker had started.")
            app = self._app if scope["path"] == INGEST_PATH else self._behind_proxy
            await app(scope, receive, send)
            return
        await receive()
        try:
            await self._start()
        except EinthovenError as error:
            _LOG.error("the worker could not start: %s", error, extra={"code": error.code})
            await send({"type": "lifespan.startup.failed", "message": ""})
            return
        except Exception as error:  # noqa: BLE001 - the supervisor tries again
            _LOG.error("the worker could not start", extra=place_of(error))
            await send({"type": "lifespan.startup.failed", "message": ""})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._stack.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _start(self) -> None:
        settings, clock = self._settings, SystemClock()
        sys.setswitchinterval(_SWITCH_S)
        gc.set_threshold(*_GC)
        await asyncio.to_thread(warm_kernels)
        database = open_database(settings.database_url)
        keys = signing_keys(settings.folder)
        rates = Rates(settings.device_rate_per_s, settings.gateway_rate_per_s)
        identities = Identities(database, clock, rates)
        self._stack.push_async_callback(identities.close)
        spans = open_spans(settings.traces_url)
        self._stack.callback(spans.close)
        loop = asyncio.get_running_loop()

        def tell(raised: Raised) -> None:
            loop.call_soon_threadsafe(self._raised, raised)

        analyst, gate = await self._analyst(clock)
        intake = Intake(
            lambda: Engine(database.connect(), Desk(keys, tell), analyst, gate),
            clock,
            limit=settings.queue_limit,
            batch=settings.batch_limit,
            gather_s=settings.gather_s,
            spans=spans,
        )
        self._stack.push_async_callback(asyncio.to_thread, intake.stop, settings.drain_s)
        service = Service(identities, database, clock, intake, settings, keys, spans)
        app = build_app(service, front={("GET", "/metrics"): _metrics})
        await self._stack.enter_async_context(app.framework.lifespan())
        await self._deliver(SqlOutbox(database, keys))
        self._behind_proxy = ProxyHeadersMiddleware(cast("Any", app))
        self._app = app
        self._send_listeners_away_at_the_end(app)
        gc.freeze()
        guard = asyncio.create_task(_end_without(handed_over()[1]))
        self._stack.callback(guard.cancel)
        _LOG.info("ready", extra={"worker": os.getpid()})

    async def _analyst(self, clock: SystemClock) -> tuple[Analyst, DataGate | None]:
        """Who analyses segments, and who says what may go where."""
        settings = self._settings
        if settings.segments_in == "here":
            return analyse_here, None
        terms = Terms(
            policy=settings.regions_policy,
            attempts=_ATTEMPTS,
            attempt_s=settings.regions_patience_s,
            waiting=0,
            patience_s=settings.regions_patience_s / 4,
        )
        regions = ServedRegions(
            settings.continuum_path, clock, terms, shares=settings.region_shares, function=ANALYSES
        )
        self._stack.push_async_callback(regions.close)
        await regions.start()
        analyst = RegionalAnalyst(
            lambda: regions.current,
            asyncio.get_running_loop(),
            patience_s=settings.regions_patience_s,
            needs=settings.needs,
            counted=_count_analysed,
        )
        path = settings.policy_path
        return analyst, None if path is None else DataGate(path, regions.declared, clock)

    def _send_listeners_away_at_the_end(self, app: App) -> None:
        """Streams of events never end by themselves: the server would wait for them as long as it waits."""
        loop, before = asyncio.get_running_loop(), signal.getsignal(signal.SIGTERM)

        def end(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(app.feed.send_away)
            if callable(before):
                before(number, frame)

        signal.signal(signal.SIGTERM, end)

    async def _deliver(self, outbox: SqlOutbox) -> None:
        """Empty the outbox, together with all other workers, until the worker stops."""
        self._stack.callback(outbox.close)
        clock = SystemClock()
        channels = open_channels(read_channels(self._settings.folder / "channels.toml"), clock)
        for channel in channels.values():
            self._stack.push_async_callback(channel.close)
        self._dispatcher = Dispatcher(outbox, channels, clock, told=_count)
        task = asyncio.create_task(self._dispatcher.run())

        async def stop() -> None:
            if self._dispatcher is not None:
                await self._dispatcher.stop()
            await task

        self._stack.push_async_callback(stop)

    def _raised(self, raised: Raised) -> None:
        """Something happened to alerts, and is on disk: tell whom it concerns at once."""
        count_alerts(raised.changes)
        if self._dispatcher is not None:
            self._dispatcher.wake()
        if self._app is not None:
            self._app.feed.nudge()


def _count_analysed(there: int, here: int) -> None:
    METRICS.analysed.labels("regions").inc(there)
    METRICS.analysed.labels("here").inc(here)


def _count(outcome: Outcome) -> None:
    METRICS.deliveries.labels(outcome.channel, outcome.outcome).inc()
    if outcome.outcome == "delivered" and outcome.urgency < HEARTBEAT:
        METRICS.delivery.observe(outcome.age_s)


async def _metrics(_scope: Scope, _receive: Receive, send: Send) -> None:
    content = await asyncio.to_thread(exposition)
    headers = [(b"content-type", CONTENT_TYPE.encode()), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def _end_without(supervisor: int) -> None:
    """A worker whose supervisor died would hold the port against the next one."""
    while os.getppid() == supervisor:
        await asyncio.sleep(0.5)
    _LOG.warning("the supervisor is gone; draining")
    os.kill(os.getpid(), 15)
