"""Costs and risks of a continuum under a plan: what a year costs, what failures take away, what to heed.

Everything is computed from the same file that is planned: what computes a request decides energy, traffic and
cloud prices; what a failure costs is what a plan without the failed part can no longer accept. What is not
declared is in no sum, and is named. Notes on rules say what in the file they come from; they are no advice.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Literal

import msgspec

from einthoven.continuum import Continuum, FailureRate, RequestClass, Site, StaffStep
from einthoven.errors import InputInvalid
from einthoven.placement.offloading.options import (
    Placed,
    Problem,
    link_resource,
    placed,
    problem_of,
    up_resource,
)
from einthoven.placement.offloading.plans import Plan

__all__ = ["Cost", "Energy", "FailureMode", "Note", "Planned", "Sheet", "cost_sheet", "without"]

CostKind = Literal["devices", "links", "energy", "cloud", "staff", "repairs"]
Planner = Callable[[Problem], Plan]
_YEAR_S: Final = 365.25 * 86_400
_YEAR_H: Final = _YEAR_S / 3600
_J_PER_KWH: Final = 3.6e6


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """One line: what it costs in a year."""

    kind: CostKind
    item: str
    per_year: float
    says: str
    """How it comes about."""


class Energy(msgspec.Struct, frozen=True, kw_only=True):
    """What a site, a link or devices take in a year."""

    item: str
    static_kwh: float
    """As long as it is switched on."""
    dynamic_kwh: float
    """For what is computed or sent."""


class FailureMode(msgspec.Struct, frozen=True, kw_only=True):
    """What the planner accepts less when one part is gone, and all else is planned anew."""

    part: str
    kind: Literal["site", "link", "cell"]
    lost: Mapping[str, int]
    """Requests less than with all parts, by class."""
    hours_per_year: float | None
    """None: nobody has declared how often it fails."""
    lost_hours_per_year: float | None
    """Hours times requests."""


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """A rule to look at."""

    rule: str
    because: str
    """What in the file it comes from."""
    says: str


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """Requests of a class under the plan."""

    request: str
    asked: int
    accepted: int
    per_year: float | None
    """Of all that are accepted together; None: no load is declared."""


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """All of it; amounts in the continuum's currency."""

    currency: str
    purchase: float
    """Of all devices, at once."""
    transition: float
    """Of what people do at the beginning; in no year's costs."""
    per_year: float
    costs: tuple[Cost, ...]
    energy: tuple[Energy, ...]
    kwh_per_year: float
    kg_co2_per_year: float
    requests: tuple[Planned, ...]
    overloaded: tuple[str, ...]
    """Sites that the declared loads ask for more than they compute."""
    failures: tuple[FailureMode, ...]
    notes: tuple[Note, ...]
    undeclared: tuple[str, ...]
    """What is in no sum."""

    def of_kind(self, kind: CostKind) -> float:
        """What all lines of one kind cost in a year."""
        return math.fsum(one.per_year for one in self.costs if one.kind == kind)


class _Under(msgspec.Struct, frozen=True):
    """A continuum and what its plan accepts."""

    continuum: Continuum
    every: tuple[tuple[RequestClass, Placed], ...]

    def per_s(self, request: RequestClass) -> float:
        """How often one request of a class comes; 0 if nobody says."""
        period_s = [one.period_s for one in self.continuum.loads if one.name == request.name]
        return 1 / period_s[0] if period_s else 0.0


def cost_sheet(continuum: Continuum, planner: Planner, told: Callable[[str], None] = lambda _: None) -> Sheet:
    """The sheet of a continuum.

    Parameters
    ----------
    planner : how it is planned, with all parts and without each
    told : is told what is being planned

    Raises
    ------
    InputInvalid : nothing is asked, or nothing computes.
    """
    told("all parts")
    under = _Under(continuum, _accepted(continuum, planner))
    energy = tuple(_energy(under))
    costs = (*_device_costs(under), *_link_costs(under), *_energy_costs(under, energy), *_cloud_costs(under))
    costs += (*_staff_costs(under), *_repair_costs(under))
    failures = tuple(_failures(under, planner, told))
    kwh = math.fsum(one.static_kwh + one.dynamic_kwh for one in energy)
    return Sheet(
        currency=continuum.currency,
        purchase=math.fsum(one.price * one.count for one in continuum.devices),
        transition=_transition(continuum),
        per_year=math.fsum(one.per_year for one in costs),
        costs=costs,
        energy=energy,
        kwh_per_year=kwh,
        kg_co2_per_year=kwh * continuum.prices.kg_co2_per_kwh,
        requests=tuple(_planned(under)),
        overloaded=tuple(site.name for site in continuum.sites if _utilisation(under, site) > 1),
        failures=failures,
        notes=tuple(_notes(under, failures)),
        undeclared=tuple(_undeclared(continuum)),
    )


def _accepted(continuum: Continuum, planner: Planner) -> tuple[tuple[RequestClass, Placed], ...]:
    problem = problem_of(continuum)
    plan = planner(problem)
    numbers = (int(one) for one in plan.chosen())
    return tuple(
        (problem.of_request(number), one) for number, one in zip(numbers, placed(problem, plan), strict=True)
    )


def _planned(under: _Under) -> Iterator[Planned]:
    accepted = Counter(request.name for request, _ in under.every)
    for request in under.continuum.requests:
        per_s = under.per_s(request)
        count = accepted[request.name]
        per_year = count * per_s * _YEAR_S if per_s else None
        yield Planned(request=request.name, asked=request.count, accepted=count, per_year=per_year)


# -------------------------------------------------------------------- energy and money


def _utilisation(under: _Under, site: Site) -> float:
    """Of what a site computes, by the declared loads."""
    cycles_per_s = under.continuum.cycles_per_s(site)
    asked = math.fsum(
        under.per_s(request) * request.work_cycles for request, one in under.every if one.site == site.name
    )
    return asked / cycles_per_s if cycles_per_s else 0.0


def _sent_bits_per_s(under: _Under) -> Counter[str]:
    """By link, both ways; by radio cell, what devices send."""
    sent: Counter[str] = Counter()
    ends = {link_resource(link, end): link for link in under.continuum.links for end in link.between}
    cells = {up_resource(cell): cell for cell in under.continuum.cells}
    for request, one in under.every:
        resources = {phase.resource for phase in one.phases}
        bits = request.input_bits + request.output_bits
        for link in {ends[name].name: ends[name] for name in resources & ends.keys()}.values():
            sent[link.name] += under.per_s(request) * bits / (1 - link.loss)  # type: ignore[assignment]
        for name in resources & cells.keys():
            sent[cells[name].name] += under.per_s(request) * request.input_bits  # type: ignore[assignment]
    return sent


def _energy(under: _Under) -> Iterator[Energy]:
    continuum = under.continuum
    for site in continuum.sites:
        dynamic_w = (site.busy_w - site.idle_w) * min(1.0, _utilisation(under, site)) if site.busy_w else 0.0
        yield Energy(
            item=site.name, static_kwh=site.idle_w * _YEAR_H / 1e3, dynamic_kwh=dynamic_w * _YEAR_H / 1e3
        )
    sent = _sent_bits_per_s(under)
    taken = {one.name: one.joules_per_bit for one in continuum.links}
    taken |= {one.name: one.joules_per_bit for one in continuum.cells}
    for name, joules_per_bit in taken.items():
        kwh = joules_per_bit * sent[name] * _YEAR_S / _J_PER_KWH
        yield Energy(item=name, static_kwh=0.0, dynamic_kwh=kwh)
    for device in continuum.devices:
        if device.power_w:
            kwh = device.count * device.power_w * _YEAR_H / 1e3
            yield Energy(item=device.name, static_kwh=kwh, dynamic_kwh=0.0)


def _device_costs(under: _Under) -> Iterator[Cost]:
    for one in under.continuum.devices:
        each = one.price / one.life_years + one.upkeep_per_year
        says = f"{one.count} × ({one.price:g} in {one.life_years:g} years + {one.upkeep_per_year:g} a year)"
        yield Cost(kind="devices", item=one.name, per_year=one.count * each, says=says)


def _link_costs(under: _Under) -> Iterator[Cost]:
    sent = _sent_bits_per_s(under)
    for one in under.continuum.tariffs:
        gigabytes = sent[one.name] * _YEAR_S / 8e9
        says = f"{one.per_year:g} a year + {gigabytes:.3g} GB at {one.per_gb:g}"
        per_year = one.per_year + gigabytes * one.per_gb
        yield Cost(kind="links", item=one.name, per_year=per_year, says=says)


def _energy_costs(under: _Under, energy: tuple[Energy, ...]) -> Iterator[Cost]:
    per_kwh = under.continuum.prices.per_kwh
    for one in energy:
        kwh = one.static_kwh + one.dynamic_kwh
        if per_kwh and kwh:
            says = f"{one.static_kwh:.3g} kWh switched on + {one.dynamic_kwh:.3g} kWh at work"
            yield Cost(kind="energy", item=one.item, per_year=kwh * per_kwh, says=says)


def _cloud_costs(under: _Under) -> Iterator[Cost]:
    continuum = under.continuum
    for site in continuum.sites:
        if not site.region or continuum.region(site.region).price.is_nothing:
            continue
        price = continuum.region(site.region).price
        calls = cost = 0.0
        for request, one in under.every:
            if one.site == site.name and (per_s := under.per_s(request)):
                memory_mb = next(load.memory_mb for load in continuum.loads if load.name == request.name)
                busy_s = request.work_cycles / site.slot_cycles_per_s
                calls += per_s * _YEAR_S
                cost += per_s * _YEAR_S * price.of_call(busy_s, memory_mb, math.ceil(request.output_bits / 8))
        yield Cost(kind="cloud", item=site.region, per_year=cost, says=f"{calls:.3g} invocations")


def _staff_costs(under: _Under) -> Iterator[Cost]:
    for one in under.continuum.staff:
        per_hour = _per_hour(under.continuum, one)
        hours = one.people * one.minutes / 60 * one.times_per_year
        says = f"{one.what or one.name}: {hours:.4g} h at {per_hour:g}"
        yield Cost(kind="staff", item=one.name, per_year=hours * per_hour, says=says)


def _per_hour(continuum: Continuum, step: StaffStep) -> float:
    return continuum.prices.per_staff_hour if step.per_hour is None else step.per_hour


def _transition(continuum: Continuum) -> float:
    return math.fsum(
        one.people * one.minutes / 60 * one.times_at_start * _per_hour(continuum, one)
        for one in continuum.staff
    )


def _repair_costs(under: _Under) -> Iterator[Cost]:
    per_hour = under.continuum.prices.per_staff_hour
    for one in under.continuum.failures:
        if one.staff_minutes:
            hours = one.staff_minutes / 60 * one.times_per_year
            says = f"{one.times_per_year:g} times {one.staff_minutes:g} min at {per_hour:g}"
            yield Cost(kind="repairs", item=one.name, per_year=hours * per_hour, says=says)


# -------------------------------------------------------------------- failures


def without(continuum: Continuum, part: str) -> Continuum:
    """The same without a site, a link or a radio cell, and without all that hangs on it."""
    sites = tuple(one for one in continuum.sites if one.name != part)
    names = {one.name for one in sites}
    cells = tuple(one for one in continuum.cells if one.name != part and one.site in names)
    airs = {one.name for one in cells}
    return msgspec.structs.replace(
        continuum,
        sites=sites,
        links=tuple(one for one in continuum.links if one.name != part and names.issuperset(one.between)),
        cells=cells,
        requests=tuple(
            one for one in continuum.requests if one.site in names or (one.cell and one.cell in airs)
        ),
    )


def _failures(under: _Under, planner: Planner, told: Callable[[str], None]) -> Iterator[FailureMode]:
    continuum = under.continuum
    whole = Counter(request.name for request, _ in under.every)
    rates = {one.name: one for one in continuum.failures}
    parts: list[tuple[Literal["site", "link", "cell"], str]] = [
        *(("site", one.name) for one in continuum.sites),
        *(("link", one.name) for one in continuum.links),
        *(("cell", one.name) for one in continuum.cells),
    ]
    for kind, part in parts:
        told(f"without {part}")
        left = without(continuum, part)
        try:
            accepted = _accepted(left, planner)
        except InputInvalid:  # nothing is asked of what is left, or nothing computes
            accepted = ()
        lost = whole - Counter(request.name for request, _ in accepted)
        hours = _hours(rates.get(part))
        yield FailureMode(
            part=part,
            kind=kind,
            lost=dict(lost),
            hours_per_year=hours,
            lost_hours_per_year=None if hours is None else hours * lost.total(),
        )


def _hours(rate: FailureRate | None) -> float | None:
    return None if rate is None else rate.times_per_year * rate.repair_s / 3600


# -------------------------------------------------------------------- notes


def _notes(under: _Under, failures: tuple[FailureMode, ...]) -> Iterator[Note]:
    continuum = under.continuum
    tiers = {site.name: site.tier for site in continuum.sites}
    away = sorted({request.name for request, one in under.every if len(one.through) > 1 or one.cell})
    if away:
        yield Note(
            rule="GDPR Art. 9, 30, 35",
            because=f"computed elsewhere than where they begin: {', '.join(away)}",
            says="Health data leaves its place: it needs a ground, a record of processing, and as a rule an "
            "impact assessment. Pseudonymised data is still personal data.",
        )
    core = sorted({one.site for _, one in under.every if tiers[one.site] == "core"})
    if core:
        yield Note(
            rule="GDPR Art. 28",
            because=f"requests are computed at {', '.join(core)}",
            says="Whoever runs it for you is a processor: a contract, its subcontractors, and its deletion "
            "of data are yours to check.",
        )
    far = sorted(
        site.region
        for site in continuum.sites
        if site.name in core and site.region and not {"eu", "eea"} & set(continuum.region(site.region).labels)
    )
    if far:
        yield Note(
            rule="GDPR Chapter V",
            because=f"regions without the label eu or eea: {', '.join(far)}",
            says="If they lie in a third country, the transfer needs an adequacy decision or safeguards.",
        )
    unlimited = sorted(one.name for one in continuum.requests if one.highest_tier == "core")
    if unlimited:
        yield Note(
            rule="GDPR Art. 25",
            because=f"no highest_tier: {', '.join(unlimited)}",
            says="A plan may place them anywhere. What need not leave a tier can be kept below it here.",
        )
    yield Note(
        rule="MDR Annex VIII rule 11, IEC 62304",
        because="requests have deadlines",
        says="Software that informs diagnosis or therapy is as a rule a medical device of class IIa or "
        "higher; where it runs is part of what is assessed.",
    )
    needing = sorted(one.name for one in continuum.requests if one.needs)
    if needing:
        yield Note(
            rule="MDR Art. 22, IEC 60601-1",
            because=f"requests that need equipment: {', '.join(needing)}",
            says="Whoever joins devices into a system answers for the whole, and for what it does when a "
            "part is gone.",
        )
    worst = sorted(one.part for one in failures if one.lost)
    if worst:
        yield Note(
            rule="NIS 2 Art. 21, 23",
            because=f"requests are lost when one of these fails: {', '.join(worst)}",
            says="Continuity, spare ways and the reporting of incidents are duties of those who provide "
            "health care at size.",
        )


def _undeclared(continuum: Continuum) -> Iterator[str]:
    known = {one.name for one in continuum.loads}
    for request in continuum.requests:
        if request.name not in known:
            yield f"loads.{request.name}: how often it comes, so its energy, traffic and cloud price"
    failing = {one.name for one in continuum.failures}
    parts = [one.name for one in continuum.sites]
    parts += [one.name for one in continuum.links] + [one.name for one in continuum.cells]
    silent = [name for name in parts if name not in failing]
    if silent:
        yield f"failures: how often these fail: {', '.join(silent)}"
    if not continuum.prices.per_kwh:
        yield "prices.per_kwh: what energy costs"
    for key in ("devices", "tariffs", "staff"):
        if not getattr(continuum, key):
            yield f"{key}: none is declared"
