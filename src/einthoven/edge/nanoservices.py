"""Nanoservices: functions as they are deployed to nodes, and what a node must have for them."""

import re
import tomllib
from typing import Final, Literal

import msgspec

from einthoven.continuum import Tier
from einthoven.continuum.quantities import Bytes, Cycles, Seconds
from einthoven.continuum.reading import read_table
from einthoven.errors import InputInvalid
from einthoven.trust.consent import Purpose

__all__ = ["BackEnd", "Nanoservice", "check_name", "read_nanoservice"]

BackEnd = Literal["process", "container", "wasm"]
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_CAPABILITY: Final = re.compile(r"[a-z0-9][a-z0-9_.@-]{0,63}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_REGION: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_REPLICAS_MAX: Final = 1000
_REMEDY: Final = "See docs/reference/nodes.md."


class Nanoservice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One version of what is deployed: a member of a region, and what it takes."""

    name: str
    version: str
    region: str
    """Whose calls its instances take."""
    functions: tuple[str, ...] = ("analyses", "analysis")
    """What it has of what the node's host of functions has; by these names the data policy knows it."""
    program: str = ""
    """SHA-256 of the Python archive that is run; empty: the host of functions that the node has."""
    back_end: BackEnd = "process"
    workers: int = 1
    needs: tuple[str, ...] = ()
    """Capabilities of the node: "spo2@1", "o2-valve"."""
    architectures: tuple[str, ...] = ()
    """Of the node's processor; empty: any."""
    memory_bytes: Bytes = msgspec.field(name="memory", default=0.0)
    work_cycles: Cycles = msgspec.field(name="work", default=0.0)
    """Of one invocation."""
    deadline_s: Seconds = msgspec.field(name="deadline", default=0.0)
    """Of one invocation; 0: none, and it asks for no share of the processors."""
    purpose: Purpose = "treatment"
    highest_tier: Tier = "core"
    """No node of a higher tier runs it."""
    needs_mains: bool = False
    needs_stable: bool = False
    is_exclusive: bool = False
    """Of all its instances one at a time may act; it acts under a lease."""
    lease_s: Seconds = msgspec.field(name="lease", default=10.0)
    """So long an exclusive one may act without news from the site manager."""
    priority: int = 0
    """The higher is placed first."""
    replicas: int = 1
    replicas_max: int = 0
    """Under load there may be so many; 0: as many as `replicas`."""
    start_limit_s: Seconds = msgspec.field(name="start_limit", default=30.0)
    """An instance that is not ready by then has failed."""

    def __post_init__(self) -> None:
        check_name(self.name)
        _check(bool(_VERSION.fullmatch(self.version)), "version", "it is a word of letters, digits and ._+-")
        _check(bool(_REGION.fullmatch(self.region)), "region", "it is a word of letters, digits, - and _")
        _check(not self.program or bool(_DIGEST.fullmatch(self.program)), "program", "it is a SHA-256 in hex")
        _check(all(map(_CAPABILITY.fullmatch, self.needs)), "needs", "a capability is a word such as spo2@1")
        _check(bool(self.functions), "functions", "at least one is named")
        _check(0 <= self.workers <= 256, "workers", "there are 0 to 256")
        _check(1 <= self.replicas <= _REPLICAS_MAX, "replicas", f"there are 1 to {_REPLICAS_MAX}")
        _check(
            self.replicas_max == 0 or self.replicas <= self.replicas_max <= _REPLICAS_MAX,
            "replicas_max",
            f"it is at least `replicas`, and {_REPLICAS_MAX} at most",
        )
        _check(not self.is_exclusive or self.most == 1, "replicas", "an exclusive one has one")
        _check(1 <= self.lease_s <= 600, "lease", "it is from 1 s to 10 min")
        _check(0 < self.start_limit_s <= 3600, "start_limit", "it is above 0 and up to an hour")
        _check(not self.work_cycles or self.deadline_s > 0, "deadline", "work is wanted by a deadline")

    @property
    def most(self) -> int:
        """Instances that there may be under load."""
        return self.replicas_max or self.replicas

    @property
    def cycles_per_s(self) -> float:
        """The part of a node's processors that it needs to be in time: the demand of offloading's model."""
        return self.work_cycles / self.deadline_s if self.work_cycles else 0.0


def check_name(name: str) -> str:
    """The name of a nanoservice, a node or a site.

    Raises
    ------
    InputInvalid : nothing may be called so.
    """
    _check(
        bool(_NAME.fullmatch(name)), "name", "it is up to 63 letters a-z, digits and '-', no '-' at an end"
    )
    return name


def read_nanoservice(text: str, place: str = "nanoservice.toml") -> Nanoservice:
    """The nanoservice that a TOML document describes.

    Raises
    ------
    InputInvalid : it describes none, or says something else too; the message names all flaws.
    """
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputInvalid(f"this is not TOML: {error}.", where=place, remedy=_REMEDY) from None
    name = table.pop("name", None)
    if not isinstance(name, str):
        raise InputInvalid("it has no `name`.", where=place, remedy=_REMEDY)
    found = read_table(Nanoservice, name, table, place)
    if isinstance(found, list):
        raise InputInvalid(f"{'; '.join(found)}.", where=place, remedy=_REMEDY)
    return found


def _check(is_right: bool, where: str, rule: str) -> None:
    if not is_right:
        raise InputInvalid(f"{rule}.", where=where, remedy=_REMEDY)
