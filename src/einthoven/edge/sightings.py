"""What a site manager knows of nodes because it heard of them lately. Nothing of it is kept.

A *visit* is the time since an agent announced itself to this manager. What is said in another visit, or is
older than what was heard, does not count.
"""

import math
from typing import Final

import msgspec

from einthoven.edge.messages import Announce, FromNode, Gone, InstanceReport, Leave, Report, Turn
from einthoven.edge.nodes import NodeLoad
from einthoven.edge.site_events import NodeStanding, SiteTerms
from einthoven.edge.site_state import Enrolled, Held

__all__ = ["Sighting", "Sightings"]

_VISITS: Final = 2**20
"""Of one term, at most; so that those of another have other numbers."""


class Sighting(msgspec.Struct):
    """One node, since it announced itself."""

    boot: int
    visit: int
    heard_s: float
    sequence: int = 0
    applied: Turn | None = None
    instances: dict[int, InstanceReport] = {}
    ready_since_s: dict[int, float] = {}
    load: NodeLoad = NodeLoad()
    is_leaving: bool = False
    full_since_s: float | None = None

    def take(self, message: FromNode, now_s: float, full: float) -> bool:
        """What it says now; whether that is more than that it lives and how busy it is."""
        self.sequence, self.heard_s = message.sequence, now_s
        match message:
            case Report():
                return self._take_report(message, now_s, full)
            case Announce():
                self.is_leaving = False
            case Leave():
                is_news, self.is_leaving = not self.is_leaving, True
                return is_news
            case Gone():
                self.heard_s, self.instances = -math.inf, {}
        return True

    def _take_report(self, report: Report, now_s: float, full: float) -> bool:
        before = {id_: (one.state, one.failures) for id_, one in self.instances.items()}
        is_news = self.applied != report.applied
        self.applied, self.load = report.applied, report.load
        self.instances = {one.id: one for one in report.instances}
        ready = (one.id for one in report.instances if one.state == "ready")
        self.ready_since_s = {id_: self.ready_since_s.get(id_, now_s) for id_ in ready}
        if report.load.processors <= full:
            self.full_since_s = None
        elif self.full_since_s is None:
            self.full_since_s = now_s
        return is_news or before != {one.id: (one.state, one.failures) for one in report.instances}


class Sightings:
    """All nodes.

    Parameters
    ----------
    began_s : whoever was not heard of since then was not heard of.
    """

    def __init__(self, terms: SiteTerms, began_s: float) -> None:
        self._terms = terms
        self._began_s = began_s
        self._seen: dict[str, Sighting] = {}
        self._visits = 0
        self.now_s = began_s

    def __contains__(self, node: str) -> bool:
        return node in self._seen

    def __getitem__(self, node: str) -> Sighting:
        return self._seen[node]

    def visiting(self, node: str, message: FromNode, term: int) -> Sighting | None:
        """The visit in which something is said; None: the node must announce itself first."""
        seen = self._seen.get(node)
        if isinstance(message, Announce):
            if seen is None or seen.boot != message.boot:
                self._visits += 1
                visit = term * _VISITS + self._visits
                seen = self._seen[node] = Sighting(boot=message.boot, visit=visit, heard_s=self.now_s)
            return seen
        return seen if seen is not None and (seen.boot, seen.visit) == (message.boot, message.visit) else None

    def forget(self, node: str) -> None:
        """It does not belong here any more."""
        self._seen.pop(node, None)

    def is_present(self, node: str) -> bool:
        """Whether a node is not taken to have failed."""
        heard_s = self._seen[node].heard_s if node in self._seen else self._began_s
        return self.now_s - heard_s < self._terms.failed_s

    def is_here(self, node: str) -> bool:
        """Whether it can be given something new."""
        return node in self._seen and self.now_s - self._seen[node].heard_s < self._terms.suspect_s

    def is_leaving(self, node: str) -> bool:
        """Whether it said that it wants to go."""
        return node in self._seen and self._seen[node].is_leaving

    def has_left(self, node: str) -> bool:
        """Whether it said that it goes."""
        return node in self._seen and self._seen[node].heard_s == -math.inf

    def report(self, held: Held) -> InstanceReport | None:
        """How an instance is, if its node said so."""
        seen = self._seen.get(held.node)
        return None if seen is None else seen.instances.get(held.id)

    def is_settled(self, held: Held, for_s: float) -> bool:
        """Whether an instance has been ready for so long."""
        seen = self._seen.get(held.node)
        since_s = None if seen is None else seen.ready_since_s.get(held.id)
        return since_s is not None and self.now_s - since_s >= for_s

    def processors(self, node: str) -> float:
        """The share of its processors that a node uses."""
        return self._seen[node].load.processors if node in self._seen else 0.0

    def full(self) -> list[str]:
        """Nodes that have been too full for a while, the fullest first."""
        terms = self._terms
        found = [
            (seen.load.processors, node)
            for node, seen in self._seen.items()
            if seen.full_since_s is not None
            and self.now_s - seen.full_since_s >= terms.sustained_s
            and self.is_here(node)
        ]
        return [node for _, node in sorted(found, reverse=True)]

    def standing(self, node: Enrolled, at_s: float) -> NodeStanding:
        """How a node is, for whoever looks."""
        seen = self._seen.get(node.name)
        if seen is None:
            state = "new" if node.description is None else "away"
            return NodeStanding(name=node.name, state=state, heard_s=None, instances=(), load=NodeLoad())
        silent_s = at_s - seen.heard_s
        if silent_s >= self._terms.failed_s:
            state = "away"
        elif seen.is_leaving:
            state = "leaving"
        elif node.is_draining:
            state = "draining"
        else:
            state = "suspect" if silent_s >= self._terms.suspect_s else "here"
        return NodeStanding(
            name=node.name,
            state=state,
            heard_s=silent_s,
            instances=tuple(seen.instances.values()),
            load=seen.load,
        )
