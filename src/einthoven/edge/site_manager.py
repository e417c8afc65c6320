"""The site manager as a state machine: what is heard goes in, what is to be kept and said comes out.

Rule 1: what is wanted is compared with what is; whatever was lost on the way is found again.
Rule 2: what is kept is kept before anybody is told.
Rule 3: nobody is stopped on suspicion. An instance goes when another does its work, or when it must not be.
Rule 4: of an exclusive nanoservice a new instance is placed when the old one has surely stopped: its node
said so, or its lease is over by the manager's clock with a margin.

No I/O and no clock: whoever calls says when it is, in seconds that only go forward.
"""

import math
from collections.abc import Iterable
from typing import Final

import msgspec

from einthoven.edge.matching import LASTING, WHY_NOT, Candidate, Matched, Unplaced, WhyNot, match, unfit
from einthoven.edge.messages import (
    Announce,
    Assignment,
    FromNode,
    Gone,
    Hail,
    Orders,
    Report,
    Turn,
    Unknown,
)
from einthoven.edge.nanoservices import Nanoservice
from einthoven.edge.nodes import NodeDescription
from einthoven.edge.scaling import Scaling
from einthoven.edge.sightings import Sightings
from einthoven.edge.site_events import (
    Deploy,
    Drain,
    Enrol,
    Forget,
    Govern,
    Heard,
    Keep,
    ManagerCommand,
    ManagerEvent,
    NodeStanding,
    Remove,
    Scale,
    SiteTerms,
    Tell,
    TellAll,
    Ticked,
)
from einthoven.edge.site_state import Enrolled, Happening, HappeningKind, Held, Retired, SiteState, Wanted
from einthoven.edge.wishes import deployed, enrolled, rolled_back, scaled
from einthoven.errors import NotFound
from einthoven.trust.policy import Policy

__all__ = ["SiteManager", "lease_over_s"]

_FAILURES: Final = 3
"""Attempts in a row that end badly, and an instance does not do well."""
_LEASE_DRIFT: Final = 1.1
"""Clocks that run so differently are taken into account."""
_LEASE_MARGIN_S: Final = 1.0
"""Until an agent has noticed that a lease is over and has stopped its instance."""
_MOST: Final = 2**40
"""No number of ours grows so great; what a node says beyond it is not believed."""


def lease_over_s(lease_s: float) -> float:
    """After so long since it was given, whoever has a lease has surely stopped."""
    return lease_s * _LEASE_DRIFT + _LEASE_MARGIN_S


class SiteManager:
    """One manager's time in office.

    Parameters
    ----------
    state : what the one before kept.
    policy : says where data may go; None: anywhere.
    """

    def __init__(
        self, state: SiteState, at_s: float, policy: Policy | None = None, terms: SiteTerms | None = None
    ) -> None:
        self._site = state.site
        self._term = state.term
        self._is_first = state.term == 0
        self._generation = state.generation
        self._next_id = state.next_id
        self._nodes = {one.name: one for one in state.nodes}
        self._forgotten = {one.name: one for one in state.forgotten}
        self._services = {one.service.name: one for one in state.services}
        self._held = {one.id: one for one in state.held}
        self._retired = {one.id: one for one in state.retired}
        self._policy = policy
        self._terms = terms or SiteTerms()
        self._began_s = at_s
        self._seen = Sightings(self._terms, at_s)
        self._scaling = Scaling(self._terms)
        self._lease_over_s: dict[int, float] = {}
        self._avoided: dict[tuple[str, str], float] = {}
        self._forbidden: dict[tuple[str, str, str], WhyNot | None] = {}
        """By service, version and node, as long as no node is described anew: the policy is asked once."""
        self._unplaced: dict[str, dict[str, WhyNot]] = {}
        self._told_failing: set[int] = set()
        self._told_ready: set[int] = set()
        self._away: set[str] = set(self._nodes)
        self._farewells: list[Tell] = []
        self._happenings: list[Happening] = []
        self._is_changed = False
        self._due: set[str] = set()
        """Nodes to be told their orders."""

    # ---------------------------------------------------------------- what can be seen

    @property
    def state(self) -> SiteState:
        """What must not be forgotten."""
        return SiteState(
            site=self._site,
            term=self._term,
            generation=self._generation,
            next_id=self._next_id,
            nodes=tuple(self._nodes.values()),
            forgotten=tuple(self._forgotten.values()),
            services=tuple(self._services.values()),
            held=tuple(self._held.values()),
            retired=tuple(self._retired.values()),
        )

    @property
    def unplaced(self) -> dict[str, dict[str, WhyNot]]:
        """Nanoservices that have too few instances, and why no node got another."""
        return {name: dict(reasons) for name, reasons in self._unplaced.items()}

    def standings(self, at_s: float) -> tuple[NodeStanding, ...]:
        """How the nodes are."""
        return tuple(self._seen.standing(one, at_s) for one in self._nodes.values())

    # ---------------------------------------------------------------- what happens

    def begin(self, era: int = 0) -> list[ManagerCommand]:
        """Take office.

        Parameters
        ----------
        era : greater, or as great, each time somebody takes office, such as seconds since 1970: so this
            manager's orders are not taken for those of one whose memory is lost.
        """
        self._term = max(self._term + 1, min(era, _MOST - 1))
        self._is_changed = True
        return [*self._performed(), TellAll(Hail(term=self._term))]

    def receive(self, event: ManagerEvent, at_s: float) -> list[ManagerCommand]:
        """What is to be done about an event.

        Raises
        ------
        Conflict : it cannot be together with what is there.
        NotFound : there is no such node or nanoservice.
        """
        self._seen.now_s = max(self._now_s, at_s)
        match event:
            case Heard(node, message):
                is_news, unknown = self._hear(node, message)
                if not is_news:
                    return [*self._performed(), *unknown]
            case Enrol():
                self._enrol(event)
            case Forget(node):
                self._forget(node)
            case Drain(node, is_draining):
                self._drain(node, is_draining)
            case Deploy(service):
                self._deploy(service)
            case Scale(service, replicas):
                self._scale(service, replicas)
            case Remove(service):
                self._wanted(service)
                del self._services[service]
                self._unplaced.pop(service, None)
                self._happened("removed", service=service)
            case Govern(policy):
                self._policy = policy
                self._forbidden.clear()
            case Ticked():
                self._look_at_load()
        self._settle()
        return self._performed()

    def _performed(self) -> list[ManagerCommand]:
        commands: list[ManagerCommand] = []
        if self._is_changed or self._happenings:
            commands.append(Keep(self.state, tuple(self._happenings)))
        commands += self._farewells
        commands += [Tell(name, self._orders(name)) for name in sorted(self._due) if name in self._seen]
        self._happenings, self._is_changed, self._due, self._farewells = [], False, set(), []
        return commands

    def _happened(
        self, kind: HappeningKind, held: Held | None = None, *, node: str = "", service: str = "",
        version: str = "", detail: str = "",
    ) -> None:  # fmt: skip
        self._is_changed = True
        if held is not None:
            node, service, version = held.node, held.service.name, held.service.version
        self._happenings.append(
            Happening(
                kind=kind,
                node=node,
                service=service,
                version=version,
                id=0 if held is None else held.id,
                detail=detail,
            )
        )

    # ---------------------------------------------------------------- what nodes say

    def _hear(self, node: str, message: FromNode) -> tuple[bool, list[ManagerCommand]]:
        """Whether it is more than that a node lives; and what to say to whom nobody knows."""
        if node not in self._nodes:
            return False, self._part_with(node, message)
        seen = self._seen.visiting(node, message, self._term)
        if seen is None:
            return False, [Tell(node, Unknown(boot=message.boot))]
        self._due.add(node)
        if message.sequence <= seen.sequence:
            return False, []
        is_news = seen.take(message, self._now_s, self._terms.full) or node in self._away
        if isinstance(message, Announce):
            self._learn(node, message)
        elif isinstance(message, Report):
            self._compare(node, message)
        return is_news, []

    def _learn(self, node: str, said: Announce) -> None:
        known = self._nodes[node]
        description = msgspec.structs.replace(said.description, tier=known.tier, labels=known.labels)
        if known.description != description:
            self._nodes[node] = msgspec.structs.replace(known, description=description)
            self._is_changed = True
            self._forbidden.clear()
        self._outdo(node, said.applied)

    def _part_with(self, node: str, message: FromNode) -> list[ManagerCommand]:
        """Who is forgotten is told to run nothing, until it says that it runs nothing."""
        known = self._forgotten.get(node)
        if known is None:
            return []
        if isinstance(message, Gone):
            is_over = True
        elif isinstance(message, Report):
            is_over = not message.instances and message.applied >= Turn(self._term, known.generation)
        else:
            is_over = False
        if is_over:
            del self._forgotten[node]
            self._is_changed = True
            return []
        if isinstance(message, Announce | Report) and message.applied > Turn(self._term, known.generation):
            self._outdo_all(message.applied)
            self._generation += 1
            known = msgspec.structs.replace(known, generation=self._generation)
            self._forgotten[node] = known
            self._is_changed = True
        return [Tell(node, self._farewell(known, message))]

    def _farewell(self, known: Enrolled, message: FromNode) -> Orders:
        """To run nothing, and to go if it wants to."""
        return Orders(
            node=known.name,
            boot=message.boot,
            visit=0 if isinstance(message, Announce) else message.visit,
            echo=message.sequence,
            turn=Turn(self._term, known.generation),
            may_go=True,
        )

    def _compare(self, node: str, report: Report) -> None:
        """What a node runs, with what it was told to run."""
        self._outdo(node, report.applied)
        here = {one.id for one in report.instances}
        for one in report.instances:
            if one.state == "ready" and one.id in self._held and one.id not in self._told_ready:
                self._told_ready.add(one.id)
                took = f"fetched in {one.fetch_s:.3g} s, " if one.fetch_s else ""
                self._happened("ready", self._held[one.id], detail=f"{took}started in {one.start_s:.3g} s")
        self._next_id = max(self._next_id, 1 + max((id_ for id_ in here if id_ < _MOST), default=0))
        for gone in [one for one in self._retired.values() if one.node == node]:
            if report.applied >= gone.turn and gone.id not in here:
                self._let_go(gone.id)

    def _outdo(self, node: str, applied: Turn) -> None:
        """Orders that this manager does not know of were given by one whose memory is lost: be newer."""
        self._outdo_all(applied)
        if applied.term < _MOST and applied > Turn(self._term, self._nodes[node].generation):
            self._turn(node)
            self._is_changed = True

    def _outdo_all(self, applied: Turn) -> None:
        if applied > Turn(self._term, self._generation) and applied.term < _MOST:
            self._term = max(self._term, applied.term) + 1
            self._is_changed = True
            self._due |= self._nodes.keys()

    def _orders(self, node: str) -> Orders:
        seen = self._seen[node]
        held = [one for one in self._held.values() if one.node == node]
        leases = {one.id: one.service.lease_s for one in held if one.service.is_exclusive}
        for id_, lease_s in leases.items():
            self._lease_over_s[id_] = self._now_s + lease_over_s(lease_s)
        return Orders(
            node=node,
            boot=seen.boot,
            visit=seen.visit,
            echo=seen.sequence,
            turn=Turn(self._term, self._nodes[node].generation),
            assignments=tuple(Assignment(id=one.id, service=one.service) for one in held),
            leases=leases,
            may_go=seen.is_leaving and all(self._is_stuck(one) for one in held),
        )

    def _is_stuck(self, held: Held) -> bool:
        """Whether what a node runs can go on nowhere else, and nobody is about to take its place."""
        wanted = self._services.get(held.service.name)
        if wanted is None:
            return True
        others = [one for one in self._held_of(held.service.name) if self._is_well_placed(one, wanted)]
        return len(others) < wanted.replicas and isinstance(self._match(wanted.service), Unplaced)

    # ---------------------------------------------------------------- what is wished

    def _enrol(self, event: Enrol) -> None:
        is_new = event.node not in self._nodes
        self._forgotten.pop(event.node, None)
        self._nodes[event.node] = enrolled(self._nodes.get(event.node), event)
        if is_new:
            self._away.add(event.node)
            self._happened("enrolled", node=event.node)

    def _forget(self, node: str) -> None:
        self._enrolled(node)
        for one in [one for one in self._held.values() if one.node == node]:
            self._retire(one, "its node is forgotten")
        self._turn(node)
        if node in self._seen:
            nothing = msgspec.structs.replace(self._orders(node), assignments=(), leases={}, may_go=True)
            self._farewells.append(Tell(node, nothing))
        self._forgotten[node] = self._nodes.pop(node)
        self._due.discard(node)
        self._seen.forget(node)
        self._away.discard(node)
        self._happened("forgotten", node=node)

    def _drain(self, node: str, is_draining: bool) -> None:
        known = self._enrolled(node)
        if known.is_draining != is_draining:
            self._nodes[node] = msgspec.structs.replace(known, is_draining=is_draining)
            self._happened("draining" if is_draining else "resumed", node=node)

    def _deploy(self, service: Nanoservice) -> None:
        self._services[service.name] = deployed(self._services.get(service.name), service)
        self._avoided = {key: s for key, s in self._avoided.items() if key[0] != service.name}
        self._forbidden.clear()
        self._happened("deployed", service=service.name, version=service.version)

    def _scale(self, name: str, replicas: int) -> None:
        self._services[name] = scaled(self._wanted(name), replicas)
        self._happened("scaled", service=name, detail=str(replicas))

    def _wanted(self, name: str) -> Wanted:
        if name not in self._services:
            raise NotFound(f"there is no nanoservice {name!r}.", where="services", remedy="Deploy it first.")
        return self._services[name]

    def _enrolled(self, name: str) -> Enrolled:
        if name not in self._nodes:
            raise NotFound(f"there is no node {name!r}.", where="nodes", remedy="Enrol it first.")
        return self._nodes[name]

    # ---------------------------------------------------------------- what is done about it

    def _settle(self) -> None:
        """Take the next steps towards what is wanted."""
        self._notice_away()
        for id_, gone in list(self._retired.items()):
            over_s = self._lease_over_s.get(id_, self._began_s + lease_over_s(gone.service.lease_s))
            if self._now_s >= over_s:
                self._let_go(id_)
        for one in list(self._held.values()):
            self._refuse(one)
        for name in sorted(self._services, key=lambda name: (-self._services[name].service.priority, name)):
            wanted = self._judged(self._services[name])
            if wanted.service.is_exclusive:
                self._settle_exclusive(wanted)
            else:
                self._settle_shared(wanted)

    def _notice_away(self) -> None:
        for name in self._nodes:
            is_away = not self._seen.is_present(name)
            if is_away and name not in self._away:
                self._away.add(name)
                self._happened("left" if self._seen.has_left(name) else "failed", node=name)
            elif not is_away and name in self._away and name in self._seen:
                self._away.discard(name)
                self._happened("joined", node=name)

    def _refuse(self, held: Held) -> None:
        """End at once what must not be."""
        wanted = self._services.get(held.service.name)
        node = self._nodes.get(held.node)
        if wanted is None or node is None:
            self._retire(held, "it is not wanted")
        elif held.service.version not in {wanted.service.version, wanted.before and wanted.before.version}:
            if held.service.version in wanted.condemned and self._seen.is_present(held.node):
                return  # goes when there are others
            self._retire(held, "it is of a version that is not wanted")
        elif node.description is not None:
            why = self._forbids(held.service, held.node, node.description)
            if why is not None:
                self._retire(held, WHY_NOT[why])

    def _judged(self, wanted: Wanted) -> Wanted:
        """Back to the version before if the new one does badly; for good if it does well."""
        name = wanted.service.name
        fresh = [one for one in self._held_of(name) if one.service.version == wanted.service.version]
        for one in fresh:
            report = self._seen.report(one)
            if report is None or report.failures < _FAILURES:
                self._told_failing.discard(one.id)
                continue
            if one.id not in self._told_failing:
                self._told_failing.add(one.id)
                self._happened("failing", one, detail=report.why)
            if wanted.before is not None:
                back = rolled_back(wanted, wanted.before)
                self._happened("rolled-back", service=name, version=wanted.service.version, detail=report.why)
                self._services[name] = back
                return back
            self._avoided[name, one.node] = self._now_s + self._terms.avoid_s
            if isinstance(self._match(wanted.service), Matched):
                self._retire(one, "it failed here")
        others = len(self._held_of(name)) - len(fresh)
        is_enough = len(fresh) >= wanted.replicas or (bool(fresh) and self._lacks_for_good(name))
        is_whole = wanted.before is not None and not others and is_enough
        if is_whole and all(self._seen.is_settled(one, self._terms.settle_s) for one in fresh):
            wanted = msgspec.structs.replace(wanted, before=None)
            self._services[name] = wanted
            self._happened("upgraded", service=name, version=wanted.service.version)
        return wanted

    def _settle_shared(self, wanted: Wanted) -> None:
        held = self._held_of(wanted.service.name)
        good = [one for one in held if self._is_well_placed(one, wanted)]
        rest = [one for one in held if not self._is_well_placed(one, wanted)]
        at_work = [one for one in rest if self._seen.is_present(one.node)]
        others = [one for one in at_work if one.service.version != wanted.service.version]
        settle_s = self._terms.settle_s if others else 0.0
        ready = [one for one in good if self._seen.is_settled(one, settle_s)]
        lacking = wanted.replicas - len(good)
        if others:  # one at a time
            lacking = min(lacking, 1 - (len(good) - len(ready)))
        enough = wanted.replicas
        for _ in range(lacking):
            if not self._place(wanted.service):
                if others and len(good) == len(ready):
                    self._make_room(wanted.service, others)
                elif not others:
                    self._evict(wanted.service)
                if self._lacks_for_good(wanted.service.name):
                    enough = max(1, len(good))
                break
        if lacking <= 0:
            self._unplaced.pop(wanted.service.name, None)
        places = {one.node for one in ready}
        at_work = [one for one in at_work if one.id in self._held]
        for one in rest:
            if one.id not in self._held:
                continue
            stays = len(ready) + len(at_work) - (one in at_work)
            if stays >= enough or one.node in places:
                if one in at_work:
                    at_work.remove(one)
                self._retire(one, "another took its place")
        if len(good) > wanted.replicas:
            good.sort(key=lambda one: (not self._seen.is_settled(one, settle_s), one.id))
            for one in good[wanted.replicas :]:
                self._retire(one, "there are enough")

    def _lacks_for_good(self, name: str) -> bool:
        """Whether nothing that there is to wait for would bring another instance."""
        return name in self._unplaced and LASTING.issuperset(self._unplaced[name].values())

    def _make_room(self, service: Nanoservice, others: Iterable[Held]) -> None:
        """The new version fits nowhere beside the old: one of the old goes first."""
        for one in others:
            if isinstance(self._match(service, without=frozenset({one.id})), Matched):
                self._retire(one, "it makes room for the new version")
                self._place(service)
                return

    def _evict(self, service: Nanoservice) -> None:
        """What is less important makes room, on the node where least of it has to."""
        best: list[Held] | None = None
        for node in self._nodes:
            less = [
                one
                for one in self._held.values()
                if one.node == node and one.service.priority < service.priority
            ]
            less.sort(key=lambda one: (one.service.priority, -one.id))
            for count in range(1, len(less) + 1):
                found = self._match(service, without=frozenset(one.id for one in less[:count]))
                if isinstance(found, Matched):
                    best = less[:count] if best is None or count < len(best) else best
                    break
        if best is not None:
            for one in best:
                self._retire(one, f"it makes room for {service.name}, which is more important")
            self._place(service)  # before anybody else does

    def _settle_exclusive(self, wanted: Wanted) -> None:
        held = self._held_of(wanted.service.name)
        for one in held:
            if self._is_well_placed(one, wanted):
                self._unplaced.pop(wanted.service.name, None)
            elif isinstance(self._match(wanted.service, without=frozenset({one.id})), Matched):
                self._retire(one, "it goes on elsewhere")
        if held or any(one.service.name == wanted.service.name for one in self._retired.values()):
            return
        # What a manager whose memory is lost may have let act has stopped by then.
        if not self._is_first and self._now_s < self._began_s + lease_over_s(wanted.service.lease_s):
            return
        if not self._place(wanted.service):
            self._evict(wanted.service)

    def _place(self, service: Nanoservice) -> bool:
        found = self._match(service)
        if isinstance(found, Unplaced):
            reasons = dict(found.reasons)
            if self._unplaced.get(service.name) != reasons:
                self._unplaced[service.name] = reasons
                detail = ", ".join(f"{node}: {WHY_NOT[why]}" for node, why in sorted(reasons.items()))
                self._happened(
                    "unplaced", service=service.name, version=service.version, detail=detail or "no nodes"
                )
            return False
        self._unplaced.pop(service.name, None)
        self._put(service, found.node)
        return True

    def _put(self, service: Nanoservice, node: str) -> None:
        held = Held(id=self._next_id, service=service, node=node)
        self._next_id += 1
        self._held[held.id] = held
        self._turn(node)
        self._happened("placed", held)

    def _retire(self, held: Held, why: str) -> None:
        del self._held[held.id]
        self._told_ready.discard(held.id)
        self._told_failing.discard(held.id)
        self._turn(held.node)
        if held.service.is_exclusive:
            self._retired[held.id] = Retired(
                id=held.id,
                service=held.service,
                node=held.node,
                turn=Turn(self._term, self._generation),
            )
        self._happened("retired", held, detail=why)

    def _let_go(self, id_: int) -> None:
        del self._retired[id_]
        self._lease_over_s.pop(id_, None)
        self._is_changed = True

    def _turn(self, node: str) -> None:
        """The orders of a node are others from now on."""
        self._generation += 1
        self._due.add(node)
        if node in self._nodes:
            self._nodes[node] = msgspec.structs.replace(self._nodes[node], generation=self._generation)

    # ---------------------------------------------------------------- load

    def _look_at_load(self) -> None:
        for name, wanted in list(self._services.items()):
            self._scale_with_load(name, wanted)
        if self._scaling.may_change(self._now_s):
            self._relieve()

    def _scale_with_load(self, name: str, wanted: Wanted) -> None:
        service = wanted.service
        if service.most == service.replicas or wanted.before is not None:
            return
        reports = [self._seen.report(one) for one in self._held_of(name)]
        busy = [one.busy for one in reports if one is not None]
        if len(busy) < wanted.replicas:
            return
        change = self._scaling.change_of(name, busy, self._now_s)
        replicas = min(max(wanted.replicas + change, service.replicas), service.most)
        if replicas != wanted.replicas:
            self._scaling.changed(self._now_s)
            self._services[name] = msgspec.structs.replace(wanted, replicas=replicas)
            self._happened("scaled", service=name, detail=f"{replicas}, by load")

    def _relieve(self) -> None:
        """The fullest node that can gives its least important instance away."""
        for name in self._seen.full():
            movable = [
                one
                for one in self._held.values()
                if one.node == name and not one.is_moving and not one.service.is_exclusive
            ]
            for one in sorted(movable, key=lambda held: (held.service.priority, -held.id)):
                below = self._seen.processors(name) - self._terms.gain - self._share(one)
                found = self._match(one.service, below=below)
                if isinstance(found, Matched):
                    self._held[one.id] = msgspec.structs.replace(one, is_moving=True)
                    self._scaling.changed(self._now_s)
                    self._happened("moving", one, detail=f"{name} is full")
                    self._put(one.service, found.node)
                    return

    def _share(self, held: Held) -> float:
        """The part of its node's processors that an instance uses."""
        report, node = self._seen.report(held), self._nodes.get(held.node)
        if report is None or node is None or node.description is None or not node.description.cores:
            return 0.0
        return report.busy * max(1, held.service.workers) / node.description.cores

    # ---------------------------------------------------------------- how things stand

    def _held_of(self, name: str) -> list[Held]:
        return [one for one in self._held.values() if one.service.name == name]

    def _is_well_placed(self, held: Held, wanted: Wanted) -> bool:
        return (
            held.service.version == wanted.service.version
            and not held.is_moving
            and self._seen.is_present(held.node)
            and not self._is_draining(held.node)
        )

    def _is_draining(self, name: str) -> bool:
        return self._nodes[name].is_draining or self._seen.is_leaving(name)

    @property
    def _now_s(self) -> float:
        return self._seen.now_s

    def _match(
        self, service: Nanoservice, *, without: frozenset[int] = frozenset(), below: float = math.inf
    ) -> Matched | Unplaced:
        """Where a new instance would go.

        Parameters
        ----------
        without : assignments that are as good as gone.
        below : nodes whose processors are used more are left out.
        """
        candidates = []
        on_node: dict[str, list[Held]] = {}
        for one in self._held.values():
            if one.id not in without:
                on_node.setdefault(one.node, []).append(one)
        failed = {
            node
            for (name, node), until_s in self._avoided.items()
            if name == service.name and until_s > self._now_s
        }
        for name, node in self._nodes.items():
            if node.description is None or self._seen.processors(name) > below:
                continue
            held = on_node.get(name, [])
            candidates.append(
                Candidate(
                    name=name,
                    description=node.description,
                    is_here=self._seen.is_here(name),
                    is_draining=self._is_draining(name),
                    memory_bytes=sum(one.service.memory_bytes for one in held),
                    cycles_per_s=sum(one.service.cycles_per_s for one in held),
                    runs=frozenset((one.service.name, one.service.version) for one in held),
                    has_failed=name in failed,
                )
            )
        return match(service, candidates, self._forbids)

    def _forbids(self, service: Nanoservice, node: str, has: NodeDescription) -> WhyNot | None:
        key = (service.name, service.version, node)
        if key not in self._forbidden:
            self._forbidden[key] = unfit(service, node, has, self._policy)
        return self._forbidden[key]
