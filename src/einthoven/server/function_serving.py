"""A host of functions as a process: it listens, is warm within a second or two, and finishes what it began.

SIGTERM: `FunctionHost.drain`; whoever calls meanwhile is told to go elsewhere, what is under way ends, then
the process does, with exit code 0. A second signal, or the end of patience, ends it at once.
"""

import asyncio
import contextlib
import ipaddress
import os
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Final

import msgspec
import uvicorn

from einthoven.clock import SystemClock
from einthoven.errors import InputInvalid
from einthoven.runtime.hosted import Hosted
from einthoven.runtime.kernels import kernels_are_cached, warm_kernels
from einthoven.runtime.worker_pool import WorkerPool
from einthoven.server.function_host import FunctionHost, HostLimits, in_workers, mind_only_the_host

__all__ = [
    "HostSettings",
    "check_tls",
    "host_config",
    "listen_for_calls",
    "refuse_open_host",
    "serve_functions",
]

_BACKLOG: Final = 1024
_KEEP_ALIVE_S: Final = 75
"""Longer than callers keep a connection that is idle, so that none is closed under a call."""


class HostSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a host is told when it starts."""

    hosted: Hosted = Hosted()
    workers: int = 1
    limits: HostLimits = HostLimits()
    tokens: tuple[str, ...] = ()
    only: str | None = None
    """The one function that is served, at ``/`` too; None: all."""
    tls: tuple[str, str] | None = None
    """Files of the certificate, with those above it, and of its key; None: something in front does it."""
    drain_s: float = 30.0
    """How long it waits for what is under way when it ends."""
    notice_s: float = 1.0
    """How long it still answers callers, to send them away, when it ends."""


def refuse_open_host(host: str, *, has_tokens: bool, allows_anonymous: bool) -> None:
    """Others than this machine must show a token, unless it was said that they need none.

    Raises
    ------
    InputInvalid : others could reach the functions, and nobody asks who they are.
    """
    if not has_tokens and not allows_anonymous and not _is_own(host):
        raise InputInvalid(
            "the functions could be called from elsewhere, and by anybody.",
            where="--host",
            remedy="Give --token-file or EINTHOVEN_FUNCTIONS_TOKEN, or say --allow-anonymous where something "
            "in front asks who calls.",
        )


def _is_own(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen_for_calls(host: str, port: int) -> socket.socket:
    """The socket that calls come to; with port 0 a free one.

    Raises
    ------
    InputInvalid : the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise InputInvalid(
            f"this address cannot be listened at ({error.strerror}).",
            where=f"{host}:{port}",
            remedy="End what listens there, or give --port another number; 0 takes a free one.",
        ) from error


def check_tls(certificate: str, key: str) -> None:
    """Whether a certificate and its key can be used; raises InputInvalid."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise InputInvalid(
            f"the certificate and the key cannot be used together ({type(error).__name__}).",
            where="--tls-cert",
            remedy="Give PEM files: the certificate with those above it, and its own key without a password.",
        ) from None


def host_config(host: FunctionHost, tls: tuple[str, str] | None = None) -> uvicorn.Config:
    """How a host is served; see `HostSettings.tls`. Nothing older than TLS 1.2 is spoken."""
    certificate, key = (None, None) if tls is None else tls
    config = uvicorn.Config(
        host,
        loop="uvloop" if os.name == "posix" else "asyncio",
        http="httptools",
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=1,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    config.load()
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    return config


def serve_functions(
    settings: HostSettings, accepting: socket.socket, compiling: Callable[[], None] = lambda: None
) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Parameters
    ----------
    compiling : told when the kernels must be compiled first, which takes half a minute.
    """
    if not kernels_are_cached():
        compiling()
    workers = WorkerPool(settings.workers, begin=_warmed)
    host = FunctionHost(
        settings.hosted,
        in_workers(settings.hosted, workers, settings.limits.timeout_max_s),
        SystemClock(),
        limits=settings.limits,
        tokens=settings.tokens,
        only=settings.only,
        hangs=lambda: workers.hangs,
    )
    server = _Server(host_config(host, settings.tls), host, settings)
    server.warm_with(workers)
    server.run(sockets=[accepting])
    if server.gave_up:
        os._exit(1)  # a function that does not end would hold the process
    workers.close()


def _warmed() -> None:
    mind_only_the_host()
    warm_kernels()


class _Server(uvicorn.Server):
    """Ends when the host is idle, and not by the signal."""

    def __init__(self, config: uvicorn.Config, host: FunctionHost, settings: HostSettings) -> None:
        super().__init__(config)
        self.gave_up = False
        self._host = host
        self._settings = settings
        self._workers: WorkerPool | None = None
        self._running: list[asyncio.Task[None]] = []
        self._ends = False

    def warm_with(self, workers: WorkerPool) -> None:
        """Load the kernels in each worker as soon as it serves."""
        self._workers = workers

    async def startup(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """See uvicorn."""
        await super().startup(sockets=None if sockets is None else list(sockets))
        self._running.append(asyncio.create_task(self._host.warm_up(self._warm())))

    async def _warm(self) -> None:
        if self._workers is None:
            return
        warmed = _warmed if self._settings.workers == 1 else mind_only_the_host  # a process begins with it
        if not kernels_are_cached():  # one compiles, all others load
            await self._workers.call(warmed)
        await asyncio.gather(*(self._workers.call(warmed) for _ in range(self._settings.workers)))

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See uvicorn, which raises the signal again at the end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()

        def end(_number: int, _frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self.end)

        before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def end(self) -> None:
        """Drain; told a second time, end at once."""
        if self._ends:
            self.gave_up = self.should_exit = self.force_exit = True
            return
        self._ends = True
        self._running.append(asyncio.create_task(self._drained()))

    async def _drained(self) -> None:
        self._host.drain()
        try:
            async with asyncio.timeout(self._settings.drain_s):
                await asyncio.gather(asyncio.sleep(self._settings.notice_s), self._host.idle())
        except TimeoutError:
            self.gave_up = True
        self.should_exit = True
