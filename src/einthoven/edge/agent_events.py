"""What an agent is told, and what it has done: events and commands."""

from collections.abc import Mapping

import msgspec

from einthoven.edge.messages import Assignment, FromManager, FromNode, Orders
from einthoven.edge.nodes import NodeDescription, NodeLoad

__all__ = [
    "AgentCommand",
    "AgentEvent",
    "AgentTerms",
    "Alive",
    "Connected",
    "Described",
    "End",
    "Ended",
    "Fetch",
    "FetchFailed",
    "Fetched",
    "Hold",
    "KeepOrders",
    "Kill",
    "Leaving",
    "Lost",
    "Measured",
    "Ready",
    "Say",
    "Start",
    "Stop",
    "TimePassed",
    "Told",
]


class AgentTerms(msgspec.Struct, frozen=True, kw_only=True):
    """How patient an agent is."""

    report_s: float = 1.0
    announce_s: float = 1.0
    """Between two attempts to be known."""
    back_off_s: float = 0.2
    """Before an instance that ended is started again; doubles each time,"""
    back_off_most_s: float = 30.0
    """up to this."""
    well_s: float = 10.0
    """An instance that was ready for so long does well."""
    silence_s: float = 10.0
    """One that gives signs of life, and then none for so long, hangs."""
    leave_s: float = 10.0
    """So long a node that wants to go waits for others to take over."""


# ---------------------------------------------------------------- events


class Connected(msgspec.Struct, frozen=True):
    """The manager may be heard from now on."""


class Told(msgspec.Struct, frozen=True):
    """The site manager said something; that it was the manager has been checked."""

    message: FromManager


class Fetched(msgspec.Struct, frozen=True):
    """A program is here, and is what its digest says."""

    program: str


class Lost(msgspec.Struct, frozen=True):
    """A program is not here any more, or not what its digest says."""

    program: str


class FetchFailed(msgspec.Struct, frozen=True):
    """It could not be brought."""

    program: str
    why: str


class Ready(msgspec.Struct, frozen=True):
    """An instance takes calls."""

    id: int


class Alive(msgspec.Struct, frozen=True):
    """An instance gave a sign of life, as those do that are ready."""

    id: int


class Ended(msgspec.Struct, frozen=True):
    """The process of an instance is gone."""

    id: int
    why: str


class Measured(msgspec.Struct, frozen=True):
    """How full the node is, and how busy its instances."""

    load: NodeLoad
    busy: Mapping[int, float]


class Described(msgspec.Struct, frozen=True):
    """The node is another: a sensor came or went."""

    description: NodeDescription


class Leaving(msgspec.Struct, frozen=True):
    """The node is to go."""


class TimePassed(msgspec.Struct, frozen=True):
    """Time passed."""


AgentEvent = (
    Connected
    | Told
    | Fetched
    | FetchFailed
    | Ready
    | Alive
    | Ended
    | Measured
    | Described
    | Leaving
    | Lost
    | TimePassed
)

# ---------------------------------------------------------------- commands


class Say(msgspec.Struct, frozen=True):
    """To the site manager; it may be lost."""

    message: FromNode


class KeepOrders(msgspec.Struct, frozen=True):
    """To be on disk before anything that follows is done."""

    orders: Orders


class Fetch(msgspec.Struct, frozen=True):
    """Bring a program here."""

    program: str


class Start(msgspec.Struct, frozen=True):
    """Start the process of an instance."""

    assignment: Assignment


class Hold(msgspec.Struct, frozen=True):
    """An exclusive instance may act until then, by the agent's clock; whatever becomes of the agent."""

    id: int
    until_s: float


class Stop(msgspec.Struct, frozen=True):
    """Let an instance finish what it does, and end it."""

    id: int


class Kill(msgspec.Struct, frozen=True):
    """End an instance at once."""

    id: int


class End(msgspec.Struct, frozen=True):
    """Nothing runs any more: the agent is done."""


AgentCommand = Say | KeepOrders | Fetch | Start | Hold | Stop | Kill | End
