"""What a continuum costs and how it fails: prices, devices, tariffs, loads, staff, failures; all optional.

Amounts are in the continuum's currency. Whatever is not declared is in no sum, and the sheet says so.
"""

import math
from collections.abc import Collection, Mapping, Sequence

import msgspec

from einthoven.continuum.quantities import Seconds, Watts
from einthoven.errors import InputInvalid

__all__ = ["Device", "FailureRate", "Load", "Prices", "StaffStep", "Tariff", "dangling_costs"]


def _check(value: msgspec.Struct, *more_than_nothing: str) -> None:
    for field in value.__struct_fields__:
        amount = getattr(value, field)
        if isinstance(amount, bool | str) or amount is None:
            continue
        if not (math.isfinite(amount) and amount >= 0):
            raise InputInvalid(f"the amount is {amount:g}; it must be 0 or more.", where=field)
        if field in more_than_nothing and not amount:
            raise InputInvalid("it must be more than 0.", where=field)


class Prices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is paid everywhere: the one table [prices]."""

    name: str = "prices"
    per_kwh: float = 0.0
    per_staff_hour: float = 0.0
    kg_co2_per_kwh: float = 0.0

    def __post_init__(self) -> None:
        _check(self)


class Device(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Things that are bought: sensors, gateways, servers."""

    name: str
    site: str
    """Where they are."""
    count: int = 1
    price: float = 0.0
    """Of one."""
    life_years: float = 5.0
    upkeep_per_year: float = 0.0
    """Of one: licence, card, calibration, maintenance."""
    power_w: Watts = msgspec.field(name="power", default=0.0)
    """Of one, beside that of the site."""

    def __post_init__(self) -> None:
        _check(self, "count", "life_years")


class Tariff(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a link or a radio cell is paid for; it is called like it."""

    name: str
    per_year: float = 0.0
    per_gb: float = 0.0
    """For what is sent: over a link both ways, in a cell by devices."""

    def __post_init__(self) -> None:
        _check(self)


class Load(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often the requests of a class come; it is called like the class."""

    name: str
    period_s: Seconds = msgspec.field(name="every")
    """Between two of one of them."""
    memory_mb: int = 512
    """That is held meanwhile, for the price of a region."""

    def __post_init__(self) -> None:
        _check(self, "period_s", "memory_mb")


class StaffStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that people do, again and again."""

    name: str
    minutes: float
    times_per_year: float = 0.0
    times_at_start: float = 0.0
    """Once, when all begins: training, moving over."""
    people: int = 1
    per_hour: float | None = None
    """Instead of `per_staff_hour` of the prices."""
    what: str = ""

    def __post_init__(self) -> None:
        _check(self, "minutes", "people")


class FailureRate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often a site, a link or a radio cell fails; it is called like it."""

    name: str
    times_per_year: float
    repair_s: Seconds = msgspec.field(name="repair")
    """How long it is then gone."""
    staff_minutes: float = 0.0
    """Of work, each time."""

    def __post_init__(self) -> None:
        _check(self)


def dangling_costs(
    devices: Sequence[Device],
    tariffs: Sequence[Tariff],
    loads: Sequence[Load],
    failures: Sequence[FailureRate],
    written: Mapping[str, Collection[str]],
) -> list[str]:
    """References of these tables that lead nowhere, each with its place.

    Parameters
    ----------
    written : the names of all tables of a kind; those that could not be read are not told twice.
    """
    asked: list[tuple[str, str, tuple[str, ...]]] = []
    asked += [(f"devices.{one.name}.site", one.site, ("sites",)) for one in devices]
    asked += [(f"tariffs.{one.name}", one.name, ("links", "cells")) for one in tariffs]
    asked += [(f"loads.{one.name}", one.name, ("requests",)) for one in loads]
    asked += [(f"failures.{one.name}", one.name, ("sites", "links", "cells")) for one in failures]
    flaws = []
    for place, name, kinds in asked:
        known = [one for kind in kinds for one in written[kind]]
        if name not in known:
            words = " or ".join(kind[:-1] for kind in kinds)
            flaws.append(f"{place}: there is no {words} {name!r}; there are {', '.join(known) or 'none'}")
    return flaws
