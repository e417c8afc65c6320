"""Sites, what joins them, and what is asked of them: the continuum as a planner needs it.

A *site* is a place that can compute; a *link* joins two; a *radio cell* is the air between devices and one
site; a *request* is a computation that must be answered within its deadline. All numbers are in base units.
"""

import math
import re
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from einthoven.continuum.quantities import (
    Bits,
    BitsPerS,
    Bytes,
    Cycles,
    CyclesPerBit,
    CyclesPerS,
    Decibels,
    Hertz,
    JoulesPerBit,
    Seconds,
    Watts,
)
from einthoven.continuum.regions import TIERS, Tier
from einthoven.errors import InputInvalid

__all__ = ["LINK_PRESETS", "Link", "RadioCell", "RequestClass", "Site", "Tech"]

Tech = Literal["ethernet", "wifi", "5g", "urllc", "lte", "ble", "zigbee", "nb-iot"]
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_REQUESTS_MAX: Final = 100_000
_VALUE_MAX: Final = 1_000_000

LINK_PRESETS: Final[dict[Tech, dict[str, object]]] = {
    "ethernet": {"rate": "1 Gbit/s", "latency": "0.3 ms", "loss": 1e-6, "is_duplex": True},
    "wifi": {"rate": "100 Mbit/s", "latency": "3 ms", "is_duplex": False},
    "5g": {"rate": "50 Mbit/s", "latency": "8 ms", "is_duplex": True},
    "urllc": {"rate": "50 Mbit/s", "latency": "1.5 ms", "is_duplex": True},
    "lte": {"rate": "15 Mbit/s", "latency": "35 ms", "is_duplex": True},
    "ble": {"rate": "0.7 Mbit/s", "latency": "15 ms", "is_duplex": False},
    "zigbee": {"rate": "0.1 Mbit/s", "latency": "20 ms", "is_duplex": False},
    "nb-iot": {"rate": "0.05 Mbit/s", "latency": "1.5 s", "is_duplex": False},
}
"""What a link of a technology is unless it says otherwise: usual orders of magnitude, not measured here."""


class Site(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place that can compute, or only pass on."""

    name: str
    tier: Tier
    cycles_per_s: CyclesPerS = msgspec.field(name="compute", default=0.0)
    """All its processors together; 0: it computes nothing for others."""
    one_request_cycles_per_s: CyclesPerS = msgspec.field(name="one_request", default=math.inf)
    """What one request can use, as of one core."""
    memory_bytes: Bytes = msgspec.field(name="memory", default=0.0)
    disk_bytes: Bytes = msgspec.field(name="disk", default=0.0)
    busy_w: Watts = msgspec.field(name="busy_power", default=0.0)
    idle_w: Watts = msgspec.field(name="idle_power", default=0.0)
    startup_s: Seconds = msgspec.field(name="startup", default=0.0)
    """Until a request's function has begun."""
    is_stable: bool = True
    capabilities: tuple[str, ...] = ()
    """What a request may need: "o2-valve", "ecg12"."""
    region: str = ""
    """The region that it is the same as; its slots, each of `slot_compute`, are then what it computes."""
    slot_cycles_per_s: CyclesPerS = msgspec.field(name="slot_compute", default=0.0)

    def __post_init__(self) -> None:
        _check_name(self.name)
        if bool(self.region) != bool(self.slot_cycles_per_s):
            raise InputInvalid(
                "a site that is a region has both `region` and `slot_compute`, another has neither.",
                where="slot_compute",
            )
        if self.region and self.cycles_per_s:
            raise InputInvalid("a region computes what its slots do.", where="compute")
        if not self.one_request_cycles_per_s > 0:
            raise InputInvalid("one request must be able to use something.", where="one_request")
        if self.busy_w and self.idle_w > self.busy_w:
            raise InputInvalid("idle it takes more than busy.", where="idle_power")


class Link(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What joins two sites."""

    name: str
    between: tuple[str, str]
    bits_per_s: BitsPerS = msgspec.field(name="rate")
    """In each direction if `is_duplex`, else of both together."""
    latency_s: Seconds = msgspec.field(name="latency", default=0.0)
    """One way."""
    joules_per_bit: JoulesPerBit = msgspec.field(name="energy", default=0.0)
    loss: float = 0.0
    """Share of what is sent that is lost."""
    tech: Tech | None = None
    is_duplex: bool = True

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.between[0] == self.between[1]:
            raise InputInvalid("it joins a site with itself.", where="between")
        if not self.bits_per_s > 0:
            raise InputInvalid("the rate must be more than 0.", where="rate")
        if not 0 <= self.loss < 1:
            raise InputInvalid(f"the share is {self.loss:g}; it must be from 0 to below 1.", where="loss")


class RadioCell(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The air between devices and one site."""

    name: str
    site: str
    """Where what is sent arrives."""
    bandwidth_hz: Hertz = msgspec.field(name="bandwidth")
    """For what devices send."""
    down_bandwidth_hz: Hertz = msgspec.field(name="down_bandwidth", default=math.inf)
    """For what is sent to them."""
    latency_s: Seconds = msgspec.field(name="latency", default=0.001)
    """One way."""
    joules_per_bit: JoulesPerBit = msgspec.field(name="energy", default=0.0)
    """Of a device, for a bit that it sends."""
    power: Literal["density", "fixed"] = "density"
    """Whether a device's power grows with its share of the band, or is the same in any."""
    snr_db: Mapping[str, Decibels] = msgspec.field(name="snr", default_factory=dict)
    """By name: how well devices are heard, in their share of the band, or with fixed power in all of it."""

    def __post_init__(self) -> None:
        _check_name(self.name)
        for field, value in (("bandwidth", self.bandwidth_hz), ("down_bandwidth", self.down_bandwidth_hz)):
            if not value > 0:
                raise InputInvalid("the bandwidth must be more than 0.", where=field)


class RequestClass(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requests that are alike: a number of them at one time."""

    name: str
    input_bits: Bits = msgspec.field(name="input")
    deadline_s: Seconds = msgspec.field(name="deadline")
    """From the first bit that is sent to the last bit of the answer, or to the end of the work if none is
    sent back."""
    site: str = ""
    """Where it begins; or else:"""
    cell: str = ""
    """in the air of which radio cell."""
    snr: str = ""
    """How well the cell hears it: a name in the cell's `snr`, or a quantity."""
    output_bits: Bits = msgspec.field(name="output", default=0.0)
    cycles: Cycles = msgspec.field(name="work", default=0.0)
    cycles_per_bit: CyclesPerBit = msgspec.field(name="work_per_bit", default=0.0)
    """Of the input, instead of `work`."""
    count: int = 1
    value: int = 1
    """What accepting one is worth, against others."""
    needs: tuple[str, ...] = ()
    """Capabilities of the site that computes."""
    highest_tier: Tier = "core"
    """No site of a higher tier gets to see it, not even to pass it on."""

    def __post_init__(self) -> None:
        _check_name(self.name)
        if bool(self.site) == bool(self.cell):
            raise InputInvalid("it begins at a `site` or in a `cell`, one of the two.", where="site")
        if bool(self.snr) != bool(self.cell):
            raise InputInvalid("in a cell, and only there, it has an `snr`.", where="snr")
        if bool(self.cycles) == bool(self.cycles_per_bit):
            raise InputInvalid("either `work` or `work_per_bit` is wanted.", where="work")
        if not self.input_bits > 0:
            raise InputInvalid("the input must be more than 0.", where="input")
        if not self.deadline_s > 0:
            raise InputInvalid("the deadline must be more than 0.", where="deadline")
        for field, value, most in (
            ("count", self.count, _REQUESTS_MAX),
            ("value", self.value, _VALUE_MAX),
        ):
            if not 1 <= value <= most:
                raise InputInvalid(f"it is {value}; 1 to {most} can be declared.", where=field)

    @property
    def work_cycles(self) -> float:
        """Of one request."""
        return self.cycles or self.cycles_per_bit * self.input_bits

    def may_be_seen_at(self, tier: Tier) -> bool:
        """Whether a site of this tier may get it."""
        return TIERS.index(tier) <= TIERS.index(self.highest_tier)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InputInvalid(
            "the name is not one of letters a-z, digits and '-'.",
            where="name",
            remedy="Use up to 63 of them, none of them '-' at an end.",
        )
