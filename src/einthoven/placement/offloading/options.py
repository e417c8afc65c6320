"""From what is declared to what is planned, and back: sites, links and requests as options, a plan in names.

Each request may run at any site that computes, that has what it needs, and that it can get to without being
seen by a tier that must not see it. What may leave at any time computes only what begins there. The way to a
site is the one with the least latency. Requests of one class are alike, so their ways are found once.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count, pairwise
from typing import Final

import msgspec
import numpy as np

from einthoven.continuum import Continuum, Link, RadioCell, RequestClass, Site, Tier, snr_db_of
from einthoven.errors import InputInvalid
from einthoven.placement.offloading.instance import Instance, IntArray, Kind, prepare
from einthoven.placement.offloading.plans import Plan

__all__ = [
    "Phase",
    "Placed",
    "Problem",
    "Use",
    "Way",
    "compute_resource",
    "down_resource",
    "link_resource",
    "placed",
    "problem_of",
    "up_resource",
    "uses_of",
]

_HERTZ: Final = "Hz"
_BITS: Final = "bit/s"
_CYCLES: Final = "cycle/s"


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """How requests of a class get to a site."""

    site: str
    tier: Tier
    kind: Kind
    through: tuple[str, ...]
    """Sites, from the first to the one that computes."""
    delay_s: float
    """What no share shortens: there, back if there is an answer, and until the function has begun."""


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """What a request holds of one resource, and how long its phase takes with that."""

    resource: str
    share: float
    unit: str
    takes_s: float


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """One request that was accepted."""

    request: str
    cell: str
    """In the air of which it begins; empty if it begins at a site."""
    site: str
    tier: Tier
    through: tuple[str, ...]
    delay_s: float
    phases: tuple[Phase, ...]
    answers_s: float
    """When it is answered: the delay and all phases."""
    deadline_s: float


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """One resource under a plan."""

    resource: str
    capacity: float
    unit: str
    part: float
    """Of the capacity that is given away."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Problem:
    """An instance with the names of what it is about."""

    continuum: Continuum
    instance: Instance
    classes: IntArray
    """The class of each request (N), as a place in `continuum.requests`."""
    ways: tuple[Way, ...]
    way_of: IntArray
    """The way of each option as it was given (before those that are hopeless were dropped)."""
    nowhere: Mapping[str, str]
    """Classes that have no way at all, and why."""

    def way(self, option: int) -> Way:
        """Of an option of the instance."""
        return self.ways[int(self.way_of[self.instance.given[option]])]

    def of_request(self, number: int) -> RequestClass:
        """The class of a request."""
        return self.continuum.requests[int(self.classes[number])]


def problem_of(continuum: Continuum) -> Problem:
    """All requests of a continuum with all their options.

    Raises
    ------
    InputInvalid : nothing is asked, or nothing computes.
    """
    if not continuum.requests:
        raise InputInvalid("nothing is asked of it.", where="requests", remedy="Declare a [requests.NAME].")
    if not any(continuum.cycles_per_s(site) for site in continuum.sites):
        raise InputInvalid("no site computes.", where="sites", remedy="Give a [sites.NAME] some `compute`.")
    resources = _Resources(continuum)
    ways: list[Way] = []
    rows: list[list[_Need]] = []
    nowhere: dict[str, str] = {}
    owners, numbers, classes, requests, first = [], [], [], [], 0
    for place, request in enumerate(continuum.requests):
        found = list(_ways(continuum, request))
        if not found:
            nowhere[request.name] = _why_nowhere(continuum, request)
        here = np.arange(len(ways), len(ways) + len(found))
        for way, links in found:
            ways.append(way)
            rows.append(list(_needs(continuum, resources, request, way, links)))
        numbers.append(np.tile(here, request.count))
        owners.append(first + np.repeat(np.arange(request.count), len(found)))
        classes.append(np.full(request.count, place))
        first += request.count
        requests += (
            [request.name]
            if request.count == 1
            else [f"{request.name}-{number}" for number in range(1, request.count + 1)]
        )
    way_of = np.concatenate(numbers).astype(np.int64)
    class_of = np.concatenate(classes).astype(np.int64)
    deadlines_s = np.array([one.deadline_s for one in continuum.requests])
    owner = np.concatenate(owners).astype(np.int64)
    delays_s = np.array([way.delay_s for way in ways])
    table = _Table.of(rows)
    instance = prepare(
        capacities=resources.capacities,
        paths=table.paths[way_of],
        works=table.works[way_of],
        owners=owner,
        slacks_s=deadlines_s[class_of[owner]] - delays_s[way_of],
        count=first,
        values=np.array([float(one.value) for one in continuum.requests])[class_of],
        kinds=[ways[number].kind for number in way_of],
        caps=table.caps[way_of] if np.isfinite(table.caps).any() else None,
        gains_hz=table.gains_hz[way_of] if table.gains_hz.any() else None,
        resources=resources.names,
        units=resources.units,
        requests=requests,
        sites=[ways[number].site for number in way_of],
    )
    return Problem(
        continuum=continuum,
        instance=instance,
        classes=class_of,
        ways=tuple(ways),
        way_of=way_of,
        nowhere=nowhere,
    )


def placed(problem: Problem, plan: Plan) -> tuple[Placed, ...]:
    """What a plan gives to each request that it accepts, in names and units."""
    instance = problem.instance
    found = []
    for number, (request, option) in enumerate(plan.chosen().items()):
        way = problem.way(option)
        phases = []
        for at in np.flatnonzero(instance.demands[option] > 0):
            share = float(plan.shares[number, at])
            gain_hz = 0.0 if instance.gains_hz is None else float(instance.gains_hz[option, at])
            rate = share * math.log2(1 + gain_hz / share) if gain_hz else share
            resource = int(instance.paths[option, at])
            taken = float(instance.demands[option, at]) / rate
            phases.append(
                Phase(
                    resource=instance.resources[resource],
                    share=share,
                    unit=instance.units[resource],
                    takes_s=taken * float(instance.slacks_s[option]),
                )
            )
        found.append(
            Placed(
                request=instance.requests[request],
                cell=problem.of_request(request).cell,
                site=way.site,
                tier=way.tier,
                through=way.through,
                delay_s=way.delay_s,
                phases=tuple(phases),
                answers_s=way.delay_s + sum(one.takes_s for one in phases),
                deadline_s=problem.of_request(request).deadline_s,
            )
        )
    return tuple(found)


def uses_of(problem: Problem, plan: Plan) -> tuple[Use, ...]:
    """How much of each resource a plan gives away."""
    instance = problem.instance
    every = zip(
        instance.resources,
        instance.capacities.tolist(),
        instance.units,
        plan.utilisations.tolist(),
        strict=True,
    )
    return tuple(Use(resource=name, capacity=c, unit=unit, part=part) for name, c, unit, part in every)


# -------------------------------------------------------------------- ways


def _start(continuum: Continuum, request: RequestClass) -> str:
    """The first site that sees a request."""
    return request.site or continuum.cell(request.cell).site


def _ways(continuum: Continuum, request: RequestClass) -> Iterator[tuple[Way, tuple[Link, ...]]]:
    """To each site that may compute a request, the nearest first; with the links there."""
    start = _start(continuum, request)
    trips = 2 if request.output_bits else 1
    air_s = continuum.cell(request.cell).latency_s if request.cell else 0.0
    has_edge = False
    for site, through, links, latency_s in _nearest(continuum, request, start):
        if not _suits(continuum, request, site):
            continue
        kind: Kind = "core" if site.tier == "core" else "local" if site.name == request.site else "neighbour"
        if site.tier == "edge" and not has_edge:
            kind, has_edge = "edge", True
        delay_s = trips * (air_s + latency_s) + site.startup_s
        yield Way(site=site.name, tier=site.tier, kind=kind, through=through, delay_s=delay_s), links


def _suits(continuum: Continuum, request: RequestClass, site: Site) -> bool:
    return continuum.cycles_per_s(site) > 0 and set(request.needs) <= set(site.capabilities)


def _nearest(
    continuum: Continuum, request: RequestClass, start: str
) -> Iterator[tuple[Site, tuple[str, ...], tuple[Link, ...], float]]:
    """Sites that may see a request, by latency (Dijkstra); of equal ways that with fewer links."""
    sites = {site.name: (order, site) for order, site in enumerate(continuum.sites)}
    joined: dict[str, list[tuple[Link, str]]] = {name: [] for name in sites}
    for link in continuum.links:
        a, b = link.between
        joined[a].append((link, b))
        joined[b].append((link, a))
    numbers = count()  # of two ways that are alike the one that was found first
    waiting: list[tuple[float, int, int, int, tuple[str, ...], tuple[Link, ...]]]
    waiting = [(0.0, 0, 0, next(numbers), (start,), ())]
    done: set[str] = set()
    while waiting:
        latency_s, hops, _, _, through, links = heappop(waiting)
        here = through[-1]
        if here in done:
            continue
        done.add(here)
        yield sites[here][1], through, links, latency_s
        for link, there in joined[here]:
            order, site = sites[there]
            if there not in done and site.is_stable and request.may_be_seen_at(site.tier):
                onwards = (next(numbers), (*through, there), (*links, link))
                heappush(waiting, (latency_s + link.latency_s, hops + 1, order, *onwards))


def _why_nowhere(continuum: Continuum, request: RequestClass) -> str:
    """In words, why no site may compute it."""
    able = [site for site in continuum.sites if _suits(continuum, request, site)]
    if not able:
        return f"no site that computes has {', '.join(request.needs)}"
    names = ", ".join(one.name for one in able)
    if not any(request.may_be_seen_at(site.tier) for site in able):
        return f"no site above the tier {request.highest_tier} may see it, and only {names} could compute it"
    return (
        f"no way leads from {_start(continuum, request)} to {names} through stable sites "
        f"of no tier above {request.highest_tier}"
    )


# -------------------------------------------------------------------- resources


def compute_resource(site: Site) -> str:
    """What a plan calls the processors of a site."""
    return f"{site.name} compute"


def link_resource(link: Link, to: str) -> str:
    """What it calls a link towards one of its ends; both ways are one resource if they share the rate."""
    return f"{link.name} to {to}" if link.is_duplex else link.name


def up_resource(cell: RadioCell) -> str:
    """What it calls the band that devices send in."""
    return f"{cell.name} up"


def down_resource(cell: RadioCell) -> str:
    """What it calls the band that they are sent to in."""
    return f"{cell.name} down"


class _Need(msgspec.Struct, frozen=True):
    """What one phase needs of one resource."""

    resource: int
    work: float
    cap: float = math.inf
    gain_hz: float = 0.0


class _Resources:
    """Resources by name: all that compute, then others in the order in which they are first needed."""

    def __init__(self, continuum: Continuum) -> None:
        self.names: list[str] = []
        self.units: list[str] = []
        self.capacities: list[float] = []
        self._places: dict[str, int] = {}
        for site in continuum.sites:
            if continuum.cycles_per_s(site):
                self.place(compute_resource(site), continuum.cycles_per_s(site), _CYCLES)

    def place(self, name: str, capacity: float, unit: str) -> int:
        if name not in self._places:
            self._places[name] = len(self.names)
            self.names.append(name)
            self.units.append(unit)
            self.capacities.append(capacity)
        return self._places[name]

    def link(self, link: Link, to: str) -> int:
        """A direction of a link, or both where they share one rate."""
        return self.place(link_resource(link, to), link.bits_per_s, _BITS)


def _needs(
    continuum: Continuum, resources: _Resources, request: RequestClass, way: Way, links: tuple[Link, ...]
) -> Iterator[_Need]:
    """The phases of a way: the air, links, the processor, and back."""
    if request.cell:
        cell = continuum.cell(request.cell)
        ratio = 10 ** (snr_db_of(request, cell) / 10)
        up = resources.place(up_resource(cell), cell.bandwidth_hz, _HERTZ)
        if cell.power == "fixed":
            yield _Need(up, request.input_bits, gain_hz=cell.bandwidth_hz * ratio)
        else:
            yield _Need(up, request.input_bits / math.log2(1 + ratio))
        if request.output_bits and math.isfinite(cell.down_bandwidth_hz):
            down = resources.place(down_resource(cell), cell.down_bandwidth_hz, _HERTZ)
            yield _Need(down, request.output_bits / math.log2(1 + ratio))
    bits: dict[int, float] = {}
    for link, (before, after) in zip(links, pairwise(way.through), strict=True):
        there, back = resources.link(link, after), resources.link(link, before)
        bits[there] = bits.get(there, 0.0) + request.input_bits / (1 - link.loss)
        if request.output_bits:
            bits[back] = bits.get(back, 0.0) + request.output_bits / (1 - link.loss)
    for resource, amount in bits.items():
        yield _Need(resource, amount)
    site = continuum.site(way.site)
    capacity = continuum.cycles_per_s(site)
    cap = site.slot_cycles_per_s if site.region else site.one_request_cycles_per_s
    processors = resources.place(compute_resource(site), capacity, _CYCLES)
    yield _Need(processors, request.work_cycles, cap if cap < capacity else math.inf)


class _Table(msgspec.Struct, frozen=True):
    """Needs of all ways as arrays, one row a way."""

    paths: IntArray
    works: np.ndarray
    caps: np.ndarray
    gains_hz: np.ndarray

    @classmethod
    def of(cls, rows: list[list[_Need]]) -> "_Table":
        shape = (len(rows), max((len(row) for row in rows), default=1))
        table = cls(np.zeros(shape, np.int64), np.zeros(shape), np.full(shape, np.inf), np.zeros(shape))
        for number, row in enumerate(rows):
            for at, need in enumerate(row):
                table.paths[number, at] = need.resource
                table.works[number, at] = need.work
                table.caps[number, at] = need.cap
                table.gains_hz[number, at] = need.gain_hz
        return table
