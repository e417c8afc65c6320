"""A ledger's entries as FHIR R4 AuditEvents: who did what, when, to whose data, and with which outcome.

What happened is a type of DICOM's audit messages (PS3.16, context groups 400 and 401), of ISO 21089 or of
FHIR itself; what for is v3 ActReason, with ``BTG`` where somebody broke the glass. Each event names the entry
that it stands for, by its number and the hash of its leaf, so that it can be proven to be in the ledger. What
was found of a patient it does not tell: of an alert neither the condition nor the line of its entry.
"""

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec

from einthoven.trust.consent import PURPOSES
from einthoven.trust.entries import (
    Accessed,
    AccessRuleChanged,
    AlertStepped,
    CheckpointReceived,
    ConsentChanged,
    DataMoved,
    Entry,
    GrantChanged,
    KeyChanged,
    Placed,
    PolicyChanged,
    PseudonymsRotated,
    Reidentified,
    read_entry,
)
from einthoven.trust.merkle import leaf_hashes

__all__ = ["AUDIT_LOG", "EVENT_TYPES", "audit_event", "event_type", "fhir_instant", "subject_of"]

AUDIT_LOG: Final = "/v1/audit-events"
"""What is entered as seen by whoever reads these events."""
_DCM: Final = "http://dicom.nema.org/resources/ontology/DCM"
_REST: Final = "http://terminology.hl7.org/CodeSystem/audit-event-type"
_INTERACTION: Final = "http://hl7.org/fhir/restful-interaction"
_LIFECYCLE: Final = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
_ACT_REASON: Final = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
_ENTITY: Final = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ROLE: Final = "http://terminology.hl7.org/CodeSystem/object-role"
_SOURCE: Final = "http://terminology.hl7.org/CodeSystem/security-source-type"
_LEDGER: Final = "urn:einthoven:ledger"
_ACCOUNT: Final = "urn:einthoven:account"
_PSEUDONYM: Final = "urn:einthoven:pseudonym"
_THING: Final = "urn:einthoven:"
_PURPOSES: Final[dict[str, str]] = {str(purpose): code for purpose, code in PURPOSES.items()}
_NS: Final = 1_000_000_000
_LISTS: Final = frozenset(
    {
        "/v1/alerts",
        "/v1/recordings",
        "/v1/streams",
        "/v1/events",
        "/v1/events:streams",
        "/v1/ward",
        "/v1/fhir/Patient/patient/Observation",
        "/v1/fhir/Patient/patient/DiagnosticReport",
    }
)
_EXPORTS: Final = frozenset({"/v1/fhir/Patient/patient/export"})

Code = tuple[str, str, str]
"""System, code, display."""
Outcome = Literal["0", "4", "8", "12"]

_QUERY: Final[Code] = (_DCM, "110112", "Query")
_SECURITY: Final[Code] = (_DCM, "110113", "Security Alert")
_RECORD: Final[Code] = (_DCM, "110110", "Patient Record")
_LOG_USED: Final[Code] = (_DCM, "110101", "Audit Log Used")
_RESTFUL: Final[Code] = (_REST, "rest", "RESTful Operation")
_CONFIGURED: Final[Code] = (_DCM, "110129", "Security Configuration")
_ATTRIBUTES: Final[Code] = (_DCM, "110135", "Object Security Attributes Changed")
_OVERRIDE: Final[dict[str, Code]] = {
    "given": (_DCM, "110127", "Emergency Override Started"),
    "revoked": (_DCM, "110138", "Emergency Override Stopped"),
}
_DISCLOSE: Final[Code] = (_LIFECYCLE, "disclose", "Disclose Record Lifecycle Event")
_TRANSMIT: Final[Code] = (_LIFECYCLE, "transmit", "Transmit Record Lifecycle Event")
_REIDENTIFY: Final[Code] = (_LIFECYCLE, "reidentify", "Re-identify Record Lifecycle Event")
_PSEUDONYMIZE: Final[Code] = (_LIFECYCLE, "pseudonymize", "Pseudonymize Record Lifecycle Event")
_VERIFY: Final[Code] = (_LIFECYCLE, "verify", "Verify Record Lifecycle Event")
EVENT_TYPES: Final[tuple[Code, ...]] = (
    _RESTFUL,
    _QUERY,
    _SECURITY,
    _RECORD,
    _LOG_USED,
    _DISCLOSE,
    _TRANSMIT,
    _REIDENTIFY,
    _PSEUDONYMIZE,
    _VERIFY,
)
"""All that an event can be."""


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """What an entry is in the words of FHIR."""

    type: Code
    subtype: Code | None = None
    action: Literal["C", "R", "U", "D", "E"]
    outcome: Outcome = "0"
    by: str
    role: str = ""
    patient: str = ""
    purpose: str = ""
    """Code of v3 ActReason."""
    thing: tuple[str, str] = ("", "")
    """What kind of thing, and which."""
    words: tuple[tuple[str, str], ...] = ()
    """More of it that is said."""


def _interaction(what: str) -> Code:
    if what in _LISTS:
        return (_INTERACTION, "search-type", "search-type")
    if what.startswith("PUT:"):
        return (_INTERACTION, "update", "update")
    if what.startswith("POST:") or what in _EXPORTS:
        return (_INTERACTION, "operation", "operation")
    return (_INTERACTION, "read", "read")


def _of_accessed(one: Accessed) -> _Told:
    is_list, is_log = one.what in _LISTS, one.what == AUDIT_LOG
    interaction = _interaction(one.what)
    runs = is_list or one.what in _EXPORTS
    changes = interaction[1] in {"update", "operation"}
    return _Told(
        type=_LOG_USED if is_log else _QUERY if is_list else _RESTFUL,
        subtype=interaction,
        action="E" if runs else "U" if changes else "R",
        outcome="0" if one.verdict == "permit" else "8",
        by=one.by,
        role=one.role,
        patient=one.patient,
        purpose="BTG" if one.is_emergency else _PURPOSES.get(one.purpose, ""),
        thing=("route", one.what),
        words=(("reason", one.reason), ("case", one.case)),
    )


def _of_grant(one: GrantChanged) -> _Told:
    is_emergency = one.basis == "emergency"
    return _Told(
        type=_SECURITY,
        subtype=_OVERRIDE[one.change] if is_emergency else _ATTRIBUTES,
        action="C" if one.change == "given" else "D",
        by=one.by,
        role=one.by_role,
        patient=one.patient,
        purpose="BTG" if is_emergency else "",
        thing=("grant", one.grant),
        words=(
            ("account", one.account),
            ("role", one.role),
            ("data", one.data),
            ("until", fhir_instant(one.until_ns) if one.until_ns else ""),
            ("basis", one.basis),
            ("reason", one.reason),
            ("case", one.case),
        ),
    )


def _of_rule(one: AccessRuleChanged) -> _Told:
    words = (("rule", one.rule), ("reason", one.reason), ("case", one.case))
    return _Told(type=_SECURITY, subtype=_CONFIGURED, action="U", by=one.by, words=words)


def _of_consent(one: ConsentChanged) -> _Told:
    return _Told(
        type=_RECORD,
        action={"given": "C", "changed": "U", "revoked": "D"}[one.change],  # type: ignore[arg-type]
        by=one.by,
        patient=one.patient,
        thing=("consent", one.consent),
        words=(("version", str(one.version)), ("digest", one.digest)),
    )


def _of_placed(one: Placed) -> _Told:
    return _Told(
        type=_DISCLOSE,
        action="E",
        outcome="0" if one.verdict == "permit" else "8",
        by="",
        patient=one.patient,
        purpose=_PURPOSES.get(one.purpose, ""),
        thing=("function", one.function),
        words=(("region", one.region), ("tier", one.tier), ("data", one.data), ("rule", one.rule)),
    )


def _of_moved(one: DataMoved) -> _Told:
    return _Told(
        type=_TRANSMIT,
        action="E",
        by="",
        patient=one.patient,
        purpose=_PURPOSES.get(one.purpose, ""),
        thing=("region", one.to_region),
        words=(("from", one.from_region), ("data", one.data), ("digest", one.digest)),
    )


def _of_reidentified(one: Reidentified) -> _Told:
    return _Told(
        type=_REIDENTIFY,
        action="R",
        by=one.by,
        thing=("pseudonym", one.pseudonym),
        words=(("purpose", one.purpose), ("reason", one.reason), ("case", one.case)),
    )


def _of_rotated(one: PseudonymsRotated) -> _Told:
    words = (("purpose", one.purpose), ("epoch", str(one.epoch)))
    return _Told(type=_PSEUDONYMIZE, action="U", by=one.by, words=words)


def _of_alert(one: AlertStepped) -> _Told:
    words = (("event", one.event), ("state", one.state))
    action: Literal["C", "U"] = "C" if one.event == "began" else "U"
    return _Told(
        type=_RECORD, action=action, by=one.by, patient=one.patient, thing=("alert", one.alert), words=words
    )


def _of_policy(one: PolicyChanged) -> _Told:
    words = (("version", str(one.version)), ("digest", one.digest))
    return _Told(type=_SECURITY, subtype=_CONFIGURED, action="U", by=one.by, words=words)


def _of_key(one: KeyChanged) -> _Told:
    action: Literal["C", "D"] = "C" if one.change == "introduced" else "D"
    return _Told(type=_SECURITY, subtype=_CONFIGURED, action=action, by=one.by, thing=("key", one.key))


def _of_checkpoint(one: CheckpointReceived) -> _Told:
    outcome: Outcome = {"consistent": "0", "unproven": "4"}.get(one.finding, "12")  # type: ignore[assignment]
    words = (("size", str(one.size)), ("root", one.root), ("finding", one.finding))
    return _Told(type=_VERIFY, action="E", outcome=outcome, by="", thing=("ledger", one.origin), words=words)


_TELLS: Final[dict[type[Entry], Callable[[Any], _Told]]] = {
    Accessed: _of_accessed,
    AccessRuleChanged: _of_rule,
    AlertStepped: _of_alert,
    CheckpointReceived: _of_checkpoint,
    ConsentChanged: _of_consent,
    DataMoved: _of_moved,
    GrantChanged: _of_grant,
    KeyChanged: _of_key,
    Placed: _of_placed,
    PolicyChanged: _of_policy,
    PseudonymsRotated: _of_rotated,
    Reidentified: _of_reidentified,
}


def event_type(entry: Entry) -> Code:
    """What kind of event an entry is."""
    return _TELLS[type(entry)](entry).type


def subject_of(entry: Entry) -> tuple[str, str]:
    """The patient and the account that an entry speaks of; empty where there is none."""
    told = _TELLS[type(entry)](entry)
    return told.patient, told.by


def audit_event(line: bytes, number: int, *, org: str, origin: str) -> dict[str, Any]:
    """An entry as a FHIR R4 AuditEvent.

    Parameters
    ----------
    line : the entry's bytes.
    number : its place in the ledger, from 0.
    origin : the name of the ledger.

    Raises
    ------
    LedgerTampered : it is no entry.
    """
    entry = read_entry(line, f"entry {number}")
    told = _TELLS[type(entry)](entry)
    (leaf,) = leaf_hashes([line])
    event: dict[str, Any] = {
        "resourceType": "AuditEvent",
        "id": f"entry-{number}",
        "type": _coding(told.type),
        "action": told.action,
        "recorded": fhir_instant(entry.at_ns),
        "outcome": told.outcome,
        "agent": [_agent(told)],
        "source": {
            "site": org,
            "observer": {"identifier": {"system": _LEDGER, "value": origin}},
            "type": [_coding((_SOURCE, "4", "Application Server"))],
        },
        "entity": [*_entities(told), _proof(line, leaf, number, origin, is_told=_is_told(entry))],
    }
    if told.subtype:
        event["subtype"] = [_coding(told.subtype)]
    if told.purpose:
        event["purposeOfEvent"] = [{"coding": [{"system": _ACT_REASON, "code": told.purpose}]}]
    return event


def _is_told(entry: Entry) -> bool:
    """Whether the line of an entry may be shown to whoever sees who did what."""
    return not isinstance(entry, AlertStepped)


def _agent(told: _Told) -> dict[str, Any]:
    """Whoever did it; the service itself where nobody did."""
    if not told.by:
        return {"who": {"display": "the service"}, "requestor": False}
    agent: dict[str, Any] = {
        "who": {"identifier": {"system": _ACCOUNT, "value": told.by}},
        "altId": told.by,
        "requestor": True,
    }
    if told.role:
        agent["role"] = [{"coding": [{"system": f"{_THING}role", "code": told.role}]}]
    return agent


def _entities(told: _Told) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if told.patient:
        found.append(
            {
                "what": {"type": "Patient", "identifier": {"system": _PSEUDONYM, "value": told.patient}},
                "type": _coding((_ENTITY, "1", "Person")),
                "role": _coding((_ROLE, "1", "Patient")),
            }
        )
    details = [{"type": name, "valueString": value} for name, value in told.words if value]
    kind, name = told.thing
    if name or details:
        is_query = told.type == _QUERY
        role = (_ROLE, "24", "Query") if is_query else (_ROLE, "4", "Domain Resource")
        thing: dict[str, Any] = {"type": _coding((_ENTITY, "2", "System Object")), "role": _coding(role)}
        if name:
            thing["what"] = {"identifier": {"system": f"{_THING}{kind}", "value": name}}
        if details:
            thing["detail"] = details
        found.append(thing)
    return found


def _proof(line: bytes, leaf: bytes, number: int, origin: str, *, is_told: bool) -> dict[str, Any]:
    """Which entry it is; with its line whoever reads the event hashes it."""
    detail: list[dict[str, Any]] = [
        {"type": "number", "valueString": str(number)},
        {"type": "leaf", "valueBase64Binary": base64.b64encode(leaf).decode()},
    ]
    if is_told:
        detail.append({"type": "line", "valueString": line.decode()})
    return {
        "what": {"identifier": {"system": _LEDGER, "value": f"{origin}#{number}"}},
        "type": _coding((_ENTITY, "2", "System Object")),
        "role": _coding((_ROLE, "13", "Security Resource")),
        "detail": detail,
    }


def _coding(code: Code) -> dict[str, str]:
    return {"system": code[0], "code": code[1], "display": code[2]}


def fhir_instant(ns: int) -> str:
    """RFC 3339, UTC, to the millisecond."""
    moment = datetime.fromtimestamp(ns // _NS, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ns // 1_000_000 % 1000:03d}Z"
