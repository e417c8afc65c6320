"""A site in a virtual world: machines that fail, a network that loses, and the very code of real sites.

Agents and the site manager are those of `einthoven.edge`; this drives them with a clock of its own. Each
machine's clock runs at its own rate. A process of a machine *acts* from the moment it is started until it has
ended, whoever knows of it.
"""

import heapq
import itertools
import math
import random
from collections.abc import Callable
from typing import Final

import msgspec

from einthoven.edge.agent import NodeAgent
from einthoven.edge.agent_events import (
    AgentCommand,
    AgentEvent,
    Connected,
    Described,
    End,
    Ended,
    Fetch,
    Fetched,
    Hold,
    KeepOrders,
    Kill,
    Leaving,
    Ready,
    Say,
    Start,
    Stop,
    TimePassed,
    Told,
)
from einthoven.edge.matching import unfit
from einthoven.edge.messages import Assignment, FromManager, Orders
from einthoven.edge.nodes import NodeDescription
from einthoven.edge.site_events import Enrol, Heard, Keep, ManagerCommand, ManagerEvent, Tell, TellAll, Ticked
from einthoven.edge.site_manager import SiteManager
from einthoven.edge.site_state import Happening, SiteState
from einthoven.trust.policy import Policy

__all__ = ["Machine", "Network", "VirtualProcess", "VirtualSite"]

_TICK_S: Final = 0.25


class Network(msgspec.Struct):
    """What becomes of messages."""

    loss: float = 0.0
    twice: float = 0.0
    delay_most_s: float = 0.02
    """Messages overtake each other."""
    cut_off: set[str] = set()
    """Machines that nobody reaches."""


class VirtualProcess(msgspec.Struct):
    """One instance at work."""

    assignment: Assignment
    is_ready: bool = False
    until_s: float = math.inf
    """By its machine's clock: when its lease is over, its warden ends it."""


class Machine(msgspec.Struct):
    """A node: what is on its disk outlives it."""

    name: str
    description: NodeDescription
    rate: float
    """Of its clock."""
    agent: NodeAgent | None = None
    disk: list[Orders] = []
    """All orders that were ever kept there, the newest last."""
    programs: set[str] = set()
    processes: dict[int, VirtualProcess] = {}
    backlog: list[AgentEvent] | None = None
    """What waits for an agent that is stopped; None: it is not."""
    starts: int = 0
    """Processes that were ever started."""


class VirtualSite:
    """The world.

    Parameters
    ----------
    broken : whether a version ends as soon as it is started.
    startup_s : until an instance is ready, at most.
    """

    def __init__(
        self,
        seed: int,
        *,
        policy: Policy | None = None,
        broken: Callable[[str], bool] = lambda _: False,
        startup_s: float = 0.5,
    ) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a simulation
        self._policy = policy
        self._broken = broken
        self._startup_s = startup_s
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._next_tick_s = 0.0
        self.now_s = 0.0
        self.network = Network()
        self.machines: dict[str, Machine] = {}
        self.kept = SiteState(site="virtual")
        self.kept_before: list[SiteState] = []
        self.manager: SiteManager | None = None
        self.happenings: list[tuple[float, Happening]] = []
        self.most_acting = 0
        """Instances of one exclusive nanoservice that acted at one time, at most."""
        self.misplaced = 0
        """Instances that were started where they must not be."""

    # ---------------------------------------------------------------- what can happen

    def start_manager(self) -> None:
        """From what is in the database."""
        if self.manager is None:
            self.manager = SiteManager(self.kept, self.now_s, self._policy)
            self._manage(self.manager.begin(int(1000 * self.now_s)))

    def restore(self, states_ago: int) -> None:
        """The database is put back to what it was, as far back as it knew of the same machines."""
        self.manager = None
        names = {one.name for one in (*self.kept.nodes, *self.kept.forgotten)}
        for state in self.kept_before[-states_ago:]:
            if {one.name for one in (*state.nodes, *state.forgotten)} == names:
                self.kept = state
                return

    def crash_manager(self) -> None:
        """It is gone, in the middle of whatever it did."""
        self.manager = None

    def wish(self, event: ManagerEvent) -> None:
        """Somebody wants something; the manager must be there."""
        if self.manager is not None:
            self._manage(self.manager.receive(event, self.now_s))

    def add(self, name: str, description: NodeDescription, rate: float = 1.0) -> None:
        """A machine is bought, enrolled and switched on."""
        self.machines[name] = Machine(name=name, description=description, rate=rate)
        self.wish(Enrol(name, name.encode(), description.tier, description.labels))
        self.switch_on(name)

    def switch_on(self, name: str, *, orders_ago: int = 0) -> None:
        """Start the agent.

        Parameters
        ----------
        orders_ago : its disk is as it was so many orders before.
        """
        machine = self.machines[name]
        if machine.agent is not None:
            return
        if orders_ago:
            del machine.disk[max(0, len(machine.disk) - orders_ago) :]
        machine.agent = NodeAgent(
            name,
            self._random.getrandbits(62),
            machine.description,
            self._local_s(machine),
            orders=machine.disk[-1] if machine.disk else None,
            running={id_: one.assignment for id_, one in machine.processes.items()},
            ready=frozenset(id_ for id_, one in machine.processes.items() if one.is_ready),
            programs=frozenset(machine.programs),
        )
        self._act(machine, machine.agent, machine.agent.begin(self._local_s(machine)))
        self._tell_agent(machine, Connected())

    def crash_agent(self, name: str) -> None:
        """Its process is killed; the kernel ends exclusive instances with it, others go on."""
        machine = self.machines[name]
        if machine.agent is not None:
            machine.agent = machine.backlog = None
            machine.processes = {
                id_: one for id_, one in machine.processes.items() if not one.assignment.service.is_exclusive
            }

    def stop_agent(self, name: str) -> None:
        """It is there and does nothing, until it is killed or goes on."""
        machine = self.machines[name]
        if machine.agent is not None and machine.backlog is None:
            machine.backlog = []

    def wake_agent(self, name: str) -> None:
        """It goes on with what it has not heard yet."""
        machine = self.machines[name]
        waiting, machine.backlog = machine.backlog or [], None
        for event in waiting:
            self._tell_agent(machine, event)

    def crash_machine(self, name: str) -> None:
        """The power fails."""
        machine = self.machines[name]
        machine.agent = machine.backlog = None
        machine.processes = {}

    def crash_process(self, name: str, id_: int) -> None:
        """An instance breaks."""
        self._end(self.machines[name], id_, "it was killed", self.machines[name].processes.get(id_))

    def leave(self, name: str) -> None:
        """Somebody switches a machine off properly."""
        self._tell_agent(self.machines[name], Leaving())

    def change(self, name: str, description: NodeDescription) -> None:
        """A sensor comes or goes."""
        self.machines[name].description = description
        self._tell_agent(self.machines[name], Described(description))

    # ---------------------------------------------------------------- time

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> float:
        """Let time pass, at most until something is so; how much did."""
        began_s = self.now_s
        end_s = began_s + seconds
        while self.now_s < end_s and (until is None or not until()):
            due_s = self._queue[0][0] if self._queue else end_s
            self.now_s = min(end_s, self._next_tick_s, max(due_s, self.now_s))
            while self._queue and self._queue[0][0] <= self.now_s:
                heapq.heappop(self._queue)[2]()
                self._look()
            if self.now_s >= self._next_tick_s:
                self._next_tick_s += _TICK_S
                self._tick()
                self._look()
        return self.now_s - began_s

    def _tick(self) -> None:
        if self.manager is not None:
            self._manage(self.manager.receive(Ticked(), self.now_s))
        for machine in list(self.machines.values()):
            if machine.backlog is None:
                self._tell_agent(machine, TimePassed())
            for id_, process in list(machine.processes.items()):
                if self._local_s(machine) >= process.until_s:
                    self._end(machine, id_, "its lease is over", process)

    def _look(self) -> None:
        """Count who acts."""
        acting: dict[str, int] = {}
        for machine in self.machines.values():
            for one in machine.processes.values():
                if one.assignment.service.is_exclusive:
                    name = one.assignment.service.name
                    acting[name] = acting.get(name, 0) + 1
        self.most_acting = max(self.most_acting, *acting.values(), 0)

    def _local_s(self, machine: Machine) -> float:
        return self.now_s * machine.rate

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now_s + seconds, next(self._numbers), what))

    # ---------------------------------------------------------------- the manager

    def _manage(self, commands: list[ManagerCommand]) -> None:
        for command in commands:
            match command:
                case Keep(state, happenings):
                    self.kept_before.append(self.kept)
                    self.kept = state
                    self.happenings += [(self.now_s, one) for one in happenings]
                case Tell(node, message):
                    self._send_to(node, message)
                case TellAll(message):
                    for name in self.machines:
                        self._send_to(name, message)

    def _send_to(self, node: str, message: FromManager) -> None:
        machine = self.machines.get(node)
        if machine is not None:
            self._send(node, lambda: self._tell_agent(machine, Told(message)))

    def _send(self, node: str, arrive: Callable[[], None]) -> None:
        """Whatever is sent while a machine is cut off, or arrives then, is lost."""
        if node in self.network.cut_off or self._random.random() < self.network.loss:
            return

        def arrives() -> None:
            if node not in self.network.cut_off:
                arrive()

        for _ in range(2 if self._random.random() < self.network.twice else 1):
            self._later(self._random.uniform(0.0005, self.network.delay_most_s), arrives)

    # ---------------------------------------------------------------- agents

    def _tell_agent(self, machine: Machine, event: AgentEvent) -> None:
        agent = machine.agent
        if machine.backlog is not None:
            machine.backlog.append(event)
        elif agent is not None:
            self._act(machine, agent, agent.receive(event, self._local_s(machine)))

    def _act(self, machine: Machine, agent: NodeAgent, commands: list[AgentCommand]) -> None:
        for command in commands:
            match command:
                case Say(message):
                    self._send(machine.name, lambda said=message: self._hear(machine.name, said))  # type: ignore[misc]
                case KeepOrders(orders):
                    machine.disk.append(orders)
                case Fetch(program):
                    self._later(
                        self._random.uniform(0.05, 1.0), lambda: self._fetched(machine, agent, program)
                    )
                case Start(assignment):
                    self._start(machine, assignment)
                case Hold(id_, until_s):
                    if id_ in machine.processes:
                        machine.processes[id_].until_s = until_s
                case Stop(id_):
                    process = machine.processes.get(id_)
                    self._later(
                        self._random.uniform(0.01, 0.3),
                        lambda id_=id_, process=process: self._end(machine, id_, "it was stopped", process),  # type: ignore[misc]
                    )
                case Kill(id_):
                    process = machine.processes.get(id_)
                    self._later(0.0, lambda id_=id_, process=process: self._end(machine, id_, "", process))  # type: ignore[misc]
                case End():
                    machine.agent = None

    def _hear(self, node: str, message: object) -> None:
        if self.manager is not None:
            self._manage(self.manager.receive(Heard(node, message), self.now_s))  # type: ignore[arg-type]

    def _fetched(self, machine: Machine, agent: NodeAgent, program: str) -> None:
        if machine.agent is agent:
            machine.programs.add(program)
            self._tell_agent(machine, Fetched(program))

    def _start(self, machine: Machine, assignment: Assignment) -> None:
        process = VirtualProcess(assignment=assignment)
        machine.processes[assignment.id] = process
        machine.starts += 1
        service = assignment.service
        self.misplaced += unfit(service, machine.name, machine.description, self._policy) is not None
        if self._broken(assignment.service.version):
            self._later(0.05, lambda: self._end(machine, assignment.id, "it broke", process))
        else:
            self._later(
                self._random.uniform(0.1, self._startup_s),
                lambda: self._ready(machine, assignment.id, process),
            )

    def _ready(self, machine: Machine, id_: int, process: VirtualProcess) -> None:
        if machine.processes.get(id_) is process:
            process.is_ready = True
            self._tell_agent(machine, Ready(id_))

    def _end(self, machine: Machine, id_: int, why: str, process: VirtualProcess | None) -> None:
        if process is not None and machine.processes.get(id_) is process:
            del machine.processes[id_]
            self._tell_agent(machine, Ended(id_, why))
