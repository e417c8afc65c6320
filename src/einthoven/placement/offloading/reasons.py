"""Why a request was not accepted, and what would have to change for it: in numbers, and in words."""

import math
from typing import Final, Literal

import msgspec
import numpy as np

from einthoven.placement.offloading.feasibility import SlackInverse, gram, is_feasible, top, worst_of
from einthoven.placement.offloading.instance import FloatArray, Instance, IntArray
from einthoven.placement.offloading.plans import Plan

__all__ = ["Reason", "reasons_of", "worths"]

_HOPELESS: Final = 1e6
_DEAREST: Final = 5
_TRIED: Final = 40


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Of one request that was not accepted."""

    request: str
    why: Literal["never", "full", "settled"]
    """never: it would miss its deadline even alone. full: not beside those that were accepted. settled: it
    would fit if their shares were given anew, which this method does not do."""
    take: float | None
    """Of its best option: what it would use of what is left, or of its slack if it were alone; None: without
    limit, or it has no option."""
    option: int | None = None
    """That option."""
    site: str = ""
    resource: str = ""
    """The one resource of which least more would be enough."""
    more: float | None = None
    """How much more of it, as a part of what there is; None: more of one resource is not enough."""
    later_s: float | None = None
    """How much later its deadline would have to be; None: that alone is not enough."""
    instead: str = ""
    """Whoever would have to go, if one alone is enough: of the least value, then of the most relief."""

    @property
    def says(self) -> str:
        """In words."""
        if self.why == "never":
            return self._never()
        if self.why == "settled":
            return (
                f"{self.request} would fit at {self.site} if the shares of the others were given anew, "
                "which this method does not do."
            )
        ways = []
        if self.more is not None:
            ways.append(f"{100 * self.more:.3g} % more of {self.resource}")
        if self.later_s is not None:
            ways.append(f"a deadline {1000 * self.later_s:.3g} ms later")
        if self.instead:
            ways.append(f"{self.instead} out")
        how = " or ".join(ways) + " would let it in." if ways else "one change alone would not let it in."
        much = f"{self.take:.3g} times" if self.take is not None else "far more than"
        return f"{self.request} at {self.site} would take {much} what is left. {how[0].upper()}{how[1:]}"

    def _never(self) -> str:
        if self.take is not None:
            return f"{self.request} would take {self.take:.3g} times its slack even alone."
        return f"{self.request} has no option whose fixed delays leave it time."


def reasons_of(instance: Instance, plan: Plan) -> tuple[Reason, ...]:
    """Of every request that a plan did not accept, in their order."""
    accepted = set(plan.accepted.tolist())
    rejected = [request for request in range(instance.count) if request not in accepted]
    load = SlackInverse(len(instance.capacities))
    if instance.is_additive:
        load = SlackInverse(len(instance.capacities), gram(instance, plan.options))
    return tuple([_reason(instance, plan, load, request) for request in rejected])


def _reason(instance: Instance, plan: Plan, load: SlackInverse, request: int) -> Reason:
    name, span = instance.requests[request], instance.options_of(request)
    options = np.arange(span.start, span.stop)
    if not len(options):
        alone = float(instance.alone[request])
        return Reason(request=name, why="never", take=alone if math.isfinite(alone) else None)
    if instance.is_additive:
        takes = load.takes(instance.paths[options], instance.roots[options])
    else:
        takes = np.array([worst_of(instance, np.append(plan.options, one))[0] for one in options])
    option = int(options[np.argmin(takes)])
    take = float(takes.min())
    site = instance.sites[option]
    if is_feasible(instance, np.append(plan.options, option)):
        return Reason(request=name, why="settled", take=take, option=option, site=site)
    if not instance.is_additive:
        return Reason(
            request=name,
            why="full",
            take=take,
            option=option,
            site=site,
            instead=_instead_of_any(instance, plan, options),
        )
    resource, more = _more_of_one(instance, plan, option)
    return Reason(
        request=name,
        why="full",
        take=take if take < _HOPELESS else None,
        option=option,
        site=site,
        resource=resource,
        more=more,
        later_s=(take - 1) * float(instance.slacks_s[option]) if take < _HOPELESS else None,
        instead=_instead(instance, plan, load, options),
    )


def _more_of_one(instance: Instance, plan: Plan, option: int) -> tuple[str, float | None]:
    """The resource of which the least part more is enough.

    With ``f`` times as much of resource j the set fits if and only if ``f >= m_jj + m_jᵀ(I - M₋)⁻¹ m_j``,
    where m is the j-th column of M and M₋ the rest of M, which must be feasible by itself (Schur complement).
    """
    matrix = gram(instance, np.append(plan.options, option))
    _, vector = top(matrix)
    dearest = np.argsort(-vector, kind="stable")[:_DEAREST]
    best: tuple[float, int] | None = None
    for resource in sorted({*dearest.tolist(), *instance.paths[option].tolist()}):
        others = np.flatnonzero(np.arange(len(matrix)) != resource)
        rest = matrix[np.ix_(others, others)]
        if np.linalg.eigvalsh(rest)[-1] >= 1 - 1e-12:
            continue
        column = matrix[others, resource]
        factor = matrix[resource, resource] + column @ np.linalg.solve(np.eye(len(rest)) - rest, column)
        if best is None or factor < best[0]:
            best = (float(factor), resource)
    if best is None or best[0] > _HOPELESS:
        return "", None
    return instance.resources[best[1]], best[0] - 1


def _instead(instance: Instance, plan: Plan, load: SlackInverse, options: IntArray) -> str:
    """Who must go: by what each option takes when each accepted request is gone."""
    if not len(plan.options):
        return ""
    new, old = instance.dense_roots(options), instance.dense_roots(plan.options)
    toward = old @ load.inverse
    cross = new @ toward.T
    stays = 1 + (toward * old).sum(axis=1)
    takes = ((new @ load.inverse) * new).sum(axis=1)[:, None] - cross**2 / stays
    least = takes.min(axis=0)
    order = np.lexsort((least, instance.values[plan.accepted]))
    for number in order[least[order] <= 1 + 1e-9][:_TRIED]:
        option = options[np.argmin(takes[:, number])]
        if _fits_instead(instance, plan.options, int(number), int(option)):
            return instance.requests[int(plan.accepted[number])]
    return ""


def _instead_of_any(instance: Instance, plan: Plan, options: IntArray) -> str:
    """The same by trying."""
    for number in np.argsort(instance.values[plan.accepted], kind="stable")[:_TRIED]:
        if any(_fits_instead(instance, plan.options, int(number), int(option)) for option in options):
            return instance.requests[int(plan.accepted[number])]
    return ""


def _fits_instead(instance: Instance, held: IntArray, number: int, option: int) -> bool:
    return is_feasible(instance, np.append(np.delete(held, number), option))


def worths(plan: Plan) -> FloatArray | None:
    """Of each whole resource (J), by the plan's dual: how steeply the bound rises with more of it."""
    if plan.dual is None:
        return None
    return np.asarray(plan.dual.weights @ plan.dual.vectors**2)
