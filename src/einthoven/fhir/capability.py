"""What a service offers as FHIR, as a CapabilityStatement made of the routes that it has."""

from collections.abc import Iterable
from typing import Any, Final

from einthoven.errors import DefectError
from einthoven.fhir.elements import instant
from einthoven.notice import SHORT_NOTICE
from einthoven.version import __version__

__all__ = ["METADATA", "capability_of"]

METADATA: Final = "metadata"
"""The route of the statement itself, which is not said in it."""
_WHOSE: Final = "Patient/{patient}/"
_COMPARTMENT: Final = "http://hl7.org/fhir/CompartmentDefinition/patient"
_SPAN: Final = (
    ("from", "Where the span begins, with time and zone; a day before its end."),
    ("until", "Where the span ends; now."),
)


def capability_of(routes: Iterable[str], at_ns: int) -> dict[str, Any]:
    """The statement of a service.

    Parameters
    ----------
    routes : what can be got, from the base on: ``Patient/{patient}/Observation``.
    at_ns : when it is asked for.

    Raises
    ------
    DefectError : a route of which nobody wrote down here what it is in FHIR.
    """
    offered = [route for route in routes if route != METADATA]
    parts = [route.removeprefix(_WHOSE) for route in offered if route.startswith(_WHOSE)]
    operations = [part[1:] for part in parts if part.startswith("$")]
    kinds = [part for part in parts if part.isalpha()]
    if len(operations) + len(kinds) != len(offered):
        raise DefectError("a FHIR route is in no statement.", where="fhir")
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": instant(at_ns),
        "kind": "instance",
        "software": {"name": "Einthoven", "version": __version__},
        "implementation": {"description": f"What was found in ECGs, to be read. {SHORT_NOTICE}"},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json"],
        "rest": [
            {
                "mode": "server",
                "documentation": "Nothing is written, and no resource is read by its id. The patient of a "
                "path is a pseudonym, the identifier of the Patient.",
                "security": {"description": "A bearer token of a clinician, or of the patient of the path."},
                "resource": [_patient(operations), *map(_found, kinds)],
                "compartment": [_COMPARTMENT],
            }
        ],
    }


def _patient(operations: list[str]) -> dict[str, Any]:
    return {
        "type": "Patient",
        "documentation": "Comes with whatever is found.",
        "operation": [
            {
                "name": name,
                "definition": f"urn:einthoven:operation:{name}",
                "documentation": f"GET {_WHOSE}${name}: all of a span at once, a resource a line "
                "(application/fhir+ndjson), with from and until. It is not that of bulk data access.",
            }
            for name in operations
        ],
    }


def _found(kind: str) -> dict[str, Any]:
    return {
        "type": kind,
        "documentation": f"GET {_WHOSE}{kind}: of one patient and one span, as a searchset.",
        "versioning": "no-version",
        "searchParam": [{"name": name, "type": "date", "documentation": words} for name, words in _SPAN],
    }
