"""The agent of a node as a state machine: orders and what becomes of processes in, what to do out.

Rule 1: it does what the newest orders say that it knows of, also after a restart and without any manager.
Rule 2: orders are on disk before they are followed.
Rule 3: an exclusive instance acts under a lease only. A lease counts from when the agent said what the
manager answered, so it is over here before it is over there.
Rule 4: what ends is started again here, later each time; nobody is asked.

No I/O and no clock: whoever calls says when it is, in seconds that only go forward.
"""

import math
from collections.abc import Mapping
from typing import Final

import msgspec

from einthoven.edge.agent_events import (
    AgentCommand,
    AgentEvent,
    AgentTerms,
    Alive,
    Connected,
    Described,
    End,
    Ended,
    Fetch,
    Fetched,
    FetchFailed,
    Hold,
    KeepOrders,
    Kill,
    Leaving,
    Lost,
    Measured,
    Ready,
    Say,
    Start,
    Stop,
    TimePassed,
    Told,
)
from einthoven.edge.matching import WHY_NOT, unfit
from einthoven.edge.messages import (
    Announce,
    Assignment,
    FromManager,
    Gone,
    Hail,
    InstanceReport,
    InstanceState,
    Leave,
    Orders,
    Report,
    Turn,
    Unknown,
)
from einthoven.edge.nodes import NodeDescription, NodeLoad

__all__ = ["NodeAgent"]

_REMEMBERED: Final = 256
"""Of what was said, when it was."""


class _Instance(msgspec.Struct):
    """What becomes of an assignment."""

    assignment: Assignment
    state: InstanceState = "waiting"
    has_process: bool = False
    is_wanted: bool = True
    failures: int = 0
    why: str = ""
    again_s: float = -math.inf
    """Not before then it is started."""
    fetching_s: float | None = None
    """Since when its program is waited for."""
    fetch_s: float = 0.0
    start_s: float = 0.0
    started_s: float = 0.0
    ready_s: float | None = None
    alive_s: float | None = None
    """Of those that give signs of life."""
    lease_until_s: float = -math.inf
    busy: float = 0.0

    @property
    def is_exclusive(self) -> bool:
        return self.assignment.service.is_exclusive


class NodeAgent:
    """One node.

    Parameters
    ----------
    boot : drawn anew each time an agent starts.
    orders : from its disk.
    running : assignments whose processes are there already, left by the agent before. No exclusive ones.
    ready : those of them that take calls.
    programs : those that are here.
    """

    def __init__(
        self,
        node: str,
        boot: int,
        description: NodeDescription,
        at_s: float,
        *,
        orders: Orders | None = None,
        running: Mapping[int, Assignment] = {},
        ready: frozenset[int] = frozenset(),
        programs: frozenset[str] = frozenset(),
        terms: AgentTerms | None = None,
    ) -> None:
        self._node = node
        self._boot = boot
        self._description = description
        self._terms = terms or AgentTerms()
        self._now_s = at_s
        self._turn = Turn() if orders is None else orders.turn
        self._programs = set(programs)
        self._fetching: set[str] = set()
        self._instances = {
            id_: _Instance(
                assignment=one,
                state="ready" if id_ in ready else "starting",
                has_process=True,
                started_s=at_s,
                ready_s=at_s if id_ in ready else None,
                is_wanted=False,
            )
            for id_, one in running.items()
        }
        self._wanted: dict[int, Assignment] = {}
        self._visit: int | None = None
        self._sequence = 0
        self._introduced = 1
        """The first of what it said with which it announced itself; what answers less answers another."""
        self._said_s: dict[int, float] = {}
        self._is_connected = False
        self._is_due = True
        """Whether something is to be told before the next report."""
        self._next_s = -math.inf
        self._load = NodeLoad()
        self._leave_until_s: float | None = None
        self._may_go = False
        self._is_over = False
        if orders is not None:
            self._assign(orders)

    @property
    def turn(self) -> Turn:
        """Of the orders that it follows."""
        return self._turn

    @property
    def reports(self) -> tuple[InstanceReport, ...]:
        """How its instances are."""
        return tuple(
            InstanceReport(
                id=id_,
                state=one.state,
                failures=one.failures,
                why=one.why,
                busy=one.busy,
                fetch_s=one.fetch_s,
                start_s=one.start_s,
            )
            for id_, one in sorted(self._instances.items())
        )

    def begin(self, at_s: float) -> list[AgentCommand]:
        """Go on with what was on disk."""
        return self.receive(TimePassed(), at_s)

    def receive(self, event: AgentEvent, at_s: float) -> list[AgentCommand]:
        """What is to be done about an event."""
        self._now_s = max(self._now_s, at_s)
        commands: list[AgentCommand] = []
        match event:
            case Connected():
                self._is_connected = True
                self._introduce()
            case Told(message):
                commands += self._told(message)
            case Fetched(program):
                self._fetching.discard(program)
                self._programs.add(program)
            case Lost(program):
                self._programs.discard(program)
            case FetchFailed(program, why):
                self._miss(program, why)
            case Ready(id_):
                self._note_ready(id_)
            case Alive(id_):
                self._note_ready(id_)
                if id_ in self._instances:
                    self._instances[id_].alive_s = self._now_s
            case Ended(id_, why):
                self._note_end(id_, why)
            case Measured(load, busy):
                self._load = load
                for id_, share in busy.items():
                    if id_ in self._instances:
                        self._instances[id_].busy = share
            case Described(description):
                if description != self._description:
                    self._description = description
                    self._introduce()
            case Leaving():
                if self._leave_until_s is None:
                    self._leave_until_s = self._now_s + self._terms.leave_s
                    self._is_due = True
            case TimePassed():
                pass
        commands += self._settle()
        commands += self._speak()
        return commands

    def _introduce(self) -> None:
        """Announce itself, until that is answered."""
        self._visit, self._next_s, self._introduced = None, -math.inf, self._sequence + 1

    # ---------------------------------------------------------------- what the manager says

    def _told(self, message: FromManager) -> list[AgentCommand]:
        match message:
            case Hail():
                self._introduce()
            case Unknown(boot=boot):
                if boot == self._boot:
                    self._introduce()
            case Orders():
                if message.node == self._node and message.boot == self._boot:
                    return self._take(message)
        return []

    def _take(self, orders: Orders) -> list[AgentCommand]:
        if orders.turn < self._turn:
            return []
        if orders.echo >= self._introduced:
            self._is_due |= self._visit is None
            self._visit = orders.visit
        self._may_go = orders.may_go
        commands: list[AgentCommand] = []
        if orders.turn > self._turn:
            self._turn = orders.turn
            self._assign(orders)
            self._is_due = True
            commands.append(KeepOrders(orders))
        said_s = self._said_s.get(orders.echo)
        for id_, lease_s in orders.leases.items():
            if said_s is not None and id_ in self._instances and self._instances[id_].is_wanted:
                one = self._instances[id_]
                one.lease_until_s = max(one.lease_until_s, said_s + lease_s)
                commands += [Hold(id_, one.lease_until_s)] if one.has_process else []
        return commands

    def _assign(self, orders: Orders) -> None:
        wanted = {one.id: one for one in orders.assignments}
        for id_, instance in self._instances.items():
            instance.is_wanted = wanted.get(id_) == instance.assignment
        for id_, assignment in wanted.items():
            if id_ not in self._instances:
                self._instances[id_] = _Instance(assignment=assignment)
        self._wanted = wanted

    # ---------------------------------------------------------------- what becomes of instances

    def _miss(self, program: str, why: str) -> None:
        self._fetching.discard(program)
        for one in self._instances.values():
            if one.assignment.service.program == program and one.state == "fetching":
                self._fail(one, why)

    def _note_ready(self, id_: int) -> None:
        one = self._instances.get(id_)
        if one is not None and one.state == "starting":
            one.state, one.ready_s, self._is_due = "ready", self._now_s, True
            one.start_s = self._now_s - one.started_s

    def _note_end(self, id_: int, why: str) -> None:
        one = self._instances.get(id_)
        if one is None or not one.has_process:
            return
        was = one.state
        did_well = one.ready_s is not None and self._now_s - one.ready_s >= self._terms.well_s
        one.has_process, one.ready_s, one.alive_s, one.busy = False, None, None, 0.0
        if was == "stopping":
            one.state, self._is_due = "waiting", True
            return
        if did_well:
            one.failures = 0
        self._fail(one, one.why or why)

    def _fail(self, one: _Instance, why: str) -> None:
        one.failures += 1
        pause_s = min(self._terms.back_off_s * 2.0 ** min(one.failures - 1, 30), self._terms.back_off_most_s)
        one.state, one.why, one.again_s, self._is_due = "waiting", why, self._now_s + pause_s, True

    def _settle(self) -> list[AgentCommand]:
        commands: list[AgentCommand] = []
        is_leaving = self._is_leaving_now()
        for id_, one in list(self._instances.items()):
            if one.has_process:
                commands += self._watch(id_, one, is_wanted=one.is_wanted and not is_leaving)
            elif not one.is_wanted:
                del self._instances[id_]
                self._is_due = True
                again = self._wanted.get(id_)
                if again is not None:  # the same number for something else: a manager's memory was lost
                    self._instances[id_] = _Instance(assignment=again)
            elif not is_leaving:
                commands += self._try(one)
        if is_leaving and not self._is_over and not any(one.has_process for one in self._instances.values()):
            self._is_over = True
            if self._visit is not None:
                self._sequence += 1
                gone = Gone(boot=self._boot, visit=self._visit, sequence=self._sequence)
                commands.append(Say(gone))
            commands.append(End())
        return commands

    def _is_leaving_now(self) -> bool:
        until_s = self._leave_until_s
        if until_s is None:
            return False
        return self._may_go or self._visit is None or self._now_s >= until_s

    def _watch(self, id_: int, one: _Instance, *, is_wanted: bool) -> list[AgentCommand]:
        """An instance that has a process."""
        if one.is_exclusive and self._now_s >= one.lease_until_s:
            if one.why == "its lease is over":
                return []
            one.state, one.why, self._is_due = "stopping", "its lease is over", True
            return [Kill(id_)]
        if one.state == "stopping":
            return []
        if not is_wanted:
            one.state, self._is_due = "stopping", True
            return [Stop(id_)]
        service = one.assignment.service
        if unfit(service, self._node, self._description, None) is not None:
            one.state, self._is_due = "stopping", True
            return [Stop(id_)]
        is_late = one.state == "starting" and self._now_s - one.started_s >= service.start_limit_s
        is_silent = one.alive_s is not None and self._now_s - one.alive_s >= self._terms.silence_s
        if is_late or is_silent:
            one.alive_s, one.started_s = None, math.inf
            one.why = "it was not ready in time" if is_late else "it gave no sign of life"
            return [Kill(id_)]
        if one.failures and one.ready_s is not None and self._now_s - one.ready_s >= self._terms.well_s:
            one.failures, one.why, self._is_due = 0, "", True
        return []

    def _try(self, one: _Instance) -> list[AgentCommand]:
        """An instance that is to have a process, and has none."""
        service = one.assignment.service
        why = unfit(service, self._node, self._description, None)
        if why is not None:
            if one.state != "refused":
                one.state, one.why, self._is_due = "refused", WHY_NOT[why], True
            return []
        if self._now_s < one.again_s:
            return []
        if service.program and service.program not in self._programs:
            if one.state != "fetching":
                one.state, one.fetching_s, self._is_due = "fetching", self._now_s, True
            if service.program in self._fetching or not self._is_connected:
                return []
            self._fetching.add(service.program)
            return [Fetch(service.program)]
        if one.is_exclusive and self._now_s >= one.lease_until_s:
            one.state = "waiting"
            return []
        if one.fetching_s is not None:
            one.fetch_s, one.fetching_s = self._now_s - one.fetching_s, None
        one.state, one.why, one.has_process, one.started_s = "starting", "", True, self._now_s
        self._is_due = True
        start = Start(one.assignment)
        return [start, Hold(one.assignment.id, one.lease_until_s)] if one.is_exclusive else [start]

    # ---------------------------------------------------------------- what is said

    def _speak(self) -> list[AgentCommand]:
        if not self._is_connected or self._is_over:
            return []
        if self._visit is None:
            if self._now_s < self._next_s:
                return []
            self._next_s = self._now_s + self._terms.announce_s
            return [
                Say(
                    Announce(
                        boot=self._boot,
                        sequence=self._number(),
                        description=self._description,
                        applied=self._turn,
                    )
                )
            ]
        if self._now_s < self._next_s and not self._is_due:
            return []
        self._is_due, self._next_s = False, self._now_s + self._terms.report_s
        said: list[AgentCommand] = [
            Say(
                Report(
                    boot=self._boot,
                    visit=self._visit,
                    sequence=self._number(),
                    applied=self._turn,
                    instances=self.reports,
                    load=self._load,
                )
            )
        ]
        if self._leave_until_s is not None:
            said.append(Say(Leave(boot=self._boot, visit=self._visit, sequence=self._number())))
        return said

    def _number(self) -> int:
        self._sequence += 1
        self._said_s[self._sequence] = self._now_s
        self._said_s.pop(self._sequence - _REMEMBERED, None)
        return self._sequence
