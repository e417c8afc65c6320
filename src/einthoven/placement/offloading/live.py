"""Requests that come and go in a continuum that changes: who runs where now, and who has to move.

`Sessions` knows resources by number. Here they have the names of what is declared, and what is declared may
change while sessions run: sites come back or are lost, a link carries less than it did, a region takes fewer
invocations at one time. Then all are placed again: by falling value, first where they are.

A limit on what one request may use of a site (one core, one slot) is not looked at here, beyond that a site
which could not answer in time with it is no option. Cells with a fixed power are refused.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np

from einthoven.continuum import Continuum, Link, Region
from einthoven.placement.offloading.options import Use, problem_of
from einthoven.placement.offloading.session_load import Offers, offers_of
from einthoven.placement.offloading.sessions import Admitted, Refused, Replanned, Sessions, Terms

__all__ = ["LiveSessions", "RegionNow", "Started", "as_it_stands"]

_NOTHING: Final = "nothing computes"


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """A request runs."""

    name: str
    site: str
    region: str
    """The region that the site is; empty if it is none."""
    deadline_s: float
    shares: Mapping[str, float]
    """By resource, in its unit."""
    moved: tuple[str, ...] = ()
    evicted: tuple[str, ...] = ()


class RegionNow(msgspec.Struct, frozen=True, kw_only=True):
    """A region as it is found to be."""

    slots: int
    """Invocations that it takes at one time now; 0: it gives no answers."""
    latency_s: float | None = None
    """What a call takes however small it is, there and back; None: not known."""
    bits_per_s: float | None = None
    """How fast the way there carries; None: not known."""


def as_it_stands(continuum: Continuum, now: Mapping[str, RegionNow]) -> Continuum:
    """What is declared, with what was measured in its place.

    A way is measured as a whole. It is put down to the link at whose end the region is, if there is one only:
    of several nobody knows which was taken.

    Parameters
    ----------
    now : regions by name; one that is not there is as it was declared.
    """
    regions = tuple(_region_now(one, now[one.name]) if one.name in now else one for one in continuum.regions)
    ways: dict[str, RegionNow] = {}
    for site in continuum.sites:
        at = [link.name for link in continuum.links if site.name in link.between]
        if site.region in now and len(at) == 1:
            ways[at[0]] = now[site.region]
    links = tuple(_link_now(one, ways[one.name]) if one.name in ways else one for one in continuum.links)
    return msgspec.structs.replace(continuum, regions=regions, links=links)


def _region_now(region: Region, now: RegionNow) -> Region:
    if now.slots < 1:
        return msgspec.structs.replace(region, is_draining=True)
    return msgspec.structs.replace(region, slots=now.slots, warm=min(region.warm, now.slots))


def _link_now(link: Link, now: RegionNow) -> Link:
    rate = link.bits_per_s if now.bits_per_s is None else now.bits_per_s
    latency_s = link.latency_s if now.latency_s is None else now.latency_s / 2
    return msgspec.structs.replace(link, bits_per_s=rate, latency_s=latency_s)


class LiveSessions:
    """All that run now.

    Parameters
    ----------
    continuum : what there is, with the classes of requests.
    terms : how much sessions may be disturbed.

    Raises
    ------
    InputInvalid : nothing is asked of it, or devices send with a fixed power.
    """

    def __init__(self, continuum: Continuum, terms: Terms | None = None) -> None:
        self._terms = terms
        self._classes: dict[str, tuple[str, frozenset[str] | None]] = {}
        """The class of each that runs, and the regions that it may be in."""
        self._described = _Described(continuum)
        self._sessions = self._described.sessions(terms)

    @property
    def continuum(self) -> Continuum:
        """What there is now."""
        return self._described.continuum

    @property
    def names(self) -> tuple[str, ...]:
        """Of all that run."""
        return self._sessions.names

    def site(self, name: str) -> str:
        """Where a session runs; raises NotFound."""
        return self._sessions.site(name)

    def region(self, name: str) -> str:
        """The region where it runs; empty if its site is none. Raises NotFound."""
        return self.continuum.site(self.site(name)).region

    def admit(
        self,
        name: str,
        request: str,
        *,
        at_s: float = 0.0,
        may_preempt: bool = False,
        regions: frozenset[str] | None = None,
    ) -> Started | Refused:
        """Let a request of a class run, or say why not.

        Parameters
        ----------
        regions : those that it may ever be in; None: all. A site that is no region is not asked.

        Raises
        ------
        Conflict : one of that name runs. InputInvalid : there is no such class.
        """
        class_ = self.continuum.request(request)
        answer = self._sessions.admit(
            name,
            self._described.offers_in(request, regions),
            at_s=at_s,
            value=float(class_.value),
            may_preempt=may_preempt,
        )
        if isinstance(answer, Refused):
            return answer
        for evicted in answer.evicted:
            del self._classes[evicted]
        self._classes[name] = request, regions
        return self._started(answer, class_.deadline_s)

    def depart(self, name: str) -> None:
        """End a session; raises NotFound."""
        self._sessions.depart(name)
        del self._classes[name]

    def follow(self, continuum: Continuum) -> Replanned:
        """Other things are there now.

        Sessions of a class that is no longer declared are evicted.

        Raises
        ------
        InputInvalid : nothing is asked of it.
        """
        described = _Described(continuum)
        offers = {
            name: described.offers_in(class_, regions)
            for name, (class_, regions) in self._classes.items()
            if class_ in described.offers
        }
        done = self._sessions.follow(described.capacities, described.resources, offers)
        self._described = described
        for name in done.evicted:
            del self._classes[name]
        return done

    def uses(self) -> tuple[Use, ...]:
        """How much of each resource is given away."""
        described = self._described
        every = zip(
            described.resources,
            described.capacities,
            described.units,
            self._sessions.utilisations().tolist(),
            strict=True,
        )
        return tuple(Use(resource=name, capacity=c, unit=unit, part=part) for name, c, unit, part in every)

    def _started(self, admitted: Admitted, deadline_s: float) -> Started:
        return Started(
            name=admitted.name,
            site=admitted.site,
            region=self.continuum.site(admitted.site).region,
            deadline_s=deadline_s,
            shares={self._described.resources[at]: share for at, share in admitted.shares.items()},
            moved=admitted.moved,
            evicted=admitted.evicted,
        )


class _Described:
    """What a continuum offers to each class of requests."""

    def __init__(self, continuum: Continuum) -> None:
        self.continuum = continuum
        self._offers_in: dict[tuple[str, frozenset[str]], Offers] = {}
        one_each = tuple(msgspec.structs.replace(one, count=1) for one in continuum.requests)
        if not any(continuum.cycles_per_s(site) for site in continuum.sites):
            none = Offers(paths=np.zeros((0, 1), np.int64), demands=np.zeros((0, 1)), sites=())
            self.resources: tuple[str, ...] = (_NOTHING,)
            self.units: tuple[str, ...] = ("",)
            self.capacities: list[float] = [1.0]
            self.offers: dict[str, Offers] = {one.name: none for one in one_each}
            return
        instance = problem_of(msgspec.structs.replace(continuum, requests=one_each)).instance
        self.resources, self.units = instance.resources, instance.units
        self.capacities = instance.capacities.tolist()
        self.offers = {one.name: offers_of(instance, number) for number, one in enumerate(one_each)}

    def offers_in(self, request: str, regions: frozenset[str] | None) -> Offers:
        """What is offered to a class in these regions only."""
        every = self.offers[request]
        if regions is None:
            return every
        key = (request, regions)
        if key not in self._offers_in:
            some = [
                number
                for number, site in enumerate(every.sites)
                if not (region := self.continuum.site(site).region) or region in regions
            ]
            self._offers_in[key] = Offers(
                paths=every.paths[some],
                demands=every.demands[some],
                sites=tuple(every.sites[i] for i in some),
            )
        return self._offers_in[key]

    def sessions(self, terms: Terms | None) -> Sessions:
        return Sessions(self.capacities, resources=self.resources, terms=terms)
