"""Policies: which of the regions that are free gets an invocation. Plain functions, chosen by name."""

import math
import random
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from einthoven.continuum import Region, Spot
from einthoven.errors import InputInvalid
from einthoven.placement.standing import Standing

__all__ = [
    "POLICIES",
    "Invocation",
    "Policy",
    "Urgency",
    "expected_s",
    "money",
    "moved_bytes",
    "policy_named",
]

Urgency = int
"""0: somebody's heart. 1: somebody waits. 2: it can wait."""


class Invocation(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What is to be invoked, as far as it matters where."""

    number: int
    function: str
    urgency: Urgency = 1
    deadline_s: float | None = None
    """When its answer is of no use any more, by the clock of whoever dispatches."""
    needs: frozenset[str] = frozenset()
    """Labels that a region must have: where the data may go."""
    admits: frozenset[Spot] | None = None
    """The only regions that may have the data, each as it was when that was decided; None: all."""
    session: str | None = None
    """Invocations of one session go to one region, as long as that is no worse."""
    prefers: str = ""
    """The region that it goes to first if that is free."""
    content_bytes: int = 0
    """What goes there, and about as much comes back."""
    data_at: str = ""
    """The place where what it refers to lies."""
    data_bytes: int = 0
    busy_s: float = 0.0
    memory_mb: int = 128


Policy = Callable[[Invocation, Sequence[Standing], float, random.Random], Standing]
"""Chooses one of at least one region that is free and may have the invocation; so many seconds are left."""


def expected_s(invocation: Invocation, standing: Standing) -> float:
    """When it would be answered: what the function takes there, and bringing the data there.

    A region that is nearly full, or has failed lately, is taken to be slower.
    """
    region = standing.region
    latency_s = standing.latency_s(invocation.function)
    if invocation.data_bytes and invocation.data_at != region.place:
        latency_s += invocation.data_bytes / (region.bandwidth_mb_s * 1e6)
    return latency_s * (1.0 + standing.fill**2) / (1.0 - 0.9 * standing.error_rate)


def money(invocation: Invocation, standing: Standing) -> float:
    """What it costs there: the invocation, and what has to leave a place because of it."""
    region = standing.region
    price = region.price
    if price.is_nothing:
        return 0.0
    moved = moved_bytes(invocation, region)
    if invocation.busy_s:
        return price.of_call(invocation.busy_s, invocation.memory_mb, moved)
    return standing.usual_cost(invocation.function, invocation.memory_mb) + price.per_egress_gb * moved / 1e9


def moved_bytes(invocation: Invocation, region: Region) -> int:
    """What leaves a place because it is invoked there."""
    is_away = invocation.data_bytes and invocation.data_at != region.place
    return invocation.content_bytes + (invocation.data_bytes if is_away else 0)


def _random(_: Invocation, free: Sequence[Standing], __: float, rng: random.Random) -> Standing:
    return rng.choice(free)


def _round_robin(invocation: Invocation, free: Sequence[Standing], _: float, __: random.Random) -> Standing:
    return free[invocation.number % len(free)]


def _least_loaded(_: Invocation, free: Sequence[Standing], __: float, ___: random.Random) -> Standing:
    return min(free, key=lambda one: one.fill)


def _fastest(invocation: Invocation, free: Sequence[Standing], _: float, __: random.Random) -> Standing:
    return min(free, key=lambda one: expected_s(invocation, one))


def _two_choices(invocation: Invocation, free: Sequence[Standing], _: float, rng: random.Random) -> Standing:
    """The better of two drawn at random (Mitzenmacher, IEEE TPDS 12(10), 2001)."""
    if len(free) == 1:
        return free[0]
    one, other = rng.sample(free, 2)
    return one if expected_s(invocation, one) <= expected_s(invocation, other) else other


def _cheapest(invocation: Invocation, free: Sequence[Standing], left_s: float, _: random.Random) -> Standing:
    """The cheapest that is expected in time; if none is, the fastest."""
    return min(free, key=lambda one: (expected_s(invocation, one) > left_s, money(invocation, one)))


def _balanced(
    invocation: Invocation, free: Sequence[Standing], left_s: float, rng: random.Random
) -> Standing:
    """The fastest for what is urgent; the cheapest of those not much slower for what can wait."""
    if invocation.urgency == 0 or len(free) == 1:
        return _fastest(invocation, free, left_s, rng)
    patience = 1.2 if invocation.urgency == 1 else 4.0
    times = [expected_s(invocation, one) for one in free]
    most_s = patience * min(times)
    best, least = free[0], (True, math.inf, math.inf)
    for one, time_s in zip(free, times, strict=True):
        if time_s <= most_s:
            rank = (time_s > left_s, money(invocation, one), one.fill)
            if rank < least:
                best, least = one, rank
    return best


POLICIES: Final[dict[str, Policy]] = {
    "balanced": _balanced,
    "cheapest": _cheapest,
    "fastest": _fastest,
    "least-loaded": _least_loaded,
    "random": _random,
    "round-robin": _round_robin,
    "two-choices": _two_choices,
}


def policy_named(name: str) -> Policy:
    """The policy of this name; raises InputInvalid."""
    if name not in POLICIES:
        raise InputInvalid(
            f"there is no policy {name!r}.", where="policy", remedy=f"Choose one of {', '.join(POLICIES)}."
        )
    return POLICIES[name]
