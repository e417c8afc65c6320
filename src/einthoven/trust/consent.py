"""What a patient agreed to, as a value; and as a FHIR R4 Consent, in and out.

A consent has a base, permit or deny, and exceptions from it; the last of the exceptions that speak of a
question answers it. In FHIR the base is the ``policyRule`` (OPTIN, OPTINR, OPTOUT, OPTOUTE of v3 ActCode),
the exceptions are the nested provisions, purposes are v3 ActReason; classes of data, tiers and labels of
regions are codes of our own. Whatever in a provision is not understood makes the whole consent unreadable,
never a part of it unread.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal, get_args

import msgspec

from einthoven.continuum import TIERS, Region, Tier
from einthoven.errors import InputInvalid
from einthoven.names import is_pseudonym
from einthoven.trust.entries import ConsentChanged

__all__ = [
    "DATA_CLASSES",
    "PURPOSES",
    "Consent",
    "ConsentStatus",
    "DataClass",
    "Provision",
    "Purpose",
    "Verdict",
    "changed",
    "read_consent",
    "revoked",
    "write_consent",
]

DataClass = Literal["findings", "features", "pseudonymised", "samples", "identity"]
DATA_CLASSES: Final[tuple[DataClass, ...]] = get_args(DataClass)
"""What of a patient's data something is, what tells least first: findings; features such as intervals and
beats; samples under a pseudonym; samples as the site has them; who it is."""
Purpose = Literal["treatment", "emergency", "research", "quality", "operations", "public-health"]
PURPOSES: Final[dict[Purpose, str]] = {
    "treatment": "TREAT",
    "emergency": "ETREAT",
    "research": "HRESCH",
    "quality": "HQUALIMP",
    "operations": "HOPERAT",
    "public-health": "PUBHLTH",
}
"""What data is used for, with its code in v3 ActReason."""
Verdict = Literal["permit", "deny"]
ConsentStatus = Literal["draft", "proposed", "active", "rejected", "inactive", "entered-in-error"]
_CODES: Final = {code: purpose for purpose, code in PURPOSES.items()}
_ACT_REASON: Final = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
_ACT_CODE: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_SCOPE: Final = ("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy")
_CATEGORY: Final = ("http://loinc.org", "59284-0")
_RECIPIENT: Final = ("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP")
_DATA: Final = "urn:einthoven:data-class"
_TIER: Final = "urn:einthoven:tier"
_LABEL: Final = "urn:einthoven:region-label"
_PATIENT: Final = "urn:einthoven:pseudonym"
_BASES: Final[dict[str, Verdict]] = {
    "OPTIN": "permit",
    "OPTINR": "permit",
    "OPTOUT": "deny",
    "OPTOUTE": "deny",
}
_KNOWN: Final = {"type", "period", "purpose", "class", "actor"}
_MODIFIES: Final = {"modifierExtension", "implicitRules"}
_ID: Final = re.compile(r"[A-Za-z0-9.-]{1,64}")
_INSTANT: Final = re.compile(
    r"(\d{4})(?:-(\d{2})(?:-(\d{2})(?:T(\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|[+-]\d{2}:\d{2}))?)?)?"
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NS: Final = 1_000_000_000
_LAST_YEAR: Final = 9999
_INT64: Final = 2**63
_PROVISIONS_MOST: Final = 100


class Provision(msgspec.Struct, frozen=True, kw_only=True):
    """One exception: it speaks of what matches all that it names; what it leaves empty matches anything."""

    verdict: Verdict
    purposes: tuple[Purpose, ...] = ()
    data: tuple[DataClass, ...] = ()
    tiers: tuple[Tier, ...] = ()
    """Of the region that would have the data; tiers or labels, not both."""
    labels: tuple[str, ...] = ()
    """The region has one of them."""
    start_ns: int | None = None
    """UTC, the first instant."""
    until_ns: int | None = None
    """UTC, the first instant behind it."""

    def __post_init__(self) -> None:
        if self.tiers and self.labels:
            raise InputInvalid(
                "a provision names tiers or labels, not both.",
                where="provision",
                remedy="Write two provisions.",
            )
        for at_ns in (self.start_ns, self.until_ns):
            _checked_instant(at_ns)

    def speaks_of(self, data: DataClass, region: Region, purpose: Purpose, now_ns: int) -> bool:
        """Whether it says something about this."""
        return (
            (not self.purposes or purpose in self.purposes)
            and (not self.data or data in self.data)
            and (not self.tiers or region.tier in self.tiers)
            and (not self.labels or not set(self.labels).isdisjoint(region.labels))
            and (self.start_ns is None or self.start_ns <= now_ns)
            and (self.until_ns is None or now_ns < self.until_ns)
        )


class Consent(msgspec.Struct, frozen=True, kw_only=True):
    """What one patient said, in one version."""

    id: str
    patient: str
    """Pseudonym."""
    version: int
    status: ConsentStatus
    base: Verdict
    provisions: tuple[Provision, ...] = ()
    given_ns: int
    """When it was said; UTC, ns since the epoch."""
    start_ns: int | None = None
    until_ns: int | None = None
    """The first instant at which it does not hold any more."""

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id) or not is_pseudonym(self.patient) or self.version < 1:
            raise InputInvalid("a consent has an id, a pseudonym and a version from 1.", where="consent")
        if len(self.provisions) > _PROVISIONS_MOST:
            raise InputInvalid(f"a consent has at most {_PROVISIONS_MOST} provisions.", where="provision")
        for at_ns in (self.given_ns, self.start_ns, self.until_ns):
            _checked_instant(at_ns)

    def holds(self, now_ns: int) -> bool:
        """Whether it says anything now."""
        return (
            self.status == "active"
            and (self.start_ns is None or self.start_ns <= now_ns)
            and (self.until_ns is None or now_ns < self.until_ns)
        )

    def says(self, data: DataClass, region: Region, purpose: Purpose, now_ns: int) -> Verdict:
        """What it answers, if it holds: an exception before the base, and of exceptions the last."""
        for one in reversed(self.provisions):
            if one.speaks_of(data, region, purpose, now_ns):
                return one.verdict
        return self.base


def revoked(consent: Consent, *, at_ns: int) -> Consent:
    """The next version, which says nothing any more."""
    return msgspec.structs.replace(consent, version=consent.version + 1, status="inactive", given_ns=at_ns)


def changed(consent: Consent, before: Consent | None, *, by: str, at_ns: int) -> ConsentChanged:
    """The entry that tells of a new version, in the transaction that keeps it.

    Raises
    ------
    InputInvalid : it is not the version behind ``before``, or another patient's.
    """
    expected = 1 if before is None else before.version + 1
    if consent.version != expected or (before is not None and before.patient != consent.patient):
        raise InputInvalid(f"the next version is {expected}, of the same patient.", where="consent")
    change: Literal["given", "changed", "revoked"] = "given" if before is None else "changed"
    if consent.status in {"inactive", "rejected", "entered-in-error"}:
        change = "revoked"
    content = msgspec.json.encode(write_consent(consent), order="deterministic")
    return ConsentChanged(
        at_ns=at_ns,
        patient=consent.patient,
        change=change,
        consent=consent.id,
        version=consent.version,
        digest=hashlib.sha256(content).hexdigest(),
        by=by,
    )


# -------------------------------------------------------------------- FHIR R4


def write_consent(consent: Consent) -> dict[str, Any]:
    """The consent as a FHIR R4 resource."""
    exceptions = bool(consent.provisions)
    rule = {"permit": "OPTINR" if exceptions else "OPTIN", "deny": "OPTOUTE" if exceptions else "OPTOUT"}
    resource: dict[str, Any] = {
        "resourceType": "Consent",
        "id": consent.id,
        "meta": {"versionId": str(consent.version)},
        "status": consent.status,
        "scope": _concept(*_SCOPE),
        "category": [_concept(*_CATEGORY)],
        "patient": {"identifier": {"system": _PATIENT, "value": consent.patient}},
        "dateTime": _text(consent.given_ns),
        "policyRule": _concept(_ACT_CODE, rule[consent.base]),
    }
    root: dict[str, Any] = _period(consent.start_ns, consent.until_ns)
    if exceptions:
        root["provision"] = [_provision(one) for one in consent.provisions]
    if root:
        resource["provision"] = root
    return resource


def _provision(one: Provision) -> dict[str, Any]:
    found: dict[str, Any] = {"type": one.verdict, **_period(one.start_ns, one.until_ns)}
    actors = [(_TIER, tier) for tier in one.tiers] + [(_LABEL, label) for label in one.labels]
    if actors:
        found["actor"] = [
            {
                "role": _concept(*_RECIPIENT),
                "reference": {"identifier": {"system": system, "value": value}},
            }
            for system, value in actors
        ]
    if one.purposes:
        found["purpose"] = [{"system": _ACT_REASON, "code": PURPOSES[purpose]} for purpose in one.purposes]
    if one.data:
        found["class"] = [{"system": _DATA, "code": data} for data in one.data]
    return found


def read_consent(content: bytes | Mapping[str, Any]) -> Consent:
    """The consent that a FHIR R4 resource says.

    Raises
    ------
    InputInvalid : it is no Consent, or says something that is not understood; the message names the place.
    """
    if isinstance(content, bytes):
        try:
            content = msgspec.json.decode(content, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise _unreadable("Consent") from None
    try:
        return _read(content)
    except (
        KeyError, TypeError, ValueError, OverflowError, AttributeError, IndexError, msgspec.MsgspecError
    ):  # fmt: skip
        raise _unreadable("Consent") from None


def _read(content: Mapping[str, Any]) -> Consent:
    if content["resourceType"] != "Consent" or _MODIFIES & content.keys():
        raise _unreadable("Consent")
    if _SCOPE not in _codings(content["scope"], "Consent.scope"):
        raise _unreadable("Consent.scope")
    identifier = content["patient"]["identifier"]
    if identifier["system"] != _PATIENT:
        raise _unreadable("Consent.patient")
    rules = [
        code for system, code in _codings(content["policyRule"], "Consent.policyRule") if system == _ACT_CODE
    ]
    if len(rules) != 1 or rules[0] not in _BASES:
        raise _unreadable("Consent.policyRule")
    root = content.get("provision", {})
    if root.keys() - {"period", "provision"}:
        raise _unreadable("Consent.provision")
    start_ns, until_ns = _read_period(root.get("period", {}), "Consent.provision.period")
    return Consent(
        id=content["id"],
        patient=identifier["value"],
        version=int(content["meta"]["versionId"]),
        status=msgspec.convert(content["status"], ConsentStatus),
        base=_BASES[rules[0]],
        provisions=tuple(_read_provision(one) for one in root.get("provision", ())),
        given_ns=_instant(content["dateTime"], "Consent.dateTime")[0],
        start_ns=start_ns,
        until_ns=until_ns,
    )


def _read_provision(content: Mapping[str, Any]) -> Provision:
    place = "Consent.provision.provision"
    if content.keys() - _KNOWN:
        raise _unreadable(place)
    start_ns, until_ns = _read_period(content.get("period", {}), f"{place}.period")
    actors: dict[str, list[str]] = {_TIER: [], _LABEL: []}
    for actor in content.get("actor", ()):
        who = actor["reference"]["identifier"]
        if _RECIPIENT not in _codings(actor["role"], f"{place}.actor") or who["system"] not in actors:
            raise _unreadable(f"{place}.actor")
        actors[who["system"]].append(who["value"])
    purposes = [_only(one, _ACT_REASON, f"{place}.purpose") for one in content.get("purpose", ())]
    data = [_only(one, _DATA, f"{place}.class") for one in content.get("class", ())]
    if set(purposes) - _CODES.keys() or set(data) - set(DATA_CLASSES) or set(actors[_TIER]) - set(TIERS):
        raise _unreadable(place)
    return msgspec.convert(
        {
            "verdict": content["type"],
            "purposes": tuple(_CODES[code] for code in purposes),
            "data": data,
            "tiers": actors[_TIER],
            "labels": actors[_LABEL],
            "start_ns": start_ns,
            "until_ns": until_ns,
        },
        Provision,
    )


def _concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def _codings(concept: Mapping[str, Any], place: str) -> list[tuple[str, str]]:
    found: Sequence[Mapping[str, Any]] = concept["coding"]
    if not isinstance(found, list) or not found:
        raise _unreadable(place)
    return [(one["system"], one["code"]) for one in found]


def _only(coding: Mapping[str, Any], system: str, place: str) -> str:
    if coding["system"] != system or not isinstance(coding["code"], str):
        raise _unreadable(place)
    return str(coding["code"])


def _period(start_ns: int | None, until_ns: int | None) -> dict[str, Any]:
    """FHIR's end is the last instant of a period, ours the first behind it."""
    period = {}
    if start_ns is not None:
        period["start"] = _text(start_ns)
    if until_ns is not None:
        period["end"] = _text(until_ns - 1)
    return {"period": period} if period else {}


def _read_period(content: Mapping[str, Any], place: str) -> tuple[int | None, int | None]:
    if content.keys() - {"start", "end"}:
        raise _unreadable(place)
    start = _instant(content["start"], place)[0] if "start" in content else None
    until = min(_instant(content["end"], place)[1], _INT64 - 1) if "end" in content else None
    return start, until


def _text(at_ns: int) -> str:
    seconds, rest_ns = divmod(at_ns, _NS)
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        raise InputInvalid("the instant is in no year that FHIR can write.", where="consent") from None
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest_ns:09d}Z"


def _instant(text: str, place: str) -> tuple[int, int]:
    """A FHIR dateTime as its first instant and the first behind it; a day or a year is as long as it is."""
    found = _INSTANT.fullmatch(text)
    if found is None:
        raise _unreadable(place)
    year, month, day, clock, fraction, zone = found.groups()
    if clock is None:
        first = date(int(year), int(month or 1), int(day or 1))
        if first.year == _LAST_YEAR:  # it has no end
            return (first - _EPOCH.date()).days * 86_400 * _NS, _INT64 - 1
        if day:
            behind = first + timedelta(days=1)
        elif month:
            behind = date(first.year + first.month // 12, first.month % 12 + 1, 1)
        else:
            behind = date(first.year + 1, 1, 1)
        day_one = _EPOCH.date()
        return tuple((one - day_one).days * 86_400 * _NS for one in (first, behind))  # type: ignore[return-value]
    whole = datetime.fromisoformat(f"{year}-{month}-{day}T{clock}{zone}")
    at_ns = int((whole - _EPOCH) / timedelta(seconds=1)) * _NS + int((fraction or "").ljust(9, "0"))
    return at_ns, at_ns + 1 if fraction else at_ns + _NS


def _checked_instant(at_ns: int | None) -> None:
    if at_ns is not None and not -_INT64 <= at_ns < _INT64:
        raise InputInvalid("an instant does not fit in 64 bits.", where="consent")


def _unreadable(place: str) -> InputInvalid:
    return InputInvalid(
        "the consent says something here that is not understood, so nothing of it is taken.",
        where=place,
        remedy="See docs/reference/policy.md for what is.",
    )
