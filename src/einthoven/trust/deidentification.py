"""What leaves of a patient's data, field by field: a table of what each kind of identifier becomes.

A field goes out only if somebody said what it is; all others stay. `SAFE_HARBOR` is 45 CFR 164.514(b)(2): its
18 classes removed or replaced, three digits of a ZIP code and only where more than 20,000 people live, years
instead of dates, ages above 89 as one. `RESEARCH` keeps dates, shifted by the same days for all of a
patient's, and is not Safe Harbor for that. Neither makes data anonymous under the GDPR: whoever has the
site's secret can undo it.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import msgspec

from einthoven.errors import InputInvalid
from einthoven.trust.pseudonyms import DAY_NS, PseudonymKey

__all__ = ["CLASSES", "RESEARCH", "SAFE_HARBOR", "Action", "FieldClass", "Profile", "deidentified"]

FieldClass = Literal[
    "name", "geographic", "zip", "date", "instant-ns", "age", "phone", "fax", "email", "social-security",
    "record-number", "plan-number", "account", "licence", "vehicle", "device-serial", "url", "ip-address",
    "biometric", "photograph", "other-identifier", "free-text", "patient", "device", "plain",
]  # fmt: skip
Action = Literal["drop", "keep", "pseudonym", "year", "shift", "three-digits", "age-89"]
CLASSES: Final[dict[FieldClass, str]] = {
    "name": "names (A)",
    "geographic": "subdivisions smaller than a state, but for the ZIP code (B)",
    "zip": "ZIP code (B)",
    "date": "a date, as 2026-11-27 or with a time behind it, of what is related to a person (C)",
    "instant-ns": "an instant, ns since the epoch, UTC (C)",
    "age": "age in years (C)",
    "phone": "telephone numbers (D)",
    "fax": "fax numbers (E)",
    "email": "e-mail addresses (F)",
    "social-security": "social security numbers (G)",
    "record-number": "medical record numbers (H)",
    "plan-number": "health plan beneficiary numbers (I)",
    "account": "account numbers (J)",
    "licence": "certificate and licence numbers (K)",
    "vehicle": "vehicle identifiers, serial and plate numbers (L)",
    "device-serial": "device identifiers and serial numbers (M)",
    "url": "web addresses (N)",
    "ip-address": "IP addresses (O)",
    "biometric": "biometric identifiers, finger and voice prints (P)",
    "photograph": "full-face photographs and the like (Q)",
    "other-identifier": "any other unique number, characteristic or code (R)",
    "free-text": "what somebody wrote: it may hold any of these",
    "patient": "the site's own identifier of the patient, of which the pseudonym is made (H, R)",
    "device": "the site's own identifier of the device, of which the pseudonym is made (M)",
    "plain": "what says nothing of who it is: samples, findings, units",
}
"""What a field can be, with the letter of 164.514(b)(2)(i)."""
SPARSE_ZIPS: Final = frozenset(
    "036 059 063 102 203 556 692 790 821 823 830 831 878 879 884 890 893".split()  # noqa: SIM905 - one line
)
"""First digits of ZIP codes with at most 20,000 people: census of 2000, as guidance of the HHS lists them."""
_AGE_MOST: Final = 89
_AGE_ABOVE: Final = "90+"
_DATE: Final = re.compile(r"(\d{4})-(\d{2})-(\d{2})(T[0-9:.]+(?:Z|[+-]\d{2}:\d{2})?)?")
_ZIP: Final = re.compile(r"(\d{3})\d{2}(-\d{4})?")
_DIGITS: Final = re.compile(r"-?[0-9]{1,20}")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Profile(msgspec.Struct, frozen=True):
    """What each class becomes; a class that is not named is dropped."""

    name: str
    actions: dict[FieldClass, Action]
    shift_most_days: int = 0
    """Dates that are shifted are so by 1 to this many days."""


SAFE_HARBOR: Final = Profile(
    "safe-harbor",
    {
        "plain": "keep",
        "patient": "pseudonym",
        "device": "pseudonym",
        "device-serial": "pseudonym",
        "zip": "three-digits",
        "date": "year",
        "instant-ns": "year",
        "age": "age-89",
    },
)
RESEARCH: Final = Profile(
    "research", {**SAFE_HARBOR.actions, "date": "shift", "instant-ns": "shift"}, shift_most_days=365
)


def deidentified(
    row: Mapping[str, Any],
    classes: Mapping[str, FieldClass],
    profile: Profile,
    key: PseudonymKey,
    *,
    now_year: int,
) -> dict[str, Any]:
    """A row of which only that is left which may leave.

    Parameters
    ----------
    row : one of whose fields is of class ``patient``; by it dates are shifted
    classes : what each field is; of one that is not named nothing leaves
    now_year : from which birth years that show an age above 89 are told; they become "<year>-"

    Raises
    ------
    InputInvalid : no patient, or a value that is not of its class; the message names the field, never the
    value.
    """
    patient = next(
        (str(row[name]) for name, of in classes.items() if of == "patient" and row.get(name)), None
    )
    if patient is None:
        raise InputInvalid("the row has no field that says which patient.", where="patient")
    left = {}
    for name, value in row.items():
        of = classes.get(name)
        action = profile.actions.get(of, "drop") if of is not None else "drop"
        if of is None or action == "drop" or value is None:
            continue
        left[name] = _left(name, value, of, action, profile, key, patient, now_year)
    return left


def _left(
    name: str,
    value: Any,
    of: FieldClass,
    action: Action,
    profile: Profile,
    key: PseudonymKey,
    patient: str,
    now_year: int,
) -> Any:
    match action:
        case "keep":
            return value
        case "pseudonym":
            return key.pseudonym(str(value), "patient" if of == "patient" else "device")
        case "three-digits":
            found = _matched(_ZIP, value, name)
            return "000" if found[1] in SPARSE_ZIPS else found[1]
        case "age-89":
            age = _number(value, name)
            return _AGE_ABOVE if age > _AGE_MOST else age
        case "shift":
            shift_ns = key.shift_ns(patient, profile.shift_most_days)
            if of == "instant-ns":
                return _number(value, name) + shift_ns
            return _shifted(_matched(_DATE, value, name), shift_ns // DAY_NS, name)
        case _:
            if of == "instant-ns":
                year = _year_of(_number(value, name), name)
            else:
                year = int(_matched(_DATE, value, name)[1])
            oldest = now_year - _AGE_MOST - 1
            return f"{oldest}-" if year <= oldest else str(year)


def _year_of(at_ns: int, name: str) -> int:
    try:
        return (_EPOCH + timedelta(microseconds=at_ns // 1000)).year
    except OverflowError:
        raise InputInvalid("the value is no instant.", where=name) from None


def _shifted(found: re.Match[str], days: int, name: str) -> str:
    try:
        moved = datetime(int(found[1]), int(found[2]), int(found[3]), tzinfo=UTC) + timedelta(days=days)
    except (ValueError, OverflowError):
        raise InputInvalid("the value is no date.", where=name) from None
    return f"{moved.date().isoformat()}{found[4] or ''}"


def _matched(pattern: re.Pattern[str], value: Any, name: str) -> re.Match[str]:
    found = pattern.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise InputInvalid("the value is not what its class says.", where=name)
    return found


def _number(value: Any, name: str) -> int:
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputInvalid("the value is not what its class says.", where=name)
    return value
