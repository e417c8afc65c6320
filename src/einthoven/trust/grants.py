"""Who may see what was found of a patient: by role, let by somebody, or in an emergency.

`decide_access` is the whole rule, a function of who asks, what was granted and the time. In an organisation
whose rule is ``open`` a role that a route is open to is enough. Where it is ``granted``, and wherever the
rule is not known, somebody must have been let: by the patient, by whoever keeps the care team, or by breaking
the glass. A patient sees what is their own.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal, get_args

import msgspec

from einthoven.errors import InputInvalid
from einthoven.names import is_pseudonym
from einthoven.trust.entries import Accessed, GrantChanged, Reason

__all__ = [
    "ACCESS_RULES",
    "SEEN_CLASSES",
    "AccessAsk",
    "AccessDecision",
    "AccessRule",
    "Basis",
    "EmergencyReason",
    "Grant",
    "SeenClass",
    "accessed",
    "decide_access",
    "granted",
    "in_order",
]

SeenClass = Literal["findings", "segments", "alerts", "recordings"]
"""Views and trends; what devices sent and the answers to it; alerts and their rules; whole recordings."""
SEEN_CLASSES: Final[tuple[SeenClass, ...]] = get_args(SeenClass)
AccessRule = Literal["open", "granted"]
ACCESS_RULES: Final[tuple[AccessRule, ...]] = get_args(AccessRule)
Basis = Literal["granted", "care-team", "emergency"]
EmergencyReason = Literal["emergency", "treatment", "legal-duty"]
"""Reasons for which the glass may be broken."""


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody may see some of what was found of one patient, for a while."""

    id: str
    patient: str
    """Pseudonym."""
    account: str = ""
    """Who may; empty where ``role`` says it."""
    role: str = ""
    """Whoever has it may; empty where ``account`` says it."""
    data: tuple[SeenClass, ...]
    basis: Basis
    since_ns: int
    """UTC, ns since the epoch."""
    until_ns: int | None = None
    """The first instant at which it does not hold any more; None: until it is revoked."""
    revoked_ns: int | None = None
    by: str
    """Account that gave it."""
    by_role: str
    reason: Reason
    case: str = ""

    def __post_init__(self) -> None:
        sound = bool(self.account) != bool(self.role) and is_pseudonym(self.patient) and bool(self.data)
        if not sound or (self.until_ns is not None and self.until_ns <= self.since_ns):
            raise InputInvalid(
                "a grant is to an account or to a role, of some data, and ends after it begins.",
                where="grant",
                remedy="Name one of account and role, one class of data or more, and a time to come.",
            )

    def holds(self, now_ns: int) -> bool:
        """Whether it says anything now."""
        return (
            self.since_ns <= now_ns
            and (self.until_ns is None or now_ns < self.until_ns)
            and self.revoked_ns is None
        )


class AccessAsk(msgspec.Struct, frozen=True, kw_only=True):
    """A person asks for what was found of a patient."""

    account: str
    role: str
    own_patient: str | None = None
    """Of the role patient: who they are."""
    patient: str
    """Empty: nobody's, or a list out of which the rest is left."""
    data: SeenClass
    may_ask: bool
    """Whether the route is open to the role at all."""
    is_kept: bool = False
    """Whether the role keeps such things, devices and their alerts, and needs no grant for it."""


class AccessDecision(msgspec.Struct, frozen=True, kw_only=True):
    """The answer, and what it rests on."""

    verdict: Literal["permit", "deny"]
    basis: Literal["own", "role", "granted", "care-team", "emergency", ""] = ""
    grant: Grant | None = None

    @property
    def is_emergency(self) -> bool:
        """Whether it rests on a broken glass."""
        return self.basis == "emergency"


_DENIED: Final = AccessDecision(verdict="deny")


def decide_access(ask: AccessAsk, rule: str, grants: Iterable[Grant], now_ns: int) -> AccessDecision:
    """Whether this person may; whatever is not said denies."""
    if not ask.may_ask:
        return _DENIED
    if ask.role == "patient" or ask.own_patient is not None:
        is_own = ask.own_patient is not None and ask.patient == ask.own_patient
        return AccessDecision(verdict="permit", basis="own") if is_own else _DENIED
    if rule == "open" or ask.is_kept or not ask.patient:
        return AccessDecision(verdict="permit", basis="role")
    let = [one for one in grants if _lets(one, ask) and one.holds(now_ns)]
    if not let:
        return _DENIED
    # Whoever was let does not need the emergency, and is not told of as one.
    best = min(let, key=lambda one: one.basis == "emergency")
    return AccessDecision(verdict="permit", basis=best.basis, grant=best)


def _lets(grant: Grant, ask: AccessAsk) -> bool:
    is_asker = grant.account == ask.account if grant.account else grant.role == ask.role
    return grant.patient == ask.patient and ask.data in grant.data and is_asker


def accessed(ask: AccessAsk, decision: AccessDecision, what: str, now_ns: int) -> Accessed:
    """The entry that tells of a decision."""
    glass = decision.grant if decision.is_emergency else None
    return Accessed(
        at_ns=now_ns,
        patient=ask.patient,
        by=ask.account,
        role=ask.role,
        what=what,
        purpose="emergency" if glass else "treatment",
        verdict=decision.verdict,
        is_emergency=glass is not None,
        reason=glass.reason if glass else "",
        case=glass.case if glass else "",
    )


def granted(
    grant: Grant,
    change: Literal["given", "revoked"],
    *,
    by: str,
    by_role: str,
    reason: Reason,
    case: str,
    at_ns: int,
) -> GrantChanged:
    """The entry that tells of a change, in the transaction that makes it."""
    return GrantChanged(
        at_ns=at_ns,
        patient=grant.patient,
        change=change,
        grant=grant.id,
        account=grant.account,
        role=grant.role,
        data="+".join(in_order(grant.data)),
        until_ns=grant.until_ns or 0,
        basis=grant.basis,
        by=by,
        by_role=by_role,
        reason=reason,
        case=case,
    )


def in_order(data: Sequence[SeenClass]) -> tuple[SeenClass, ...]:
    """Each class once, always in the same order."""
    return tuple(one for one in SEEN_CLASSES if one in data)
