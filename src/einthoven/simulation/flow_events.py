"""Flows over sites and links on a virtual clock: queues, losses, outages, energy. No I/O.

Works wait in order for a processor of their site, transfers in order for their direction of a link. What a
link loses is sent again. An outage of a link drops what is being sent and what waits, unless it is kept for
later; what has left already arrives. An outage of a site drops all that it computes and takes its power away.
"""

import heapq
import math
from collections import Counter, deque
from collections.abc import Sequence
from typing import Final, Literal, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.continuum import TIERS, Continuum, Link, Site, Tier
from einthoven.errors import InputInvalid
from einthoven.simulation.flows import Flow, Transfer, Work, above_idle_w, sending_s, servers_of

__all__ = ["Emission", "FlowsRun", "Happened", "LinkUse", "Outage", "SiteUse", "run_flows"]

Status = Literal["done", "lost", "interrupted", "running"]
U = TypeVar("U", "SiteUse", "LinkUse")
_ROUNDING: Final = 1e-9


class Emission(msgspec.Struct, frozen=True, kw_only=True):
    """A flow that begins."""

    at_s: float
    flow: Flow


class Outage(msgspec.Struct, frozen=True, kw_only=True):
    """A site or a link that is not there for a while."""

    name: str
    from_s: float
    to_s: float


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at a step: a processor or a link was taken."""

    emission: int
    step: int
    ready_s: float
    """When all before it had ended."""
    begins_s: float
    ends_s: float
    """When the processor or the link was free again."""
    arrives_s: float
    """When what comes after it could begin; infinite unless it is done."""
    status: Status


class SiteUse(msgspec.Struct, frozen=True, kw_only=True):
    """What a site did: issued = done + dropped + waiting, in cycles."""

    name: str
    tier: Tier
    asked_cycles: float
    """Of all flows that have begun, whether or not they came so far."""
    issued_cycles: float
    done_cycles: float
    dropped_cycles: float
    waiting_cycles: float
    """That wait, or are not finished, at the end."""
    utilisation: float
    """Of its processors, over the time."""
    demand: float
    """What was asked, of what it can compute in the time; more than 1 is overload."""
    static_j: float
    dynamic_j: float
    """Above idle."""


class LinkUse(msgspec.Struct, frozen=True, kw_only=True):
    """What a link carried, both directions: entered = received + dropped + under way, in bytes."""

    name: str
    tier: Tier
    """Of its end that is further from the patient."""
    entered_bytes: float
    received_bytes: float
    dropped_bytes: float
    under_way_bytes: float
    again_bytes: float
    """Sent, lost, and sent again."""
    byte_seconds: float
    """Bytes sent, times latency."""
    demand: float
    """Time that all that was asked takes, of the time there was, in the fuller direction."""
    energy_j: float


class FlowsRun(msgspec.Struct, frozen=True, eq=False):
    """What became of all."""

    elapsed_s: float
    latency_s: NDArray[np.float64]
    """Of each control loop, in the order of emissions; NaN: it was not closed."""
    sites: tuple[SiteUse, ...]
    links: tuple[LinkUse, ...]
    happened: tuple[Happened, ...]
    """In the order in which they ended."""

    @property
    def overloaded(self) -> tuple[str, ...]:
        """Sites and links that were given more than they can do in the time."""
        full: list[SiteUse | LinkUse] = [*self.sites, *self.links]
        return tuple(one.name for one in full if one.demand > 1 + _ROUNDING)

    @property
    def mean_latency_s(self) -> float | None:
        """Of closed loops; None where something is overloaded, for then it is longer the longer one looks."""
        closed = self.latency_s[np.isfinite(self.latency_s)]
        return None if self.overloaded or not closed.size else float(closed.mean())

    @property
    def static_j(self) -> float:
        """Energy of all that is switched on."""
        return math.fsum(one.static_j for one in self.sites)

    @property
    def dynamic_j(self) -> float:
        """Energy of what was computed and sent."""
        works = (one.dynamic_j for one in self.sites)
        return math.fsum((*works, *(one.energy_j for one in self.links)))

    @property
    def done_cycles(self) -> float:
        """Operations."""
        return math.fsum(one.done_cycles for one in self.sites)

    @property
    def received_bytes(self) -> float:
        """Over all links."""
        return math.fsum(one.received_bytes for one in self.links)

    def site(self, name: str) -> SiteUse:
        """The one of this name; raises InputInvalid if there is none."""
        return _named(self.sites, name)

    def link(self, name: str) -> LinkUse:
        """The one of this name; raises InputInvalid if there is none."""
        return _named(self.links, name)


def _named(several: Sequence[U], name: str) -> U:
    for one in several:
        if one.name == name:
            return one
    raise InputInvalid(f"nothing was simulated of the name {name!r}.", where="name")


class _Job:
    """One step of one emission that waits or is done."""

    __slots__ = ("amount", "begins_s", "emission", "number", "ready_s", "step", "takes_s")

    def __init__(self, emission: int, number: int, step: Work | Transfer, ready_s: float) -> None:
        self.emission = emission
        self.number = number
        self.step = step
        self.ready_s = ready_s
        self.begins_s = self.takes_s = 0.0
        self.amount = step.cycles if isinstance(step, Work) else step.content_bytes


class _Station:
    """A queue before servers: a site, or a direction of a link."""

    def __init__(self, servers: int) -> None:
        self.servers = servers
        self.waiting: deque[_Job] = deque()
        self.running: dict[_Job, None] = {}
        self.busy_s = 0.0
        """Of all servers together."""
        self.asked_s = 0.0


class _Tally:
    """What a site or a link was given, in cycles or bytes."""

    def __init__(self) -> None:
        self.asked = self.issued = self.done = self.dropped = self.again = self.weighted = 0.0


_BACK, _OUT, _ENDS, _ARRIVES, _READY, _EMITTED = range(6)
"""Events of one moment in this order: outages first, then what becomes free, then what is new."""


class _Run:
    """A simulation that is going on."""

    def __init__(self, continuum: Continuum, emissions: Sequence[Emission], seed: int) -> None:
        self.continuum = continuum
        self.emissions = emissions
        self.rng = np.random.default_rng(seed)
        self.heap: list[tuple[float, int, int, _Job | str | int]] = []
        self.order = 0
        self.now_s = 0.0
        self.stations: dict[tuple[str, str], _Station] = {}
        self.steps: dict[Work | Transfer, tuple[_Station, float]] = {}
        self.tallies: dict[str, _Tally] = {}
        self.off_s: Counter[str] = Counter()
        """How long each was away."""
        self.away: dict[str, tuple[int, float]] = {}
        """Outages that last, and since when."""
        self.happened: list[Happened] = []
        self.left = [[len(step.after) for step in one.flow.steps] for one in emissions]
        self.loops = [sum(step.is_loop for step in one.flow.steps) for one in emissions]
        self.latency_s = np.full(len(emissions), math.nan)

    def push(self, at_s: float, kind: int, what: "_Job | str | int") -> None:
        self.order += 1
        heapq.heappush(self.heap, (at_s, kind, self.order, what))

    def known(self, step: Work | Transfer) -> tuple[_Station, float]:
        """Where a step waits, and how long it then takes."""
        if step not in self.steps:
            self.steps[step] = self.looked_up(step)
        return self.steps[step]

    def looked_up(self, step: Work | Transfer) -> tuple[_Station, float]:
        if isinstance(step, Work):
            servers, each = servers_of(self.continuum, self.continuum.site(step.site))
            key, takes_s = (step.site, ""), step.cycles / each
        else:
            servers, takes_s = 1, sending_s(self.continuum, step)
            key = (step.link, step.to if self.continuum.link(step.link).is_duplex else "")
        return self.stations.setdefault(key, _Station(servers)), takes_s

    def station(self, step: Work | Transfer) -> _Station:
        return self.known(step)[0]

    def tally(self, step: Work | Transfer) -> _Tally:
        return self.tallies.setdefault(_name_of(step), _Tally())

    def takes_s(self, step: Work | Transfer) -> float:
        return self.known(step)[1]

    def go(self, until_s: float) -> None:
        while self.heap and self.heap[0][0] <= until_s:
            self.now_s, kind, _, what = heapq.heappop(self.heap)
            if isinstance(what, int):
                self.emit(what)
            elif isinstance(what, str):
                self.out(what) if kind == _OUT else self.back(what)
            elif kind == _READY:
                self.ready(what)
            elif kind == _ARRIVES:
                self.arrived(what)
            elif what in self.station(what.step).running and what.begins_s + what.takes_s == self.now_s:
                self.end(what)

    def emit(self, number: int) -> None:
        for place, step in enumerate(self.emissions[number].flow.steps):
            self.station(step).asked_s += self.takes_s(step)
            self.tally(step).asked += step.cycles if isinstance(step, Work) else step.content_bytes
            if not step.after:
                self.prepare(number, place)

    def prepare(self, emission: int, place: int) -> None:
        """All before a step has ended."""
        step = self.emissions[emission].flow.steps[place]
        delay_s = self.continuum.site(step.site).startup_s if isinstance(step, Work) else 0.0
        job = _Job(emission, place, step, self.now_s)
        if delay_s:
            self.push(self.now_s + delay_s, _READY, job)
        else:
            self.ready(job)

    def ready(self, job: _Job) -> None:
        station = self.station(job.step)
        self.tally(job.step).issued += job.amount
        if self.is_down(job.step) and not _is_kept(job):
            self.tally(job.step).dropped += job.amount
            return
        station.waiting.append(job)
        self.serve(station)

    def is_down(self, step: Work | Transfer) -> bool:
        return _name_of(step) in self.away

    def serve(self, station: _Station) -> None:
        while station.waiting and len(station.running) < station.servers:
            if self.is_down(station.waiting[0].step):
                return
            job = station.waiting.popleft()
            job.begins_s, job.takes_s = self.now_s, self.takes_s(job.step)
            station.running[job] = None
            self.push(job.begins_s + job.takes_s, _ENDS, job)

    def stop(self, station: _Station, job: _Job, status: Status, arrives_s: float = math.inf) -> None:
        """A processor or a link is free again."""
        del station.running[job]
        station.busy_s += self.now_s - job.begins_s
        self.happened.append(
            Happened(
                emission=job.emission,
                step=job.number,
                ready_s=job.ready_s,
                begins_s=job.begins_s,
                ends_s=self.now_s,
                arrives_s=arrives_s,
                status=status,
            )
        )

    def end(self, job: _Job) -> None:
        station, tally = self.station(job.step), self.tally(job.step)
        arrives_s = self.now_s
        if isinstance(job.step, Transfer):
            link = self.continuum.link(job.step.link)
            tally.weighted += job.amount * link.latency_s
            if link.loss and self.rng.random() < link.loss:
                self.stop(station, job, "lost")
                tally.again += job.amount
                station.asked_s += job.takes_s
                station.waiting.append(job)
                self.serve(station)
                return
            arrives_s += link.latency_s
        self.stop(station, job, "done", arrives_s)
        self.push(arrives_s, _ARRIVES, job)
        self.serve(station)

    def arrived(self, job: _Job) -> None:
        """A step is over; what waits for it may begin."""
        self.tally(job.step).done += job.amount
        emission = self.emissions[job.emission]
        if job.step.is_loop:
            self.loops[job.emission] -= 1
            if not self.loops[job.emission]:
                self.latency_s[job.emission] = self.now_s - emission.at_s
        left = self.left[job.emission]
        for place, step in enumerate(emission.flow.steps):
            if job.number in step.after:
                left[place] -= 1
                if not left[place]:
                    self.prepare(job.emission, place)

    def out(self, name: str) -> None:
        """A site or a link goes away."""
        count, since_s = self.away.get(name, (0, self.now_s))
        self.away[name] = (count + 1, since_s)
        if count:
            return
        for key, station in self.stations.items():
            if key[0] != name:
                continue
            kept = []
            for job in list(station.running):
                self.stop(station, job, "interrupted")
                kept.append(job)
            kept += station.waiting
            station.waiting = deque(job for job in kept if _is_kept(job))
            for job in kept:
                if not _is_kept(job):
                    self.tally(job.step).dropped += job.amount

    def back(self, name: str) -> None:
        """It is there again, unless another outage lasts."""
        count, since_s = self.away.pop(name)
        if count > 1:
            self.away[name] = (count - 1, since_s)
            return
        self.off_s[name] += self.now_s - since_s  # type: ignore[assignment]
        for key, station in list(self.stations.items()):
            if key[0] == name:
                self.serve(station)

    def close(self, at_s: float) -> None:
        """Nothing more is looked at: what runs has run until now."""
        self.now_s = at_s
        for station in self.stations.values():
            for job in list(station.running):
                self.stop(station, job, "running")
        for name, (_, since_s) in self.away.items():
            self.off_s[name] += at_s - since_s  # type: ignore[assignment]

    def site_use(self, site: Site) -> SiteUse:
        station = self.stations.get((site.name, ""), _Station(1))
        tally = self.tallies.get(site.name, _Tally())
        span_s = station.servers * self.now_s
        whole = self.continuum.cycles_per_s(site)
        part = servers_of(self.continuum, site)[1] / whole if whole else 0.0
        return SiteUse(
            name=site.name,
            tier=site.tier,
            asked_cycles=tally.asked,
            issued_cycles=tally.issued,
            done_cycles=tally.done,
            dropped_cycles=tally.dropped,
            waiting_cycles=_left_of(tally),
            utilisation=station.busy_s / span_s if span_s else 0.0,
            demand=station.asked_s / span_s if span_s else 0.0,
            static_j=site.idle_w * (self.now_s - self.off_s[site.name]),
            dynamic_j=above_idle_w(site) * part * station.busy_s,
        )

    def link_use(self, link: Link, tiers: dict[str, Tier]) -> LinkUse:
        ways = [station for key, station in self.stations.items() if key[0] == link.name]
        tally = self.tallies.get(link.name, _Tally())
        busy_s = math.fsum(one.busy_s for one in ways)
        fullest_s = max((one.asked_s for one in ways), default=0.0)
        return LinkUse(
            name=link.name,
            tier=max((tiers[end] for end in link.between), key=TIERS.index),
            entered_bytes=tally.issued,
            received_bytes=tally.done,
            dropped_bytes=tally.dropped,
            under_way_bytes=_left_of(tally),
            again_bytes=tally.again,
            byte_seconds=tally.weighted,
            demand=fullest_s / self.now_s if self.now_s else 0.0,
            energy_j=link.joules_per_bit * link.bits_per_s * busy_s,
        )


def _left_of(tally: _Tally) -> float:
    """What was issued and is neither done nor dropped; sums of floats leave a rest that is nothing."""
    left = tally.issued - tally.done - tally.dropped
    return left if left > _ROUNDING * tally.issued else 0.0


def _name_of(step: Work | Transfer) -> str:
    return step.site if isinstance(step, Work) else step.link


def _is_kept(job: _Job) -> bool:
    return isinstance(job.step, Transfer) and job.step.is_kept


def run_flows(
    continuum: Continuum,
    emissions: Sequence[Emission],
    *,
    until_s: float = math.inf,
    outages: Sequence[Outage] = (),
    seed: int = 0,
) -> FlowsRun:
    """Let flows begin, and look until a time, or until all is over.

    Parameters
    ----------
    until_s : what has not ended then waits; infinite: nothing waits, unless a link never comes back.
    seed : of what links lose.

    Raises
    ------
    InputInvalid : a flow uses what is not declared, an outage is of nothing declared or ends before it
        begins, or something begins at no time.
    """
    names = {one.name for one in continuum.sites} | {one.name for one in continuum.links}
    for one in outages:
        if one.name not in names or not 0 <= one.from_s < one.to_s:
            raise InputInvalid(
                f"the outage of {one.name!r} from {one.from_s:g} to {one.to_s:g} s cannot be.",
                where="outages",
                remedy="Name a declared site or link, and end after the beginning.",
            )
    run = _Run(continuum, emissions, seed)
    for outage in outages:
        run.push(outage.from_s, _OUT, outage.name)
        if math.isfinite(outage.to_s):
            run.push(outage.to_s, _BACK, outage.name)
    for number, emission in enumerate(emissions):
        if not (math.isfinite(emission.at_s) and emission.at_s >= 0):
            raise InputInvalid(f"a flow begins at {emission.at_s:g} s.", where="emissions")
        for step in emission.flow.steps:
            run.known(step)
        run.push(emission.at_s, _EMITTED, number)
    run.go(until_s)
    run.close(until_s if math.isfinite(until_s) else run.now_s)
    tiers = {site.name: site.tier for site in continuum.sites}
    return FlowsRun(
        run.now_s,
        run.latency_s,
        tuple(run.site_use(site) for site in continuum.sites),
        tuple(run.link_use(link, tiers) for link in continuum.links),
        tuple(run.happened),
    )
