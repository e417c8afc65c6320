"""Which node gets a nanoservice: hard rules first, each with its reason; then who would be least full.

Processors are shared as in the model of offloading (docs/offloading.md): a service takes ``work / deadline``
of its node, and with one resource the spectral test says that all are in time if and only if that sums to no
more than there is. What links would add is not looked at, because data and node are at one site.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal

import msgspec

from einthoven.continuum import TIERS, Region
from einthoven.edge.nanoservices import Nanoservice
from einthoven.edge.nodes import NodeDescription
from einthoven.trust.policy import Policy, Question, decide

__all__ = ["LASTING", "WHY_NOT", "Candidate", "Matched", "Unplaced", "WhyNot", "match", "unfit"]

WhyNot = Literal[
    "away", "draining", "back-end", "architecture", "capability", "tier", "policy", "battery", "unstable",
    "taken", "failed", "memory", "deadline",
]  # fmt: skip
WHY_NOT: Final[dict[WhyNot, str]] = {
    "away": "it was not heard of lately",
    "draining": "it is given nothing new",
    "back-end": "it cannot run this kind of program",
    "architecture": "its processor is another",
    "capability": "it lacks a sensor or an actuator",
    "tier": "the service must not go so far from the patient",
    "battery": "the service wants mains power",
    "unstable": "the service wants a node that stays",
    "policy": "the data policy does not permit the data there",
    "taken": "it runs this already",
    "failed": "the service failed there lately",
    "memory": "there is not enough memory left",
    "deadline": "with what else it runs it would be late",
}
"""Every reason why a node is not given a nanoservice."""
LASTING: Final[frozenset[WhyNot]] = frozenset(
    {"back-end", "architecture", "capability", "tier", "policy", "battery", "unstable", "taken"}
)
"""Those that waiting does not change."""
Forbids = Callable[[Nanoservice, str, NodeDescription], WhyNot | None]
"""What forbids a service on a node of this name and kind."""
_CONSENTED: Final = frozenset({"permitted", "no-consent"})
"""Consent is asked for with each patient's data, not when a service is placed."""
_ROUNDING: Final = 1 + 1e-12


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A node as it stands."""

    name: str
    description: NodeDescription
    is_here: bool = True
    is_draining: bool = False
    memory_bytes: float = 0.0
    """Taken."""
    cycles_per_s: float = 0.0
    """Taken."""
    runs: frozenset[tuple[str, str]] = frozenset()
    """Names and versions."""
    has_failed: bool = False
    """Whether it did not manage to run this lately."""


class Matched(msgspec.Struct, frozen=True):
    """A node was found."""

    node: str


class Unplaced(msgspec.Struct, frozen=True):
    """None was, and why: the first rule that each node broke."""

    reasons: Mapping[str, WhyNot]


def unfit(
    service: Nanoservice, node: str, has: NodeDescription, policy: Policy | None = None
) -> WhyNot | None:
    """What forbids a service on a node, whatever else happens there."""
    if service.back_end not in has.back_ends:
        return "back-end"
    if service.architectures and has.architecture not in service.architectures:
        return "architecture"
    if not set(service.needs) <= set(has.capabilities):
        return "capability"
    if TIERS.index(has.tier) > TIERS.index(service.highest_tier):
        return "tier"
    if service.needs_mains and has.power != "mains":
        return "battery"
    if service.needs_stable and not has.is_stable:
        return "unstable"
    if policy is not None and not _permits(policy, service, node, has):
        return "policy"
    return None


def match(
    service: Nanoservice, candidates: Iterable[Candidate], forbids: Forbids = unfit
) -> Matched | Unplaced:
    """The node that a new instance goes to.

    Parameters
    ----------
    forbids : `unfit`, under a policy.
    """
    reasons: dict[str, WhyNot] = {}
    best: tuple[float, int, bool, str] | None = None
    for one in candidates:
        why = _why_not(service, one, forbids)
        if why is not None:
            reasons[one.name] = why
            continue
        has = one.description
        score = (_take(service, one), TIERS.index(has.tier), not has.is_stable, one.name)
        best = score if best is None else min(best, score)
    return Unplaced(reasons) if best is None else Matched(best[-1])


def _why_not(service: Nanoservice, one: Candidate, forbids: Forbids) -> WhyNot | None:
    if not one.is_here:
        return "away"
    if one.is_draining:
        return "draining"
    why = forbids(service, one.name, one.description)
    if why is not None:
        return why
    if (service.name, service.version) in one.runs:
        return "taken"
    if one.has_failed:
        return "failed"
    has = one.description
    if has.memory_bytes and one.memory_bytes + service.memory_bytes > has.memory_bytes:
        return "memory"
    if service.cycles_per_s and has.cycles_per_s and _take(service, one) > _ROUNDING:
        return "deadline"
    return None


def _take(service: Nanoservice, one: Candidate) -> float:
    """The part of the node's processors that is taken then; of its memory where nothing is said of them."""
    has = one.description
    if has.cycles_per_s and (service.cycles_per_s or one.cycles_per_s):
        return (one.cycles_per_s + service.cycles_per_s) / has.cycles_per_s
    if has.memory_bytes:
        return (one.memory_bytes + service.memory_bytes) / has.memory_bytes
    return float(len(one.runs))


def _permits(policy: Policy, service: Nanoservice, node: str, has: NodeDescription) -> bool:
    region = Region(name=node, kind="inline", tier=has.tier, labels=has.labels)
    return all(
        decide(
            policy,
            Question(function=function, region=region, purpose=service.purpose, consent=None, now_ns=0),
        ).why
        in _CONSENTED
        for function in service.functions
    )
