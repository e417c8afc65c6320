"""Workflows driven by the machine's clock: invocations side by side, in fair turns, and journaled.

An `Execution` says what is to be done and looks at what came of it; here it is done. Invocations of all
executions share a number of slots, and each execution in turn gets the next free one, so that one of
ten thousand iterations does not keep one of three calls waiting.

What an invocation gave is handed to the journal, which writes in order and many together; an execution
goes on without waiting for the disk, since whatever depends on an entry is written behind it. Only the
end of a run waits: who is told of it can rely on it.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from einthoven.clock import Clock
from einthoven.errors import DefectError, EinthovenError, Fault
from einthoven.runtime.claims import Claims
from einthoven.runtime.exchange import Exchange, called
from einthoven.runtime.worker_pool import WorkerDied, WorkerPool
from einthoven.storage import Connection
from einthoven.storage.runs import KeptEntry, append_entries
from einthoven.workflow import (
    Abandon,
    Break,
    Broke,
    Cancelled,
    Command,
    Ended,
    Entry,
    Event,
    Execution,
    Failure,
    Foresee,
    Invoke,
    Record,
    Replied,
    Stage,
    Warn,
    Woken,
)
from einthoven.workflow.answers import part_of, what_is_wrong

__all__ = [
    "ByReference",
    "Conductor",
    "Elsewhere",
    "FunctionRefused",
    "FunctionUnknown",
    "Holding",
    "InProcess",
    "InRegions",
    "InvocationBroke",
    "Invoker",
    "Journal",
    "JournalWriter",
    "Own",
    "Routed",
    "RunJournal",
    "called_together",
    "inputs_of",
]


class InvocationBroke(Exception):
    """An attempt failed; the message holds no value."""

    def __init__(self, kind: Break, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(kind, message, retry_after_s)
        self.kind = kind
        self.message = message
        self.retry_after_s = retry_after_s


class FunctionRefused(InvocationBroke):
    """A call that will never be taken."""

    def __init__(self, message: str) -> None:
        super().__init__("refused", message)

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return type(self), (self.message,)


class FunctionUnknown(FunctionRefused):
    """There is no such function there; somewhere else there may be."""


class Invoker(Protocol):
    """Who performs invocations."""

    async def invoke(self, invoke: Invoke) -> Any:
        """The answer.

        Raises
        ------
        InvocationBroke : there is none.
        """
        ...


class Own(Invoker, Protocol):
    """An invoker of functions of this program."""

    def knows(self, type_: str) -> bool:
        """Whether there is a function of the type."""
        ...


class Elsewhere(Invoker, Protocol):
    """An invoker that holds connections."""

    async def close(self) -> None:
        """Give them up."""
        ...


class Journal(Protocol):
    """Where the end of each invocation is kept."""

    def append(self, path: str, entry: Entry, took_s: float) -> None:
        """Hand over an entry; it is written in order, a little later.

        Parameters
        ----------
        took_s : since its first attempt began.
        """
        ...

    async def flush(self) -> None:
        """Wait until everything that was handed over is on disk.

        Raises
        ------
        DatabaseUnavailable : something could not be written.
        """
        ...


_KIND_OF_FAULT: Final[dict[Fault, Break]] = {"caller": "refused", "peer": "transport", "ours": "function"}
"""Of our own errors, whose texts hold no values: what was given is wrong, or something failed for now."""


class _Going:
    """One execution that is being driven."""

    def __init__(
        self, execution: Execution, journal: Journal | None, told: Callable[[str], None] | None
    ) -> None:
        self.execution = execution
        self.journal = journal
        self.told = told
        self.waiting: deque[Invoke] = deque()
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.begun_s: dict[str, float] = {}
        """When the first attempt of each invocation that has not ended was given a slot."""
        self.alarm: asyncio.TimerHandle | None = None
        self.alarm_at_s: float | None = None
        self.ended: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        self.warnings: list[Warn] = []


class Conductor:
    """Drives executions in one event loop.

    Parameters
    ----------
    slots : invocations at one time, of all executions together.
    foreseen : told of invocations that will come; None: nobody goes ahead.
    """

    def __init__(
        self,
        invoker: Invoker,
        *,
        slots: int,
        clock: Clock,
        foreseen: Callable[[Foresee], None] | None = None,
    ) -> None:
        self._invoker = invoker
        self._foreseen = foreseen
        self._free = slots
        self._clock = clock
        self._epoch_s = clock.utc_ns() / 1e9 - clock.now_s()
        self._turns: deque[_Going] = deque()

    async def run(
        self,
        execution: Execution,
        *,
        journal: Journal | None = None,
        warned: Callable[[Warn], None] | None = None,
        ended: Callable[[str], None] | None = None,
    ) -> Entry:
        """Drive one execution to its end; whoever cancels this cancels the run.

        Parameters
        ----------
        warned : told at the end of what was tolerated.
        ended : told of each invocation that ends, by its path.

        Raises
        ------
        DatabaseUnavailable : the journal cannot be written; the run can be resumed.
        """
        going = _Going(execution, journal, ended)
        try:
            self._perform(going, execution.start(self._now_s()))
            entry = await asyncio.shield(going.ended)
        except asyncio.CancelledError:
            self._perform(going, execution.handle(Cancelled(), self._now_s()))
            raise
        finally:
            if going.alarm is not None:
                going.alarm.cancel()
            if warned is not None:
                for one in going.warnings:
                    warned(one)
        if journal is not None:
            await journal.flush()
        return entry

    def _now_s(self) -> float:
        """Since 1970, but not put back or forth when somebody sets the machine's clock."""
        return self._epoch_s + self._clock.now_s()

    # ---------------------------------------------------------------- commands

    def _tell(self, going: _Going, event: Event) -> None:
        try:
            self._perform(going, going.execution.handle(event, self._now_s()))
        except Exception as error:  # noqa: BLE001 - the others go on
            self._break(going, error)

    def _break(self, going: _Going, error: Exception) -> None:
        """A defect of an execution ends it, and nothing else."""
        going.waiting.clear()
        for task in going.tasks.values():
            task.cancel()
        if not going.ended.done():
            going.ended.set_exception(
                error
                if isinstance(error, EinthovenError)
                else DefectError(
                    f"an execution broke ({type(error).__name__}).", where="workflow", remedy="Report it."
                )
            )

    def _perform(self, going: _Going, commands: list[Command]) -> None:
        for one in commands:
            match one:
                case Invoke():
                    if not going.waiting:
                        self._turns.append(going)
                    going.waiting.append(one)
                case Record():
                    if going.journal is not None:
                        took_s = self._now_s() - going.begun_s.pop(one.path, self._now_s())
                        going.journal.append(one.path, one.entry, took_s)
                    if going.told is not None:
                        going.told(one.path)
                case Abandon():
                    self._abandon(going, one.call)
                case Warn():
                    going.warnings.append(one)
                case Foresee():
                    if self._foreseen is not None:
                        self._foreseen(one)
                case Ended():
                    if not going.ended.done():
                        going.ended.set_result(one.entry)
        self._set_alarm(going)
        self._begin()

    def _begin(self) -> None:
        """Give free slots to the executions in turn."""
        while self._free and self._turns:
            going = self._turns.popleft()
            if not going.waiting:
                continue
            invoke = going.waiting.popleft()
            if going.waiting:
                self._turns.append(going)
            self._free -= 1
            if going.journal is not None:
                going.begun_s.setdefault(invoke.path, self._now_s())
            task = asyncio.ensure_future(self._attempt(going, invoke))
            going.tasks[invoke.call] = task
            task.add_done_callback(partial(self._release, going, invoke.call))

    def _release(self, going: _Going, call: int, _: asyncio.Task[None]) -> None:
        """Also of a task that was cancelled before it began."""
        del going.tasks[call]
        self._free += 1
        self._begin()

    async def _attempt(self, going: _Going, invoke: Invoke) -> None:
        event: Event
        try:
            event = Replied(invoke.call, await self._invoker.invoke(invoke))
        except InvocationBroke as broke:
            event = Broke(invoke.call, broke.kind, broke.message, broke.retry_after_s)
        except EinthovenError as error:
            event = Broke(invoke.call, _KIND_OF_FAULT[error.fault], error.what)
        except Exception as error:  # noqa: BLE001 - a function may raise anything; its text may hold values
            event = Broke(invoke.call, "function", f"the function broke: {type(error).__name__}")
        self._tell(going, event)

    def _abandon(self, going: _Going, call: int) -> None:
        task = going.tasks.get(call)
        if task is not None:
            task.cancel()
            return
        for invoke in going.waiting:
            if invoke.call == call:
                going.waiting.remove(invoke)
                return

    # ---------------------------------------------------------------- time

    def _set_alarm(self, going: _Going) -> None:
        wake_at_s = None if going.execution.entry is not None else going.execution.wake_at_s
        if wake_at_s == going.alarm_at_s:
            return
        if going.alarm is not None:
            going.alarm.cancel()
        going.alarm, going.alarm_at_s = None, wake_at_s
        if wake_at_s is not None:
            pause_s = max(0.0, wake_at_s - self._now_s())
            going.alarm = asyncio.get_running_loop().call_later(pause_s, self._wake, going)

    def _wake(self, going: _Going) -> None:
        going.alarm, going.alarm_at_s = None, None
        self._tell(going, Woken())


# -------------------------------------------------------------------- functions in this process

_FORESEEN: Final = 64

Holding = Callable[[], AbstractContextManager[Callable[[dict[str, Any]], dict[str, Any]]]]
"""Entered around a fused invocation: what its stages pass by reference may stay in memory until it ends. What
it gives is told in the end what leaves, keeps that where others find it, and says what it is called there."""


class InProcess:
    """Functions of this process, by their type: each takes its inputs by name and gives a mapping.

    Parameters
    ----------
    workers : who calls them; None: the event loop's own thread, for functions that take no time.
    holding : see `Holding`.
    exchange : where large values lie; workers fetch and keep them themselves.
    ahead : of functions that take a list one element after the other, by their type: takes some elements of
        it, where they stand in it, and the other inputs, and leaves in its process what the function goes on
        with when it is called there.
    """

    def __init__(
        self,
        functions: Mapping[str, Callable[..., Any]],
        workers: WorkerPool | None = None,
        holding: Holding | None = None,
        exchange: Exchange | None = None,
        ahead: Mapping[str, Callable[..., None]] = MappingProxyType({}),
    ) -> None:
        self._ahead = ahead
        self._begun: dict[str, list[Future[None]]] = {}
        """Of invocations that will come, by their key: what was begun of them."""
        self._functions = functions
        self._workers = workers
        self._holding = holding
        self._exchange = exchange

    def knows(self, type_: str) -> bool:
        """Whether there is a function of the type."""
        return type_ in self._functions

    async def invoke(self, invoke: Invoke) -> Any:
        """See `Invoker`."""
        call = self._call(invoke)
        if self._workers is None:
            return call()
        try:
            if self._has_begun(invoke.key):
                return await self._workers.follow(call)
            return await self._workers.call(call)
        except WorkerDied:
            raise InvocationBroke("transport", "a worker died") from None

    def foresee(self, one: Foresee) -> None:
        """Go ahead with an invocation that will come, if there is a processor for it."""
        ahead = self._ahead.get(one.type)
        if ahead is None or self._workers is None:
            return
        begun = self._workers.go_ahead(partial(ahead, one.first, one.values, one.inputs))
        if begun is not None:
            while len(self._begun) > _FORESEEN:  # of runs that failed before it came
                self._begun.pop(next(iter(self._begun)))
            self._begun.setdefault(one.key, []).append(begun)

    def _has_begun(self, key: str) -> bool:
        """Whether an invocation that was foreseen goes on where that was done; if not, none of it is."""
        begun = self._begun.pop(key, [])
        if begun and begun[0].done() and begun[0].exception() is None:
            return True
        for one in begun:
            one.cancel()
        return False

    def _call(self, invoke: Invoke) -> Callable[[], Any]:
        call: Callable[[dict[str, Any]], Any]
        if invoke.stages:
            functions = tuple(self._function(stage.type) for stage in invoke.stages)
            call = partial(called_together, invoke.stages, functions, self._holding)
        else:
            call = partial(_called_alone, self._function(invoke.type))
        if self._exchange is not None and (invoke.comes or invoke.leaves):
            return partial(called, self._exchange, invoke, call)
        return partial(call, invoke.inputs)

    def _function(self, type_: str) -> Callable[..., Any]:
        function = self._functions.get(type_)
        if function is None:
            raise FunctionUnknown(f"nobody here knows the function type {type_!r}")
        return function


def _called_alone(function: Callable[..., Any], inputs: dict[str, Any]) -> Any:
    return function(**inputs)


def called_together(
    stages: tuple[Stage, ...],
    functions: tuple[Callable[..., Any], ...],
    holding: Holding | None,
    inputs: dict[str, Any],
) -> dict[str, Any]:
    """The stages one after the other; an answer that is none ends them."""
    given: dict[str, Any] = {}
    with (holding or _nothing_held)() as keep:
        for stage, function in zip(stages, functions, strict=True):
            reply = function(**inputs_of(stage, inputs, given))
            wrong = what_is_wrong(reply, stage.outputs)
            if wrong is not None:
                raise InvocationBroke(wrong[0], f"{stage.name}: {wrong[1]}")
            given.update((f"{stage.name}/{port}", reply[port]) for port, _ in stage.outputs)
        leaving = {
            f"{stage.name}/{port}": given[f"{stage.name}/{port}"]
            for stage in stages
            for port in stage.leaving
        }
        return keep(leaving)


def inputs_of(stage: Stage, inputs: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What a stage of a fused invocation is called with, of its inputs and of what the stages before gave."""
    return {
        port: inputs[f"{stage.name}/{port}"]
        if handed is None
        else part_of(given[f"{handed.stage}/{handed.port}"], handed.segments)
        for port, handed in stage.inputs
    }


@contextmanager
def _nothing_held() -> Iterator[Callable[[dict[str, Any]], dict[str, Any]]]:
    yield lambda leaving: leaving


class ByReference:
    """An invoker of functions that know nothing of it: what is large is fetched and kept here."""

    def __init__(self, invoker: Invoker, exchange: Exchange) -> None:
        self._invoker = invoker
        self._exchange = exchange

    async def invoke(self, invoke: Invoke) -> Any:
        """See `Invoker`."""
        if not invoke.comes and not invoke.leaves:
            return await self._invoker.invoke(invoke)
        inputs = await asyncio.to_thread(self._exchange.sent, invoke)
        reply = await self._invoker.invoke(msgspec.structs.replace(invoke, inputs=inputs))
        return await asyncio.to_thread(self._exchange.given, invoke, reply)


class InRegions:
    """Functions that regions have, there; all others in this process.

    Parameters
    ----------
    types : those of the functions that regions have.
    or_here : whether what no region did is done in this process.
    """

    def __init__(
        self, own: InProcess, regions: Invoker, types: frozenset[str], *, or_here: bool = False
    ) -> None:
        self._own = own
        self._regions = regions
        self._types = types
        self._or_here = or_here

    def knows(self, type_: str) -> bool:
        """See `Own`."""
        return type_ in self._types or self._own.knows(type_)

    async def invoke(self, invoke: Invoke) -> Any:
        """See `Invoker`."""
        first = invoke.stages[0].type if invoke.stages else invoke.type
        if first not in self._types:
            return await self._own.invoke(invoke)
        try:
            return await self._regions.invoke(invoke)
        except InvocationBroke:
            if not self._or_here:
                raise
        return await self._own.invoke(invoke)


class Routed:
    """Functions of this program by their type, and all others where their resource says.

    Parameters
    ----------
    prefers_own : functions of this program even where a resource says that they are elsewhere.
    """

    def __init__(self, own: Own, elsewhere: Invoker, *, prefers_own: bool) -> None:
        self._own = own
        self._elsewhere = elsewhere
        self._prefers_own = prefers_own

    async def invoke(self, invoke: Invoke) -> Any:
        """See `Invoker`."""
        is_own = self._own.knows(invoke.type) and (self._prefers_own or invoke.resource is None)
        return await (self._own if is_own or invoke.resource is None else self._elsewhere).invoke(invoke)


# -------------------------------------------------------------------- the journal


class JournalWriter:
    """Writes the journals of runs into a database: a thread of its own takes what waits into one transaction.

    Parameters
    ----------
    connect : opens the connection, in the writer's thread.
    claims : says how an entry is kept; asked in the writer's thread.
    """

    def __init__(self, connect: Callable[[], Connection], clock: Clock, claims: Claims) -> None:
        self._connect = connect
        self._clock = clock
        self._claims = claims
        self._waiting: list[_Waiting] = []
        self._appended = self._written = 0
        self._changed = threading.Condition()
        self._broken: dict[int, EinthovenError] = {}
        self._is_closing = False
        self._told: list[_Told] = []
        self._thread = threading.Thread(target=self._write, name="journal", daemon=True)
        self._thread.start()

    def of(self, run: int, id_: str) -> "RunJournal":
        """The journal of one run, by its number and its name."""
        with self._changed:
            self._broken.pop(run, None)
        return RunJournal(self, run, id_)

    def append(self, run: int, id_: str, path: str, entry: Entry, took_s: float) -> None:
        """Hand over an entry; raises what kept an earlier one of the run from being written."""
        waiting = _Waiting(run, id_, path, entry, self._clock.utc_ns(), round(1e9 * took_s))
        with self._changed:
            if run in self._broken:
                raise self._broken[run]
            self._waiting.append(waiting)
            self._appended += 1
            self._changed.notify()

    async def flush(self, run: int) -> None:
        """Wait until everything that was handed over of a run is on disk; raises as `append` does."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        with self._changed:
            if run in self._broken:
                raise self._broken[run]
            if self._written >= self._appended:
                return
            self._told.append(_Told(loop, done, run, self._appended))
        await done

    def close(self) -> None:
        """Write what waits, and end."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join()

    def _write(self) -> None:
        connection: Connection | None = None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closing)
                entries, self._waiting = self._waiting, []
            if not entries:
                break
            error: EinthovenError | None = None
            try:
                connection = connection or self._connect()
                kept = [(one.run, self._kept(one)) for one in entries]
                with connection.writing() as statements:
                    append_entries(statements, kept)
            except EinthovenError as unwritten:
                error = unwritten
            except Exception as unknown:  # noqa: BLE001 - whoever waits must be told
                said = f"the journal broke ({type(unknown).__name__})."
                error = DefectError(said, where="journal", remedy="Report it.")
            self._tell(entries, error)
        if connection is not None:
            connection.close()

    def _kept(self, one: "_Waiting") -> KeptEntry:
        content = self._claims.packed(one.id_, one.entry)
        return KeptEntry(
            path=one.path,
            is_failure=isinstance(one.entry, Failure),
            ended_ns=one.ended_ns,
            took_ns=one.took_ns,
            content=content,
        )

    def _tell(self, entries: list["_Waiting"], error: EinthovenError | None) -> None:
        with self._changed:
            self._written += len(entries)
            if error is not None:
                self._broken.update((one.run, error) for one in entries)
            reached = [one for one in self._told if one.after <= self._written]
            self._told = [one for one in self._told if one.after > self._written]
            answers = [(one, self._broken.get(one.run)) for one in reached]
        for one, why in answers:
            one.loop.call_soon_threadsafe(_settle, one.done, why)


class RunJournal:
    """The journal of one run; see `Journal`."""

    def __init__(self, writer: JournalWriter, run: int, id_: str) -> None:
        self._writer = writer
        self._run = run
        self._id = id_

    def append(self, path: str, entry: Entry, took_s: float) -> None:
        """See `Journal`; raises what kept an earlier entry from being written."""
        self._writer.append(self._run, self._id, path, entry, took_s)

    async def flush(self) -> None:
        """See `Journal`."""
        await self._writer.flush(self._run)


class _Waiting(NamedTuple):
    run: int
    id_: str
    path: str
    entry: Entry
    ended_ns: int
    took_ns: int


class _Told(NamedTuple):
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]
    run: int
    after: int


def _settle(done: asyncio.Future[None], error: EinthovenError | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
