"""What a site manager must not forget: what is wanted, who belongs to the site, who was told to run what."""

from typing import Literal

import msgspec

from einthoven.continuum import Tier
from einthoven.edge.messages import Turn
from einthoven.edge.nanoservices import Nanoservice
from einthoven.edge.nodes import NodeDescription

__all__ = ["Enrolled", "Happening", "HappeningKind", "Held", "Retired", "SiteState", "Wanted"]

HappeningKind = Literal[
    "enrolled", "forgotten", "joined", "left", "failed", "draining", "resumed",
    "deployed", "removed", "scaled", "placed", "unplaced", "retired", "ready", "failing", "upgraded",
    "rolled-back", "moving",
]  # fmt: skip


class Enrolled(msgspec.Struct, frozen=True, kw_only=True):
    """A node that belongs to the site."""

    name: str
    public: bytes
    """Its key, Ed25519."""
    tier: Tier = "local"
    labels: tuple[str, ...] = ()
    """What the data policy asks for is what whoever enrolled it said, not what it says itself."""
    description: NodeDescription | None = None
    """As it last said; None: it was never here."""
    is_draining: bool = False
    generation: int = 0
    """When its orders last changed."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A nanoservice that is to run."""

    service: Nanoservice
    replicas: int
    before: Nanoservice | None = None
    """The version that is replaced, until all instances of the new one do well."""
    condemned: tuple[str, ...] = ()
    """Versions that did not do well."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """An assignment that stands in the orders of a node."""

    id: int
    service: Nanoservice
    node: str
    is_moving: bool = False
    """Another takes its place."""


class Retired(msgspec.Struct, frozen=True, kw_only=True):
    """An exclusive one that no longer does, until it surely has stopped."""

    id: int
    service: Nanoservice
    node: str
    turn: Turn
    """Orders without it."""


class SiteState(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    site: str
    term: int = 0
    generation: int = 0
    next_id: int = 1
    nodes: tuple[Enrolled, ...] = ()
    forgotten: tuple[Enrolled, ...] = ()
    """Do not belong here any more, and have not said yet that they run nothing."""
    services: tuple[Wanted, ...] = ()
    held: tuple[Held, ...] = ()
    retired: tuple[Retired, ...] = ()


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was decided or seen, for the record."""

    kind: HappeningKind
    node: str = ""
    service: str = ""
    version: str = ""
    id: int = 0
    detail: str = ""
