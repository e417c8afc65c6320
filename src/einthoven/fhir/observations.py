"""What was measured and found, an Observation each."""

from typing import Any, Final

from einthoven.fhir.codes import ECG, HEART_RATE, LEADS, RHYTHM_STATUS, RHYTHMS, concept
from einthoven.fhir.elements import category, id_of, period, quantity, reference
from einthoven.fhir.sampled import sampled_data
from einthoven.fhir.subjects import About
from einthoven.signal.findings import HeartRate, Variability
from einthoven.signal.recording import Counts, Lead
from einthoven.signal.rules import RULES, Kind

__all__ = ["Span", "beat_counts", "ecg_strip", "heart_rate", "quality", "rhythm", "variability"]

Span = tuple[int, int | None]
"""From and until, UTC in ns; open while it goes on."""
_CLASS_NAMES: Final = {
    "N": "Normal beats",
    "S": "Supraventricular ectopic beats",
    "V": "Ventricular ectopic beats",
    "F": "Fusion beats",
    "Q": "Beats of unknown class",
}
_INTERVALS: Final = (
    ("mean_nn_ms", "Mean NN interval"),
    ("sdnn_ms", "SDNN"),
    ("rmssd_ms", "RMSSD"),
    ("sdann_ms", "SDANN"),
)


def _observation(
    about: About, what: str, code: dict[str, Any], span_ns: Span, kind: str = "procedure"
) -> dict[str, Any]:
    """What all have: preliminary, because no person has looked at it."""
    return {
        "resourceType": "Observation",
        "id": id_of("Observation", about.patient, about.recording, what, span_ns[0]),
        **about.meta(),
        "status": "preliminary",
        "category": category(kind),
        "code": code,
        "subject": reference(about.patient_resource()),
        "effectivePeriod": period(*span_ns),
        "device": reference(about.software_resource()),
    }


def ecg_strip(
    about: About, leads: tuple[Lead, ...], counts: Counts, fs: float, start_ns: int
) -> dict[str, Any]:
    """At most 60 s of all leads, shape (leads, samples), from an instant on."""
    until_ns = start_ns + round(counts.shape[1] * 1_000_000_000 / fs)
    found = _observation(about, "ecg", concept("ECG", ECG), (start_ns, until_ns))
    found["device"] = reference(about.recorder_resource())
    found["component"] = [
        {
            "code": concept(f"Lead {lead.name}", *([LEADS[lead.name]] if lead.name in LEADS else [])),
            "valueSampledData": sampled_data(row, lead, fs),
        }
        for lead, row in zip(leads, counts, strict=True)
    ]
    return found


def heart_rate(about: About, rate: HeartRate, span_ns: Span) -> dict[str, Any]:
    """Mean over the sound intervals, and the least and greatest mean of eight of them."""
    found = _observation(about, "heart-rate", concept("Heart rate", *HEART_RATE), span_ns, "vital-signs")
    found |= _value(rate.mean, "beats/minute", "/min")
    found["component"] = [
        {"code": concept(text), **_value(value, "beats/minute", "/min")}
        for text, value in (
            ("Least mean of eight intervals", rate.min),
            ("Greatest mean of eight intervals", rate.max),
        )
    ]
    return found


def beat_counts(about: About, by_class: dict[str, int], span_ns: Span) -> dict[str, Any]:
    """Beats by class."""
    found = _observation(about, "beats", concept("Beats"), span_ns)
    found["valueInteger"] = sum(by_class.values())
    found["component"] = [
        {"code": concept(_CLASS_NAMES[name]), "valueInteger": count} for name, count in by_class.items()
    ]
    return found


def quality(about: About, share: float | None, span_ns: Span) -> dict[str, Any]:
    """How much of the time could be analysed."""
    found = _observation(about, "quality", concept("Share of time that could be analysed"), span_ns)
    return found | _value(None if share is None else 100 * share, "%", "%")


def variability(about: About, measured: Variability, span_ns: Span) -> dict[str, Any]:
    """Heart-rate variability over NN intervals, where there are enough of them."""
    found = _observation(about, "hrv", concept("Heart rate variability over NN intervals"), span_ns)
    found["component"] = [
        *(
            {"code": concept(text), **_value(getattr(measured, name), "ms", "ms")}
            for name, text in _INTERVALS
        ),
        {"code": concept("pNN50"), **_value(measured.pnn50_percent, "%", "%")},
        {"code": concept("Share of intervals that are NN"), **_value(100 * measured.nn_share, "%", "%")},
    ]
    return found


def rhythm(
    about: About,
    kind: Kind,
    span_ns: Span,
    priority: str,
    confidence: int,
    strip: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """One episode: a finding of a machine, not a disorder that somebody has."""
    found = _observation(about, f"rhythm {kind}", concept("Rhythm", RHYTHM_STATUS), span_ns)
    codes = RHYTHMS.get(kind, ())
    found["valueCodeableConcept"] = concept(RULES[kind].title, *codes, with_snomed=about.with_snomed)
    found["component"] = [
        {"code": concept("Priority"), "valueString": priority},
        {"code": concept("Confidence"), "valueQuantity": quantity(confidence, "%", "%")},
    ]
    if strip is not None:
        found["derivedFrom"] = [reference(strip)]
    return found


def _value(value: float | None, unit: str, code: str) -> dict[str, Any]:
    """A quantity, or that there is none: a rate of nothing is not 0."""
    if value is None:
        system = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
        return {"dataAbsentReason": {"coding": [{"system": system, "code": "not-performed"}]}}
    return {"valueQuantity": quantity(round(value, 2), unit, code)}
