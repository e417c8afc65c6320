"""`continuum.toml`: what exists, written down once for whoever plans, simulates or runs.

::

    currency = "EUR"

    [regions.frankfurt]
    kind = "http"
    address = "https://ecg-frankfurt.example.org"
    tier = "core"
    place = "eu-central"
    labels = ["eu"]
    slots = 1000
    rtt_s = 0.012
    price = { per_invocation = 4e-7, per_gb_s = 2.5e-6, per_egress_gb = 0.12, billing_step_s = 0.1 }

    [sites.ward]
    tier = "local"
    compute = "6 Gcycle/s"

    [sites.clinic]
    tier = "edge"
    compute = "20 Gcycle/s"

    [[links]]
    between = ["ward", "clinic"]
    tech = "ethernet"

    [requests.alarm]
    site = "ward"
    input = "40 kbit"
    work_per_bit = "300 cycle/bit"
    deadline = "300 ms"
"""

import re
import tomllib
from itertools import count, pairwise
from typing import Any, Final, TypeVar

import msgspec

from einthoven.continuum.costs import (
    Device,
    FailureRate,
    Load,
    Prices,
    StaffStep,
    Tariff,
    dangling_costs,
)
from einthoven.continuum.reading import read_table
from einthoven.continuum.references import dangling
from einthoven.continuum.regions import Price, Region
from einthoven.continuum.sites import LINK_PRESETS, Link, RadioCell, RequestClass, Site
from einthoven.errors import Conflict, InputInvalid

__all__ = ["Continuum", "drain_region", "read_continuum", "remove_region", "write_region"]

_MAX_BYTES: Final = 2**20
_REMEDY: Final = "See docs/reference/continuum.md."


S = TypeVar(
    "S", Region, Site, Link, RadioCell, RequestClass, Device, Tariff, Load, StaffStep, FailureRate, Prices
)


class Continuum(msgspec.Struct, frozen=True, kw_only=True):
    """All that is declared."""

    currency: str = "EUR"
    regions: tuple[Region, ...] = ()
    sites: tuple[Site, ...] = ()
    links: tuple[Link, ...] = ()
    cells: tuple[RadioCell, ...] = ()
    requests: tuple[RequestClass, ...] = ()
    prices: Prices = Prices()
    devices: tuple[Device, ...] = ()
    tariffs: tuple[Tariff, ...] = ()
    loads: tuple[Load, ...] = ()
    staff: tuple[StaffStep, ...] = ()
    failures: tuple[FailureRate, ...] = ()

    def region(self, name: str) -> Region:
        """The one of this name; raises InputInvalid."""
        return _named(self.regions, name, "region")

    def site(self, name: str) -> Site:
        """The one of this name; raises InputInvalid."""
        return _named(self.sites, name, "site")

    def link(self, name: str) -> Link:
        """The one of this name; raises InputInvalid."""
        return _named(self.links, name, "link")

    def cell(self, name: str) -> RadioCell:
        """The one of this name; raises InputInvalid."""
        return _named(self.cells, name, "cell")

    def request(self, name: str) -> RequestClass:
        """The class of this name; raises InputInvalid."""
        return _named(self.requests, name, "request")

    def cycles_per_s(self, site: Site) -> float:
        """What a site computes, or the slots of the region that it is; nothing while that is draining."""
        if not site.region:
            return site.cycles_per_s
        region = self.region(site.region)
        return 0.0 if region.is_draining else region.slots * site.slot_cycles_per_s


def _named(several: tuple[S, ...], name: str, kind: str) -> S:
    for one in several:
        if one.name == name:
            return one
    known = ", ".join(one.name for one in several) or "none"
    raise InputInvalid(
        f"there is no {kind} {name!r}.", where=f"{kind}s", remedy=f"Those that are declared: {known}."
    )


_COSTS: Final = ("devices", "tariffs", "loads", "staff", "failures")
_TABLES: Final = ("regions", "sites", "cells", "requests", *_COSTS)


def read_continuum(text: str, name: str = "continuum.toml") -> Continuum:
    """What a file declares.

    Parameters
    ----------
    name : of the file, for messages.

    Raises
    ------
    InputInvalid : all that is wrong, each with its place.
    """
    if len(text) > _MAX_BYTES:
        raise InputInvalid(f"the file has more than {_MAX_BYTES} characters.", where=name, remedy=_REMEDY)
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputInvalid(f"this is not TOML: {error}.", where=name, remedy=_REMEDY) from None
    flaws: list[str] = []
    unknown = sorted(document.keys() - {"currency", "links", "prices", *_TABLES})
    flaws += [f"{key}: nobody knows this key" for key in unknown]
    currency = document.get("currency", "EUR")
    if not (isinstance(currency, str) and re.fullmatch("[A-Z]{3}", currency)):
        flaws.append("currency: three capital letters are wanted, like EUR")
        currency = "EUR"
    made = Continuum(
        currency=currency,
        regions=_read(Region, "regions", document, flaws),
        sites=_read(Site, "sites", document, flaws),
        links=_read(Link, "links", _with_names(document), flaws),
        cells=_read(RadioCell, "cells", document, flaws),
        requests=_read(RequestClass, "requests", document, flaws),
        prices=_prices(document, flaws),
        devices=_read(Device, "devices", document, flaws),
        tariffs=_read(Tariff, "tariffs", document, flaws),
        loads=_read(Load, "loads", document, flaws),
        staff=_read(StaffStep, "staff", document, flaws),
        failures=_read(FailureRate, "failures", document, flaws),
    )
    written = {key: list(_table(document, key)) for key in _TABLES}
    written["links"] = list(_table(_with_names(document), "links"))
    flaws += dangling(made.sites, made.links, made.cells, made.requests, written)
    flaws += dangling_costs(made.devices, made.tariffs, made.loads, made.failures, written)
    if flaws:
        raise InputInvalid(f"{'; '.join(flaws)}.", where=name, remedy=_REMEDY)
    return made


def _table(document: dict[str, Any], key: str) -> dict[str, Any]:
    found = document.get(key)
    return found if isinstance(found, dict) else {}


def _read(kind: type[S], key: str, document: dict[str, Any], flaws: list[str]) -> tuple[S, ...]:
    """All tables of one kind that are right; what is wrong with the others goes to ``flaws``."""
    if not isinstance(document.get(key, {}), dict):
        flaws.append(f"{key}: tables like [{key}.{_EXAMPLES[key]}] are wanted")
    several: list[S] = []
    for name, table in _table(document, key).items():
        made = read_table(kind, name, table, f"{key}.{name}")
        if isinstance(made, list):
            flaws += made
        else:
            several.append(made)
    return tuple(several)


def _prices(document: dict[str, Any], flaws: list[str]) -> Prices:
    """The one table of prices."""
    made = read_table(Prices, "prices", document.get("prices", {}), "prices")
    if isinstance(made, list):
        flaws += made
        return Prices()
    return made


_EXAMPLES: Final = {
    "devices": "gateways",
    "tariffs": "backhaul",
    "loads": "alarm",
    "staff": "rounds",
    "failures": "backhaul",
    "regions": "frankfurt",
    "sites": "ward",
    "links": "backhaul",
    "cells": "mast",
    "requests": "alarm",
}


def _with_names(document: dict[str, Any]) -> dict[str, Any]:
    """Links as tables by name, each with what its technology presets.

    A link of a list is called like what it joins, "ward-clinic"; of several the second is "ward-clinic-2".
    """
    links = document.get("links", {})
    if isinstance(links, list):
        named: dict[str, Any] = {}
        for link in links:
            ends = link.get("between") if isinstance(link, dict) else None
            name = "-".join(map(str, ends)) if isinstance(ends, list) else f"link-{len(named) + 1}"
            number = next(n for n in count(1) if _numbered(name, n) not in named)
            named[_numbered(name, number)] = link
        links = named
    if not isinstance(links, dict):
        return {"links": links}
    return {"links": {name: _preset(link) for name, link in links.items()}}


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"


def _preset(link: Any) -> Any:
    """The table of a link with what its technology says, where it says nothing itself."""
    if not isinstance(link, dict):
        return link
    tech = link.get("tech")
    return {**(LINK_PRESETS.get(tech, {}) if isinstance(tech, str) else {}), **link}  # type: ignore[call-overload]


def write_region(region: Region) -> str:
    """The table that declares a region: `read_continuum` reads it as the same."""
    lines = [f"[regions.{region.name}]"]
    for field in msgspec.structs.fields(Region):
        value = getattr(region, field.name)
        if field.name != "name" and (field.name == "slots" or value != field.default):
            lines.append(f"{field.name} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return msgspec.json.encode(value).decode()  # a TOML basic string takes the escapes of JSON
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, Price):
        none = Price()
        fields = (f for f in Price.__struct_fields__ if getattr(value, f) != getattr(none, f))
        return f"{{ {', '.join(f'{field} = {_toml(getattr(value, field))}' for field in fields)} }}"
    return repr(value)


def remove_region(text: str, name: str) -> str:
    """A file without a region; all else in it stays as it was written.

    Raises
    ------
    InputInvalid : it is not there, or it is not written as a table of its own.
    Conflict : a site is this region.
    """
    before = read_continuum(text)
    before.region(name)
    same = [site.name for site in before.sites if site.region == name]
    if same:
        raise Conflict(
            f"the site {same[0]!r} is this region.", where=f"sites.{same[0]}", remedy="Remove the site first."
        )
    kept = "".join(_tables(text, but=name))
    left = tuple(one for one in before.regions if one.name != name)
    if _read_or_none(kept) != msgspec.structs.replace(before, regions=left):
        raise _written_otherwise(name)
    return kept


def drain_region(text: str, name: str, *, is_draining: bool = True) -> str:
    """A file in which a region is given nothing new, or is again; raises as `remove_region` does."""
    before = read_continuum(text)
    wanted = msgspec.structs.replace(before.region(name), is_draining=is_draining)
    header = re.compile(rf"^[ \t]*\[regions\.[\"']?{re.escape(name)}[\"']?\][ \t]*(#.*)?$", re.MULTILINE)
    without = "".join(
        re.sub(r"(?m)^[ \t]*is_draining[ \t]*=.*\n?", "", table) if header.match(table) else table
        for table in _tables(text)
    )
    said = header.sub(lambda found: f"{found.group(0)}\nis_draining = true", without, count=1)
    after = said if is_draining else without
    regions = tuple(wanted if one.name == name else one for one in before.regions)
    if _read_or_none(after) != msgspec.structs.replace(before, regions=regions):
        raise _written_otherwise(name)
    return after


def _tables(text: str, but: str | None = None) -> list[str]:
    """The text in front of the first table, and each table, without those of ``but``."""
    starts = [found.start() for found in re.finditer(r"(?m)^[ \t]*\[", text)]
    edges = [0, *[start for start in starts if start], len(text)]
    pieces = [text[a:b] for a, b in pairwise(edges)]
    if but is None:
        return pieces
    own = re.compile(rf"[ \t]*\[regions\.[\"']?{re.escape(but)}[\"']?[.\]]")
    return [piece for piece in pieces if not own.match(piece)]


def _read_or_none(text: str) -> Continuum | None:
    try:
        return read_continuum(text)
    except InputInvalid:
        return None


def _written_otherwise(name: str) -> InputInvalid:
    return InputInvalid(
        f"the region {name!r} is not written as a table of its own.",
        where="continuum.toml",
        remedy=f"Change the file by hand, or write it as [regions.{name}].",
    )
