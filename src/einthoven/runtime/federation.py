"""Regions as one: invocations are dispatched by `einthoven.placement.Dispatch` and performed here.

Each invocation has one key in all its attempts, so that a region that already has its answer gives it again.

What functions a region has it is asked beside the first call that it is given, so that nobody is woken for it
and nothing waits: again every minute, and soon after it failed, because it may have been started anew.
"""

import asyncio
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple, Protocol
from uuid import uuid4

import msgspec

from einthoven.clock import Clock
from einthoven.continuum import Continuum, Region, Spot
from einthoven.errors import Conflict, InputInvalid
from einthoven.placement import (
    Command,
    Dispatch,
    GiveUp,
    Invocation,
    Send,
    Settle,
    Standing,
    Terms,
    Warm,
)
from einthoven.placement.ways import WayMeter
from einthoven.runtime.conducting import FunctionUnknown, InvocationBroke
from einthoven.runtime.hosted import ANALYSIS, Hosted, a_call_for_nothing
from einthoven.runtime.reaching import reached
from einthoven.runtime.region_port import (
    Answer,
    Call,
    CallEncoding,
    HostedFunction,
    Probed,
    RegionPort,
)

__all__ = [
    "Admission",
    "DataOf",
    "FederatedRegions",
    "Federation",
    "Request",
    "federation_of",
    "nobody_asks",
    "nothing_else",
]

_GRACE_S: Final = 0.25
"""An answer may come so much later than its time says."""
_FRESH_S: Final = 60.0
"""What a region said of itself is believed for so long,"""
_UNSURE_S: Final = 1.0
"""and for so long where it failed since, or where nobody has a function."""
_ASKED_S: Final = 60.0
_WARMS_S: Final = 60.0
_BY_CALL: Final = frozenset({"refused", "payload", "function", "throttled"})
"""Of what breaks a call, that which tells that the region itself is as it was."""


def nobody_asks(_: Region) -> None:
    """Where it went is of no interest."""


class Request(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One invocation, wherever it may be performed; see `einthoven.placement.Invocation`."""

    function: str
    content: bytes
    encoding: CallEncoding
    key: str
    timeout_s: float = 30.0
    """From now on, with all its attempts and waiting."""
    urgency: int = 1
    needs: frozenset[str] = frozenset()
    admits: frozenset[Spot] | None = None
    session: str | None = None
    prefers: str = ""
    data_at: str = ""
    data_bytes: int = 0
    memory_mb: int = 128
    sent: Callable[[Region], None] = nobody_asks
    """Told of each region that it is sent to, however often it is tried."""


class _Waiting:
    def __init__(self, request: Request, done: asyncio.Future[Answer]) -> None:
        self.request = request
        self.done = done


class Federation:
    """Regions that are given invocations as one; of one event loop.

    Parameters
    ----------
    ports : how each region is reached, by its name.
    """

    def __init__(
        self,
        regions: Iterable[Region],
        ports: Mapping[str, RegionPort],
        clock: Clock,
        terms: Terms = Terms(),  # noqa: B008 - frozen
    ) -> None:
        self._dispatch = Dispatch(regions, terms)
        self._ports = dict(ports)
        self._clock = clock
        self._numbers = itertools.count()
        self._waiting: dict[int, _Waiting] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._answers: dict[int, Answer] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._asked_at_s: dict[str, float] = {}
        self._unsure: set[str] = set()
        self._warming: set[asyncio.Task[None]] = set()
        self._ways: dict[str, WayMeter] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at_s = math.inf
        self._is_closed = False
        missing = sorted(self._dispatch.standings.keys() - self._ports.keys())
        if missing:
            raise Conflict(f"nobody knows how to reach {', '.join(missing)}.", where="regions")

    @property
    def standings(self) -> Mapping[str, Standing]:
        """How each region stands."""
        return self._dispatch.standings

    @property
    def ways(self) -> Mapping[str, WayMeter]:
        """The way to each region that was called, as far as its answers say how long the function took."""
        return self._ways

    @property
    def waiting(self) -> int:
        """Invocations that wait for a region."""
        return self._dispatch.waiting

    async def invoke(self, request: Request) -> Answer:
        """What the function gave, somewhere.

        Raises
        ------
        InvocationBroke : there is no answer in time; ``throttled`` where all regions are full.
        """
        if self._is_closed:
            raise InvocationBroke("transport", "the federation was closed")
        now_s = self._clock.now_s()
        number = next(self._numbers)
        invocation = Invocation(
            number=number,
            function=request.function,
            urgency=request.urgency,
            deadline_s=now_s + request.timeout_s,
            needs=request.needs,
            admits=request.admits,
            session=request.session,
            prefers=request.prefers,
            content_bytes=len(request.content),
            data_at=request.data_at,
            data_bytes=request.data_bytes,
            memory_mb=request.memory_mb,
        )
        done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = _Waiting(request, done)
        self._perform(self._dispatch.submit(invocation, now_s))
        try:
            return await done
        except asyncio.CancelledError:
            if self._waiting.pop(number, None) is not None:
                self._perform(self._dispatch.cancel(number, self._clock.now_s()))
            raise

    def add(self, region: Region, port: RegionPort) -> None:
        """Another region; raises Conflict."""
        self._dispatch.add(region)
        self._ports[region.name] = port

    def change(self, region: Region) -> None:
        """Its declaration has changed; raises NotFound."""
        self._perform(self._dispatch.change(region, self._clock.now_s()))

    async def remove(self, name: str) -> None:
        """A region that is gone: what it has is sent elsewhere. Raises NotFound."""
        self._perform(self._dispatch.remove(name, self._clock.now_s()))
        asking = self._asking.pop(name, None)
        if asking is not None:
            asking.cancel()
        self._asked_at_s.pop(name, None)
        self._ways.pop(name, None)
        await self._ports.pop(name).close()

    def begin(self) -> None:
        """Keep regions warm from now on; without it, from the first invocation on."""
        self._perform(self._dispatch.woken(self._clock.now_s()))

    def expect(self, name: str, count: int, in_s: float) -> None:
        """A region will have so many invocations at one time: have as many instances warm until then.

        Nothing happens if there is no such region.
        """
        self._dispatch.expect(name, count, self._clock.now_s() + in_s)
        self._set_alarm()

    async def probe(self, name: str) -> tuple[Probed, float]:
        """What a region says of itself, and how long it took to say so, s; raises InvocationBroke."""
        began_s = self._clock.now_s()
        probed = await self._ports[name].probe()
        return probed, self._clock.now_s() - began_s

    async def close(self) -> None:
        """Give up what is under way, and all connections."""
        self._is_closed = True
        if self._alarm is not None:
            self._alarm.cancel()
        ending = (*self._tasks.values(), *self._asking.values(), *self._warming)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        for waiting in self._waiting.values():
            if not waiting.done.done():
                waiting.done.set_exception(InvocationBroke("transport", "the federation was closed"))
        self._waiting.clear()
        for port in self._ports.values():
            await port.close()

    # ---------------------------------------------------------------- commands

    def _perform(self, commands: Iterable[Command]) -> None:
        for one in commands:
            match one:
                case Send():
                    self._send(one)
                case GiveUp(attempt):
                    task = self._tasks.pop(attempt, None)
                    if task is not None:
                        task.cancel()
                case Settle():
                    self._settle(one)
                case Warm(region, calls):
                    for _ in range(calls):
                        task = asyncio.ensure_future(self._warm(region, self._ports[region]))
                        self._warming.add(task)
                        task.add_done_callback(self._warming.discard)
        self._set_alarm()

    def _send(self, send: Send) -> None:
        request = self._waiting[send.invocation.number].request
        call = Call(
            function=request.function,
            content=request.content,
            encoding=request.encoding,
            key=request.key,
            timeout_s=send.timeout_s,
        )
        request.sent(self._dispatch.standings[send.region].region)
        port = self._ports[send.region]
        self._tasks[send.attempt] = asyncio.ensure_future(
            self._attempt(send.attempt, send.region, port, call)
        )
        self._ask(send.region, _UNSURE_S if send.region in self._unsure else _FRESH_S)

    async def _attempt(self, attempt: int, region: str, port: RegionPort, call: Call) -> None:
        failed: InvocationBroke | None = None
        began_s = self._clock.now_s()
        try:
            async with asyncio.timeout(call.timeout_s + _GRACE_S):
                answer = await port.invoke(call)
            self._answers[attempt] = answer
            self._measure(region, call, answer, self._clock.now_s() - began_s)
        except InvocationBroke as broke:
            failed = broke
        except TimeoutError:
            failed = InvocationBroke("timeout", "no answer in time")
        except Exception as error:  # noqa: BLE001 - its text may hold values; the others go on
            failed = InvocationBroke("transport", f"the way there broke: {type(error).__name__}")
        self._tasks.pop(attempt, None)
        now_s = self._clock.now_s()
        if failed is None:
            self._perform(self._dispatch.answered(attempt, now_s))
        else:
            if failed.kind not in _BY_CALL:
                self._unsure.add(region)
            commands = self._dispatch.broke(
                attempt,
                failed.kind,
                failed.message,
                now_s,
                failed.retry_after_s,
                is_unknown=isinstance(failed, FunctionUnknown),
            )
            self._perform(commands)
        self._answers.pop(attempt, None)

    def _measure(self, region: str, call: Call, answer: Answer, took_s: float) -> None:
        if math.isfinite(answer.busy_s) and region in self._dispatch.standings:
            bits = 8.0 * (len(call.content) + len(answer.content))
            self._ways.setdefault(region, WayMeter()).note(bits, took_s - answer.busy_s)

    def _settle(self, settled: Settle) -> None:
        waiting = self._waiting.pop(settled.number, None)
        if waiting is None or waiting.done.done():
            return
        if settled.attempt is not None:
            waiting.done.set_result(self._answers[settled.attempt])
        elif settled.failed is not None:
            failed = settled.failed
            if failed.is_unknown:
                for name in self._dispatch.standings:
                    self._ask(name, _UNSURE_S)
                waiting.done.set_exception(FunctionUnknown(failed.message))
            else:
                waiting.done.set_exception(InvocationBroke(failed.kind, failed.message, failed.retry_after_s))

    async def _warm(self, name: str, port: RegionPort) -> None:
        """A call that asks for nothing; whether it is answered, others find out."""
        standing = self._dispatch.standings.get(name)
        if standing is None:  # it was removed meanwhile
            return
        with suppress(Exception):
            busy_s = 0.0
            async with asyncio.timeout(_WARMS_S):
                if standing.may_have(ANALYSIS):
                    busy_s = (await port.invoke(a_call_for_nothing(f"warm/{uuid4().hex}"))).busy_s
                else:
                    await port.probe()
            self._dispatch.warmed(name, 0.0 if math.isnan(busy_s) else busy_s)

    # ---------------------------------------------------------------- what regions say of themselves

    def _ask(self, name: str, after_s: float) -> None:
        """Ask a region what it has, beside all else, if it was not asked for so long."""
        now_s = self._clock.now_s()
        if name in self._asking or now_s - self._asked_at_s.get(name, -math.inf) < after_s:
            return
        self._asked_at_s[name] = now_s
        self._unsure.discard(name)
        self._asking[name] = asyncio.ensure_future(self._learn(name, self._ports[name]))

    async def _learn(self, name: str, port: RegionPort) -> None:
        try:
            async with asyncio.timeout(_ASKED_S):
                probed = await port.probe()
        except Exception:  # noqa: BLE001 - calls find out what is wrong with it
            self._unsure.add(name)
        else:
            functions = {one.name for one in probed.functions}
            self._perform(self._dispatch.learn(name, functions, self._clock.now_s()))
        finally:
            if self._asking.get(name) is asyncio.current_task():
                del self._asking[name]

    # ---------------------------------------------------------------- time

    def _set_alarm(self) -> None:
        now_s = self._clock.now_s()
        at_s = self._dispatch.wake_at_s(now_s)
        if self._alarm is not None and self._alarm_at_s <= at_s:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm, self._alarm_at_s = None, math.inf
        if at_s < math.inf:
            self._alarm_at_s = at_s
            loop = asyncio.get_running_loop()
            self._alarm = loop.call_later(max(0.0, at_s - now_s), self._wake)

    def _wake(self) -> None:
        self._alarm, self._alarm_at_s = None, math.inf
        self._perform(self._dispatch.woken(self._clock.now_s()))


class DataOf(NamedTuple):
    """What a call reads besides its inputs."""

    at: str
    """The place where it lies."""
    bytes: int


def nothing_else(_: str) -> DataOf:
    """Calls of no function read anything besides."""
    return DataOf("", 0)


class Admission(Protocol):
    """What may go where, for the calls of one piece of work."""

    async def __call__(self, function: str) -> frozenset[Spot] | None:
        """The regions that may be given a call of this function now; None: all."""
        ...

    def sent(self, call: Call, region: Region) -> None:
        """A call was sent there."""
        ...


class FederatedRegions:
    """A federation as if it were one region; see `RegionPort`.

    Parameters
    ----------
    urgency, needs : of all invocations.
    data_of : what a call of a function reads besides.
    admission : which regions may have it; None: all.
    """

    def __init__(
        self,
        federation: Federation,
        *,
        urgency: int = 2,
        needs: frozenset[str] = frozenset(),
        data_of: Callable[[str], DataOf] = nothing_else,
        admission: Admission | None = None,
    ) -> None:
        self._data_of = data_of
        self._admission = admission
        self._federation = federation
        self._urgency = urgency
        self._needs = needs

    async def invoke(self, call: Call) -> Answer:
        """See `RegionPort`."""
        admission = self._admission
        admits = None if admission is None else await admission(call.function)
        if admits is not None and not admits:
            raise InvocationBroke("refused", "no region may have the data")
        data = self._data_of(call.function)
        request = Request(
            function=call.function,
            content=call.content,
            encoding=call.encoding,
            key=call.key,
            timeout_s=call.timeout_s,
            urgency=self._urgency,
            needs=self._needs,
            admits=admits,
            sent=nobody_asks if admission is None else partial(admission.sent, call),
            data_at=data.at,
            data_bytes=data.bytes,
        )
        return await self._federation.invoke(request)

    async def probe(self) -> Probed:
        """What any of the regions has that answer; raises as `RegionPort.probe` does."""
        functions: dict[str, HostedFunction] = {}
        slots = 0
        broke = InvocationBroke("transport", "there are no regions")
        for name in list(self._federation.standings):
            try:
                probed, _ = await self._federation.probe(name)
            except InvocationBroke as error:
                broke = error
                continue
            functions |= {one.name: one for one in probed.functions}
            slots += probed.slots
        if not slots:
            raise broke
        return Probed(functions=tuple(functions.values()), slots=slots)

    async def close(self) -> None:
        """See `RegionPort`."""
        await self._federation.close()


def federation_of(continuum: Continuum, hosted: Hosted, clock: Clock, terms: Terms) -> Federation:
    """The declared regions, federated.

    Parameters
    ----------
    hosted : what those regions run that this process makes itself.

    Raises
    ------
    InputInvalid : no region is declared, or one cannot be reached from here.
    """
    if not continuum.regions:
        raise InputInvalid("no region is declared.", where="regions", remedy="Use `einthoven regions add`.")
    ports = {one.name: reached(one, hosted) for one in continuum.regions}
    return Federation(continuum.regions, ports, clock, terms)
