"""Routes of access: who may see a patient, until when, who says so; and breaking the glass."""

from datetime import datetime
from typing import Annotated, Final

import msgspec
from litestar import get, patch, post
from litestar.params import JSONBody, Parameter, PathParameter
from litestar.types import ControllerRouterHandler
from msgspec import UNSET, Meta, UnsetType

from einthoven.errors import AccessDenied
from einthoven.names import ORGANISATION
from einthoven.server.grant_tables import KeptGrant, grant_of, list_grants
from einthoven.server.granting import break_glass, change_rule, give, new_id, revoke
from einthoven.server.identities import Person
from einthoven.server.metrics import count_alerts
from einthoven.server.people_routes import OrganisationSeen, organisation_seen
from einthoven.server.requests import Asker, Limit, Parts, PseudonymInPath, UserName, instant, own_patient
from einthoven.server.wire import instant_of
from einthoven.storage.database import Statements
from einthoven.trust.entries import Reason
from einthoven.trust.grants import SEEN_CLASSES, AccessRule, EmergencyReason, Grant, SeenClass, in_order

__all__ = ["HANDLERS", "GrantSeen"]

Case = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9._:/+=-]{0,128}$", description="Number of a case; no name, no free text.")
]
Words = Annotated[
    str, Meta(max_length=500, description="In words; kept beside the grant, never in a ledger.")
]
Until = Annotated[
    datetime, Meta(tz=True, description="The first instant at which it does not hold; RFC 3339.")
]
GrantInPath = Annotated[str, PathParameter(pattern="^grt_[0-9a-f]{24}$", description="A grant's id.")]


class NewGrant(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Who is to see what of a patient, until when, and why: one of account and role is set."""

    data: Annotated[list[SeenClass], Meta(min_length=1, max_length=len(SEEN_CLASSES))]
    reason: Reason
    account: UserName | UnsetType = UNSET
    role: str | UnsetType = UNSET
    """Whoever has it: clinician, technician or auditor."""
    until: Until | UnsetType = UNSET
    """Left out: until it is revoked."""
    is_care_team: bool = False
    """Assigned to the patient's care by an administrator, rather than let by the patient."""
    case: Case = ""
    why: Words = ""


class Revocation(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Why somebody is to see a patient no more."""

    reason: Reason
    case: Case = ""


class Emergency(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Why somebody must see a patient now whom nobody let."""

    reason: EmergencyReason
    why: Annotated[str, Meta(min_length=1, max_length=500)]
    """In words; kept beside the grant, shown to administrators and to the patient, never in a ledger."""
    case: Case = ""


class GrantSeen(msgspec.Struct, frozen=True, rename="camel"):
    """Who may see what of a patient."""

    id: str
    patient: str
    account: str
    """Empty where all of ``role`` may."""
    role: str
    """Empty where one account may."""
    data: list[str]
    basis: str
    """``granted`` by the patient or on their behalf, ``care-team``, or ``emergency``."""
    since: datetime
    until: datetime | None
    revoked_at: datetime | None
    is_in_force: bool
    by: str
    by_role: str
    reason: str
    case: str
    why: str


class GrantPage(msgspec.Struct, frozen=True, rename="camel"):
    """Grants, also those that are over, the oldest first; ``next`` is ``after`` of the next page."""

    items: list[GrantSeen]
    next: int | None


class AccessRuleSent(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Whether a role is enough to see the organisation's patients (open), or somebody must let (granted)."""

    access: AccessRule
    reason: Reason
    case: Case = ""


@get("/v1/patients/{patient:str}/grants")
async def grants(
    reception: Parts,
    person: Asker,
    patient: PseudonymInPath,
    after: Annotated[int, Parameter(ge=0, le=2**53, description="Where the page before ended.")] = 0,
    limit: Limit = 100,
) -> GrantPage:
    """Who may see a patient, who could, and who broke the glass; a clinician sees what is their own."""
    if person.role == "patient":
        own_patient(person, patient)
    to = (person.user, person.role) if person.role == "clinician" else None
    found = await reception.connections.read(
        lambda s: list_grants(s, person.org, patient, to=to, after=after, limit=limit + 1)
    )
    now_ns = reception.clock.utc_ns()
    return GrantPage(
        [_seen(one, now_ns) for one in found[:limit]], found[limit - 1].number if found[limit:] else None
    )


@post("/v1/patients/{patient:str}/grants", status_code=201)
async def add_grant(
    reception: Parts, person: Asker, patient: PseudonymInPath, data: JSONBody[NewGrant]
) -> GrantSeen:
    """Let somebody see a patient: the patient does, or an administrator on the patient's behalf."""
    _check_own(person, patient)
    if data.is_care_team and person.role != "admin":
        raise AccessDenied(
            "administrators assign the care team.", where="isCareTeam", remedy="Grant without it."
        )
    now_ns = reception.clock.utc_ns()
    grant = Grant(
        id=new_id(),
        patient=patient,
        account="" if data.account is UNSET else data.account,
        role="" if data.role is UNSET else data.role,
        data=in_order(data.data),
        basis="care-team" if data.is_care_team else "granted",
        since_ns=now_ns,
        until_ns=None if data.until is UNSET else instant_of(data.until),
        by=person.user,
        by_role=person.role,
        reason=data.reason,
        case=data.case,
    )
    return _seen(await reception.connections.write(lambda s: give(s, person.org, grant, data.why)), now_ns)


@post("/v1/patients/{patient:str}/grants/{grant:str}/revoke", status_code=200)
async def revoke_grant(
    reception: Parts, person: Asker, patient: PseudonymInPath, grant: GrantInPath, data: JSONBody[Revocation]
) -> GrantSeen:
    """Let somebody see a patient no more, from the next request on; patients take back what they let."""
    _check_own(person, patient)
    now_ns = reception.clock.utc_ns()

    def change(statements: Statements) -> KeptGrant:
        found = grant_of(statements, person.org, patient, grant)
        if person.role == "patient" and found.grant.basis != "granted":
            raise AccessDenied(
                "the care team and emergencies are ended by administrators.",
                where="grant",
                remedy="Ask an administrator.",
            )
        revoke(
            statements,
            person.org,
            found.grant,
            by=person.user,
            by_role=person.role,
            reason=data.reason,
            case=data.case,
            at_ns=now_ns,
        )
        return grant_of(statements, person.org, patient, grant)

    return _seen(await reception.connections.write(change), now_ns)


@post("/v1/patients/{patient:str}/emergency-access", status_code=201)
async def emergency_access(
    reception: Parts, person: Asker, patient: PseudonymInPath, data: JSONBody[Emergency]
) -> GrantSeen:
    """Break the glass: see all of a patient for a while, for a reason, with administrators told at once."""
    now_ns = reception.clock.utc_ns()
    grant = Grant(
        id=new_id(),
        patient=patient,
        account=person.user,
        data=SEEN_CLASSES,
        basis="emergency",
        since_ns=now_ns,
        until_ns=now_ns + round(reception.settings.emergency_access_h * 3600 * 1e9),
        by=person.user,
        by_role=person.role,
        reason=data.reason,
        case=data.case,
    )
    kept, changes = await reception.connections.write(
        lambda s: break_glass(s, person.org, grant, data.why, reception.keys)
    )
    count_alerts(changes)
    return _seen(kept, now_ns)


@patch("/v1/organisations/{organisation:str}")
async def change_access(
    reception: Parts,
    person: Asker,
    organisation: Annotated[str, PathParameter(pattern=ORGANISATION, description="An organisation.")],
    data: JSONBody[AccessRuleSent],
) -> OrganisationSeen:
    """Say whether a role is enough to see the patients of one's own organisation."""
    if organisation != person.org:
        raise AccessDenied(
            "each organisation decides for itself.", where="organisation", remedy="Ask its administrators."
        )
    now_ns = reception.clock.utc_ns()

    def change(statements: Statements) -> OrganisationSeen:
        change_rule(
            statements,
            person.org,
            data.access,
            by=person.user,
            reason=data.reason,
            case=data.case,
            at_ns=now_ns,
        )
        return organisation_seen(statements, person.org)

    return await reception.connections.write(change)


HANDLERS: Final[tuple[ControllerRouterHandler, ...]] = (
    grants,
    add_grant,
    revoke_grant,
    emergency_access,
    change_access,
)


def _check_own(person: Person, patient: str) -> None:
    if person.role == "patient":
        own_patient(person, patient)


def _seen(one: KeptGrant, now_ns: int) -> GrantSeen:
    grant = one.grant
    return GrantSeen(
        id=grant.id,
        patient=grant.patient,
        account=grant.account,
        role=grant.role,
        data=list(grant.data),
        basis=grant.basis,
        since=instant(grant.since_ns),
        until=None if grant.until_ns is None else instant(grant.until_ns),
        revoked_at=None if grant.revoked_ns is None else instant(grant.revoked_ns),
        is_in_force=grant.holds(now_ns),
        by=grant.by,
        by_role=grant.by_role,
        reason=grant.reason,
        case=grant.case,
        why=one.why,
    )
