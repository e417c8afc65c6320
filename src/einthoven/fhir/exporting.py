"""All that was found in one recording, as resources that refer to each other."""

import base64
from typing import Any, Final

import msgspec
import numpy as np

from einthoven.fhir.codes import HOLTER_STUDY, concept
from einthoven.fhir.elements import id_of, instant, period, reference
from einthoven.fhir.observations import (
    Span,
    beat_counts,
    ecg_strip,
    heart_rate,
    quality,
    rhythm,
    variability,
)
from einthoven.fhir.subjects import About
from einthoven.notice import SHORT_NOTICE
from einthoven.signal.findings import BEAT_CLASSES, Episode, Findings
from einthoven.signal.recording import SEGMENT_MAX_S, RecordingSource

__all__ = ["Export", "report", "resources_of"]

STRIP_S: Final = 10.0
MAX_STRIPS: Final = 20
_BEFORE_S: Final = 3.0
_PRIORITIES: Final = ("high", "medium", "low", "none")
_ISSUED: Final = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """One export: of what, when, and what goes with it."""

    about: About
    start_ns: int
    """UTC of the first sample."""
    fs: float
    """Rate at which positions count, Hz."""
    issued_ns: int
    """When it was made, UTC."""
    pdf: bytes = b""
    """The report to sign, if there is one."""
    sha256: tuple[str, ...] = ()
    """Of the files that were analysed."""

    def at_ns(self, sample: int) -> int:
        """When a sample was taken."""
        return self.start_ns + round(sample * 1_000_000_000 / self.fs)


def resources_of(export: Export, findings: Findings, source: RecordingSource) -> list[dict[str, Any]]:
    """Patient, devices, observations with strips, a report that names them, and where it all comes from.

    Of a recording of at most a minute all samples are in it; of a longer one strips of its most urgent
    episodes, twenty at most.
    """
    about = export.about
    shown = sorted(
        (one for one in findings.episodes if one.priority in _PRIORITIES),
        key=lambda one: (_PRIORITIES.index(one.priority), one.onset),
    )
    strips = _strips(export, source, shown)
    span_ns = (export.at_ns(findings.first), export.at_ns(findings.until))
    counts = np.bincount(findings.beats.classes, minlength=len(BEAT_CLASSES)).tolist()
    observations = [
        heart_rate(about, findings.heart_rate, span_ns),
        beat_counts(about, dict(zip(BEAT_CLASSES, counts, strict=True)), span_ns),
        quality(about, findings.quality.analysable_fraction, span_ns),
        variability(about, findings.variability, span_ns),
        *(_rhythm(export, one, strips.get(_place(one))) for one in sorted(shown, key=_place)),
        *{strip["id"]: strip for strip in strips.values()}.values(),
    ]
    made = report(about, observations, span_ns, export.issued_ns, export.pdf)
    return [
        about.patient_resource(),
        about.recorder_resource(),
        about.software_resource(findings.versions),
        *observations,
        made,
        _provenance(export, [made, *observations]),
    ]


def _rhythm(export: Export, episode: Episode, strip: dict[str, Any] | None) -> dict[str, Any]:
    until_ns = None if episode.end is None else export.at_ns(episode.end)
    span_ns = (export.at_ns(episode.onset), until_ns)
    return rhythm(export.about, episode.kind, span_ns, episode.priority, episode.confidence, strip)


def _place(episode: Episode) -> tuple[int, str]:
    return episode.onset, episode.kind


def _strips(
    export: Export, source: RecordingSource, shown: list[Episode]
) -> dict[tuple[int, str], dict[str, Any]]:
    """The strip of each episode that has one."""
    info, about = source.info, export.about
    if info.samples <= SEGMENT_MAX_S * info.fs:
        whole = ecg_strip(about, info.leads, source.read(0, info.samples), info.fs, export.start_ns)
        return {(-1, ""): whole, **{_place(one): whole for one in shown}}
    found = {}
    for one in shown[:MAX_STRIPS]:
        if one.priority == "none":
            break
        first = max(0, one.onset - round(_BEFORE_S * info.fs))
        counts = source.read(first, first + round(STRIP_S * info.fs))
        found[_place(one)] = ecg_strip(about, info.leads, counts, info.fs, export.at_ns(first))
    return found


def report(
    about: About, observations: list[dict[str, Any]], span_ns: Span, issued_ns: int, pdf: bytes = b""
) -> dict[str, Any]:
    """Preliminary until a person signs it."""
    found: dict[str, Any] = {
        "resourceType": "DiagnosticReport",
        "id": id_of("DiagnosticReport", about.patient, about.recording, *span_ns),
        **about.meta(),
        "status": "preliminary",
        "code": concept("Holter study", HOLTER_STUDY),
        "subject": reference(about.patient_resource()),
        "effectivePeriod": period(*span_ns),
        "issued": instant(issued_ns),
        "conclusion": SHORT_NOTICE,
    }
    if observations:
        found["result"] = [reference(one) for one in observations]
    if pdf:
        found["presentedForm"] = [{"contentType": "application/pdf", "data": base64.b64encode(pdf).decode()}]
    return found


def _provenance(export: Export, targets: list[dict[str, Any]]) -> dict[str, Any]:
    about = export.about
    found: dict[str, Any] = {
        "resourceType": "Provenance",
        "id": id_of("Provenance", about.patient, about.recording, export.start_ns),
        **about.meta(),
        "target": [reference(one) for one in targets],
        "recorded": instant(export.issued_ns),
        "agent": [
            {
                "type": {"coding": [{"system": _ISSUED, "code": "assembler"}]},
                "who": reference(about.software_resource()),
            }
        ],
    }
    if export.sha256:
        found["entity"] = [
            {"role": "source", "what": {"identifier": {"system": "urn:einthoven:sha256", "value": one}}}
            for one in export.sha256
        ]
    return found
