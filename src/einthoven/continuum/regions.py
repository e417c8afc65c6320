"""Regions: places that accept invocations, under a limit and for a price."""

import math
import re
from typing import Final, Literal, NamedTuple, get_args

import msgspec

from einthoven.errors import InputInvalid

__all__ = ["FUNCTION", "KINDS", "TIERS", "Price", "Region", "RegionKind", "Spot", "Tier"]

Tier = Literal["local", "edge", "core"]
RegionKind = Literal["inline", "pool", "http", "nats", "ray"]
TIERS: Final[tuple[Tier, ...]] = get_args(Tier)
KINDS: Final[tuple[RegionKind, ...]] = get_args(RegionKind)
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
_SLOTS_MAX: Final = 1_000_000
FUNCTION: Final = "{function}"
"""In an address: the name of the function that is called."""
_ADDRESSES: Final[dict[RegionKind, tuple[str, ...]]] = {
    "http": ("http://", "https://"),
    "nats": ("nats://", "tls://"),
    "ray": ("", "ray://", "auto"),
}


class Spot(NamedTuple):
    """What of a region decides which data may go there; another one where any of it was changed."""

    name: str
    tier: Tier
    labels: tuple[str, ...]


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a region asks, in the continuum's currency."""

    per_invocation: float = 0.0
    per_gb_s: float = 0.0
    """For a gigabyte of memory held for a second."""
    per_egress_gb: float = 0.0
    """For a gigabyte that leaves its place."""
    billing_step_s: float = 0.001
    """Times are rounded up to a multiple of it."""

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            value = getattr(self, field)
            if not (math.isfinite(value) and value >= 0):
                raise InputInvalid(f"the price is {value:g}; it must be 0 or more.", where=field)

    @property
    def is_nothing(self) -> bool:
        """Whether everything is free of charge."""
        return not (self.per_invocation or self.per_gb_s or self.per_egress_gb)

    def of_call(self, busy_s: float, memory_mb: int, egress_bytes: int) -> float:
        """What one invocation costs.

        Parameters
        ----------
        busy_s : how long it runs; memory_mb : what it holds meanwhile.
        egress_bytes : what leaves the region's place because of it.
        """
        step_s = self.billing_step_s
        billed_s = math.ceil(round(busy_s / step_s, 9)) * step_s if step_s else busy_s
        return (
            self.per_invocation
            + self.per_gb_s * billed_s * memory_mb / 1024
            + self.per_egress_gb * egress_bytes / 1e9
        )


class Region(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A site that accepts invocations under a concurrency limit."""

    name: str
    kind: RegionKind
    address: str = ""
    """URL of an http or nats region, address of a Ray cluster. Where each function of an http region has
    a URL of its own, `FUNCTION` stands for the name."""
    is_one_function: bool = False
    """The address itself is the one function of an http region."""
    resource: str = ""
    """Of a Ray cluster those nodes are the region that were started with this resource; empty: all."""
    tier: Tier = "core"
    place: str = ""
    """Where it is; what stays in one place costs no egress."""
    labels: tuple[str, ...] = ()
    """What may be asked of it: "eu", "gdpr", "gpu"."""
    slots: int = 1
    """Invocations that it may be given at one time."""
    functions: tuple[str, ...] = ()
    """Those that it is given; empty: all that it says it has."""
    rtt_s: float = 0.0
    """Expected time there and back, until one is measured."""
    bandwidth_mb_s: float = math.inf
    """Of data that must be brought there, MB/s."""
    warm: int = 0
    """Instances that are kept warm, by calls that ask for nothing."""
    idle_s: float = 600.0
    """After so long without a call an instance is gone."""
    cold_s: float = 2.0
    """How long one takes to start."""
    longest_s: float = math.inf
    """It gives no invocation more time."""
    price: Price = Price()
    token_file: str = ""
    """File with the bearer token or the credentials; never the secret itself."""
    ca_file: str = ""
    """File of certificates that an http or nats region's own is checked with; empty: this machine's."""
    is_draining: bool = False
    """It finishes what it has, and is given nothing new."""

    @property
    def spot(self) -> Spot:
        """What decides which data may go there."""
        return Spot(self.name, self.tier, self.labels)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputInvalid(
                "the name is not one of letters a-z, digits and '-'.",
                where="name",
                remedy="Use up to 63 of them, none of them '-' at an end.",
            )
        if not 1 <= self.slots <= _SLOTS_MAX:
            raise InputInvalid(
                f"there are {self.slots} slots; 1 to {_SLOTS_MAX} can be declared.",
                where="slots",
                remedy="Give how many invocations the region takes at one time.",
            )
        for label in self.labels:
            if not _LABEL.fullmatch(label):
                raise InputInvalid("a label is not one of a-z, 0-9, '.', '_' and '-'.", where="labels")
        if not (math.isfinite(self.rtt_s) and self.rtt_s >= 0):
            raise InputInvalid(f"the time is {self.rtt_s:g} s; it must be 0 or more.", where="rtt_s")
        if not 0 <= self.warm <= self.slots:
            raise InputInvalid(
                f"{self.warm} instances are to be kept warm; 0 to {self.slots} can be, as there are slots.",
                where="warm",
            )
        if not (math.isfinite(self.idle_s) and self.idle_s > 0):
            raise InputInvalid(f"the time is {self.idle_s:g} s; it must be more than 0.", where="idle_s")
        if not (math.isfinite(self.cold_s) and self.cold_s >= 0):
            raise InputInvalid(f"the time is {self.cold_s:g} s; it must be 0 or more.", where="cold_s")
        if not self.longest_s > 0:
            raise InputInvalid(
                f"the time is {self.longest_s:g} s; it must be more than 0.", where="longest_s"
            )
        if not self.bandwidth_mb_s > 0:
            raise InputInvalid(
                f"the bandwidth is {self.bandwidth_mb_s:g} MB/s; it must be more than 0.",
                where="bandwidth_mb_s",
            )
        starts = _ADDRESSES.get(self.kind)
        if starts is None and self.address:
            raise InputInvalid(f"a region of kind {self.kind!r} has no address.", where="address")
        if starts is not None and not self.address.startswith(starts):
            raise InputInvalid(
                "the address is not one of this kind of region.",
                where="address",
                remedy=f"Begin it with {' or '.join(repr(one) for one in starts if one)}.",
            )
        if self.resource and self.kind != "ray":
            raise InputInvalid(
                f"a region of kind {self.kind!r} has no nodes with resources.", where="resource"
            )
        if self.ca_file and self.kind not in ("http", "nats"):
            raise InputInvalid(f"a region of kind {self.kind!r} has no certificates.", where="ca_file")
        self._check_functions()
        if "@" in self.address:
            raise InputInvalid(
                "the address holds a user or a password.",
                where="address",
                remedy="Put the secret into a file and name that in token_file.",
            )

    def _check_functions(self) -> None:
        """Nothing lists the functions where each has a URL of its own."""
        if self.is_one_function and (self.kind != "http" or len(self.functions) != 1):
            raise InputInvalid(
                "an address that is one function is that of an http region with one function.",
                where="is_one_function",
                remedy='Declare functions = ["NAME"].',
            )
        count = self.address.count(FUNCTION)
        if count and (self.kind != "http" or count > 1 or self.is_one_function or not self.functions):
            raise InputInvalid(
                f"{FUNCTION} stands once in the address of an http region whose functions are declared.",
                where="address",
                remedy="Declare functions, for nothing lists them there.",
            )
