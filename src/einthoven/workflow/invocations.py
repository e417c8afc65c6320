"""One invocation: attempts, repetitions, plans and deadlines, until there is an answer or none is to be had.

What was recorded of it is not done again.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from einthoven.workflow.answers import what_is_wrong
from einthoven.workflow.events import Break, Broke, Done, Entry, Failure, Invoke, Record, Replied, Stage
from einthoven.workflow.expressions import Resource
from einthoven.workflow.policy import Policy
from einthoven.workflow.program import CallStep
from einthoven.workflow.tasks import Failed, Tasks, Timer, Waiting, failed

__all__ = ["Invocations"]

_TRIED_AGAIN: Final[frozenset[Break]] = frozenset({"transport", "timeout", "throttled"})
"""Also where the workflow does not ask for it."""
_IN_VAIN: Final[frozenset[Break]] = frozenset({"refused", "payload"})
"""Not even where it does."""
_NO_ANSWER: Final = Broke(0, "timeout", "there was no answer in time")
_DEADLINES: Final = {
    "R710": "it had not ended at its latest finishing time",
    "R711": "it ran longer than it may",
}

_Answer = dict[str, Any] | Broke
"""The outputs, or why there are none."""


class Invocations:
    """The invocations of one run.

    Parameters
    ----------
    known : how invocations ended that were recorded before, by path.
    """

    def __init__(self, tasks: Tasks, run: str, known: Mapping[str, Entry], policy: Policy) -> None:
        self._tasks = tasks
        self._run = run
        self._known = known
        self._policy = policy

    def key_of(self, path: str) -> str:
        """For the other end: the same key is the same invocation."""
        return f"{self._run}/{path}"

    def is_known(self, path: str) -> bool:
        """Whether it was recorded how this one ended."""
        return path in self._known

    def invoke(
        self, step: CallStep, path: str, sent: dict[str, Any], stages: tuple[Stage, ...] = ()
    ) -> Waiting[dict[str, Any]]:
        """The outputs of an invocation, which is recorded when it ends."""
        entry = self._known.get(path)
        if isinstance(entry, Failure):
            raise Failed(entry)
        if entry is not None:
            return entry.outputs
        try:
            outputs = yield from self._attempts(step, path, sent, stages)
        except Failed as error:
            self._tasks.tell(Record(path, error.failure))
            raise
        self._tasks.tell(Record(path, Done(outputs)))
        return outputs

    def _attempts(
        self, step: CallStep, path: str, sent: dict[str, Any], stages: tuple[Stage, ...]
    ) -> Waiting[dict[str, Any]]:
        """The first resource with its repetitions, then each plan once; until one succeeds."""
        tasks = self._tasks
        if step.latest_start_s is not None and tasks.now_s > step.latest_start_s:
            raise failed("R709", path, "it would have begun after its latest starting time")
        timers = []
        if step.latest_finish_s is not None:
            timers.append(tasks.at(step.latest_finish_s, "R710"))
        if step.running_s is not None:
            timers.append(tasks.at(tasks.now_s + step.running_s, "R711"))
        attempt = 0
        last = _NO_ANSWER
        retries = self._policy.retries if step.retries is None else step.retries
        for resources in ((step.resource,), *step.plans):
            for repetition in range(retries + 1 if attempt == 0 else 1):
                if repetition:
                    if last.kind in _IN_VAIN or (step.retries is None and last.kind not in _TRIED_AGAIN):
                        break
                    yield from self._pause(path, repetition, last.retry_after_s)
                answer = yield from self._race(step, path, resources, sent, attempt, stages)
                attempt += 1
                if isinstance(answer, dict):
                    self._forget(timers)
                    return answer
                last = answer
        self._forget(timers)
        said = f"{last.message} ({attempt} attempts)" if attempt > 1 else last.message
        code = "R713" if last.kind == "payload" else "R708"
        raise Failed(Failure(code=code, path=path, message=said, broke=last.kind))

    def _forget(self, timers: list[int]) -> None:
        for timer in timers:
            self._tasks.forget(timer)

    def _pause(self, path: str, repetition: int, retry_after_s: float | None) -> Waiting[None]:
        """Before a repetition: longer each time, and not the same for everybody."""
        most_s = min(self._policy.backoff_max_s, self._policy.backoff_s * 2.0 ** (repetition - 1))
        said = hashlib.blake2b(f"{self._run}/{path}/{repetition}".encode(), digest_size=4).digest()
        pause_s = most_s * (0.5 + int.from_bytes(said) / 2**33)
        timer = self._tasks.at(self._tasks.now_s + max(pause_s, retry_after_s or 0.0), "again")
        while self._tasks.is_set(timer):
            message = yield
            if isinstance(message, Timer):
                _keep_deadlines(message, path)

    def _race(
        self,
        step: CallStep,
        path: str,
        resources: Sequence[Resource | None],
        sent: dict[str, Any],
        attempt: int,
        stages: tuple[Stage, ...],
    ) -> Waiting[_Answer]:
        """Call all of them at once; the first that succeeds counts."""
        tasks = self._tasks
        task = tasks.current
        for resource in resources:
            tasks.tell(
                Invoke(
                    call=tasks.expect(),
                    path=path,
                    key=self.key_of(path),
                    type=step.type or "",
                    resource=resource,
                    inputs=sent,
                    attempt=attempt,
                    stages=stages,
                    leaves=step.leaves,
                    comes=step.comes,
                )
            )
        timer = tasks.at(tasks.now_s + (step.timeout_s or self._policy.timeout_s), "timeout")
        last: _Answer = _NO_ANSWER
        while task.calls:
            message = yield
            if isinstance(message, Replied):
                last = _looked_at(step, message)
                if isinstance(last, dict):
                    break
            elif isinstance(message, Broke):
                last = message
            elif isinstance(message, Timer):
                _keep_deadlines(message, path)
                if not tasks.is_set(timer):
                    last = _NO_ANSWER
                    break
        tasks.forget(timer)
        tasks.abandon(task)
        return last


def _keep_deadlines(message: Timer, path: str) -> None:
    if message.what in _DEADLINES:
        raise failed(message.what, path, _DEADLINES[message.what])


def _looked_at(step: CallStep, message: Replied) -> _Answer:
    """What a function answered, as far as it was declared; or what is wrong with it."""
    wrong = what_is_wrong(message.reply, step.outputs)
    if wrong is not None:
        return Broke(message.call, *wrong)
    return {name: message.reply[name] for name, _ in step.outputs}
