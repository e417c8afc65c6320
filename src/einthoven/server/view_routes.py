"""Routes of a patient's views: what was found over any span of time, by the hour, the day, the year."""

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
from litestar import get
from litestar.params import Parameter
from litestar.types import ControllerRouterHandler
from numpy.typing import NDArray

from einthoven.names import PSEUDONYM
from einthoven.server.requests import (
    AskedSpan,
    Asker,
    Limit,
    Parts,
    PseudonymInPath,
    Spanning,
    instant,
)
from einthoven.server.serving_layer import (
    RESOLUTIONS,
    QualityRun,
    Trend,
    read_beats,
    read_episodes,
    read_quality,
    read_trend,
)
from einthoven.signal.findings import BEAT_CLASSES
from einthoven.views import Field

__all__ = ["HANDLERS", "TrendSeen", "trend_seen"]

Resolution = Annotated[Literal["1m", "5m", "15m", "1h", "6h", "1d"], Parameter(description="Of the rows.")]
Numbers = list[float | None]


class Rates(msgspec.Struct, frozen=True):
    """Beats/min; the extremes are means of eight intervals."""

    mean: Numbers
    min: Numbers
    max: Numbers


class VariabilitySeen(msgspec.Struct, frozen=True, rename="camel"):
    """Over NN intervals; null where fewer than 80 % of all are."""

    nn_share: Numbers
    mean_nn_ms: Numbers
    sdnn_ms: Numbers
    rmssd_ms: Numbers
    pnn50_percent: Numbers
    sdann_ms: Numbers
    """Of pieces of five minutes; null in rows of less than an hour."""


class IntervalsSeen(msgspec.Struct, frozen=True, rename="camel"):
    """Means of the minutes' mean beats."""

    qrs_ms: Numbers
    qt_ms: Numbers
    qtc_ms: Numbers


class QualitySeen(msgspec.Struct, frozen=True, rename="camel"):
    """Seconds."""

    clear_s: list[int]
    qrs_only_s: list[int]
    unreadable_s: list[int]
    missing_s: list[int]
    """Of the unreadable ones, those of which no sample came."""


class TrendSeen(msgspec.Struct, frozen=True, rename="camel"):
    """A patient's views as columns: a row for each bucket in which there is something."""

    from_: datetime = msgspec.field(name="from")
    """The span, widened to whole buckets."""
    until: datetime
    resolution_min: int
    devices: list[str]
    """Whose findings these are. Of several worn at once each counts."""
    batch_until: datetime | None
    """The end of the day up to which batch views go, at most; the rest comes from the online path."""
    functions: dict[str, dict[str, str]]
    """Versions of the functions that had a part in it."""
    start_ms: list[int]
    """Where each row begins, ms since 1970, UTC."""
    beats: dict[str, list[int]]
    """By class."""
    heart_rate: Rates
    variability: VariabilitySeen
    intervals: IntervalsSeen
    quality: QualitySeen
    burden_ms: dict[str, list[int]]
    """How long each kind of rhythm lasted."""
    onsets: dict[str, list[int]]
    """How many episodes of each kind began."""


class EpisodeSeen(msgspec.Struct, frozen=True):
    """A stretch of one rhythm, or of one technical condition."""

    kind: str
    onset: datetime
    end: datetime | None
    """Null while it goes on."""
    priority: str
    confidence: int
    """Per cent."""
    grade: int


class EpisodePage(msgspec.Struct, frozen=True):
    """Episodes by onset; ``next`` is ``from`` of the next page."""

    items: list[EpisodeSeen]
    next: datetime | None


class BeatsSeen(msgspec.Struct, frozen=True, rename="camel"):
    """Beats as columns, in time order."""

    at_ms: list[int]
    """Ms since 1970, UTC."""
    classes: str
    """A letter for each beat."""
    confidences: list[int]
    """Per cent."""


class QualityStretch(msgspec.Struct, frozen=True):
    """Seconds of one grade that follow each other."""

    start: datetime
    until: datetime
    grade: int
    """1 all waves, 2 QRS only, 3 unusable."""
    reasons: list[str]


class QualityMap(msgspec.Struct, frozen=True):
    """What could be read; between the stretches nothing was received."""

    items: list[QualityStretch]


Device = Annotated[str | None, Parameter(pattern=PSEUDONYM, description="What one device sent only.")]


@get("/v1/patients/{patient:str}/trends")
async def trends(
    reception: Parts,
    person: Asker,
    patient: PseudonymInPath,
    span: Spanning,
    resolution: Resolution = "1h",
    device: Device = None,
) -> TrendSeen:
    """Beats, rates, variability, intervals, quality and burden over a span, bucket by bucket."""
    return await _trend(reception, person, patient, span, RESOLUTIONS[resolution], device)


@get("/v1/patients/{patient:str}/summary")
async def summary(
    reception: Parts,
    person: Asker,
    patient: PseudonymInPath,
    span: Spanning,
    device: Device = None,
) -> TrendSeen:
    """The same of the whole span, widened to hours, as one row."""
    return await _trend(reception, person, patient, span, None, device)


@get("/v1/patients/{patient:str}/episodes")
async def episodes(
    reception: Parts,
    person: Asker,
    patient: PseudonymInPath,
    span: Spanning,
    device: Device = None,
    limit: Limit = 100,
) -> EpisodePage:
    """Episodes that touch a span, by onset."""
    found = await reception.views.read(
        lambda s: read_episodes(s, person.org, patient, *span, device=device, limit=limit + 1),
    )
    seen = [
        EpisodeSeen(
            kind=one.kind,
            onset=instant(one.onset_ns),
            end=None if one.end_ns is None else instant(one.end_ns),
            priority=one.priority,
            confidence=one.confidence,
            grade=one.grade,
        )
        for one in found[:limit]
    ]
    return EpisodePage(seen, instant(found[limit].onset_ns) if found[limit:] else None)


@get("/v1/patients/{patient:str}/beats")
async def beats(
    reception: Parts,
    person: Asker,
    patient: PseudonymInPath,
    span: Spanning,
    device: Device = None,
) -> BeatsSeen:
    """Every beat of a span of at most a day."""
    found = await reception.views.read(
        lambda s: read_beats(s, reception.store, person.org, patient, *span, device=device),
    )
    return BeatsSeen((found.at_ns // 1_000_000).tolist(), found.classes, found.confidences.tolist())


@get("/v1/patients/{patient:str}/quality")
async def quality(
    reception: Parts,
    person: Asker,
    patient: PseudonymInPath,
    span: Spanning,
    device: Device = None,
) -> QualityMap:
    """What could be read of a span of at most a day, and why not."""
    found = await reception.views.read(
        lambda s: read_quality(s, reception.store, person.org, patient, *span, device=device),
    )
    return QualityMap(list(map(_stretch, found)))


HANDLERS: Final[tuple[ControllerRouterHandler, ...]] = (trends, summary, episodes, beats, quality)


async def _trend(
    reception: Parts,
    person: Asker,
    patient: str,
    span: AskedSpan,
    width: int | None,
    device: str | None,
) -> TrendSeen:
    now_ns = reception.clock.utc_ns()
    return await reception.views.read(
        lambda s: trend_seen(read_trend(s, person.org, patient, *span, width, device=device, now_ns=now_ns)),
    )


def trend_seen(trend: Trend) -> TrendSeen:
    """Views as they go out."""
    column, made = trend.tallies.column, trend.measures

    def counts(field: Field) -> list[int]:
        return column(field).tolist()  # type: ignore[no-any-return]

    return TrendSeen(
        from_=instant(trend.from_ns),
        until=instant(trend.until_ns),
        resolution_min=trend.width,
        devices=list(trend.devices),
        batch_until=None if trend.batch_until_ns is None else instant(trend.batch_until_ns),
        functions=trend.made_by,
        start_ms=(trend.tallies.starts * 60_000).tolist(),
        beats={name: counts(Field(code)) for code, name in enumerate(BEAT_CLASSES)},
        heart_rate=Rates(
            _numbers(made.heart_rate_mean), _numbers(made.heart_rate_min), _numbers(made.heart_rate_max)
        ),
        variability=VariabilitySeen(
            nn_share=_numbers(made.nn_share, 4),
            mean_nn_ms=_numbers(made.mean_nn_ms),
            sdnn_ms=_numbers(made.sdnn_ms),
            rmssd_ms=_numbers(made.rmssd_ms),
            pnn50_percent=_numbers(made.pnn50_percent),
            sdann_ms=_numbers(made.sdann_ms),
        ),
        intervals=IntervalsSeen(
            qrs_ms=_numbers(made.qrs_ms), qt_ms=_numbers(made.qt_ms), qtc_ms=_numbers(made.qtc_ms)
        ),
        quality=QualitySeen(
            clear_s=counts(Field.CLEAR_S),
            qrs_only_s=counts(Field.QRS_ONLY_S),
            unreadable_s=counts(Field.UNREADABLE_S),
            missing_s=counts(Field.MISSING_S),
        ),
        burden_ms={kind: ms.tolist() for kind, ms in trend.burden_ms.items()},
        onsets={kind: count.tolist() for kind, count in trend.onsets.items()},
    )


def _numbers(column: NDArray[np.float64], digits: int = 2) -> Numbers:
    """NaN goes out as null."""
    rounded: Numbers = np.round(column, digits).tolist()
    return rounded


def _stretch(run: QualityRun) -> QualityStretch:
    return QualityStretch(instant(run.start_ns), instant(run.until_ns), run.grade, list(run.reasons))
