"""Routes by which other systems read what was found of a patient, as FHIR R4; nothing is written by them.

The patient in a path is a pseudonym, which the Patient resource has as its identifier.
"""

import math
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
import numpy as np
from litestar import Response, get
from litestar.types import ControllerRouterHandler

from einthoven.errors import InputInvalid
from einthoven.fhir import capability_of, ndjson_of, search_bundle_of
from einthoven.fhir.elements import instant
from einthoven.fhir.exporting import report
from einthoven.fhir.observations import Span, beat_counts, heart_rate, quality, rhythm, variability
from einthoven.fhir.subjects import About
from einthoven.server.requests import AskedSpan, Asker, Parts, PseudonymInPath, Spanning
from einthoven.server.roles import ROUTES
from einthoven.server.serving_layer import Trend, read_episodes, read_trend
from einthoven.signal.findings import BEAT_CLASSES, HeartRate, Variability
from einthoven.signal.rules import RULES
from einthoven.storage.database import Statements
from einthoven.views import Field

__all__ = ["HANDLERS"]

BASE: Final = "/v1/fhir/"
FHIR_JSON: Final = "application/fhir+json"
FHIR_LINES: Final = "application/fhir+ndjson"
EPISODES_MAX: Final = 10_000
"""Most episodes of one answer; more are a shorter span."""


class _Found(msgspec.Struct, frozen=True):
    """Resources of one span."""

    about: list[dict[str, Any]]
    """Patient and devices."""
    observations: list[dict[str, Any]]
    report: dict[str, Any]


@get(f"{BASE}metadata", media_type=FHIR_JSON)
async def metadata(reception: Parts) -> Response[dict[str, Any]]:
    """What is offered here, as a CapabilityStatement."""
    offered = [path.removeprefix(BASE) for _, path in ROUTES if path.startswith(BASE)]
    return Response(capability_of(offered, reception.clock.utc_ns()), media_type=FHIR_JSON)


@get(f"{BASE}Patient/{{patient:str}}/Observation", media_type=FHIR_JSON)
async def observations(
    reception: Parts,
    person: Asker,
    patient: PseudonymInPath,
    span: Spanning,
) -> Response[dict[str, Any]]:
    """Heart rate, beats, quality, variability and each rhythm of a span, as a searchset."""
    found = await _found(reception, person, patient, span)
    return _answer(reception, f"{patient}/Observation", span, found.observations, found.about)


@get(f"{BASE}Patient/{{patient:str}}/DiagnosticReport", media_type=FHIR_JSON)
async def reports(
    reception: Parts,
    person: Asker,
    patient: PseudonymInPath,
    span: Spanning,
) -> Response[dict[str, Any]]:
    """One preliminary report of a span, with all that it refers to, as a searchset."""
    found = await _found(reception, person, patient, span)
    included = [*found.about, *found.observations]
    return _answer(reception, f"{patient}/DiagnosticReport", span, [found.report], included)


@get(f"{BASE}Patient/{{patient:str}}/$export", media_type=FHIR_LINES)
async def export(
    reception: Parts,
    person: Asker,
    patient: PseudonymInPath,
    span: Spanning,
) -> Response[bytes]:
    """The same a resource a line, for bulk."""
    found = await _found(reception, person, patient, span)
    return Response(ndjson_of([*found.about, *found.observations, found.report]), media_type=FHIR_LINES)


HANDLERS: Final[tuple[ControllerRouterHandler, ...]] = (metadata, observations, reports, export)


async def _found(reception: Parts, person: Asker, patient: str, span: AskedSpan) -> _Found:
    from_ns, until_ns = span
    now_ns = reception.clock.utc_ns()

    def question(statements: Statements) -> _Found:
        trend = read_trend(statements, person.org, patient, from_ns, until_ns, None, now_ns=now_ns)
        episodes = read_episodes(statements, person.org, patient, from_ns, until_ns, limit=EPISODES_MAX + 1)
        if len(episodes) > EPISODES_MAX:
            raise InputInvalid(
                f"the span has more than {EPISODES_MAX} episodes.", where="from", remedy="Ask for less."
            )
        about = About(patient=patient, device="", recording=f"{from_ns} {until_ns}")
        whole_ns = (trend.from_ns, max(trend.from_ns, min(trend.until_ns, now_ns)))
        rows = [
            *_summaries(about, trend, whole_ns),
            *(
                rhythm(
                    msgspec.structs.replace(about, recording=""),
                    one.kind,
                    (one.onset_ns, one.end_ns),
                    one.priority,
                    one.confidence,
                )
                for one in episodes
                if RULES[one.kind].priority != "technical"
            ),
        ]
        recorders = [
            msgspec.structs.replace(about, device=name).recorder_resource() for name in trend.devices
        ]
        versions = {name: v for made in trend.made_by.values() for name, v in made.items()}
        return _Found(
            [about.patient_resource(), *recorders, about.software_resource(versions)],
            list({row["id"]: row for row in rows}.values()),
            report(about, rows, whole_ns, now_ns),
        )

    return await reception.views.read(question)


def _summaries(about: About, trend: Trend, span_ns: Span) -> list[dict[str, Any]]:
    """The observations of the span as a whole; none of a span in which nothing was received."""
    if not trend.tallies.starts.size:
        return []
    made = trend.measures
    column = trend.tallies.column
    seconds = {name: int(column(name)[0]) for name in (Field.CLEAR_S, Field.QRS_ONLY_S, Field.UNREADABLE_S)}
    total_s = sum(seconds.values())
    share = 1 - seconds[Field.UNREADABLE_S] / total_s if total_s else None
    counts = {name: int(column(Field(code))[0]) for code, name in enumerate(BEAT_CLASSES)}
    rate = HeartRate(
        *(_known(row) for row in (made.heart_rate_mean, made.heart_rate_min, made.heart_rate_max))
    )
    measured = Variability(
        nn_share=_known(made.nn_share) or 0.0,
        mean_nn_ms=_known(made.mean_nn_ms),
        sdnn_ms=_known(made.sdnn_ms),
        rmssd_ms=_known(made.rmssd_ms),
        pnn50_percent=_known(made.pnn50_percent),
        sdann_ms=_known(made.sdann_ms),
    )
    return [
        heart_rate(about, rate, span_ns),
        beat_counts(about, counts, span_ns),
        quality(about, share, span_ns),
        variability(about, measured, span_ns),
    ]


def _known(row: np.ndarray[Any, np.dtype[np.float64]]) -> float | None:
    value = float(row[0])
    return None if math.isnan(value) else value


def _answer(
    reception: Parts,
    path: str,
    span: AskedSpan,
    matches: list[dict[str, Any]],
    included: list[dict[str, Any]],
) -> Response[dict[str, Any]]:
    query = urlencode({"from": instant(span.from_ns), "until": instant(span.until_ns)}, safe=":")
    url = f"{BASE}Patient/{path}?{query}"
    bundle = search_bundle_of(matches, included, reception.clock.utc_ns(), url)
    return Response(bundle, media_type=FHIR_JSON)
