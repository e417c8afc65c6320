"""Alert rules as data: one document for a patient, or for all of an organisation.

A document says which conditions alert, how urgently and after how long, who is told in which order, and how
long each may take to answer. `parse_rules` and `print_rules` are each other's inverse. Who signed a document
is kept beside it; see `einthoven.alerts.signing`.
"""

import re
import tomllib
from typing import Any, Final

import msgspec

from einthoven.alerts.sightings import (
    ALERT_KINDS,
    DOUBT,
    NS,
    PRIORITIES,
    AlertKind,
    AlertPriority,
    Sighting,
)
from einthoven.alerts.toml import print_toml
from einthoven.errors import InputInvalid
from einthoven.names import is_organisation, is_pseudonym
from einthoven.signal.rules import RULES, Criteria

__all__ = [
    "AlertRules",
    "Choice",
    "Contact",
    "Patience",
    "Rung",
    "choice_of",
    "parse_rules",
    "print_rules",
    "priority_of",
]

_CHANNEL: Final = re.compile(r"[a-z0-9-]{1,40}")
_RUNGS_MOST: Final = 20
_ALWAYS: Final = frozenset({"emergency_access"})
"""What nobody may have told later, less urgently or not at all: it watches those who sign rules, too."""
_DAY_S: Final = 86_400.0
_YEARS_S: Final = 10 * 366 * _DAY_S


def _check(is_right: bool, where: str, rule: str) -> None:
    if not is_right:
        raise InputInvalid(f"{where} {rule}.", where=where, remedy="See docs/reference/alerts.md.")


class Contact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody, or something, that is told."""

    channel: str
    """Name of a configured channel."""
    address: str = ""
    """Where on the channel: a URL, a mailbox, a subject; empty for the channel's own."""

    def __post_init__(self) -> None:
        _check(bool(_CHANNEL.fullmatch(self.channel)), "channel", "is 1 to 40 of a-z, 0-9 and -")
        plain = all(character.isprintable() for character in self.address)
        _check(plain and len(self.address) <= 2000, "address", "is one line of at most 2000 characters")


class Rung(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Those who are told together."""

    contacts: tuple[Contact, ...]


class Patience(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long a rung may take; then the next is told."""

    receipt_s: float
    """Until a delivery receipt; without one nobody can have heard."""
    acknowledge_s: float
    """Until somebody acknowledges, counted from when the rung was told."""

    def __post_init__(self) -> None:
        _check(0 < self.receipt_s <= self.acknowledge_s, "patience", "has 0 < receipt_s <= acknowledge_s")
        _check(self.acknowledge_s <= 7 * _DAY_S, "acknowledge_s", "is at most a week")


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to do about one condition."""

    alerts: bool = True
    """False: it is told in findings and alerts nobody."""
    priority: AlertPriority | None = None
    """Instead of the condition's own."""
    delay_s: float = 0.0
    """It must last so long before it alerts."""
    tells_end: bool | None = None
    """Whether those who were told of the onset are told of the end; None: only for atrial fibrillation."""

    def __post_init__(self) -> None:
        _check(0 <= self.delay_s <= _DAY_S, "delay_s", "is 0 to 86400")


DEFAULT_PATIENCE: Final[dict[AlertPriority, Patience]] = {
    "high": Patience(receipt_s=20.0, acknowledge_s=60.0),
    "medium": Patience(receipt_s=60.0, acknowledge_s=300.0),
    "low": Patience(receipt_s=300.0, acknowledge_s=3600.0),
}
_TELLS_END: Final = ("atrial_fibrillation",)


class AlertRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that decides who is alerted of what.

    Raises
    ------
    InputInvalid : a value out of range; a dangerous condition turned off without a note.
    """

    org: str = "main"
    patient: str = ""
    """Pseudonym; empty: for every patient of the organisation that has no document of their own."""
    version: int = 1
    note: str = ""
    """Why, in the words of whoever signs."""
    limits: Criteria = Criteria()
    """Of the rhythm rules."""
    choices: dict[AlertKind, Choice] = {}
    ladder: tuple[Rung, ...] = ()
    """Told one after the other, until somebody acknowledges."""
    patience: dict[AlertPriority, Patience] = {}
    """By priority; what is not named keeps its default."""
    latching: tuple[AlertPriority, ...] = ("high", "medium")
    """What stays until somebody looks, though it is over. The rest closes by itself."""
    close_after_s: float = 1800.0
    """An alert that is over, and needs nobody, is closed after so long; until then it is opened again."""
    silent_after_s: float = 120.0
    """Nothing was received from a device for so long: technical alert."""
    late_after_s: float = 300.0
    """What is received is so old: technical alert."""

    def __post_init__(self) -> None:
        _check(is_organisation(self.org), "org", "is 1 to 40 of a-z, 0-9 and -")
        _check(
            not self.patient or is_pseudonym(self.patient),
            "patient",
            "is a pseudonym of at most 64 characters",
        )
        _check(1 <= self.version < 2**31, "version", "counts from 1")
        _check(len(self.note) <= 2000, "note", "has at most 2000 characters")
        _check(len(self.ladder) <= _RUNGS_MOST, "ladder", f"has at most {_RUNGS_MOST} rungs")
        _check(all(rung.contacts for rung in self.ladder), "ladder", "has a contact on each rung")
        _check(
            len(set(self.latching)) == len(self.latching) and "high" in self.latching,
            "latching",
            "names each priority once, and high always",
        )
        for name in ("close_after_s", "silent_after_s", "late_after_s"):
            _check(1 <= getattr(self, name) <= _YEARS_S, name, "is at least 1")
        for kind, choice in self.choices.items():
            _check(kind in ALERT_KINDS, f"choices.{kind}", "is a condition that can alert")
            _check(kind not in _ALWAYS, f"choices.{kind}", "is told always, and at once")
            _check(
                choice.alerts or _own_priority(kind) != "high" or bool(self.note.strip()),
                f"choices.{kind}",
                "is turned off only with a note that says why",
            )

    def patience_for(self, priority: AlertPriority) -> Patience:
        """How long a rung may take."""
        return self.patience.get(priority, DEFAULT_PATIENCE[priority])


def choice_of(rules: AlertRules, kind: AlertKind) -> Choice:
    """What the rules say of a condition, defaults filled in."""
    choice = rules.choices.get(kind, Choice())
    if choice.tells_end is None:
        return msgspec.structs.replace(choice, tells_end=kind in _TELLS_END)
    return choice


def priority_of(rules: AlertRules, sighting: Sighting) -> AlertPriority | None:
    """How urgent a sighting is under these rules; None: it alerts nobody, or not yet.

    A changed priority is of the condition, not of the doubt about it: technical alerts keep theirs.
    """
    choice = choice_of(rules, sighting.condition)
    if not choice.alerts or sighting.lasted_ns < round(choice.delay_s * NS):
        return None
    if choice.priority is None or (sighting.is_technical and sighting.about == DOUBT):
        return sighting.priority
    return choice.priority


def _own_priority(kind: AlertKind) -> str:
    return next((rule.priority for one, rule in RULES.items() if one == kind), "low")


def print_rules(rules: AlertRules) -> str:
    """The document as TOML, every value written out."""
    return print_toml(_without_none(msgspec.to_builtins(rules)))


def parse_rules(content: bytes | str, where: str = "") -> AlertRules:
    """A document from TOML, or from JSON if it begins with a brace; what is not named keeps its default.

    Raises
    ------
    InputInvalid : not TOML or JSON, a name that does not exist, a value that is out of range.
    """
    try:
        text = content.decode("utf-8") if isinstance(content, bytes) else content
        tree = msgspec.json.decode(text) if text.lstrip().startswith("{") else tomllib.loads(text)
        return msgspec.convert(tree, AlertRules)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, UnicodeEncodeError, RecursionError) as error:
        raise InputInvalid(
            f"the alert rules are not valid TOML: {error}.",
            where=where,
            remedy="See docs/reference/alerts.md for a whole document.",
        ) from None
    except msgspec.MsgspecError as error:
        if isinstance(error.__cause__, InputInvalid):
            raise error.__cause__ from None
        raise InputInvalid(
            f"{error}.",
            where=where,
            remedy=f"Conditions: {', '.join(ALERT_KINDS)}. Priorities: {', '.join(PRIORITIES)}.",
        ) from None


def _without_none(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _without_none(value) for key, value in tree.items() if value is not None}
    if isinstance(tree, (list, tuple)):
        return [_without_none(value) for value in tree]
    return tree
