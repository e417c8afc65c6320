"""What a report says of a recording, as values.

What it holds follows the ISHNE-HRS consensus on ambulatory ECG (Steinberg et al., Heart Rhythm 14(7) e55,
2017): duration and what could be analysed, rates with their times, pauses, ectopy by the hour and in runs,
burden of fibrillation, variability, strips.
"""

import math
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.reports.heading import Heading
from einthoven.signal.ectopy import Ectopy, count_runs
from einthoven.signal.findings import BEAT_CLASSES, Episode, Findings, Variability
from einthoven.signal.quality import GRADE, LEAD_OFF, LOST, SATURATED
from einthoven.signal.recording import RecordingInfo
from einthoven.signal.resampling import FS
from einthoven.signal.rules import KINDS, RULES, Kind, Priority
from einthoven.signal.variability import Intervals, rates_in_rows, rr_intervals

__all__ = [
    "HOUR_S",
    "PAUSES",
    "Cluster",
    "EpisodesOfKind",
    "Hour",
    "Pauses",
    "Rate",
    "Readable",
    "Report",
    "Strip",
    "episodes_by_kind",
    "hours_of",
    "intervals_of",
    "rates_of",
    "readable_of",
    "report_of",
]

HOUR_S: Final = 3600.0
PAUSES: Final[frozenset[Kind]] = frozenset({"pause", "asystole"})
"""Kinds of episodes in which nothing beats; one may begin as the one and become the other."""
_RATELESS: Final[frozenset[Kind]] = PAUSES | {"ventricular_fibrillation"}
_WILD: Final[frozenset[Kind]] = _RATELESS - {"pause"}
"""Episodes of these have no rate; a pause belongs to the rhythm in which it is."""


class Rate(msgspec.Struct, frozen=True):
    """A rate, and when."""

    bpm: float
    at_s: float
    """Its last beat, from the start of the recording."""


class Hour(msgspec.Struct, frozen=True, kw_only=True):
    """One hour of the recording; rates over sound intervals, beats/min."""

    start_s: float
    analysed_s: float
    beats: int
    mean_bpm: float | None
    min_bpm: float | None
    max_bpm: float | None
    supraventricular: int
    ventricular: int
    ventricular_runs: int
    """Of three and more."""
    pauses: int
    fibrillation_s: float
    """Atrial."""


class EpisodesOfKind(msgspec.Struct, frozen=True, kw_only=True):
    """All episodes of one kind."""

    kind: Kind
    priority: Priority
    count: int
    total_s: float
    longest_s: float
    longest_at_s: float
    fastest_bpm: float | None
    """Greatest mean rate in one of them; None for those that have none."""
    fastest_at_s: float | None


class Pauses(msgspec.Struct, frozen=True):
    """Spans in which nothing beat, whatever they are called."""

    count: int
    longest_s: float | None


class Readable(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds by what could be read in them."""

    all_waves_s: int
    qrs_only_s: int
    unusable_s: int
    of_which_lead_off_s: int
    of_which_lost_s: int
    of_which_saturated_s: int

    @property
    def share(self) -> float | None:
        """Of the seconds in which beats could be read."""
        total = self.all_waves_s + self.qrs_only_s + self.unusable_s
        return (self.all_waves_s + self.qrs_only_s) / total if total else None


class Strip(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Some seconds of ECG, as the device gave them, and why they are shown."""

    title: str
    at_s: float
    fs: float
    ecg_mv: NDArray[np.float32]
    """Shape (samples,); NaN where one is missing."""
    beats: tuple[tuple[float, str], ...]
    """When, s from the strip's start, and the class's letter."""


class Cluster(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Beats of a class that look alike."""

    letter: str
    beats: int
    fs: float
    mean_mv: NDArray[np.float32]
    spread_mv: NDArray[np.float32]
    """Standard deviation at each sample."""


class Report(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Everything that the pages say."""

    heading: Heading
    name: str
    lead: str
    fs: float
    start_ns: int | None
    duration_s: float
    beats: dict[str, int]
    mean_bpm: float | None
    slowest: Rate | None
    fastest: Rate | None
    ventricular: Ectopy
    supraventricular: Ectopy
    readable: Readable
    pauses: Pauses
    variability: Variability
    qrs_ms: float | None
    qt_ms: float | None
    qtc_ms: float | None
    episodes: tuple[EpisodesOfKind, ...]
    hours: tuple[Hour, ...]
    clusters: tuple[Cluster, ...] = ()
    strips: tuple[Strip, ...] = ()
    remarks: tuple[str, ...] = ()
    """What was taken for granted of the file, and what of it was left out."""
    mark: str = ""
    """What tells the recording from others; see `einthoven.reports.identity`."""
    versions: dict[str, str]


def report_of(info: RecordingInfo, lead: int, findings: Findings, heading: Heading) -> Report:
    """All that findings alone say; strips and clusters come from the samples."""
    paused = _paused(findings)
    intervals = intervals_of(findings)
    slowest, fastest = rates_of(intervals)
    counts = np.bincount(findings.beats.classes, minlength=len(BEAT_CLASSES)).tolist()
    return Report(
        heading=heading,
        name=info.name,
        lead=info.leads[lead].name,
        fs=info.fs,
        start_ns=info.start_ns,
        duration_s=info.duration_s,
        beats=dict(zip(BEAT_CLASSES, counts, strict=True)),
        mean_bpm=_mean_bpm(intervals, 0.0, math.inf),
        slowest=slowest,
        fastest=fastest,
        ventricular=_runs(findings, "V"),
        supraventricular=_runs(findings, "S"),
        readable=readable_of(findings),
        pauses=Pauses(len(paused), max((stop - start for start, stop in paused), default=None)),
        variability=findings.variability,
        qrs_ms=_median([row.qrs_ms for row in findings.intervals]),
        qt_ms=_median([row.qt_ms for row in findings.intervals]),
        qtc_ms=_median([row.qtc_ms for row in findings.intervals]),
        episodes=episodes_by_kind(findings, intervals),
        hours=hours_of(findings, intervals, info.duration_s),
        versions=findings.versions,
    )


def intervals_of(findings: Findings) -> Intervals:
    """Intervals between the beats; in ventricular fibrillation and asystole none is sound."""
    beats, quality = findings.beats, findings.quality
    found = rr_intervals(beats.grid, beats.classes, quality.first_cell, quality.cells)
    sound = found.sound.copy()
    begins_s, ends_s = (found.end - found.rr) / FS, found.end / FS
    for one in findings.episodes:
        if one.kind in _WILD:
            onset_s, end_s = _span_s(findings, one)
            sound &= (ends_s <= onset_s) | (begins_s >= end_s)
    return found._replace(sound=sound, nn=found.nn & sound)


def rates_of(intervals: Intervals) -> tuple[Rate | None, Rate | None]:
    """The least and the greatest mean of eight sound intervals in a row, and when they were reached."""
    ends, bpm = rates_in_rows(intervals)
    if not bpm.size:
        return None, None
    slow, fast = int(np.argmin(bpm)), int(np.argmax(bpm))
    return Rate(float(bpm[slow]), float(ends[slow]) / FS), Rate(float(bpm[fast]), float(ends[fast]) / FS)


def _span_s(findings: Findings, one: Episode) -> tuple[float, float]:
    """From when to when an episode lasts, s; one that goes on until the end of the recording."""
    return one.onset / findings.fs, (findings.until if one.end is None else one.end) / findings.fs


def readable_of(findings: Findings) -> Readable:
    """What could be read, and why not."""
    cells = findings.quality.cells
    unusable = cells[(cells & GRADE) == GRADE]

    def seconds(bit: int) -> int:
        return int(np.count_nonzero(unusable & bit))

    return Readable(
        all_waves_s=findings.quality.seconds(1),
        qrs_only_s=findings.quality.seconds(2),
        unusable_s=int(unusable.size),
        of_which_lead_off_s=seconds(LEAD_OFF),
        of_which_lost_s=seconds(LOST),
        of_which_saturated_s=seconds(SATURATED),
    )


def episodes_by_kind(findings: Findings, intervals: Intervals) -> tuple[EpisodesOfKind, ...]:
    """Each kind that there was, most urgent first; an episode that goes on lasts until the end."""
    found = []
    for kind in KINDS:
        spans = [_span_s(findings, one) for one in findings.episodes if one.kind == kind]
        if not spans:
            continue
        longest = max(spans, key=lambda span: (span[1] - span[0], -span[0]))
        timed = [] if kind in _RATELESS else spans
        rates = [(rate, start) for start, stop in timed if (rate := _mean_bpm(intervals, start, stop))]
        fastest = max(rates, default=None)
        found.append(
            EpisodesOfKind(
                kind=kind,
                priority=RULES[kind].priority,
                count=len(spans),
                total_s=math.fsum(stop - start for start, stop in spans),
                longest_s=longest[1] - longest[0],
                longest_at_s=longest[0],
                fastest_bpm=None if fastest is None else fastest[0],
                fastest_at_s=None if fastest is None else fastest[1],
            )
        )
    return tuple(found)


def _mean_bpm(intervals: Intervals, start_s: float, stop_s: float) -> float | None:
    """Over the sound intervals that lie in a span."""
    a, b = np.searchsorted(intervals.end, (start_s * FS, stop_s * FS), side="right")
    sound = intervals.sound[a:b]
    total = int(intervals.rr[a:b][sound].sum())
    return 60.0 * FS * int(sound.sum()) / total if total else None


def hours_of(findings: Findings, intervals: Intervals, duration_s: float) -> tuple[Hour, ...]:
    """Each hour from the start of the recording; the last may be shorter."""
    ends, bpm = rates_in_rows(intervals)
    return tuple(
        _hour(findings, intervals, ends, bpm, number * HOUR_S)
        for number in range(math.ceil(duration_s / HOUR_S))
    )


def _hour(
    findings: Findings,
    intervals: Intervals,
    ends: NDArray[np.int64],
    bpm: NDArray[np.float64],
    start_s: float,
) -> Hour:
    stop_s = start_s + HOUR_S
    beats = findings.beats.between(round(start_s * FS), round(stop_s * FS))
    cells = findings.quality.cells[
        max(0, round(start_s) - findings.quality.first_cell) : round(stop_s) - findings.quality.first_cell
    ]
    inside = bpm[slice(*np.searchsorted(ends, (start_s * FS, stop_s * FS), side="right"))]
    runs = _grouped(beats.grid, beats.classes, "V")
    return Hour(
        start_s=start_s,
        analysed_s=float(np.count_nonzero((cells & GRADE) < GRADE)),
        beats=len(beats),
        mean_bpm=_mean_bpm(intervals, start_s, stop_s),
        min_bpm=float(inside.min()) if inside.size else None,
        max_bpm=float(inside.max()) if inside.size else None,
        supraventricular=int(np.count_nonzero(beats.classes == BEAT_CLASSES.index("S"))),
        ventricular=runs.beats,
        ventricular_runs=runs.short_runs + runs.long_runs,
        pauses=sum(start_s <= onset_s < stop_s for onset_s, _ in _paused(findings)),
        fibrillation_s=_seconds_in(findings, "atrial_fibrillation", start_s, stop_s),
    )


def _paused(findings: Findings) -> list[tuple[float, float]]:
    """From when to when nothing beat, s; what overlaps is one."""
    found: list[tuple[float, float]] = []
    for one in sorted(findings.episodes, key=lambda one: one.onset):
        if one.kind in PAUSES:
            start_s, stop_s = _span_s(findings, one)
            if found and start_s <= found[-1][1]:
                start_s, stop_s = found[-1][0], max(stop_s, found[-1][1])
                found.pop()
            found.append((start_s, stop_s))
    return found


def _seconds_in(findings: Findings, kind: Kind, start_s: float, stop_s: float) -> float:
    spans = (_span_s(findings, one) for one in findings.episodes if one.kind == kind)
    return math.fsum(max(0.0, min(stop, stop_s) - max(start, start_s)) for start, stop in spans)


def _runs(findings: Findings, letter: str) -> Ectopy:
    return _grouped(findings.beats.grid, findings.beats.classes, letter)


def _grouped(grid: NDArray[np.int64], classes: NDArray[np.uint8], letter: str) -> Ectopy:
    return count_runs(grid, classes, BEAT_CLASSES.index(letter))


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
