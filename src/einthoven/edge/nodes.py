"""Nodes: machines of a site that run nanoservices, and what they say of themselves."""

from typing import Literal

import msgspec

from einthoven.continuum import Tier
from einthoven.edge.nanoservices import BackEnd

__all__ = ["NodeDescription", "NodeLoad"]


class NodeDescription(msgspec.Struct, frozen=True, kw_only=True):
    """What a node is and has; 0 where it is not known."""

    tier: Tier = "local"
    labels: tuple[str, ...] = ()
    """What the data policy may ask of it."""
    architecture: str = ""
    cores: int = 0
    cycles_per_s: float = 0.0
    """All its processors together."""
    memory_bytes: float = 0.0
    """For nanoservices."""
    disk_bytes: float = 0.0
    power: Literal["mains", "battery"] = "mains"
    is_stable: bool = True
    """Whether it is meant to stay where it is, and on."""
    capabilities: tuple[str, ...] = ()
    """Sensors and actuators: "spo2@1", "o2-valve"."""
    back_ends: tuple[BackEnd, ...] = ("process",)
    version: str = ""
    """Of its program."""


class NodeLoad(msgspec.Struct, frozen=True, kw_only=True):
    """How full a node is, as shares of 1."""

    processors: float = 0.0
    memory: float = 0.0
    battery: float | None = None
    """What is left; None: it has none."""
