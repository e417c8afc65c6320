"""Requests that come and go: who may run now, where, with which shares.

A *session* is a request that was accepted and runs. A newcomer is admitted at the option that takes least of
what is left, or refused at once with the reason. The shares of all change then, which costs one message: the
prices of the resources, from which each session computes its own. Sessions that are *frozen* keep the shares
that they have, come what may; and there may be a limit on how often shares change at all, beyond which
newcomers get what the others leave.

When capacity is lost, sessions are placed again by falling value, first where they are, then elsewhere; so
whoever loses its place would not fit even if all of less value were gone. An emergency is let in the same
way.

No clock: whoever calls says when it is.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from einthoven.errors import Conflict, InputInvalid, NotFound
from einthoven.placement.offloading.allocation import components, perron
from einthoven.placement.offloading.instance import FloatArray
from einthoven.placement.offloading.session_load import FITS, Load, Offers, Session, alone, offers_of, placed
from einthoven.placement.offloading.sharing import cheapest_shares

__all__ = ["Admitted", "Offers", "Refused", "Replanned", "Sessions", "Terms", "offers_of"]

_TOLERANCE: Final = 1e-12
_RECENT: Final = 200
_POSITIVE: Final = 0.5


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """How much sessions may be disturbed."""

    reallocations_per_s: float = math.inf
    """How often the shares of running sessions may change because somebody comes."""
    burst: int = 1
    """Changes that may be saved up."""
    moves: int = 50
    """Sessions that may be moved to another option in one re-planning."""
    dear_from: float = 1.0
    """Under overload whoever is dearer than this part of the last 200 newcomers is refused, so that more of
    the others fit; 1: never. Overload is when more than the rest of them were refused."""

    def __post_init__(self) -> None:
        if not (self.reallocations_per_s >= 0 and self.burst >= 1 and self.moves >= 0):
            raise InputInvalid("a limit on changes is negative.", where="terms")
        if not 0 < self.dear_from <= 1:
            raise InputInvalid("a part above 0 and up to 1 is wanted.", where="terms.dear_from")


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """A newcomer runs."""

    name: str
    option: int
    site: str
    shares: dict[int, float]
    """By resource, in its unit."""
    prices: tuple[float, ...] | None
    """For all sessions, if their shares change; else only the newcomer need be told anything."""
    moved: tuple[str, ...] = ()
    evicted: tuple[str, ...] = ()


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A newcomer does not run, and why."""

    name: str
    reason: Literal["never", "lost", "full", "settled", "dear"]
    """never: it would miss its deadline even alone. lost: so it would with what there is now. full: not
    beside those that run. settled: only if shares changed, which they may not now. dear: it would fit, but
    for what it takes more others will."""
    take: float
    """What its best option would use of what is left, or of its slack if it were alone; above 1."""
    resource: str = ""
    """Where most of that is used."""
    retry_after_s: float | None = None
    """When shares may change again."""

    @property
    def says(self) -> str:
        """In words."""
        much = f"{self.take:.3g} times" if math.isfinite(self.take) else "more than"
        match self.reason:
            case "never":
                return f"Even alone it would take {much} the time that its deadline leaves."
            case "lost":
                return f"With the capacity that is left, even alone it would take {much} its time."
            case "full":
                return f"It would take {much} what is left, most of it of {self.resource}."
            case "dear":
                return "It would fit, but asks for more than most do, and many are being refused."
            case "settled":
                return "It would fit if the shares of others changed, which they may not yet."


class Replanned(msgspec.Struct, frozen=True, kw_only=True):
    """What a change of capacity did."""

    prices: tuple[float, ...]
    moved: tuple[str, ...]
    evicted: tuple[str, ...]


class Sessions:
    """All that run now.

    Parameters
    ----------
    capacities : of resources (J), above 0.
    resources : their names.
    terms : how much sessions may be disturbed.
    """

    def __init__(
        self, capacities: ArrayLike, *, resources: Sequence[str] = (), terms: Terms | None = None
    ) -> None:
        declared = np.array(capacities, dtype=np.float64)
        if (
            declared.ndim != 1
            or not len(declared)
            or not bool(np.all(np.isfinite(declared) & (declared > 0)))
        ):
            raise InputInvalid("capacities above 0 are wanted.", where="capacities")
        self.terms = terms or Terms()
        self.resources = tuple(resources) or tuple(f"resource-{number}" for number in range(len(declared)))
        self.prices: FloatArray = 1.0 / declared
        """Per unit (J); what was told last."""
        self._declared = declared
        self._load = Load(declared.copy())
        self._sessions: dict[str, Session] = {}
        self._count = 0
        self._tokens, self._tokens_at = float(self.terms.burst), -math.inf
        self._recent: deque[tuple[float, bool]] = deque(maxlen=_RECENT)

    def __len__(self) -> int:
        return len(self._sessions)

    def __contains__(self, name: object) -> bool:
        return name in self._sessions

    @property
    def names(self) -> tuple[str, ...]:
        """Of all that run, in the order in which they came."""
        return tuple(self._sessions)

    @property
    def capacities(self) -> FloatArray:
        """What there is now (J)."""
        return self._load.capacities.copy()

    @property
    def matrix(self) -> FloatArray:
        """M of the sessions that are not frozen, over the capacity that is not (J, J)."""
        return self._load.slack.matrix.copy()

    @property
    def inverse(self) -> FloatArray:
        """``(I - M)⁻¹``."""
        return self._load.slack.inverse.copy()

    def site(self, name: str) -> str:
        """Where a session runs."""
        session = self._session(name)
        return session.offers.sites[session.option]

    def shares(self, name: str) -> dict[int, float]:
        """What a session holds, by resource."""
        session = self._session(name)
        held = self._held(session)
        return {
            int(resource): float(share)
            for resource, share, demand in zip(session.path, held, session.demand, strict=True)
            if demand > 0
        }

    def utilisations(self) -> FloatArray:
        """What is given away of each resource, as part of what there is now (J)."""
        given = self._given()
        now = self._load.capacities
        return np.divide(given, now, out=np.zeros_like(given), where=now > 0)

    def admit(
        self,
        name: str,
        offers: Offers,
        *,
        at_s: float = 0.0,
        value: float = 1.0,
        is_frozen: bool = False,
        may_preempt: bool = False,
    ) -> Admitted | Refused:
        """Let a newcomer run, or say why not.

        Parameters
        ----------
        is_frozen : its shares shall never change.
        may_preempt : sessions of less value may be moved or ended for it, at once, whatever the terms say.

        Raises
        ------
        Conflict : one of that name runs.
        InputInvalid : options that no session can have.
        """
        if name in self._sessions:
            raise Conflict("a session of that name runs.", where="name", remedy="End it first.")
        self._check(offers, value)
        newcomer = Session(name, offers, value, 0, self._count, is_frozen)
        answer = self._answered(newcomer, at_s, may_preempt=may_preempt)
        if self.terms.dear_from < 1 and len(offers.sites):
            self._recent.append((float(self._costs(offers).min()), isinstance(answer, Refused)))
        return answer

    def _answered(self, newcomer: Session, at_s: float, *, may_preempt: bool) -> Admitted | Refused:
        name, offers = newcomer.name, newcomer.offers
        least = self._load.alone(offers)
        if not len(least) or least.min() > 1 + _TOLERANCE:
            return self._hopeless(newcomer, float(least.min(initial=math.inf)), may_preempt=may_preempt)
        takes = self._load.takes(offers.paths, offers.demands)
        newcomer.option = option = int(np.argmin(takes))
        fits = takes[option] <= FITS
        if fits and not may_preempt and self._is_dear(offers):
            return Refused(name=name, reason="dear", take=float(takes[option]))
        if fits and self._may_reallocate(at_s):
            return self._enter(newcomer)
        settled = self._beside(newcomer) if fits else None
        if settled is not None:
            return settled
        if may_preempt:
            entered = self._preempt(newcomer)
            if entered is not None:
                return entered
        if fits:
            return Refused(
                name=name, reason="settled", take=float(takes[option]), retry_after_s=self._wait_s(at_s)
            )
        return Refused(name=name, reason="full", take=float(takes[option]), resource=self._tightest(newcomer))

    def depart(self, name: str) -> None:
        """End a session. Nobody's shares change; what it held is there for the next.

        Raises
        ------
        NotFound : none of that name runs.
        """
        session = self._session(name)
        if session.is_frozen:
            self._load.thaw(session.path, self._held(session))
        else:
            self._load.remove(session.path, session.demand)
        del self._sessions[name]

    def freeze(self, name: str) -> None:
        """From now on a session keeps the shares that it has; raises NotFound."""
        session = self._session(name)
        if session.is_frozen:
            return
        held = self._held(session)
        self._load.remove(session.path, session.demand)
        session.shares, session.is_frozen = held, True
        self._load.freeze(session.path, held)

    def set_capacity(self, resource: int, capacity: float) -> Replanned:
        """More or less of a resource is there, or none: sessions are placed again where they must.

        Raises
        ------
        InputInvalid : no such resource, or a capacity below 0.
        """
        if not (0 <= resource < len(self._declared)) or not (math.isfinite(capacity) and capacity >= 0):
            raise InputInvalid("a resource that exists and 0 or more are wanted.", where="capacity")
        capacities = self._load.capacities.copy()
        capacities[resource] = capacity
        return self._replanned(*placed(capacities, self._sessions.values(), self.terms.moves))

    def follow(
        self, capacities: ArrayLike, resources: Sequence[str], offers: Mapping[str, Offers]
    ) -> Replanned:
        """Other resources are there, with other ways to them.

        Each session stays where it is if it fits there, those of higher value first, then as they came; what
        is left goes where it takes least, or is evicted: so are those without offers, and frozen ones whose
        way is another. Takes the time of as many arrivals as there are sessions.

        Parameters
        ----------
        capacities : of the resources that there are now (J), above 0; resources : their names.
        offers : of each session, by its name; a site keeps its name.

        Raises
        ------
        InputInvalid : capacities that cannot be.
        """
        other = Sessions(capacities, resources=resources, terms=self.terms)
        load, options = other._load, dict[str, int]()
        kept = [
            carried
            for session in self._sessions.values()
            if (carried := self._carried(session, offers.get(session.name), resources)) is not None
        ]
        moves = self.terms.moves
        for value in sorted({one.value for one in kept}, reverse=True):
            group = [one for one in kept if one.value == value]
            moves -= _stay_or_move(load, group, options, moves)
        before = {name: session.offers.sites[session.option] for name, session in self._sessions.items()}
        self.resources, self._declared, self._load = other.resources, other._declared, load
        self._sessions = {one.name: one for one in kept if one.name in options}
        moved = tuple(
            name for name, one in self._sessions.items() if one.offers.sites[one.option] != before[name]
        )
        evicted = tuple(name for name in before if name not in self._sessions)
        return Replanned(prices=self._broadcast(), moved=moved, evicted=evicted)

    def _carried(self, session: Session, offers: Offers | None, resources: Sequence[str]) -> Session | None:
        """A session with other offers; its option is -1 where its site is none of them."""
        if offers is None:
            return None
        self._check_shapes(offers, len(resources))
        site = session.offers.sites[session.option]
        option = offers.sites.index(site) if site in offers.sites else -1
        carried = Session(session.name, offers, session.value, option, session.number, session.is_frozen)
        if session.is_frozen:
            ways = [self.resources[at] for at in session.path], [resources[at] for at in carried.path]
            if option < 0 or ways[0] != ways[1]:
                return None
            carried.shares = session.shares
        return carried

    def _replanned(self, load: Load, options: dict[str, int]) -> Replanned:
        """Make a placement true."""
        evicted = tuple(name for name in self._sessions if name not in options)
        moved = tuple(name for name, option in options.items() if option != self._sessions[name].option)
        for name in evicted:
            del self._sessions[name]
        for name, option in options.items():
            self._sessions[name].option = option
        self._load = load
        return Replanned(prices=self._broadcast(), moved=moved, evicted=evicted)

    def _preempt(self, newcomer: Session) -> Admitted | None:
        """Place all again with the newcomer, which is before those of less value and behind all others."""
        best: tuple[float, int, Load, dict[str, int]] | None = None
        running = list(self._sessions.values())
        for option in range(len(newcomer.offers.sites)):
            newcomer.option = option
            load, options = placed(
                self._load.capacities, [*running, newcomer], self.terms.moves, fixed=newcomer.name
            )
            if newcomer.name not in options:
                continue
            kept = sum(one.value for one in running if one.name in options)
            if best is None or kept > best[0]:
                best = (kept, option, load, options)
        if best is None:
            return None
        _, newcomer.option, load, options = best
        frozen, newcomer.is_frozen = newcomer.is_frozen, False
        self._sessions[newcomer.name] = newcomer
        self._count += 1
        done = self._replanned(load, options)
        if frozen:
            self.freeze(newcomer.name)
        return Admitted(
            name=newcomer.name,
            option=newcomer.option,
            site=self.site(newcomer.name),
            shares=self.shares(newcomer.name),
            prices=done.prices,
            moved=done.moved,
            evicted=done.evicted,
        )

    def _enter(self, newcomer: Session) -> Admitted:
        """Let it in, and tell all new prices."""
        frozen, newcomer.is_frozen = newcomer.is_frozen, False
        self._load.add(newcomer.path, newcomer.demand)
        self._sessions[newcomer.name] = newcomer
        self._count += 1
        prices = self._broadcast()
        self._tokens -= 1.0
        if frozen:
            self.freeze(newcomer.name)
        return Admitted(
            name=newcomer.name,
            option=newcomer.option,
            site=self.site(newcomer.name),
            shares=self.shares(newcomer.name),
            prices=prices,
        )

    def _beside(self, newcomer: Session) -> Admitted | None:
        """Let it in with what the shares of the others leave, cheapest option first, if that is enough."""
        left = np.maximum(0.0, self._load.capacities - self._given())
        offers = newcomer.offers
        price = 1.0 / self._declared[offers.paths]
        asked = offers.demands > 0
        shares = cheapest_shares(offers.demands, price, left[offers.paths])
        cost = self._costs(offers)
        for option in np.argsort(cost, kind="stable").tolist():
            if np.isnan(shares[option]).any():
                continue
            newcomer.option = option
            newcomer.shares = np.where(asked[option], shares[option], 0.0)
            if newcomer.is_frozen:
                if not self._load.freeze(newcomer.path, newcomer.shares):
                    continue
            else:
                self._load.add(newcomer.path, newcomer.demand)
            self._sessions[newcomer.name] = newcomer
            self._count += 1
            return Admitted(
                name=newcomer.name,
                option=option,
                site=self.site(newcomer.name),
                shares=self.shares(newcomer.name),
                prices=None,
            )
        newcomer.shares = None
        return None

    def _hopeless(self, newcomer: Session, least: float, *, may_preempt: bool) -> Admitted | Refused:
        """For one that could not run even if it were alone with all that is not frozen."""
        name, offers = newcomer.name, newcomer.offers
        declared = float(alone(offers, self._declared).min(initial=math.inf))
        if declared > 1 + _TOLERANCE:
            return Refused(name=name, reason="never", take=declared)
        if may_preempt and alone(offers, self._load.capacities).min() <= 1:
            entered = self._preempt(newcomer)
            if entered is not None:
                return entered
        return Refused(name=name, reason="lost", take=least)

    def _costs(self, offers: Offers) -> FloatArray:
        """What options cost alone, as sums of declared utilisations (k)."""
        parts = offers.demands / self._declared[offers.paths]
        return np.asarray(np.sqrt(parts).sum(axis=1) ** 2)

    def _is_dear(self, offers: Offers) -> bool:
        """Whether it must wait for better times."""
        part = self.terms.dear_from
        if part == 1 or len(self._recent) < _RECENT:
            return False
        costs, refused = zip(*self._recent, strict=True)
        return sum(refused) > (1 - part) * len(refused) and bool(
            self._costs(offers).min() > np.quantile(costs, part)
        )

    def _broadcast(self) -> tuple[float, ...]:
        """New prices, for what is not frozen.

        With ``z = (I - M)⁻¹ 1``, ``Mz = z - 1``: at prices ``z² / C`` every deadline is met, and resource j
        is used to ``1 - 1 / z_j``. That needs no eigenvector; only on the border, where the inverse has lost
        digits, it is the balanced allocation.
        """
        load = self._load
        room, matrix = load.room, load.slack.matrix
        vector = load.slack.inverse.sum(axis=1)
        if not bool(np.all(vector > _POSITIVE) and np.all(matrix @ vector <= vector)):
            vector = np.ones(len(room))
            for group in components(load.links):
                vector[group] = perron(matrix[np.ix_(group, group)])[1]
        self.prices = np.divide(vector**2, room, out=1.0 / self._declared, where=room > 0)
        for session in self._sessions.values():
            if not session.is_frozen:
                session.shares = None
        return tuple(self.prices.tolist())

    def _held(self, session: Session) -> FloatArray:
        if session.shares is not None:
            return session.shares
        return cheapest_shares(session.demand, self.prices[session.path])

    def _given(self) -> FloatArray:
        """What all hold together (J)."""
        given = self._load.frozen.copy()
        for session in self._sessions.values():
            if not session.is_frozen:
                np.add.at(given, session.path, self._held(session))
        return given

    def _may_reallocate(self, at_s: float) -> bool:
        if self.terms.reallocations_per_s == math.inf:
            self._tokens = float(self.terms.burst)
            return True
        elapsed_s = 0.0 if self._tokens_at == -math.inf else max(0.0, at_s - self._tokens_at)
        self._tokens_at = max(at_s, self._tokens_at)
        self._tokens = min(float(self.terms.burst), self._tokens + elapsed_s * self.terms.reallocations_per_s)
        return self._tokens >= 1.0 and self.terms.reallocations_per_s > 0

    def _wait_s(self, at_s: float) -> float | None:
        if self.terms.reallocations_per_s == 0:
            return None
        return max(0.0, (1.0 - self._tokens) / self.terms.reallocations_per_s - (at_s - self._tokens_at))

    def _tightest(self, newcomer: Session) -> str:
        """Where most of what a newcomer would take is."""
        path, root = newcomer.path, self._load.roots(newcomer.path, newcomer.demand)
        parts = root * (self._load.slack.inverse[np.ix_(path, path)] @ root)
        return self.resources[int(path[np.argmax(parts)])]

    def _session(self, name: str) -> Session:
        found = self._sessions.get(name)
        if found is None:
            raise NotFound("no session of that name runs.", where="name")
        return found

    def _check(self, offers: Offers, value: float) -> None:
        self._check_shapes(offers, len(self._declared))
        if not (math.isfinite(value) and value > 0):
            raise InputInvalid("a value above 0 is wanted.", where="value")

    @staticmethod
    def _check_shapes(offers: Offers, resources: int) -> None:
        shaped = offers.paths.ndim == 2 and offers.paths.shape == offers.demands.shape
        if not shaped or len(offers.sites) != len(offers.paths):
            raise InputInvalid("paths, demands and sites are of different lengths.", where="offers")
        known = bool(np.all((offers.paths >= 0) & (offers.paths < resources)))
        if not known or not bool(np.all(np.isfinite(offers.demands) & (offers.demands >= 0))):
            raise InputInvalid("a resource is unknown, or a demand is less than 0.", where="offers")
        if not bool(np.all(np.any(offers.demands > 0, axis=1))):
            raise InputInvalid("an option needs nothing at all.", where="offers")


def _stay_or_move(load: Load, group: Sequence[Session], options: dict[str, int], moves: int) -> int:
    """Sessions of one value where they are, frozen ones first, then the others elsewhere; how many moved."""
    homeless = []
    for session in sorted(group, key=lambda one: (not one.is_frozen, one.number)):
        if session.is_frozen and session.shares is not None:
            if load.freeze(session.path, session.shares):
                options[session.name] = session.option
        elif session.option >= 0 and load.fits(session.path, session.demand):
            load.add(session.path, session.demand)
            options[session.name] = session.option
        else:
            homeless.append(session)
    moved = 0
    for session in homeless:
        takes = load.takes(session.offers.paths, session.offers.demands)
        best = int(np.argmin(takes)) if len(takes) else -1
        if moved < moves and best >= 0 and takes[best] <= FITS:
            session.option = options[session.name] = best
            load.add(session.path, session.demand)
            moved += 1
    return moved
