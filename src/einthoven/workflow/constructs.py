"""The constructs of the language as they run: each a generator that yields where it must wait.

What comes out does not depend on the order of answers: iterations are joined in the order of their counter,
alternatives in the order in which they are written. What the language leaves open is decided in
``docs/workflows.md``.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from einthoven.workflow.events import Handed, Stage, Warn
from einthoven.workflow.foresight import Foreseen, given_whole
from einthoven.workflow.fusion import handed
from einthoven.workflow.invocations import Invocations
from einthoven.workflow.iterations import (
    beginning,
    chunks_of,
    collected,
    count_of,
    gathered,
    handed_on,
    iteration,
)
from einthoven.workflow.policy import Policy
from einthoven.workflow.program import (
    CallStep,
    ForStep,
    FusedStep,
    IfStep,
    Input,
    JoinStep,
    Output,
    ParallelForStep,
    ParallelStep,
    Program,
    SequenceStep,
    Space,
    Step,
    Steps,
    SwitchStep,
    WhileStep,
)
from einthoven.workflow.rooms import (
    ABSENT,
    Frame,
    Room,
    condition_holds,
    demand_type,
    enter,
    given,
    input_of,
    is_own,
    leave,
    output_of,
    present,
    read,
    taken,
    why_absent,
)
from einthoven.workflow.tasks import Failed, Over, Tasks, Waiting, failed

__all__ = ["Constructs"]


class Constructs:
    """The constructs of one program, run by the tasks of one run."""

    def __init__(self, program: Program, tasks: Tasks, invocations: Invocations, policy: Policy) -> None:
        self._program = program
        self._tasks = tasks
        self._invocations = invocations
        self._policy = policy

    def main(self, document: Mapping[str, Any]) -> Waiting[dict[str, Any]]:
        """The outputs of the whole program, for an input document."""
        room = Room()
        space = self._program.main
        room.ins[space.name] = taken(space, document, space.name)
        yield from self._body(space.body, Frame("", room))
        yield from self._tasks.all_over()
        return given(space, room, space.name)

    def _body(self, steps: Steps, frame: Frame) -> Waiting[None]:
        for step, then in zip_longest(steps, steps[1:]):
            yield from self._step(step, frame, then)

    def _step(self, step: Step, frame: Frame, then: Step | None) -> Waiting[None]:
        match step:
            case CallStep():
                if step.is_queued:
                    frame.room.queued[step.name] = self._tasks.queue(self._call(step, frame))
                else:
                    yield from self._call(step, frame)
            case FusedStep():
                yield from self._fused(step, frame)
            case SequenceStep():
                enter(step.inputs, step.name, frame)
                yield from self._body(step.body, frame)
                leave(step.outputs, step.name, frame)
            case IfStep():
                enter(step.inputs, step.name, frame)
                holds_now = condition_holds(step.test, frame.room, frame.prefix + step.name)
                yield from self._body(step.then if holds_now else step.otherwise, frame)
                leave(step.outputs, step.name, frame)
            case SwitchStep():
                yield from self._switch(step, frame)
            case ForStep():
                yield from self._for(step, frame)
            case WhileStep():
                yield from self._while(step, frame)
            case ParallelStep():
                yield from self._parallel(step, frame)
            case ParallelForStep():
                yield from self._parallel_for(step, frame, self._foreseen(step, then, frame))
            case JoinStep():
                yield from self._join(step, frame)

    # ---------------------------------------------------------------- calls

    def _call(self, step: CallStep, frame: Frame) -> Waiting[None]:
        path = frame.prefix + step.name
        sent: dict[str, Any] = {}
        forwarded: dict[str, Any] = {}
        for one in step.inputs:
            value = self._wanted(one, frame.room, path)
            if one.is_sent:
                sent[one.name] = value
            if one.is_forwarded:
                forwarded[one.name] = value
        if step.type is None:
            outputs: dict[str, Any] = {name: None for name, _ in step.outputs}
        elif step.sub is not None:
            found = yield from self._sub(self._program.subs[step.sub], sent, path)
            outputs = {name: found.get(name) for name, _ in step.outputs}
        else:
            outputs = yield from self._invocations.invoke(step, path, sent)
        frame.room.outs[step.name] = outputs | forwarded

    def _wanted(self, one: Input, room: Room, path: str) -> Any:
        """An input that a call cannot do without."""
        value = input_of(one, room, path)
        if value is ABSENT:
            raise failed("R701", f"{path}/{one.name}", why_absent(one, self._program.main))
        return value

    def _sub(self, space: Space, sent: dict[str, Any], path: str) -> Waiting[dict[str, Any]]:
        room = Room()
        room.ins[space.name] = taken(space, sent, path)
        yield from self._body(space.body, Frame(f"{path}/", room))
        return given(space, room, path)

    def _fused(self, step: FusedStep, frame: Frame) -> Waiting[None]:
        within = {stage.name for stage in step.stages}
        sent: dict[str, Any] = {}
        stages: list[Stage] = []
        for one in step.stages:
            ports: list[tuple[str, Handed | None]] = []
            for wanted in one.inputs:
                passed = handed(wanted, within)
                if passed is None:
                    value = self._wanted(wanted, frame.room, frame.prefix + one.name)
                    if wanted.is_sent:
                        sent[f"{one.name}/{wanted.name}"] = value
                if wanted.is_sent:
                    ports.append((wanted.name, passed))
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
        outputs = yield from self._invocations.invoke(call, frame.prefix + step.name, sent, tuple(stages))
        for stage in stages:
            frame.room.outs[stage.name] = {port: outputs[f"{stage.name}/{port}"] for port in stage.leaving}

    def _join(self, step: JoinStep, frame: Frame) -> Waiting[None]:
        tasks = [frame.room.queued_task(name) for name in step.awaited]
        if step.waits:
            for task in tasks:
                if task is not None:
                    yield from self._tasks.over(task)
        frame.room.outs[step.name] = {step.output: all(task is None or task.is_over for task in tasks)}

    # ---------------------------------------------------------------- one after the other

    def _switch(self, step: SwitchStep, frame: Frame) -> Waiting[None]:
        enter(step.inputs, step.name, frame)
        path = frame.prefix + step.name
        value = read(step.looked_at, frame.room, path)
        if value is ABSENT:
            raise failed("R701", path, "what the switch looks at is missing")
        demand_type(value, step.type, path)
        is_met = False
        for case in step.cases:
            if value is not None and value == case.value:
                is_met = True
                yield from self._body(case.body, frame)
                if case.breaks:
                    break
        if not is_met:
            yield from self._body(step.default, frame)
        leave(step.outputs, step.name, frame)

    def _for(self, step: ForStep, frame: Frame) -> Waiting[None]:
        path = frame.prefix + step.name
        own = enter(step.inputs, step.name, frame)
        begin, stride, count = count_of(step.counter, frame.room, path, self._policy.iterations_max)
        carried = beginning(step.loops, frame.room, path)
        last: Room | None = None
        for k in range(count):
            counter = {} if step.counter.name is None else {step.counter.name: begin + k * stride}
            inner = iteration(step.name, frame, k, own | carried | counter)
            yield from self._body(step.body, inner)
            carried = handed_on(step.loops, inner.room, f"{path}[{k}]")
            last = inner.room
        _loop_ends(step, frame, own | carried, last)

    def _while(self, step: WhileStep, frame: Frame) -> Waiting[None]:
        path = frame.prefix + step.name
        own = enter(step.inputs, step.name, frame)
        carried = beginning(step.loops, frame.room, path)
        last: Room | None = None
        k = 0
        while True:
            inner = iteration(step.name, frame, k, own | carried)
            if not condition_holds(step.test, inner.room, path):
                break
            if k >= step.iterations_max:
                raise failed("R712", path, f"it did not end after {k} iterations")
            yield from self._body(step.body, inner)
            carried = handed_on(step.loops, inner.room, f"{path}[{k}]")
            last = inner.room
            k += 1
        _loop_ends(step, frame, own | carried, last)

    # ---------------------------------------------------------------- side by side

    def _parallel(self, step: ParallelStep, frame: Frame) -> Waiting[None]:
        enter(step.inputs, step.name, frame)
        for k, section in enumerate(step.sections):
            self._tasks.spawn(self._body(section, frame), k)
        left = len(step.sections)
        while left:
            message = yield
            if isinstance(message, Over):
                if message.failure is not None:
                    raise Failed(message.failure)
                left -= 1
        path = frame.prefix + step.name
        frame.room.outs[step.name] = present(
            {one.name: gathered(one, frame.room, path) for one in step.outputs}
        )

    def _foreseen(self, step: ParallelForStep, then: Step | None, frame: Frame) -> Foreseen | None:
        """The invocation behind a parallelFor, if it takes one after the other what the iterations give."""
        if not isinstance(then, CallStep) or then.type is None or then.sub is not None:
            return None
        path = frame.prefix + then.name
        port = self._policy.ahead.get(then.type)
        output = given_whole(step, then, port)
        if port is None or output is None or self._invocations.is_known(path):
            return None
        others = [one for one in then.inputs if one.is_sent and one.name != port]
        try:
            inputs = {one.name: input_of(one, frame.room, path) for one in others}
        except Failed:  # when its turn comes, it is said
            return None
        if ABSENT in inputs.values():
            return None
        return Foreseen(self._invocations.key_of(path), then.type, inputs, port, output)

    def _parallel_for(self, step: ParallelForStep, frame: Frame, then: Foreseen | None) -> Waiting[None]:
        path = frame.prefix + step.name
        own = enter(step.inputs, step.name, frame)
        begin, stride, count = count_of(step.counter, frame.room, path, self._policy.iterations_max)
        warn = self._tasks.tell if self._program.is_lenient else None
        chunks = [
            (one.name, chunks_of(one, own[one.name], count, path, warn))
            for one in step.inputs
            if one.name in own
        ]
        limit = step.concurrency or self._policy.concurrency
        tolerated = math.floor(count * step.tolerated_percent / 100)
        inner_outputs = [one for one in step.outputs if not is_own(one, step.name)]
        results: dict[str, list[Any]] = {one.name: [None] * count for one in inner_outputs}
        missed: list[int] = []
        begun = ended = 0
        while ended < count:
            while begun < count and begun - ended < limit:
                ins = {name: piece(begun) for name, piece in chunks}
                if step.counter.name is not None:
                    ins[step.counter.name] = begin + begun * stride
                inner = iteration(step.name, frame, begun, ins)
                self._tasks.spawn(self._one(step, inner, begun, inner_outputs, results), begun)
                begun += 1
            message = yield
            if isinstance(message, Over) and message.task.owner is self._tasks.current:
                ended += 1
                if then is not None:
                    arisen = then.arisen(message.task.ordinal, results[then.output])
                    if arisen is not None:
                        self._tasks.tell(arisen)
                if message.failure is not None:
                    missed.append(message.task.ordinal)
                    if len(missed) > tolerated:
                        raise Failed(message.failure)
        if missed:
            said = ", ".join(map(str, sorted(missed)[:20])) + (" …" if len(missed) > 20 else "")
            self._tasks.tell(Warn("R708", path, f"{len(missed)} of {count} iterations failed: {said}"))
        frame.room.outs[step.name] = present(
            {
                one.name: collected(one, results[one.name])
                if one.name in results
                else output_of(one, frame.room, path)
                for one in step.outputs
            }
        )

    def _one(
        self,
        step: ParallelForStep,
        inner: Frame,
        ordinal: int,
        outputs: Sequence[Output],
        results: dict[str, list[Any]],
    ) -> Waiting[None]:
        """One iteration."""
        yield from self._body(step.body, inner)
        for one in outputs:
            value = read(one.take, inner.room, inner.prefix)
            results[one.name][ordinal] = None if value is ABSENT else value


def _loop_ends(step: ForStep | WhileStep, frame: Frame, own: dict[str, Any], last: Room | None) -> None:
    room = Room(frame.room)
    room.outs = last.outs if last else {}
    room.ins = (last.ins if last else {}) | {step.name: own}
    found: dict[str, Any] = {}
    for one in step.outputs:
        value = output_of(one, room, frame.prefix + step.name)
        if value is not ABSENT:
            found[one.name] = value
        elif last is None:
            found[one.name] = None
    frame.room.outs[step.name] = found
