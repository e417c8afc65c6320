"""What nodes and their site manager tell each other.

Each message may be lost, come twice, late or out of order. So none says "do this now": a node says all that
it runs, the manager all that the node is to run, and whoever hears something older than it knows forgets it.
"""

from typing import Literal

import msgspec

from einthoven.edge.nanoservices import Nanoservice
from einthoven.edge.nodes import NodeDescription, NodeLoad

__all__ = [
    "Announce",
    "Assignment",
    "FromManager",
    "FromNode",
    "Gone",
    "Hail",
    "InstanceReport",
    "InstanceState",
    "Leave",
    "Orders",
    "Report",
    "Turn",
    "Unknown",
]

InstanceState = Literal["fetching", "starting", "ready", "stopping", "waiting", "refused"]
"""waiting: for its next attempt, or for its lease. refused: it may not run here, whoever says so."""


class Turn(msgspec.Struct, frozen=True, order=True):
    """Which orders are newer: those of a later manager, and of one manager the later ones."""

    term: int = 0
    """Counts managers of a site, one after the other."""
    generation: int = 0
    """Counts changes of what is wanted."""


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """One instance of a nanoservice, to be run by one node."""

    id: int
    """Never given twice in a site; the later, the greater."""
    service: Nanoservice


class InstanceReport(msgspec.Struct, frozen=True, kw_only=True):
    """How one instance is."""

    id: int
    state: InstanceState
    failures: int = 0
    """Attempts in a row that ended badly."""
    why: str = ""
    busy: float = 0.0
    """Share of its workers' time in which it worked, lately."""
    fetch_s: float = 0.0
    """How long its program was waited for."""
    start_s: float = 0.0
    """How long it took from its start until it was ready."""


class Announce(msgspec.Struct, frozen=True, kw_only=True, tag="announce"):
    """A node is here."""

    boot: int
    """Drawn by the agent each time it starts."""
    sequence: int
    """Counts all that this agent says."""
    description: NodeDescription
    applied: Turn


class Report(msgspec.Struct, frozen=True, kw_only=True, tag="report"):
    """A node lives, and this is all that it runs."""

    boot: int
    visit: int
    """The manager's number for this agent since it announced itself."""
    sequence: int
    applied: Turn
    """Of the orders that it follows, which are on its disk."""
    instances: tuple[InstanceReport, ...] = ()
    load: NodeLoad = NodeLoad()


class Leave(msgspec.Struct, frozen=True, kw_only=True, tag="leave"):
    """A node wants to go, when what it runs runs elsewhere."""

    boot: int
    visit: int
    sequence: int


class Gone(msgspec.Struct, frozen=True, kw_only=True, tag="gone"):
    """A node has stopped everything and goes."""

    boot: int
    visit: int
    sequence: int


FromNode = Announce | Report | Leave | Gone


class Orders(msgspec.Struct, frozen=True, kw_only=True, tag="orders"):
    """All that a node is to run."""

    node: str
    boot: int
    visit: int
    echo: int
    """The newest that was heard of the node; leases count from when that was said."""
    turn: Turn
    assignments: tuple[Assignment, ...] = ()
    leases: dict[int, float] = {}
    """How long exclusive instances may act, s, by assignment."""
    may_go: bool = False
    """Nothing is left here that could run elsewhere."""


class Unknown(msgspec.Struct, frozen=True, kw_only=True, tag="unknown"):
    """The manager does not know this visit: the node must announce itself."""

    boot: int


class Hail(msgspec.Struct, frozen=True, kw_only=True, tag="hail"):
    """A manager begins; all nodes must announce themselves."""

    term: int


FromManager = Orders | Unknown | Hail
