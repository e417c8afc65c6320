"""What runs side by side in one run: tasks, the attempts and timers that they wait for, how they end.

There is no clock and no thread in it. A task is a generator that yields where it must wait, and is sent what
it waited for; messages go out in the order in which they arose. So the same events always lead to the same
commands. What the generators do is none of its concern.
"""

import heapq
from collections import deque
from collections.abc import Generator
from typing import Any, TypeVar

import msgspec

from einthoven.workflow.events import (
    Abandon,
    Broke,
    Cancelled,
    Command,
    Done,
    Ended,
    Entry,
    Event,
    Failure,
    Replied,
)

__all__ = ["Failed", "Message", "Over", "Task", "Tasks", "Timer", "Waiting", "failed"]


class Failed(Exception):
    """What a task was doing cannot come to its end."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure


def failed(code: str, path: str, message: str) -> Failed:
    """The error of a failure."""
    return Failed(Failure(code=code, path=path, message=message))


class Timer(msgspec.Struct, frozen=True):
    """A moment has come."""

    at_s: float
    what: str


class Over(msgspec.Struct, frozen=True):
    """A task ended."""

    task: "Task"
    failure: Failure | None


Message = Replied | Broke | Timer | Over | None
"""What a task is sent where it waits; None where it begins."""
_T = TypeVar("_T")
Waiting = Generator[None, Message, _T]
"""What yields where it must wait, and returns something in the end."""


class Task:
    """One thing that runs side by side with others."""

    __slots__ = ("body", "calls", "inner", "is_over", "ordinal", "owner", "timers", "waiting")

    def __init__(self, body: Waiting[Any], owner: "Task | None", ordinal: int) -> None:
        self.body = body
        self.owner = owner
        self.ordinal = ordinal
        self.inner: dict[Task, None] = {}
        self.calls: set[int] = set()
        self.timers: set[int] = set()
        self.waiting: list[Task] = []
        self.is_over = False


class Tasks:
    """The tasks of one run: events in, commands out. The run ends when the first of them does."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.entry: Entry | None = None
        self.current: Task
        """Whose generator is running; none is before the first event."""
        self._commands: list[Command] = []
        self._ready: deque[tuple[Task, Message]] = deque()
        self._calls: dict[int, Task] = {}
        self._made = 0
        self._timers: list[tuple[float, int]] = []
        self._timed: dict[int, tuple[Task, Timer]] = {}
        self._set = 0
        self._root: Task | None = None
        self._queued: dict[Task, None] = {}

    # ---------------------------------------------------------------- from outside

    @property
    def wake_at_s(self) -> float | None:
        """When a timer is due."""
        while self._timers and self._timers[0][1] not in self._timed:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def start(self, main: Waiting[dict[str, Any]], now_s: float) -> list[Command]:
        """Begin with the first task; what it returns are the outputs of the run."""
        self.now_s = now_s
        self._root = Task(main, None, 0)
        self._ready.append((self._root, None))
        return self._pump()

    def handle(self, event: Event, now_s: float) -> list[Command]:
        """What is to be done now; an answer that nobody waits for is ignored."""
        self.now_s = max(now_s, self.now_s)
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

    # ---------------------------------------------------------------- from the task that runs

    def tell(self, command: Command) -> None:
        """Have something done."""
        self._commands.append(command)

    def spawn(self, body: Waiting[None], ordinal: int) -> None:
        """Begin another task, which ends with the current one; that is sent `Over` when it does before."""
        task = Task(body, self.current, ordinal)
        self.current.inner[task] = None
        self._ready.append((task, None))

    def queue(self, body: Waiting[None]) -> Task:
        """Begin a task that goes on when the current one ends; the run fails if it does."""
        task = Task(body, None, 0)
        self._queued[task] = None
        self._ready.append((task, None))
        return task

    def over(self, task: Task) -> Waiting[None]:
        """Wait until a queued task is over."""
        if task.is_over:
            return
        task.waiting.append(self.current)
        while not task.is_over:
            yield

    def all_over(self) -> Waiting[None]:
        """Wait until no task is queued."""
        while self._queued:
            yield from self.over(next(iter(self._queued)))

    def expect(self) -> int:
        """Number an attempt, whose answer is sent to the current task."""
        self._made += 1
        self._calls[self._made] = self.current
        self.current.calls.add(self._made)
        return self._made

    def abandon(self, task: Task) -> None:
        """Wait for no attempt of a task any more."""
        for call in sorted(task.calls):
            self._calls.pop(call, None)
            self._commands.append(Abandon(call))
        task.calls.clear()

    # ---------------------------------------------------------------- timers

    def at(self, at_s: float, what: str) -> int:
        """Set a timer of the current task; its number."""
        self._set += 1
        self._timed[self._set] = (self.current, Timer(at_s, what))
        self.current.timers.add(self._set)
        heapq.heappush(self._timers, (at_s, self._set))
        if len(self._timers) > 64 and len(self._timers) > 2 * len(self._timed):
            self._timers = [one for one in self._timers if one[1] in self._timed]
            heapq.heapify(self._timers)
        return self._set

    def is_set(self, timer: int) -> bool:
        """Whether a timer has neither rung nor been forgotten."""
        return timer in self._timed

    def forget(self, timer: int) -> None:
        """Let a timer not ring."""
        if timer in self._timed:
            task, _ = self._timed.pop(timer)
            task.timers.discard(timer)

    def _ring(self) -> None:
        while self._timers and self._timers[0][0] <= self.now_s:
            _, number = heapq.heappop(self._timers)
            if number in self._timed:
                task, timer = self._timed.pop(number)
                task.timers.discard(number)
                self._ready.append((task, timer))

    # ---------------------------------------------------------------- going on and ending

    def _pump(self) -> list[Command]:
        while self._ready and self.entry is None:
            task, message = self._ready.popleft()
            if task.is_over:
                continue
            self.current = task
            try:
                task.body.send(message)
            except StopIteration as end:
                self._over(task, None, end.value)
            except Failed as error:
                self._over(task, error.failure)
            except RecursionError:
                self._over(task, Failure(code="R712", path="", message="bodies are nested too deeply"))
        commands, self._commands = self._commands, []
        return commands

    def _over(self, task: Task, failure: Failure | None, outputs: dict[str, Any] | None = None) -> None:
        self._stop(task)
        for one in task.waiting:
            self._ready.append((one, Over(task, failure)))
        if task is self._root:
            self._end(failure or Done(outputs or {}))
        elif task in self._queued:
            del self._queued[task]
            if failure is not None:
                self._end(failure)
        elif task.owner is not None:
            task.owner.inner.pop(task, None)
            self._ready.append((task.owner, Over(task, failure)))

    def _stop(self, task: Task) -> None:
        """Whatever a task still does ends with it."""
        ahead = [task]
        while ahead:
            one = ahead.pop()
            one.is_over = True
            one.body.close()
            self.abandon(one)
            for timer in one.timers:
                self._timed.pop(timer, None)
            ahead += reversed(one.inner)
            one.inner.clear()

    def _end(self, entry: Entry) -> None:
        if self.entry is not None:
            return
        self.entry = entry
        for task in [*([self._root] if self._root else []), *self._queued]:
            if not task.is_over:
                self._stop(task)
        self._ready.clear()
        self._commands.append(Ended(entry))
