"""What a ledger tells of, one frozen value for each kind of happening, and its one form in bytes.

An entry's bytes are a line of JSON without spaces, its kind first and then its fields in the order below;
`read_entry` takes no other form. So whoever has the entry has the bytes, and whoever has the bytes can read
them with any tool. There are no fractions, no free text and no names: patients are pseudonyms, people are
accounts, reasons are words of a list and, where needed, the number of a case.
"""

import re
from typing import Final, Literal, get_args

import msgspec

from einthoven.errors import InputInvalid, LedgerTampered
from einthoven.names import is_pseudonym

__all__ = [
    "ENTRY_KINDS",
    "REASONS",
    "AccessRuleChanged",
    "Accessed",
    "AlertStepped",
    "CheckpointReceived",
    "ConsentChanged",
    "DataMoved",
    "Entry",
    "GrantChanged",
    "KeyChanged",
    "Placed",
    "PolicyChanged",
    "PseudonymsRotated",
    "Reason",
    "Reidentified",
    "read_entry",
    "write_entry",
]

Reason = Literal[
    "treatment",
    "emergency",
    "patient-request",
    "correction",
    "legal-duty",
    "quality-review",
    "research-recall",
]
"""Why somebody looked at, or was told, more than usual."""
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)
Verdict = Literal["permit", "deny"]
_WORD: Final = re.compile(r"[A-Za-z0-9._:/+=-]{0,128}")
_HEX: Final = re.compile(r"(?:[0-9a-f]{2}){0,64}")
_INT64: Final = 2**63
_PATIENTS: Final = frozenset({"patient", "pseudonym"})
_DIGESTS: Final = frozenset({"digest", "root"})


class _Happening(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag=True
):
    """What every entry has; a field that is empty says that there was none."""

    at_ns: int
    """UTC, ns since the epoch."""

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            value = getattr(self, field)
            if isinstance(value, str):
                if field in _PATIENTS:
                    is_right = not value or is_pseudonym(value)
                else:
                    is_right = (_HEX if field in _DIGESTS else _WORD).fullmatch(value) is not None
            else:
                is_right = -_INT64 <= value < _INT64
            if not is_right:
                raise InputInvalid(
                    "the value is not one that a ledger takes.",
                    where=field,
                    remedy="Words of at most 128 of A-Z, a-z, 0-9, '.', '_', ':', '/', '+', '=' and '-'; "
                    "digests in hexadecimal; no names and no free text.",
                )


class ConsentChanged(_Happening, frozen=True, kw_only=True, tag="consent-changed"):
    """A patient gave, changed or took back consent."""

    patient: str
    """Pseudonym."""
    change: Literal["given", "changed", "revoked"]
    consent: str
    """Its id."""
    version: int
    digest: str
    """SHA-256 of the FHIR resource, hexadecimal."""
    by: str
    """The account that entered it."""


class Placed(_Happening, frozen=True, kw_only=True, tag="placed"):
    """It was decided whether a function may have a patient's data in a region."""

    patient: str
    function: str
    region: str
    tier: str
    data: str
    """Class of the data."""
    purpose: str
    verdict: Verdict
    rule: str
    """What decided."""
    digest: str
    """Of the policy."""
    invocation: str = ""


class DataMoved(_Happening, frozen=True, kw_only=True, tag="data-moved"):
    """A patient's data went from one tier to another."""

    patient: str
    data: str
    from_region: str
    from_tier: str
    to_region: str
    to_tier: str
    purpose: str
    content_bytes: int
    digest: str
    """SHA-256 of what went, hexadecimal."""


class Accessed(_Happening, frozen=True, kw_only=True, tag="accessed"):
    """A person saw, or changed, a patient's data."""

    patient: str
    by: str
    """Account."""
    role: str
    what: str
    """The route or the kind of data."""
    purpose: str
    verdict: Verdict
    is_emergency: bool = False
    """Whoever it was broke the glass; ``reason`` says why."""
    reason: Reason | Literal[""] = ""
    case: str = ""


class GrantChanged(_Happening, frozen=True, kw_only=True, tag="grant-changed"):
    """Somebody was let see a patient, by name or by role, or is no more; or broke the glass."""

    patient: str
    change: Literal["given", "revoked"]
    grant: str
    """Its id."""
    account: str
    """Who may see; empty where all of a role may."""
    role: str
    """Whoever has it may see; empty where one account may."""
    data: str
    """What, its words joined by ``+``."""
    until_ns: int
    """The first instant at which it does not hold any more; 0: until it is revoked."""
    basis: Literal["granted", "care-team", "emergency"]
    by: str
    by_role: str
    reason: Reason
    case: str = ""


class AccessRuleChanged(_Happening, frozen=True, kw_only=True, tag="access-rule-changed"):
    """From now on a role is enough to see an organisation's patients, or it is not."""

    rule: Literal["open", "granted"]
    by: str
    reason: Reason
    case: str = ""


class Reidentified(_Happening, frozen=True, kw_only=True, tag="reidentified"):
    """At the site that knows, somebody was told whose pseudonym it is. The entry does not say whose."""

    pseudonym: str
    by: str
    purpose: str
    """For which the pseudonym was made."""
    epoch: int
    reason: Reason
    case: str = ""


class PseudonymsRotated(_Happening, frozen=True, kw_only=True, tag="pseudonyms-rotated"):
    """From now on pseudonyms for a purpose are made with the key of another epoch."""

    purpose: str
    epoch: int
    by: str


class AlertStepped(_Happening, frozen=True, kw_only=True, tag="alert-stepped"):
    """An alert took a step of its life."""

    patient: str
    alert: str
    condition: str
    event: str
    state: str
    by: str = ""
    """Account; empty for what happened by itself."""


class PolicyChanged(_Happening, frozen=True, kw_only=True, tag="policy-changed"):
    """Another data policy is in force."""

    version: int
    digest: str
    """SHA-256 of the document, hexadecimal."""
    by: str


class KeyChanged(_Happening, frozen=True, kw_only=True, tag="key-changed"):
    """A key, the ledger's own or a witness's, may sign its checkpoints from here on, or may no more."""

    change: Literal["introduced", "retired"]
    key: str
    """The verifying key, as `einthoven.trust.notes` writes it."""
    by: str


class CheckpointReceived(_Happening, frozen=True, kw_only=True, tag="checkpoint-received"):
    """Another site's checkpoint was seen here, and what came of comparing it with those before."""

    origin: str
    size: int
    root: str
    """Hexadecimal."""
    finding: Literal["consistent", "fork", "rewrite", "rollback", "unproven"]


Entry = (
    ConsentChanged
    | Placed
    | DataMoved
    | Accessed
    | GrantChanged
    | AccessRuleChanged
    | Reidentified
    | PseudonymsRotated
    | AlertStepped
    | PolicyChanged
    | KeyChanged
    | CheckpointReceived
)
ENTRY_KINDS: Final[dict[str, type[Entry]]] = {str(one.__struct_config__.tag): one for one in get_args(Entry)}
"""Each kind under the name that its entries carry."""
_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final[msgspec.json.Decoder[Entry]] = msgspec.json.Decoder(Entry)


def write_entry(entry: Entry) -> bytes:
    """The entry's only form in bytes: one line, without its end."""
    return _ENCODER.encode(entry)


def read_entry(content: bytes, where: str = "entry") -> Entry:
    """The entry that `write_entry` writes so.

    Raises
    ------
    LedgerTampered : it is no entry that this version knows, or not written as an entry is.
    """
    try:
        entry = _DECODER.decode(content)
    except (msgspec.MsgspecError, InputInvalid, UnicodeDecodeError, RecursionError):
        raise LedgerTampered(
            "this is no entry that this version knows.",
            where=where,
            remedy="Use the version that wrote it, or find out who changed it.",
        ) from None
    if _ENCODER.encode(entry) != content:
        raise LedgerTampered(
            "the entry is not written as entries are.", where=where, remedy="Find out who changed it."
        )
    return entry
