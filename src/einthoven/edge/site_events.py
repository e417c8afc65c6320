"""What a site manager is told, and what it has done: events and commands; and how patient it is."""

import msgspec

from einthoven.continuum import Tier
from einthoven.edge.messages import FromNode, Hail, InstanceReport, Orders, Unknown
from einthoven.edge.nanoservices import Nanoservice
from einthoven.edge.nodes import NodeLoad
from einthoven.edge.site_state import Happening, SiteState
from einthoven.trust.policy import Policy

__all__ = [
    "Deploy",
    "Drain",
    "Enrol",
    "Forget",
    "Govern",
    "Heard",
    "Keep",
    "ManagerCommand",
    "ManagerEvent",
    "NodeStanding",
    "Remove",
    "Scale",
    "SiteTerms",
    "Tell",
    "TellAll",
    "Ticked",
]


class SiteTerms(msgspec.Struct, frozen=True, kw_only=True):
    """How patient a site manager is."""

    suspect_s: float = 3.0
    """A node that was silent for so long is given nothing new."""
    failed_s: float = 5.0
    """One that was silent for so long is replaced."""
    settle_s: float = 2.0
    """So long a new version must be ready before an instance of the old one goes."""
    avoid_s: float = 60.0
    """So long a node is not given again what failed there."""
    cooldown_s: float = 30.0
    """Between two answers to load."""
    sustained_s: float = 10.0
    """Load that lasts so long is answered."""
    busy: float = 0.8
    """Above it there are too few instances."""
    idle: float = 0.5
    """Below it, with one instance less, there are too many."""
    full: float = 0.9
    """A node whose processors are used more than this gives something away,"""
    gain: float = 0.1
    """to one that is then so much less full."""


# ---------------------------------------------------------------- events


class Heard(msgspec.Struct, frozen=True):
    """A node said something; that it was this node has been checked."""

    node: str
    message: FromNode


class Enrol(msgspec.Struct, frozen=True):
    """A node belongs to the site from now on, under this key."""

    node: str
    public: bytes
    tier: Tier = "local"
    labels: tuple[str, ...] = ()


class Forget(msgspec.Struct, frozen=True):
    """It does not any more."""

    node: str


class Drain(msgspec.Struct, frozen=True):
    """A node is given nothing new and what it has goes elsewhere; or it is taken back."""

    node: str
    is_draining: bool = True


class Deploy(msgspec.Struct, frozen=True):
    """A nanoservice is to run, in this version."""

    service: Nanoservice


class Scale(msgspec.Struct, frozen=True):
    """It is to run so often."""

    service: str
    replicas: int


class Remove(msgspec.Struct, frozen=True):
    """It is not to run any more."""

    service: str


class Govern(msgspec.Struct, frozen=True):
    """Another policy is in force."""

    policy: Policy


class Ticked(msgspec.Struct, frozen=True):
    """Time passed."""


ManagerEvent = Heard | Enrol | Forget | Drain | Deploy | Scale | Remove | Govern | Ticked


# ---------------------------------------------------------------- commands


class Keep(msgspec.Struct, frozen=True):
    """To be on disk before anything that follows is done."""

    state: SiteState
    happenings: tuple[Happening, ...]


class Tell(msgspec.Struct, frozen=True):
    """To be said to one node."""

    node: str
    message: Orders | Unknown


class TellAll(msgspec.Struct, frozen=True):
    """To be said to all nodes."""

    message: Hail


ManagerCommand = Keep | Tell | TellAll


class NodeStanding(msgspec.Struct, frozen=True, kw_only=True):
    """A node, for whoever looks."""

    name: str
    state: str
    """new, here, suspect, away, draining, leaving."""
    heard_s: float | None
    """How long ago."""
    instances: tuple[InstanceReport, ...]
    load: NodeLoad
