"""One run of a workflow: events in, commands out, no clock and no input or output of its own.

Whoever drives it performs the commands and says what came of them. What it does depends on the events and
on nothing else, and what comes out not even on their order: iterations are joined in the order of their
counter, alternatives in the order in which they are written. A run that was cut off is run again with what
was recorded (`known`): it passes by the invocations that have ended and goes on where nothing is known.

Every construct is a generator that yields where it must wait; `_Task` is one that runs side by side with
others. Source: the execution rules of AFCL; what the language leaves open is decided in
``docs/workflows.md``.
"""

import hashlib
import heapq
import math
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final

import msgspec

from einthoven.workflow.answers import has_type, part_of, what_is_wrong
from einthoven.workflow.comparing import Incomparable, Text, holds
from einthoven.workflow.events import (
    Abandon,
    Break,
    Broke,
    Cancelled,
    Command,
    Done,
    Ended,
    Entry,
    Event,
    Failure,
    Handed,
    Invoke,
    Record,
    Replied,
    Stage,
    Warn,
)
from einthoven.workflow.expressions import (
    Block,
    ElementIndex,
    OutOfRange,
    Replicate,
    Resource,
    Split,
    chunk_count,
    chunk_of,
    select,
)
from einthoven.workflow.fusion import handed
from einthoven.workflow.program import (
    CallStep,
    Constant,
    CounterOf,
    ForStep,
    FusedStep,
    IfStep,
    Input,
    JoinStep,
    Loop,
    Output,
    ParallelForStep,
    ParallelStep,
    Program,
    SequenceStep,
    Space,
    Step,
    Steps,
    SwitchStep,
    Take,
    Test,
    Value,
    WhileStep,
)
from einthoven.workflow.scopes import Nowhere, Reach

__all__ = ["Execution", "Policy"]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What a run does where its workflow says nothing."""

    concurrency: int = 64
    """Iterations of a parallelFor in flight."""
    retries: int = 2
    """Of a call without ``FT-Retries``, and only where that may help: transport, timeout, throttled."""
    timeout_s: float = 300.0
    """Of each attempt."""
    backoff_s: float = 0.1
    """Before the first repetition; doubled with each, and multiplied with a number from 0.5 to 1."""
    backoff_max_s: float = 30.0
    iterations_max: int = 1_000_000
    """Of a for or a parallelFor."""


# -------------------------------------------------------------------- inside


class _Absent:
    """Of a value that is not there: a branch that did not run, an input that nobody gave."""


_ABSENT: Final = _Absent()


class _Failed(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure


class _Room:
    """The values of one body that is running; a loop makes a new one for each iteration."""

    __slots__ = ("ins", "outer", "outs", "queued")

    def __init__(self, outer: "_Room | None" = None) -> None:
        self.outer = outer
        self.ins: dict[str, dict[str, Any]] = {}
        self.outs: dict[str, dict[str, Any]] = {}
        self.queued: dict[str, _Task] = {}

    def find(self, room: str, producer: str, port: str) -> Any:
        place: _Room | None = self
        while place is not None:
            found = (place.ins if room == "in" else place.outs).get(producer)
            if found is not None:
                return found.get(port, _ABSENT)
            place = place.outer
        return _ABSENT

    def queued_task(self, name: str) -> "_Task | None":
        place: _Room | None = self
        while place is not None:
            if name in place.queued:
                return place.queued[name]
            place = place.outer
        return None


class _Frame(msgspec.Struct, frozen=True):
    """Where a body runs."""

    prefix: str
    room: _Room


class _Timer(msgspec.Struct, frozen=True):
    at_s: float
    what: str


class _Over(msgspec.Struct, frozen=True):
    """A task ended."""

    task: "_Task"
    failure: Failure | None


_Message = Replied | Broke | _Timer | _Over | None
_Body = Generator[None, _Message, None]


class _Task:
    """One thing that runs side by side with others."""

    __slots__ = ("body", "calls", "inner", "is_over", "ordinal", "owner", "timers", "waiting")

    def __init__(self, body: _Body, owner: "_Task | None", ordinal: int) -> None:
        self.body = body
        self.owner = owner
        self.ordinal = ordinal
        self.inner: dict[_Task, None] = {}
        self.calls: set[int] = set()
        self.timers: set[int] = set()
        self.waiting: list[_Task] = []
        self.is_over = False


_TRIED_AGAIN: Final[frozenset[Break]] = frozenset({"transport", "timeout", "throttled"})
"""Also where the workflow does not ask for it."""
_IN_VAIN: Final[frozenset[Break]] = frozenset({"refused", "payload"})
"""Not even where it does."""


class Execution:
    """One run.

    Parameters
    ----------
    run : its name; invocations are known by it and their path.
    inputs : the input document.
    known : how invocations ended that were recorded before, by path.
    """

    def __init__(
        self,
        program: Program,
        run: str,
        inputs: Mapping[str, Any],
        *,
        known: Mapping[str, Entry] | None = None,
        policy: Policy | None = None,
    ) -> None:
        self._program = program
        self._run = run
        self._document = inputs
        self._known = known or {}
        self._policy = policy or Policy()
        self._now_s = 0.0
        self._commands: list[Command] = []
        self._ready: deque[tuple[_Task, _Message]] = deque()
        self._calls: dict[int, _Task] = {}
        self._made = 0
        self._timers: list[tuple[float, int]] = []
        self._timed: dict[int, tuple[_Task, _Timer]] = {}
        self._set = 0
        self._running: _Task | None = None
        self._root: _Task | None = None
        self._queued: set[_Task] = set()
        self._outputs: dict[str, Any] = {}
        self.entry: Entry | None = None

    # ---------------------------------------------------------------- from outside

    @property
    def wake_at_s(self) -> float | None:
        """When it wants `Woken`, should nothing happen before."""
        while self._timers and self._timers[0][1] not in self._timed:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def start(self, now_s: float) -> list[Command]:
        """Begin; times are seconds since 1970."""
        self._now_s = now_s
        self._root = _Task(self._main(), None, 0)
        self._ready.append((self._root, None))
        return self._pump()

    def handle(self, event: Event, now_s: float) -> list[Command]:
        """What is to be done now; an answer that nobody waits for is ignored."""
        self._now_s = max(now_s, self._now_s)
        match event:
            case Replied() | Broke():
                task = self._calls.pop(event.call, None)
                if task is not None:
                    task.calls.discard(event.call)
                    self._ready.append((task, event))
            case Cancelled():
                self._end(Failure(code="R714", path="", message=event.reason))
        if self.entry is None:
            self._ring()
        return self._pump()

    # ---------------------------------------------------------------- tasks

    def _pump(self) -> list[Command]:
        while self._ready and self.entry is None:
            task, message = self._ready.popleft()
            if not task.is_over:
                self._advance(task, message)
        commands, self._commands = self._commands, []
        return commands

    def _advance(self, task: _Task, message: _Message) -> None:
        self._running = task
        try:
            task.body.send(message)
        except StopIteration:
            self._over(task, None)
        except _Failed as failed:
            self._over(task, failed.failure)
        except RecursionError:
            self._over(task, Failure(code="R712", path="", message="bodies are nested too deeply"))

    def _over(self, task: _Task, failure: Failure | None) -> None:
        self._stop(task)
        for one in task.waiting:
            self._ready.append((one, _Over(task, failure)))
        if task is self._root:
            self._end(failure or Done(self._outputs))
        elif task in self._queued:
            self._queued.discard(task)
            if failure is not None:
                self._end(failure)
        elif task.owner is not None:
            task.owner.inner.pop(task, None)
            self._ready.append((task.owner, _Over(task, failure)))

    def _stop(self, task: _Task) -> None:
        """Whatever a task still does ends with it."""
        ahead = [task]
        while ahead:
            one = ahead.pop()
            one.is_over = True
            one.body.close()
            for call in sorted(one.calls):
                self._abandon(call)
            one.calls.clear()
            for timer in one.timers:
                self._timed.pop(timer, None)
            ahead += reversed(one.inner)
            one.inner.clear()

    def _abandon(self, call: int) -> None:
        self._calls.pop(call, None)
        self._commands.append(Abandon(call))

    def _end(self, entry: Entry) -> None:
        if self.entry is not None:
            return
        self.entry = entry
        for task in [*([self._root] if self._root else []), *self._queued]:
            if not task.is_over:
                self._stop(task)
        self._ready.clear()
        self._commands.append(Ended(entry))

    def _spawn(self, body: _Body, ordinal: int, *, is_queued: bool = False) -> _Task:
        task = _Task(body, None if is_queued else self._current, ordinal)
        if is_queued:
            self._queued.add(task)
        else:
            self._current.inner[task] = None
        self._ready.append((task, None))
        return task

    @property
    def _current(self) -> _Task:
        """Whose generator is running."""
        if self._running is None:
            raise RuntimeError("nothing runs yet")
        return self._running

    # ---------------------------------------------------------------- time

    def _at(self, at_s: float, what: str) -> int:
        self._set += 1
        self._timed[self._set] = (self._current, _Timer(at_s, what))
        self._current.timers.add(self._set)
        heapq.heappush(self._timers, (at_s, self._set))
        if len(self._timers) > 64 and len(self._timers) > 2 * len(self._timed):
            self._timers = [one for one in self._timers if one[1] in self._timed]
            heapq.heapify(self._timers)
        return self._set

    def _forget(self, timer: int) -> None:
        if timer in self._timed:
            task, _ = self._timed.pop(timer)
            task.timers.discard(timer)

    def _ring(self) -> None:
        while self._timers and self._timers[0][0] <= self._now_s:
            _, number = heapq.heappop(self._timers)
            if number in self._timed:
                task, timer = self._timed.pop(number)
                task.timers.discard(number)
                self._ready.append((task, timer))

    # ---------------------------------------------------------------- values

    def _read(self, take: Take, room: _Room, path: str) -> Any:
        """The first alternative that is there, or that nothing is."""
        for one in take.alternatives:
            if one is None:
                return None
            if isinstance(one, Nowhere):
                continue
            value = room.find(one.room, one.producer, one.port)
            if value is not _ABSENT:
                return _inside(value, one, path) if one.segments else value
        return _ABSENT

    def _value(self, value: Value | None, room: _Room, path: str) -> Any:
        if value is None:
            return _ABSENT
        return value.value if isinstance(value, Constant) else self._read(value, room, path)

    def _input(self, one: Input, room: _Room, path: str) -> Any:
        value = self._value(one.value, room, path)
        if one.index is not None and value is not _ABSENT:
            value = self._selected(one, one.index, value, room, path)
        if (one.distribution is None or isinstance(one.distribution, Replicate)) and value is not _ABSENT:
            _demand_type(value, one.type, f"{path}/{one.name}")
        return value

    def _selected(self, one: Input, index: ElementIndex, value: Any, room: _Room, path: str) -> Any:
        elements = value if isinstance(value, list) else [value]
        numbers = {
            reference: self._whole(self._read(take, room, path), f"{path}/{one.name}")
            for reference, take in one.numbers
        }
        try:
            chosen = select(index, elements, numbers)
        except OutOfRange as error:
            raise _failed("R706", f"{path}/{one.name}", f"the index is out of range: {error}") from None
        return chosen[0] if index.is_single and one.distribution is None else chosen

    @staticmethod
    def _whole(value: Any, path: str) -> int:
        if value is _ABSENT:
            raise _failed("R701", path, "a number is missing")
        if isinstance(value, bool) or not isinstance(value, int | float) or not _is_whole(value):
            raise _failed("R705", path, "a whole number is wanted")
        return int(value)

    def _enter(self, inputs: Sequence[Input], name: str, frame: _Frame) -> dict[str, Any]:
        """Give a compound its inputs; what is absent stays so until somebody wants it."""
        path = frame.prefix + name
        values = {one.name: self._input(one, frame.room, path) for one in inputs}
        frame.room.ins[name] = {port: value for port, value in values.items() if value is not _ABSENT}
        return frame.room.ins[name]

    def _leave(self, outputs: Sequence[Output], name: str, frame: _Frame, room: _Room | None = None) -> None:
        """Give a compound its outputs."""
        path = frame.prefix + name
        found = {one.name: self._output(one, room or frame.room, path) for one in outputs}
        frame.room.outs[name] = {port: value for port, value in found.items() if value is not _ABSENT}

    def _output(self, one: Output, room: _Room, path: str) -> Any:
        value = self._read(one.take, room, path)
        if value is not _ABSENT:
            _demand_type(value, one.type, f"{path}/{one.name}")
        return value

    # ---------------------------------------------------------------- bodies

    def _main(self) -> _Body:
        room = _Room()
        space = self._program.main
        room.ins[space.name] = _taken(space, self._document, space.name)
        yield from self._body(space.body, _Frame("", room))
        while self._queued:
            waited_for = next(iter(self._queued))
            yield from self._await(waited_for)
        self._outputs = self._given(space, room, "")

    def _given(self, space: Space, room: _Room, path: str) -> dict[str, Any]:
        outputs = {}
        for one in space.outputs:
            value = self._output(one, room, path or space.name)
            if value is _ABSENT:
                raise _failed("R701", f"{path or space.name}/{one.name}", "nothing that ran gave this output")
            outputs[one.name] = value
        return outputs

    def _await(self, task: _Task) -> _Body:
        if task.is_over:
            return
        task.waiting.append(self._current)
        while not task.is_over:
            yield

    def _body(self, steps: Steps, frame: _Frame) -> _Body:
        for step in steps:
            yield from self._step(step, frame)

    def _step(self, step: Step, frame: _Frame) -> _Body:
        match step:
            case CallStep():
                if step.is_queued:
                    frame.room.queued[step.name] = self._spawn(self._call(step, frame), 0, is_queued=True)
                else:
                    yield from self._call(step, frame)
            case FusedStep():
                yield from self._fused(step, frame)
            case SequenceStep():
                self._enter(step.inputs, step.name, frame)
                yield from self._body(step.body, frame)
                self._leave(step.outputs, step.name, frame)
            case IfStep():
                self._enter(step.inputs, step.name, frame)
                holds_now = self._holds(step.test, frame.room, frame.prefix + step.name)
                yield from self._body(step.then if holds_now else step.otherwise, frame)
                self._leave(step.outputs, step.name, frame)
            case SwitchStep():
                yield from self._switch(step, frame)
            case ForStep():
                yield from self._for(step, frame)
            case WhileStep():
                yield from self._while(step, frame)
            case ParallelStep():
                yield from self._parallel(step, frame)
            case ParallelForStep():
                yield from self._parallel_for(step, frame)
            case JoinStep():
                yield from self._join(step, frame)

    def _holds(self, test: Test, room: _Room, path: str) -> bool:
        return (all if test.needs_all else any)(
            self._compared(term.first, term.second, term.operator, room, path) != term.is_negated
            for term in test.terms
        )

    def _compared(self, first: Value, second: Value, operator: str, room: _Room, path: str) -> bool:
        values = [
            Text(one.value) if isinstance(one, Constant) else self._read(one, room, path)
            for one in (first, second)
        ]
        if _ABSENT in values:
            raise _failed("R701", path, "a value of the condition is missing")
        try:
            return holds(values[0], values[1], operator)
        except Incomparable as error:
            raise _failed("R702", path, f"the condition cannot be tested: {error}") from None

    def _switch(self, step: SwitchStep, frame: _Frame) -> _Body:
        self._enter(step.inputs, step.name, frame)
        path = frame.prefix + step.name
        value = self._read(step.looked_at, frame.room, path)
        if value is _ABSENT:
            raise _failed("R701", path, "what the switch looks at is missing")
        _demand_type(value, step.type, path)
        is_met = False
        for case in step.cases:
            if value is not None and value == case.value:
                is_met = True
                yield from self._body(case.body, frame)
                if case.breaks:
                    break
        if not is_met:
            yield from self._body(step.default, frame)
        self._leave(step.outputs, step.name, frame)

    def _join(self, step: JoinStep, frame: _Frame) -> _Body:
        tasks = [frame.room.queued_task(name) for name in step.awaited]
        if step.waits:
            for task in tasks:
                if task is not None:
                    yield from self._await(task)
        frame.room.outs[step.name] = {step.output: all(task is None or task.is_over for task in tasks)}

    # ---------------------------------------------------------------- loops

    def _count(self, counter: CounterOf, room: _Room, path: str) -> tuple[int, int, int]:
        """First value, step, number of iterations."""
        begin, end, step = (
            self._whole(self._value(one, room, path), f"{path}/{key}")
            for key, one in (("from", counter.begin), ("to", counter.end), ("step", counter.step))
        )
        if step < 1:
            raise _failed("R705", f"{path}/step", "a step must be 1 or more")
        count = max(0, -((begin - end) // step))
        if count > self._policy.iterations_max:
            raise _failed("R712", path, f"it wants more than {self._policy.iterations_max} iterations")
        return begin, step, count

    def _loops_begin(self, loops: Sequence[Loop], room: _Room, path: str) -> dict[str, Any]:
        values = {one.name: self._value(one.begin, room, path) for one in loops}
        return {name: value for name, value in values.items() if value is not _ABSENT}

    def _loops_next(self, loops: Sequence[Loop], room: _Room, path: str) -> dict[str, Any]:
        values = {one.name: self._read(one.next, room, path) for one in loops}
        for one in loops:
            if values[one.name] is not _ABSENT:
                _demand_type(values[one.name], one.type, f"{path}/{one.name}")
        return {name: value for name, value in values.items() if value is not _ABSENT}

    def _iteration(self, step: ForStep | WhileStep, frame: _Frame, k: int, ins: dict[str, Any]) -> _Frame:
        room = _Room(frame.room)
        room.ins[step.name] = ins
        return _Frame(f"{frame.prefix}{step.name}[{k}]/", room)

    def _for(self, step: ForStep, frame: _Frame) -> _Body:
        path = frame.prefix + step.name
        own = self._enter(step.inputs, step.name, frame)
        begin, stride, count = self._count(step.counter, frame.room, path)
        carried = self._loops_begin(step.loops, frame.room, path)
        last: _Room | None = None
        for k in range(count):
            counter = {} if step.counter.name is None else {step.counter.name: begin + k * stride}
            inner = self._iteration(step, frame, k, own | carried | counter)
            yield from self._body(step.body, inner)
            carried = self._loops_next(step.loops, inner.room, f"{path}[{k}]")
            last = inner.room
        self._loop_ends(step, frame, own | carried, last)

    def _while(self, step: WhileStep, frame: _Frame) -> _Body:
        path = frame.prefix + step.name
        own = self._enter(step.inputs, step.name, frame)
        carried = self._loops_begin(step.loops, frame.room, path)
        last: _Room | None = None
        k = 0
        while True:
            inner = self._iteration(step, frame, k, own | carried)
            if not self._holds(step.test, inner.room, path):
                break
            if k >= step.iterations_max:
                raise _failed("R712", path, f"it did not end after {k} iterations")
            yield from self._body(step.body, inner)
            carried = self._loops_next(step.loops, inner.room, f"{path}[{k}]")
            last = inner.room
            k += 1
        self._loop_ends(step, frame, own | carried, last)

    def _loop_ends(
        self, step: ForStep | WhileStep, frame: _Frame, own: dict[str, Any], last: _Room | None
    ) -> None:
        room = _Room(frame.room)
        room.outs = last.outs if last else {}
        room.ins = (last.ins if last else {}) | {step.name: own}
        found: dict[str, Any] = {}
        for one in step.outputs:
            value = self._output(one, room, frame.prefix + step.name)
            if value is not _ABSENT:
                found[one.name] = value
            elif last is None:
                found[one.name] = None
        frame.room.outs[step.name] = found

    # ---------------------------------------------------------------- side by side

    def _parallel(self, step: ParallelStep, frame: _Frame) -> _Body:
        self._enter(step.inputs, step.name, frame)
        for k, section in enumerate(step.sections):
            self._spawn(self._body(section, frame), k)
        left = len(step.sections)
        while left:
            message = yield
            if isinstance(message, _Over):
                if message.failure is not None:
                    raise _Failed(message.failure)
                left -= 1
        path = frame.prefix + step.name
        found = {one.name: self._gathered(one, frame.room, path) for one in step.outputs}
        frame.room.outs[step.name] = {port: value for port, value in found.items() if value is not _ABSENT}

    def _gathered(self, one: Output, room: _Room, path: str) -> Any:
        """The output of a parallel: several values put together."""
        references = [ref for ref in one.take.alternatives if isinstance(ref, Reach)]
        if len(references) < 2:
            return self._output(one, room, path)
        values = {_said(ref): self._read(Take((ref,)), room, path) for ref in references}
        for said, value in values.items():
            if value is _ABSENT:
                raise _failed("R701", f"{path}/{one.name}", f"{said} is missing")
        if one.aggregation not in {"+", "*"}:
            return values
        return self._concatenated(list(values.values()), f"{path}/{one.name}")

    @staticmethod
    def _concatenated(values: list[Any], path: str) -> list[Any]:
        if not all(value is None or isinstance(value, list) for value in values):
            raise _failed("R702", path, "only lists can be put together")
        return [element for value in values if value is not None for element in value]

    def _parallel_for(self, step: ParallelForStep, frame: _Frame) -> _Body:
        path = frame.prefix + step.name
        whole = self._enter(step.inputs, step.name, frame)
        begin, stride, count = self._count(step.counter, frame.room, path)
        chunks = [self._chunks(one, whole, count, path) for one in step.inputs if one.name in whole]
        limit = step.concurrency or self._policy.concurrency
        tolerated = math.floor(count * step.tolerated_percent / 100)
        inner_outputs = [one for one in step.outputs if not _is_own(one, step.name)]
        results: dict[str, list[Any]] = {one.name: [None] * count for one in inner_outputs}
        failed: list[int] = []
        begun = ended = 0
        while ended < count:
            while begun < count and begun - ended < limit:
                ins = {name: piece(begun) for name, piece in chunks}
                if step.counter.name is not None:
                    ins[step.counter.name] = begin + begun * stride
                self._spawn(self._one(step, frame, begun, ins, inner_outputs, results), begun)
                begun += 1
            message = yield
            if isinstance(message, _Over) and message.task.owner is self._current:
                ended += 1
                if message.failure is not None:
                    failed.append(message.task.ordinal)
                    if len(failed) > tolerated:
                        raise _Failed(message.failure)
        if failed:
            said = ", ".join(map(str, sorted(failed)[:20])) + (" …" if len(failed) > 20 else "")
            self._commands.append(Warn("R708", path, f"{len(failed)} of {count} iterations failed: {said}"))
        self._collect(step, frame, results)

    def _one(
        self,
        step: ParallelForStep,
        frame: _Frame,
        ordinal: int,
        ins: dict[str, Any],
        outputs: Sequence[Output],
        results: dict[str, list[Any]],
    ) -> _Body:
        """One iteration."""
        room = _Room(frame.room)
        room.ins[step.name] = ins
        inner = _Frame(f"{frame.prefix}{step.name}[{ordinal}]/", room)
        yield from self._body(step.body, inner)
        for one in outputs:
            value = self._read(one.take, room, inner.prefix)
            results[one.name][ordinal] = None if value is _ABSENT else value

    def _chunks(
        self, one: Input, whole: Mapping[str, Any], count: int, path: str
    ) -> tuple[str, Callable[[int], Any]]:
        """What each iteration is given of one input."""
        value, how = whole[one.name], one.distribution
        if how is None or how == Replicate():
            return one.name, lambda _: value
        elements = value if isinstance(value, list) else [value]
        there = chunk_count(how, len(elements), count)
        if there < count:
            raise _failed("R703", f"{path}/{one.name}", f"there are {there} chunks for {count} iterations")
        if there > count:
            said = f"there are {there} chunks for {count} iterations"
            if not self._program.is_lenient:
                raise _failed("R704", f"{path}/{one.name}", said)
            self._commands.append(Warn("R704", f"{path}/{one.name}", said))
        if isinstance(how, Block | Split):
            return one.name, lambda ordinal: _typed_chunk(
                chunk_of(how, elements, ordinal), one, path, ordinal
            )
        return one.name, lambda _: value

    def _collect(self, step: ParallelForStep, frame: _Frame, results: dict[str, list[Any]]) -> None:
        path = frame.prefix + step.name
        found: dict[str, Any] = {}
        for one in step.outputs:
            if one.name not in results:
                value = self._output(one, frame.room, path)
            elif one.type not in {"collection", "array", None}:
                value = results[one.name][-1] if results[one.name] else None
            elif one.aggregation in {"+", "*"} and _are_lists(results[one.name]):
                value = self._concatenated(results[one.name], path)
            else:
                value = results[one.name]
            if value is not _ABSENT:
                found[one.name] = value
        frame.room.outs[step.name] = found

    # ---------------------------------------------------------------- calls

    def _call(self, step: CallStep, frame: _Frame) -> _Body:
        path = frame.prefix + step.name
        values: dict[str, Any] = {}
        for one in step.inputs:
            value = self._input(one, frame.room, path)
            if value is _ABSENT:
                raise _failed("R701", f"{path}/{one.name}", self._why_absent(one))
            values[one.name] = value
        sent = {one.name: values[one.name] for one in step.inputs if one.is_sent}
        outputs: dict[str, Any] = {}
        if step.type is None:
            outputs = {name: None for name, _ in step.outputs}
        elif step.sub is not None:
            yield from self._sub(self._program.subs[step.sub], sent, path, outputs)
            outputs = {name: outputs.get(name) for name, _ in step.outputs}
        else:
            yield from self._invocation(step, step.type, path, sent, outputs)
        outputs.update((one.name, values[one.name]) for one in step.inputs if one.is_forwarded)
        frame.room.outs[step.name] = outputs

    def _why_absent(self, one: Input) -> str:
        """A key that the inputs of the run lack is named; it is the workflow's word, no value."""
        space = self._program.main
        if isinstance(one.value, Take):
            for reach in one.value.alternatives:
                if isinstance(reach, Reach) and (reach.room, reach.producer) == ("in", space.name):
                    keys = [port.key for port in space.inputs if port.name == reach.port]
                    return f"the inputs of the run have no {(keys or [reach.port])[0]!r}"
        return "nothing that ran gave this input"

    def _fused(self, step: FusedStep, frame: _Frame) -> _Body:
        path = frame.prefix + step.name
        within = {stage.name for stage in step.stages}
        sent: dict[str, Any] = {}
        stages: list[Stage] = []
        for one in step.stages:
            ports: list[tuple[str, Handed | None]] = []
            for wanted in one.inputs:
                given = handed(wanted, within)
                if given is None:
                    value = self._input(wanted, frame.room, frame.prefix + one.name)
                    if value is _ABSENT:
                        where = f"{frame.prefix}{one.name}/{wanted.name}"
                        raise _failed("R701", where, self._why_absent(wanted))
                    if wanted.is_sent:
                        sent[f"{one.name}/{wanted.name}"] = value
                if wanted.is_sent:
                    ports.append((wanted.name, given))
            leaving = tuple(port for name, port in step.leaving if name == one.name)
            stages.append(Stage(one.name, one.type or "", tuple(ports), one.outputs, leaving))
        types = {one.name: dict(one.outputs) for one in step.stages}
        call = CallStep(
            name=step.name,
            type="+".join(one.type for one in stages),
            resource=step.stages[0].resource,
            outputs=tuple((f"{name}/{port}", types[name][port]) for name, port in step.leaving),
            leaves=step.leaves,
            comes=step.comes,
        )
        outputs: dict[str, Any] = {}
        yield from self._invocation(call, call.type or "", path, sent, outputs, tuple(stages))
        for one in step.stages:
            frame.room.outs[one.name] = {
                port: outputs[f"{name}/{port}"] for name, port in step.leaving if name == one.name
            }

    def _sub(self, space: Space, sent: dict[str, Any], path: str, outputs: dict[str, Any]) -> _Body:
        room = _Room()
        room.ins[space.name] = _taken(space, sent, path)
        yield from self._body(space.body, _Frame(f"{path}/", room))
        outputs.update(self._given(space, room, path))

    def _invocation(
        self,
        step: CallStep,
        type_: str,
        path: str,
        sent: dict[str, Any],
        outputs: dict[str, Any],
        stages: tuple[Stage, ...] = (),
    ) -> _Body:
        entry = self._known.get(path)
        if entry is None:
            try:
                yield from self._attempts(step, type_, path, sent, outputs, stages)
            except _Failed as failed:
                self._commands.append(Record(path, failed.failure))
                raise
            self._commands.append(Record(path, Done(dict(outputs))))
        elif isinstance(entry, Failure):
            raise _Failed(entry)
        else:
            outputs.update(entry.outputs)

    def _attempts(
        self,
        step: CallStep,
        type_: str,
        path: str,
        sent: dict[str, Any],
        outputs: dict[str, Any],
        stages: tuple[Stage, ...],
    ) -> _Body:
        """The first resource with its repetitions, then each plan once; until one succeeds."""
        if step.latest_start_s is not None and self._now_s > step.latest_start_s:
            raise _failed("R709", path, "it would have begun after its latest starting time")
        timers = []
        if step.latest_finish_s is not None:
            timers.append(self._at(step.latest_finish_s, "R710"))
        if step.running_s is not None:
            timers.append(self._at(self._now_s + step.running_s, "R711"))
        attempt = 0
        last = _NO_ANSWER
        retries = self._policy.retries if step.retries is None else step.retries
        for resources in ((step.resource,), *step.plans):
            for repetition in range(retries + 1 if attempt == 0 else 1):
                if repetition:
                    if last.kind in _IN_VAIN or (step.retries is None and last.kind not in _TRIED_AGAIN):
                        break
                    yield from self._pause(path, repetition, last.retry_after_s, path)
                answer: list[Broke | dict[str, Any]] = []
                yield from self._race(step, type_, path, resources, sent, attempt, answer, stages)
                attempt += 1
                if isinstance(answer[0], dict):
                    outputs.update(answer[0])
                    for timer in timers:
                        self._forget(timer)
                    return
                last = answer[0]
        for timer in timers:
            self._forget(timer)
        said = f"{last.message} ({attempt} attempts)" if attempt > 1 else last.message
        code = "R713" if last.kind == "payload" else "R708"
        raise _Failed(Failure(code=code, path=path, message=said, broke=last.kind))

    def _pause(self, path: str, repetition: int, retry_after_s: float | None, key: str) -> _Body:
        """Before a repetition: longer each time, and not the same for everybody."""
        most_s = min(self._policy.backoff_max_s, self._policy.backoff_s * 2.0 ** (repetition - 1))
        said = hashlib.blake2b(f"{self._run}/{key}/{repetition}".encode(), digest_size=4).digest()
        pause_s = most_s * (0.5 + int.from_bytes(said) / 2**33)
        timer = self._at(self._now_s + max(pause_s, retry_after_s or 0.0), "again")
        while timer in self._timed:
            message = yield
            if isinstance(message, _Timer) and message.what in _DEADLINES:
                raise _failed(message.what, path, _DEADLINES[message.what])

    def _race(
        self,
        step: CallStep,
        type_: str,
        path: str,
        resources: Sequence[Resource | None],
        sent: dict[str, Any],
        attempt: int,
        answer: list[Broke | dict[str, Any]],
        stages: tuple[Stage, ...],
    ) -> _Body:
        """Call all of them at once; the first that succeeds counts."""
        task = self._current
        for resource in resources:
            self._made += 1
            self._calls[self._made] = task
            task.calls.add(self._made)
            self._commands.append(
                Invoke(
                    call=self._made,
                    path=path,
                    key=f"{self._run}/{path}",
                    type=type_,
                    resource=resource,
                    inputs=sent,
                    attempt=attempt,
                    stages=stages,
                    leaves=step.leaves,
                    comes=step.comes,
                )
            )
        timer = self._at(self._now_s + (step.timeout_s or self._policy.timeout_s), "timeout")
        last = _NO_ANSWER
        while task.calls:
            message = yield
            if isinstance(message, _Timer):
                if message.what in _DEADLINES:
                    raise _failed(message.what, path, _DEADLINES[message.what])
                if timer not in self._timed:
                    last = _NO_ANSWER
                    break
            elif isinstance(message, Broke):
                last = message
            elif isinstance(message, Replied):
                looked_at = _outputs_of(step, message)
                if isinstance(looked_at, dict):
                    answer.append(looked_at)
                    break
                last = looked_at
        self._forget(timer)
        for call in sorted(task.calls):
            self._abandon(call)
        task.calls.clear()
        if not answer:
            answer.append(last)


_NO_ANSWER: Final = Broke(0, "timeout", "there was no answer in time")
_DEADLINES: Final = {
    "R710": "it had not ended at its latest finishing time",
    "R711": "it ran longer than it may",
}


def _failed(code: str, path: str, message: str) -> _Failed:
    return _Failed(Failure(code=code, path=path, message=message))


def _taken(space: Space, document: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The inputs of a name space, out of a document or a caller's ports."""
    values: dict[str, Any] = {}
    for one in space.inputs:
        if one.constant is not None and one.key not in document:
            values[one.name] = one.constant.value
        elif one.key in document:
            _demand_type(document[one.key], one.type, f"{path}/{one.name}")
            values[one.name] = document[one.key]
    return values


def _outputs_of(step: CallStep, message: Replied) -> Broke | dict[str, Any]:
    """What a function answered, as far as it was declared; or what is wrong with it."""
    wrong = what_is_wrong(message.reply, step.outputs)
    if wrong is not None:
        return Broke(message.call, *wrong)
    return {name: message.reply[name] for name, _ in step.outputs}


def _demand_type(value: Any, type_: str | None, path: str) -> None:
    if not has_type(value, type_):
        raise _failed("R702", path, f"the value is not of type {type_}")


def _typed_chunk(value: Any, one: Input, path: str, ordinal: int) -> Any:
    _demand_type(value, one.type, f"{path}[{ordinal}]/{one.name}")
    return value


def _is_whole(value: float) -> bool:
    return isinstance(value, int) or (math.isfinite(value) and value == int(value))


def _inside(value: Any, reach: Reach, path: str) -> Any:
    """What is at the end of the segments of a reference."""
    try:
        return part_of(value, reach.segments)
    except LookupError:
        raise _failed("R706", path, f"there is no {_said(reach)}") from None


def _said(reach: Reach) -> str:
    return "/".join((reach.producer, reach.port, *reach.segments))


def _is_own(one: Output, name: str) -> bool:
    """An output that only hands an input on."""
    return all(
        isinstance(ref, Reach) and (ref.room, ref.producer) == ("in", name) for ref in one.take.alternatives
    )


def _are_lists(values: list[Any]) -> bool:
    return all(value is None or isinstance(value, list) for value in values)
