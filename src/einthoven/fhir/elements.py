"""Parts that resources share: identity, time, quantities, references."""

import uuid
from typing import Any, Final

from einthoven.fhir.codes import UCUM
from einthoven.signal.instants import in_calendar

__all__ = ["HTEST", "category", "id_of", "instant", "period", "quantity", "reference"]

_NAMES: Final = uuid.uuid5(uuid.NAMESPACE_OID, "einthoven.fhir")
HTEST: Final = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason",
    "code": "HTEST",
    "display": "test health data",
}
"""On every resource of a demonstration, so that nobody takes it for a patient's."""


def id_of(kind: str, *names: object) -> str:
    """The same id for the same thing, each time and on every machine."""
    return str(uuid.uuid5(_NAMES, "|".join([kind, *map(str, names)])))


def reference(resource: dict[str, Any]) -> dict[str, str]:
    """A reference to a resource of the same answer."""
    return {"reference": f"{resource['resourceType']}/{resource['id']}"}


def instant(at_ns: int) -> str:
    """RFC 3339 in UTC, to the microsecond.

    Raises
    ------
    InputInvalid : see `in_calendar`.
    """
    return in_calendar(at_ns, "time").isoformat().replace("+00:00", "Z")


def period(start_ns: int, until_ns: int | None) -> dict[str, str]:
    """A stretch of time; open while it goes on."""
    found = {"start": instant(start_ns)}
    return found if until_ns is None else {**found, "end": instant(until_ns)}


def quantity(value: float, unit: str, code: str) -> dict[str, Any]:
    """A value in a unit of UCUM."""
    return {"value": value, "unit": unit, "system": UCUM, "code": code}


def category(code: str) -> list[dict[str, Any]]:
    """What kind of observation it is."""
    system = "http://terminology.hl7.org/CodeSystem/observation-category"
    return [{"coding": [{"system": system, "code": code}]}]
