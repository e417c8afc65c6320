"""Workflows driven by a virtual clock: hours of waiting in no time, every time the same.

The `einthoven.workflow.Execution` is the one that the service drives; only the clock and the functions are
others.
"""

import heapq
from collections import deque
from collections.abc import Callable

import msgspec

from einthoven.workflow import (
    Abandon,
    Broke,
    Cancelled,
    Command,
    Ended,
    Entry,
    Event,
    Execution,
    Invoke,
    Replied,
    Woken,
)

__all__ = ["Answer", "Enactment", "enact"]


class Answer(msgspec.Struct, frozen=True):
    """What a function gives, and after which time."""

    after_s: float
    event: Replied | Broke
    """Its ``call`` is filled in."""


class Enactment(msgspec.Struct, frozen=True):
    """A run that came to its end."""

    entry: Entry
    ended_s: float
    commands: tuple[Command, ...]
    """All of them, in order."""

    @property
    def invoked(self) -> list[str]:
        """The path of every attempt, in the order of their beginning."""
        return [one.path for one in self.commands if isinstance(one, Invoke)]


def enact(
    execution: Execution,
    answer: Callable[[Invoke], Answer],
    *,
    slots: int | None = None,
    begin_s: float = 0.0,
    cancel_at_s: float | None = None,
) -> Enactment:
    """Drive an execution to its end.

    Parameters
    ----------
    answer : what comes of an invocation.
    slots : invocations at one time; None for no limit.
    cancel_at_s : nobody wants it any more from then on.

    Raises
    ------
    RuntimeError : it waits for nothing and does not end: a defect of the execution.
    """
    now_s, number = begin_s, 0
    commands: list[Command] = []
    due: list[tuple[float, int, Event]] = []
    running: set[int] = set()
    waiting: deque[Invoke] = deque()
    if cancel_at_s is not None:
        heapq.heappush(due, (cancel_at_s, 0, Cancelled()))

    def perform(new: list[Command]) -> None:
        nonlocal number
        commands.extend(new)
        for one in new:
            if isinstance(one, Invoke):
                waiting.append(one)
            elif isinstance(one, Abandon):
                running.discard(one.call)
                for invoke in [later for later in waiting if later.call == one.call]:
                    waiting.remove(invoke)
        while waiting and (slots is None or len(running) < slots):
            invoke = waiting.popleft()
            given = answer(invoke)
            running.add(invoke.call)
            number += 1
            event = msgspec.structs.replace(given.event, call=invoke.call)
            heapq.heappush(due, (now_s + given.after_s, number, event))

    perform(execution.start(now_s))
    while execution.entry is None:
        wake_s = execution.wake_at_s
        if due and (wake_s is None or due[0][0] <= wake_s):
            now_s, _, event = heapq.heappop(due)
            if isinstance(event, Replied | Broke):
                if event.call not in running:
                    continue
                running.discard(event.call)
            perform(execution.handle(event, now_s))
        elif wake_s is not None:
            now_s = max(now_s, wake_s)
            perform(execution.handle(Woken(), now_s))
        else:
            raise RuntimeError("the execution waits for nothing")
    ended = next(one for one in commands if isinstance(one, Ended))
    return Enactment(ended.entry, now_s, tuple(commands))
