"""Ways to plan, by name, behind one function.

Whatever a method chooses, its shares are computed here and the whole plan is verified by other code before
it is given to anybody.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import InputInvalid
from einthoven.placement.offloading import baselines
from einthoven.placement.offloading.allocation import allocate
from einthoven.placement.offloading.exact import search
from einthoven.placement.offloading.feasibility import worst_of
from einthoven.placement.offloading.greedy import (
    Choice,
    accept_in_order,
    by_log_det,
    by_prices,
    improve_count,
    improve_value,
    worth,
)
from einthoven.placement.offloading.hra import hra, hra_order
from einthoven.placement.offloading.instance import Instance, IntArray
from einthoven.placement.offloading.plans import ALLOCATIONS, Allocation, Dual, Limits, Plan
from einthoven.placement.offloading.relaxation import (
    Relaxed,
    ascend,
    bound_of,
    priced,
    relax,
    round_off,
    whole,
)
from einthoven.placement.offloading.solver import has_solver
from einthoven.placement.offloading.verify import checked

__all__ = ["METHODS", "Method", "plan"]

_SAME: Final = 1e-6


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Asked:
    """What a method is asked."""

    instance: Instance
    arrival: IntArray
    seed: int
    limits: Limits
    left_s: Callable[[], float]

    def is_over(self) -> bool:
        return self.left_s() <= 0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Found:
    """What a method answers."""

    choice: Choice
    shares: Mapping[int, NDArray[np.float64]] | None = None
    """Settled by the method itself, parts of capacities."""
    bound: float = math.inf
    dual: Dual | None = None
    is_proven: bool = False


class Method(msgspec.Struct, frozen=True, kw_only=True):
    """One way to plan."""

    name: str
    says: str
    """What it does, in one sentence."""
    run: Callable[[Any], Any]
    is_frozen: bool = False
    """Shares are settled as requests come, so nobody's change later."""
    needs_solver: bool = False


def plan(
    instance: Instance,
    *,
    method: str = "default",
    allocation: Allocation = "balanced",
    arrival: Sequence[int] | IntArray | None = None,
    seed: int = 0,
    limits: Limits | None = None,
    clock: Callable[[], float] | None = None,
) -> Plan:
    """Who is accepted, where, with which shares, and how good that is at best.

    Parameters
    ----------
    method : one of `METHODS`.
    allocation : how shares are given, but for methods that settle them as requests come.
    arrival : the order in which requests came (N); by default that of their numbers.
    seed : of what is drawn at random.
    limits : how hard to look.
    clock : seconds that go on, for a limit in seconds.

    Raises
    ------
    InputInvalid : an unknown method or allocation, an order that is none, seconds without a clock, or a
        method whose solver is not installed.
    SolverFailed : the solver did not run.
    PlanRefuted : the plan that was made does not hold; a fault of ours.
    """
    known = METHODS.get(method)
    if known is None:
        names = ", ".join(METHODS)
        raise InputInvalid(f"there is no method {method!r}.", where="method", remedy=f"Methods: {names}.")
    is_possible = {"frozen": known.is_frozen, "stretched": instance.is_additive}.get(allocation, True)
    if allocation not in ALLOCATIONS or not is_possible:
        raise InputInvalid(
            f"shares cannot be {allocation!r} here.",
            where="allocation",
            remedy="Take balanced or cheapest; stretched too where no share is limited and no power fixed.",
        )
    order = np.arange(instance.count) if arrival is None else np.asarray(arrival, dtype=np.int64)
    if not np.array_equal(np.sort(order), np.arange(instance.count)):
        raise InputInvalid("not every request comes exactly once.", where="arrival")
    limits = limits or Limits()
    asked = _Asked(
        instance=instance, arrival=order, seed=seed, limits=limits, left_s=_countdown(limits, clock)
    )
    found: _Found = known.run(asked)
    return checked(instance, _planned(instance, known, allocation, found))


def _countdown(limits: Limits, clock: Callable[[], float] | None) -> Callable[[], float]:
    if limits.seconds == math.inf:
        return lambda: math.inf
    if clock is None:
        raise InputInvalid(
            "a limit in seconds needs a clock.", where="limits.seconds", remedy="Give clock=time.monotonic."
        )
    end = clock() + limits.seconds
    return lambda: end - clock()


def _planned(instance: Instance, method: Method, allocation: Allocation, found: _Found) -> Plan:
    accepted = np.array(sorted(found.choice), dtype=np.int64)
    options = np.array([found.choice[one] for one in accepted.tolist()], dtype=np.int64)
    if found.shares is not None:
        settled = np.array([found.shares[one] for one in accepted.tolist()])
        shares, prices = (
            settled.reshape(len(options), instance.paths.shape[1]),
            np.ones(len(instance.capacities)),
        )
        least = worst_of(instance, options)[0]
    else:
        shared = allocate(instance, options, allocation)
        shares, prices, least = shared.shares, shared.prices, shared.least_utilisation
    shares = np.where(instance.loads[options] > 0, shares, 0.0)
    path = instance.paths[options]
    used = instance.summed(options, shares)
    value = worth(instance, found.choice)
    bound = max(found.bound, value)
    return Plan(
        method=method.name,
        allocation="frozen" if method.is_frozen else allocation,
        offered=instance.count,
        accepted=accepted,
        options=options,
        shares=shares * instance.capacities[path],
        prices=prices / instance.capacities,
        utilisations=used,
        least_utilisation=least,
        value=value,
        cost=float(used.sum()),
        bound=value if found.is_proven else bound,
        is_proven=found.is_proven or value >= whole(instance, bound) - _SAME,
        dual=found.dual,
    )


def _frozen(served: baselines.Frozen) -> _Found:
    return _Found(choice=served.choice, shares=served.shares)


def _in_arrival_order(asked: _Asked, ranks: NDArray[np.float64], *, recaps: bool = True) -> _Found:
    return _frozen(baselines.serve_in_order(asked.instance, asked.arrival, ranks, recaps=recaps))


def _improved(asked: _Asked, choice: Choice, enough: float = math.inf) -> Choice:
    """By the local search that the values ask for."""
    if asked.instance.has_values:
        return improve_value(asked.instance, choice, rounds=asked.limits.search_rounds, is_over=asked.is_over)
    return improve_count(
        asked.instance,
        choice,
        rounds=asked.limits.search_rounds,
        enough=enough,
        is_over=asked.is_over,
    )


def _best(instance: Instance, choices: Sequence[Choice]) -> Choice:
    return max(choices, key=lambda choice: worth(instance, choice))


def _bounded(asked: _Asked) -> Relaxed | None:
    """The relaxation by the way that the size and what is installed allow."""
    instance = asked.instance
    if has_solver() and len(instance.owners) <= asked.limits.relaxed_options:
        return relax(instance, asked.limits, asked.left_s)
    return ascend(instance, asked.left_s) if instance.is_additive else None


def _by_rounding(asked: _Asked) -> _Found:
    relaxed = relax(asked.instance, asked.limits, asked.left_s)
    choice = round_off(asked.instance, relaxed)
    return _Found(choice=choice, bound=relaxed.bound, dual=relaxed.dual)


def _by_rounding_and_search(asked: _Asked) -> _Found:
    relaxed = relax(asked.instance, asked.limits, asked.left_s)
    choice = round_off(asked.instance, relaxed)
    choice = _improved(asked, choice, whole(asked.instance, relaxed.bound))
    return _Found(choice=choice, bound=relaxed.bound, dual=relaxed.dual)


def _default(asked: _Asked) -> _Found:
    """Bound, round, log-det greedy, both improved until the bound forbids more."""
    instance = asked.instance
    relaxed = _bounded(asked)
    greedy = by_log_det(instance)
    if relaxed is None:
        choice = _improved(asked, greedy)
        dual = priced(instance, np.sqrt(worst_of(instance, np.array([*choice.values()], dtype=np.int64))[1]))
        return _Found(choice=choice, bound=bound_of(instance, dual), dual=dual)
    enough = whole(instance, relaxed.bound)
    starts = [round_off(instance, relaxed), greedy]
    choice = _best(instance, starts)
    for start in starts:
        if worth(instance, choice) < enough - _SAME and len(instance.capacities) <= asked.limits.searched:
            choice = _best(instance, [choice, _improved(asked, start, enough)])
    return _Found(choice=choice, bound=relaxed.bound, dual=relaxed.dual)


def _by_value(asked: _Asked) -> _Found:
    instance = asked.instance
    relaxed = _bounded(asked)
    starts = [by_log_det(instance)] + ([round_off(instance, relaxed)] if relaxed else [])
    limits = asked.limits
    choice = improve_value(
        instance, _best(instance, starts), rounds=limits.search_rounds, is_over=asked.is_over
    )
    if relaxed is None:
        return _Found(choice=choice)
    return _Found(choice=choice, bound=relaxed.bound, dual=relaxed.dual)


def _exactly(asked: _Asked) -> _Found:
    instance = asked.instance
    relaxed = relax(instance, asked.limits, asked.left_s)
    enough = whole(instance, relaxed.bound)
    known = Choice()
    for start in (round_off(instance, relaxed), by_log_det(instance), by_prices(instance)):
        known = _best(instance, [known, _improved(asked, start, enough)])
        if worth(instance, known) >= enough - _SAME:
            break
    found = search(instance, relaxed, known, asked.limits, left_s=asked.left_s)
    return _Found(choice=found.choice, bound=found.bound, dual=relaxed.dual, is_proven=found.is_proven)


def _table(methods: Sequence[Method]) -> dict[str, Method]:
    return {one.name: one for one in methods}


METHODS: Final[dict[str, Method]] = _table(
    [
        Method(
            name="default",
            says="Bound, rounding and log-det greedy, both improved; the better one.",
            run=_default,
        ),
        Method(
            name="exact",
            says="The most value there is, with proof; at a limit the best found, and a bound.",
            run=_exactly,
            needs_solver=True,
        ),
        Method(name="clr", says="Cut-LP rounding.", run=_by_rounding, needs_solver=True),
        Method(
            name="clr-ls",
            says="Cut-LP rounding, improved by local search.",
            run=_by_rounding_and_search,
            needs_solver=True,
        ),
        Method(
            name="ldg",
            says="Log-det greedy: the most value for what it takes of what is left.",
            run=lambda asked: _Found(choice=by_log_det(asked.instance)),
        ),
        Method(
            name="spg",
            says="Spectral greedy: cheapest first at prices that follow.",
            run=lambda asked: _Found(choice=by_prices(asked.instance)),
        ),
        Method(
            name="spg-ls",
            says="Spectral greedy, improved by local search.",
            run=lambda asked: _Found(choice=_improved(asked, by_prices(asked.instance))),
        ),
        Method(
            name="value",
            says="The better of rounding and log-det greedy, improved by value.",
            run=_by_value,
        ),
        Method(
            name="hra-spectral",
            says="The order of HRA (a reconstruction), accepted while the set is feasible.",
            run=lambda asked: _Found(
                choice=accept_in_order(
                    asked.instance, hra_order(asked.instance), baselines.by_cost(asked.instance)
                )
            ),
        ),
        Method(
            name="fcfs-spectral",
            says="First come, first served, while the set is feasible.",
            run=lambda asked: _Found(
                choice=accept_in_order(asked.instance, asked.arrival, baselines.by_cost(asked.instance))
            ),
        ),
        Method(
            name="hra",
            says="HRA, a reconstruction: cheapest first, shares settled, dearer ones where they fit.",
            run=lambda asked: _frozen(hra(asked.instance)),
            is_frozen=True,
        ),
        Method(
            name="hra-frozen",
            says="HRA, a reconstruction, with the cheapest shares only.",
            run=lambda asked: _frozen(hra(asked.instance, recaps=False)),
            is_frozen=True,
        ),
        Method(
            name="fcfs",
            says="First come, first served, with the cheapest shares only: the published baseline.",
            run=lambda asked: _in_arrival_order(asked, baselines.by_cost(asked.instance), recaps=False),
            is_frozen=True,
        ),
        Method(
            name="fcfs-recap",
            says="First come, first served, dearer shares where they fit.",
            run=lambda asked: _in_arrival_order(asked, baselines.by_cost(asked.instance)),
            is_frozen=True,
        ),
        Method(
            name="random-tier",
            says="First come, first served, each at one option drawn at random.",
            run=lambda asked: _in_arrival_order(asked, baselines.drawn_at_random(asked.instance, asked.seed)),
            is_frozen=True,
        ),
        Method(
            name="edge-first",
            says="First come, first served, at the nearest that has room.",
            run=lambda asked: _in_arrival_order(asked, baselines.by_kind(asked.instance)),
            is_frozen=True,
        ),
        Method(
            name="edge-only",
            says="First come, first served, at the own edge or not at all.",
            run=lambda asked: _in_arrival_order(asked, baselines.only(asked.instance, "edge")),
            is_frozen=True,
        ),
        Method(
            name="cloud-only",
            says="First come, first served, in the core or not at all.",
            run=lambda asked: _in_arrival_order(asked, baselines.only(asked.instance, "core")),
            is_frozen=True,
        ),
    ]
)
