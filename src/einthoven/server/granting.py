"""Letting somebody see a patient, and ending it: the rows, the entries and the alert, in one transaction."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Final

from einthoven.alerts import AlertRules, Change, receive, watch_emergency
from einthoven.errors import Conflict, InputInvalid, NotFound
from einthoven.server import accounts, alert_tables, grant_tables
from einthoven.server.auditing import record
from einthoven.server.grant_tables import KeptGrant
from einthoven.server.ledger_entries import keep_entries, keep_steps
from einthoven.storage.database import Statements
from einthoven.trust.entries import AccessRuleChanged, Reason
from einthoven.trust.grants import (
    SEEN_CLASSES,
    AccessAsk,
    AccessRule,
    Grant,
    decide_access,
    granted,
)

__all__ = ["break_glass", "change_rule", "give", "new_id", "revoke", "revoke_of_account", "watch_end"]

_MAY_SEE: Final = ("clinician", "technician", "auditor")
"""Roles to which a patient's data can be shown."""


def new_id() -> str:
    """Of a grant; says nothing of whose it is."""
    return f"grt_{secrets.token_hex(12)}"


def give(statements: Statements, org: str, grant: Grant, why: str) -> KeptGrant:
    """Let somebody see.

    Raises
    ------
    InputInvalid : a role that sees no patients. NotFound : nobody of this name who could see them.
    """
    if grant.role and grant.role not in _MAY_SEE:
        raise InputInvalid(
            "this role sees no patient's data.", where="role", remedy=f"Name one of {', '.join(_MAY_SEE)}."
        )
    if grant.account:
        _check_account(statements, org, grant.account)
    kept = grant_tables.add_grant(statements, org, grant, why)
    _tell(statements, org, grant)
    return kept


def _check_account(statements: Statements, org: str, name: str) -> None:
    try:
        is_one = accounts.read_user(statements, org, name).role in _MAY_SEE
    except NotFound:
        is_one = False
    if not is_one:
        raise NotFound(
            "nobody of this name could see a patient's data.",
            where="account",
            remedy="Ask for the name of the account.",
        )


def revoke(
    statements: Statements,
    org: str,
    grant: Grant,
    *,
    by: str,
    by_role: str,
    reason: Reason,
    case: str,
    at_ns: int,
) -> None:
    """Let somebody see no more.

    Raises
    ------
    Conflict : it is over already.
    """
    if not grant_tables.void_grant(statements, grant.id, at_ns):
        raise Conflict("the grant is over.", where="grant", remedy="List the patient's grants.")
    record(statements, org, at_ns, by, "grant.revoked", f"grant:{grant.id}")
    entry = granted(grant, "revoked", by=by, by_role=by_role, reason=reason, case=case, at_ns=at_ns)
    keep_entries(statements, org, [entry])


def revoke_of_account(
    statements: Statements, org: str, account: str, *, by: str, by_role: str, at_ns: int
) -> None:
    """End what somebody who goes was let see by name; the last of a transaction."""
    for one in grant_tables.grants_of_account(statements, org, account, at_ns):
        revoke(statements, org, one, by=by, by_role=by_role, reason="correction", case="", at_ns=at_ns)


def break_glass(
    statements: Statements, org: str, grant: Grant, why: str, keys: Mapping[str, bytes]
) -> tuple[KeptGrant, Sequence[Change]]:
    """Let somebody see everything of a patient for a while because they say so, and tell administrators.

    Raises
    ------
    Conflict : they may see this patient as it is.
    """
    rule = grant_tables.rule_of(statements, org)
    known = grant_tables.grants_for(statements, org, [grant.patient], account=grant.account, role="clinician")
    asks = [
        AccessAsk(account=grant.account, role="clinician", patient=grant.patient, data=one, may_ask=True)
        for one in SEEN_CLASSES
    ]
    if all(decide_access(one, rule, known, grant.since_ns).verdict == "permit" for one in asks):
        raise Conflict(
            "you may see this patient's data as it is.",
            where="patient",
            remedy="Ask without breaking the glass.",
        )
    kept = grant_tables.add_grant(statements, org, grant, why)
    rules = alert_tables.rules_for(statements, org, "", keys)
    changes = _watched(statements, org, grant, rules, grant.since_ns, is_over=False)
    _tell(statements, org, grant)
    keep_steps(statements, changes)
    return kept, changes


def watch_end(
    statements: Statements, org: str, grant: Grant, rules: AlertRules, now_ns: int
) -> Sequence[Change]:
    """An emergency is over: what was alerted of it ends."""
    grant_tables.mark_told(statements, grant.id)
    return _watched(statements, org, grant, rules, now_ns, is_over=True)


def change_rule(
    statements: Statements, org: str, rule: AccessRule, *, by: str, reason: Reason, case: str, at_ns: int
) -> None:
    """Say whether a role is enough to see an organisation's patients; the same again changes nothing."""
    if grant_tables.set_rule(statements, org, rule):
        record(statements, org, at_ns, by, "access.changed", f"organisation:{org}", rule)
        entry = AccessRuleChanged(at_ns=at_ns, rule=rule, by=by, reason=reason, case=case)
        keep_entries(statements, org, [entry])


def _tell(statements: Statements, org: str, grant: Grant) -> None:
    record(statements, org, grant.since_ns, grant.by, "grant.given", f"grant:{grant.id}", grant.basis)
    entry = granted(
        grant,
        "given",
        by=grant.by,
        by_role=grant.by_role,
        reason=grant.reason,
        case=grant.case,
        at_ns=grant.since_ns,
    )
    keep_entries(statements, org, [entry])


def _watched(
    statements: Statements, org: str, grant: Grant, rules: AlertRules, at_ns: int, *, is_over: bool
) -> Sequence[Change]:
    known = alert_tables.load_patient(statements, org, grant.patient, ())
    sightings = watch_emergency(
        known,
        grant.id,
        since_ns=grant.since_ns,
        is_over=is_over,
        at_ns=at_ns,
        reason=f"{grant.account}: {grant.reason}",
    )
    known = alert_tables.load_patient(statements, org, grant.patient, sightings)
    changes = receive(known, sightings, rules, at_ns)
    alert_tables.store(statements, changes, rules)
    return changes
