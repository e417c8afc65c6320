"""A member of a region over NATS: it takes calls of its queue group, and any region behind it performs them.

An answer is remembered for a while under its key, so that a call which comes again is not performed again;
one that comes while the first goes on waits for the same answer.
"""

import asyncio
import hashlib
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, get_args
from urllib.parse import quote, unquote
from uuid import uuid4

import msgspec

from einthoven.clock import SystemClock
from einthoven.runtime.conducting import FunctionUnknown, InvocationBroke
from einthoven.runtime.hosted import FUSED, Hosted
from einthoven.runtime.kept_answers import KeptAnswers
from einthoven.runtime.local_regions import InlineRegion, PoolRegion
from einthoven.runtime.nats_link import (
    BEAT_S,
    BUSY,
    ENCODING,
    ERROR,
    ERROR_TEXT,
    FUNCTION,
    HEADERS_MAX_BYTES,
    KEY,
    RETRY_AFTER,
    TIMEOUT,
    UNKNOWN,
    WORKING,
    Member,
    NatsLink,
    Unreached,
    is_token,
    number_in,
    subject_of_function,
    subject_of_info,
)
from einthoven.runtime.nats_opening import check_installed, connected
from einthoven.runtime.region_port import Answer, Call, CallEncoding, RegionPort
from einthoven.runtime.service_notices import keep_telling

if TYPE_CHECKING:
    from einthoven.runtime.nats_connection import Msg, NatsConnection, Subscription

__all__ = ["NatsHost", "serve_over_nats"]

_ENCODINGS: Final = frozenset(get_args(CallEncoding))
_AGAIN_S: Final = 1.0
"""Before a host whom the servers refused asks them again."""
_RETRY_AFTER_S: Final = 0.1
_LONGEST_S: Final = 86_400.0
"""A call that asks for more time has this."""
_Name = tuple[str, str, str, bytes]


class _Run(msgspec.Struct, eq=False):
    """A call that is being performed, and who waits for it: each with the time until which it does."""

    call: Call
    since_s: float
    waiting: dict[str, float]


class NatsHost:
    """Takes calls of a region, as many as there is room for.

    Parameters
    ----------
    inner : who performs them; it is closed with this.
    waiting : calls that wait for a slot at most; what comes beyond is ``throttled``.
    only : functions that are had here; None: all that the inner one has.
    remembered_s, remembered_max_bytes : how long answers are remembered, and how much of them.
    """

    def __init__(
        self,
        region: str,
        link: NatsLink,
        inner: RegionPort,
        *,
        waiting: int = 64,
        only: frozenset[str] | None = None,
        remembered_s: float = 120.0,
        remembered_max_bytes: int = 64 * 2**20,
    ) -> None:
        check_installed(link)
        self._region = region
        self._info = subject_of_info(region)
        self._link = link
        self._inner = inner
        self._most_waiting = waiting
        self._only = only
        self._member = Member(id=uuid4().hex, functions=(), slots=0)
        self._connection: NatsConnection | None = None
        self._subscriptions: list[Subscription] = []
        self._runs: dict[_Name, _Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._answers: KeptAnswers[_Name, Answer] = KeptAnswers(
            SystemClock(), max_bytes=remembered_max_bytes, keep_s=remembered_s
        )
        self._background: list[asyncio.Task[None]] = []
        self._gone = asyncio.Event()

    async def start(self) -> None:
        """Connect, however long it takes, and take calls from now on.

        Raises
        ------
        InputInvalid : what is needed for it is not installed, or one of the files cannot be used.
        """
        probed = await self._inner.probe()
        self._member = msgspec.structs.replace(
            self._member,
            functions=tuple(
                one
                for one in probed.functions
                if is_token(one.name) and (self._only is None or one.name in self._only)
            ),
            slots=probed.slots,
        )
        joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._background = [asyncio.ensure_future(one) for one in (self._stay(joined), self._beat())]
        await joined

    async def stop(self, grace_s: float = 30.0) -> None:
        """Take nothing new, finish what is there, and go.

        Parameters
        ----------
        grace_s : for so long; then it is given up, and whoever waits sends it to another.
        """
        self._member = msgspec.structs.replace(self._member, is_draining=True)
        connection = self._connection
        if connection is not None:
            draining = (connection.drain(one) for one in self._subscriptions)
            await asyncio.gather(*draining, return_exceptions=True)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        for run in self._runs.values():
            for reply in run.waiting:
                await self._refuse(reply, InvocationBroke("transport", "the member goes"))
        ending = (*self._tasks, *self._background)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        if connection is not None:
            with suppress(Unreached):
                await connection.flush()
            self._connection = None
            await connection.close()
        await self._inner.close()

    async def _stay(self, joined: "asyncio.Future[None]") -> None:
        """Join, and join again whenever the servers have closed the connection for good."""
        try:
            while True:
                self._gone.clear()
                try:
                    await self._join()
                    if not joined.done():
                        joined.set_result(None)
                    await self._gone.wait()
                except Unreached:
                    pass
                except Exception as error:  # noqa: BLE001 - whoever starts is told; later it is tried again
                    if not joined.done():
                        joined.set_exception(error)
                        return
                connection, self._connection = self._connection, None
                if connection is not None:
                    await connection.close()
                await asyncio.sleep(_AGAIN_S)
        finally:
            joined.cancel()

    async def _join(self) -> None:
        """Connect and subscribe; the functions first, so that whoever is told of one is heard there."""
        connection = await connected(
            self._link, name=f"einthoven-host-{self._region}", lost=_nothing, closed=self._closed
        )
        self._connection = connection
        self._subscriptions = []
        for function in self._member.functions:
            subject = subject_of_function(self._region, function.name)
            found = await connection.subscribe(subject, self._heard, queue=self._region)
            self._subscriptions.append(found)
        await connection.subscribe(self._info, self._tell)
        await connection.flush()

    async def _closed(self) -> None:
        self._gone.set()

    # ---------------------------------------------------------------- what is heard

    async def _tell(self, message: "Msg") -> None:
        await self._reply(message.reply, msgspec.json.encode(self._member), {})

    async def _heard(self, message: "Msg") -> None:
        if not message.reply:
            return
        headers = message.headers or {}
        timeout_ms = number_in(headers, TIMEOUT)
        encoding: Any = headers.get(ENCODING)
        if encoding not in _ENCODINGS or timeout_ms is None or KEY not in headers:
            await self._refuse(message.reply, InvocationBroke("refused", "the call lacks a header"))
            return
        timeout_s = min(timeout_ms / 1e3, _LONGEST_S)
        function = headers.get(FUNCTION, message.subject.rpartition(".")[2])
        if not {one.name for one in self._member.functions}.issuperset(function.split(FUSED)):
            await self._refuse(message.reply, FunctionUnknown("this member does not have all the functions"))
            return
        call = Call(
            function=function,
            content=message.data,
            encoding=encoding,
            key=unquote(headers[KEY]),
            timeout_s=timeout_s,
        )
        digest = hashlib.blake2b(call.content, digest_size=16).digest()
        name = (call.key, call.function, call.encoding, digest)
        answer = self._answers.get(name)
        if answer is not None:
            await self._answer(message.reply, answer)
            return
        now_s = time.monotonic()
        run = self._runs.get(name)
        if run is not None:
            run.waiting[message.reply] = now_s + timeout_s
        elif len(self._runs) >= self._member.slots + self._most_waiting:
            said = f"{len(self._runs)} calls are here already"
            await self._refuse(message.reply, InvocationBroke("throttled", said, _RETRY_AFTER_S))
        else:
            self._begin(name, _Run(call, now_s, {message.reply: now_s + timeout_s}))

    def _begin(self, name: _Name, run: _Run) -> None:
        self._runs[name] = run
        task = asyncio.ensure_future(self._perform(name, run))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _perform(self, name: _Name, run: _Run) -> None:
        broke: InvocationBroke | None = None
        answer: Answer | None = None
        try:
            answer = await self._inner.invoke(run.call)
            self._answers.put(name, answer, len(answer.content))
        except InvocationBroke as error:
            broke = error
        except Exception as error:  # noqa: BLE001 - whoever waits must be told; its text may hold values
            broke = InvocationBroke("function", f"the function broke: {type(error).__name__}")
        finally:
            del self._runs[name]
        now_s = time.monotonic()
        later = {reply: until_s for reply, until_s in run.waiting.items() if until_s > now_s + 0.001}
        if broke is not None and broke.kind == "timeout" and later:
            # It was the time of the first who asked; the others have more.
            left_s = max(later.values()) - now_s
            call = msgspec.structs.replace(run.call, timeout_s=left_s)
            self._begin(name, _Run(call, run.since_s, later))
            return
        for reply in run.waiting:
            if answer is not None:
                await self._answer(reply, answer)
            elif broke is not None:
                await self._refuse(reply, broke)

    async def _beat(self) -> None:
        """Tell all who wait for long that their calls are not lost."""
        while True:
            await asyncio.sleep(BEAT_S)
            before_s = time.monotonic() - BEAT_S
            for run in [one for one in self._runs.values() if one.since_s <= before_s]:
                for reply in tuple(run.waiting):
                    await self._reply(reply, b"", {WORKING: "1"})

    # ---------------------------------------------------------------- what is said

    async def _answer(self, reply: str, answer: Answer) -> None:
        connection = self._connection
        most = None if connection is None else connection.message_max_bytes - HEADERS_MAX_BYTES
        if most is not None and len(answer.content) > most:
            said = f"the answer has {len(answer.content)} bytes, and the NATS server takes {most} at most"
            await self._refuse(reply, InvocationBroke("payload", f"{said}: pass it by reference"))
            return
        busy_us = {} if answer.busy_s != answer.busy_s else {BUSY: str(round(1e6 * answer.busy_s))}
        await self._reply(reply, answer.content, busy_us)

    async def _refuse(self, reply: str, broke: InvocationBroke) -> None:
        headers = {ERROR: broke.kind, ERROR_TEXT: quote(broke.message[:500])}
        if isinstance(broke, FunctionUnknown):
            headers[UNKNOWN] = "1"
        if broke.retry_after_s is not None:
            headers[RETRY_AFTER] = str(round(1000 * broke.retry_after_s))
        await self._reply(reply, b"", headers)

    async def _reply(self, reply: str, content: bytes, headers: dict[str, str]) -> None:
        """Whoever does not get it asks again under the same key."""
        if self._connection is not None:
            with suppress(Unreached):
                await self._connection.publish(reply, content, headers)


def serve_over_nats(
    region: str,
    link: NatsLink,
    hosted: Hosted,
    *,
    workers: int = 1,
    waiting: int = 64,
    only: frozenset[str] | None = None,
    grace_s: float = 30.0,
    ready: Callable[[], None] | None = None,
) -> None:
    """Host functions until SIGTERM or SIGINT; then finish what is there. A second signal ends it at once.

    Parameters
    ----------
    workers : 0: the thread of the event loop; 1: a thread; more: processes.
    ready : called when calls are taken.

    Raises
    ------
    InputInvalid : what is needed for it is not installed, or one of the files cannot be used.
    """

    async def start(inner: PoolRegion | InlineRegion, host: NatsHost) -> None:
        await inner.warm()
        await host.start()

    async def serve() -> None:
        inner = PoolRegion(hosted, workers) if workers else InlineRegion(hosted)
        host = NatsHost(region, link, inner, waiting=waiting, only=only)
        told = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told.set)
        starting = asyncio.ensure_future(start(inner, host))
        stopping = asyncio.ensure_future(told.wait())
        notices: asyncio.Task[None] | None = None
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        try:
            if starting.done():
                starting.result()
                if ready is not None:
                    ready()
                notices = asyncio.ensure_future(keep_telling())
                await stopping
        finally:
            if notices is not None:
                notices.cancel()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
            starting.cancel()
            stopping.cancel()
            await host.stop(grace_s)

    with asyncio.Runner(loop_factory=_fast_loop()) as runner:
        runner.run(serve())


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - not on Windows
    except ImportError:
        return None
    return uvloop.new_event_loop


def _nothing() -> None:
    """It comes back by itself; what was answered meanwhile is remembered."""
