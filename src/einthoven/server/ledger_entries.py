"""What belongs into an organisation's ledger, kept in the transaction of what it tells of.

An organisation has a ledger if somebody made one (`einthoven ledger create`); the others pay one question.
The steps of alerts are entered, who saw, or was refused, what was found of patients, and who was let. No
alert is held up: where a ledger cannot be written, for want of the extra ``trust`` or because it was altered,
that is logged.
"""

import logging
import types
from collections.abc import Sequence
from typing import Final

from einthoven.alerts import Change
from einthoven.errors import LedgerTampered
from einthoven.storage import ledgers as rows
from einthoven.storage.database import Statements
from einthoven.trust.entries import AlertStepped, Entry

__all__ = ["could_enter", "has_ledger", "keep_entries", "keep_steps", "ledgers_here"]

_LOG: Final = logging.getLogger("einthoven.evidence")
_ITSELF: Final = frozenset({"ecg", "watch", "clock", "receipt"})
"""Who takes a step of an alert when nobody does."""


def has_ledger(statements: Statements, org: str) -> bool:
    """Whether an organisation has one."""
    return rows.head_of(statements, org) is not None


def keep_steps(statements: Statements, changes: Sequence[Change]) -> None:
    """Enter steps of alerts; the last of a transaction, for whoever enters has the ledger to itself."""
    for org in sorted({change.alert.org for change in changes}):
        if has_ledger(statements, org):
            _append(statements, org, [_stepped(one) for one in changes if one.alert.org == org])


def _stepped(change: Change) -> AlertStepped:
    alert, step = change.alert, change.step
    return AlertStepped(
        at_ns=step.at_ns,
        patient=alert.patient,
        alert=alert.id,
        condition=alert.condition,
        event=step.event.value,
        state=step.after.value,
        by="" if step.by in _ITSELF else step.by,
    )


def keep_entries(statements: Statements, org: str, entries: Sequence[Entry]) -> None:
    """Enter something else, if there is a ledger; the last of a transaction, as `keep_steps`."""
    could_enter(statements, org, entries)


def could_enter(statements: Statements, org: str, entries: Sequence[Entry]) -> bool:
    """As `keep_entries`; False where there is a ledger that could not be written."""
    if not entries or not has_ledger(statements, org):
        return True
    return _append(statements, org, entries)


def _append(statements: Statements, org: str, entries: Sequence[Entry]) -> bool:
    ledgers = ledgers_here()
    if ledgers is None:
        return False
    try:
        ledgers.append(statements, org, entries)
    except LedgerTampered as error:  # found before anything was written; whoever verifies alerts of it
        _LOG.error("nothing can be entered: %s", error.what, extra={"code": error.code})
        return False
    return True


def ledgers_here() -> types.ModuleType | None:
    """What writes ledgers; None where the extra is not installed."""
    try:
        from einthoven.runtime import ledgers  # noqa: PLC0415 - an extra
    except ImportError:
        _LOG.error("there is a ledger, and the extra trust is not installed: nothing is entered")
        return None
    return ledgers
