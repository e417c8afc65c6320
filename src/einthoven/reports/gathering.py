"""Strips and beats that look alike, read from the samples of an analysed recording."""

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.reports.content import Cluster, Report, Strip, intervals_of, report_of
from einthoven.reports.heading import Heading
from einthoven.reports.identity import mark_of
from einthoven.signal.clusters import Shapes, assign, find_shapes
from einthoven.signal.findings import BEAT_CLASSES, Episode, Findings
from einthoven.signal.quality import GRADE
from einthoven.signal.recording import RecordingSource, span_mv
from einthoven.signal.resampling import FS
from einthoven.signal.rules import KINDS, RULES

__all__ = ["STRIP_S", "Shown", "gather", "shown_in"]

STRIP_S: Final = 7.0
"""What fits across a page at 25 mm/s."""
_BEFORE_S: Final = 2.0
"""Of an episode's strip lie before its onset."""
_EACH: Final = 2
"""Strips of one kind of episode."""
_EPISODES: Final = 14
_LEAST_BEATS: Final = 3
"""In a strip of the usual rhythm."""
_BEFORE_BEAT_S, _BEHIND_BEAT_S = 0.2, 0.4
_CORE: Final = slice(round((_BEFORE_BEAT_S - 0.1) * FS) - 1, round((_BEFORE_BEAT_S + 0.14) * FS) + 1)
"""The QRS, and a sample on each side: by this alone beats are compared."""
_READ_S: Final = 3600.0
_SAMPLED: Final = 20_000
"""Beats from which it is learned what beats look like."""
_CALM_S: Final = 7
"""A strip of the usual rhythm is sought every so many seconds."""


class Shown(NamedTuple):
    """A place that is worth a strip."""

    title: str
    at_s: float


def gather(
    source: RecordingSource,
    lead: int,
    findings: Findings,
    heading: Heading,
    told: Callable[[int, int], None] = lambda _done, _of: None,
    remarks: tuple[str, ...] = (),
) -> Report:
    """A whole report.

    Parameters
    ----------
    source : the recording whose ``lead`` was analysed.
    told : of hours read, and of how many.
    remarks : on the file; see `Report`.

    Raises
    ------
    InputInvalid, RecordingUnreadable : see `RecordingSource`.
    """
    report = report_of(source.info, lead, findings, heading)
    strips = tuple(_strip(source, lead, findings, one) for one in shown_in(report, findings))
    return msgspec.structs.replace(
        report,
        strips=strips,
        clusters=_clusters(source, lead, findings, told),
        remarks=remarks,
        mark=mark_of(source),
    )


# -------------------------------------------------------------------- strips


def shown_in(report: Report, findings: Findings) -> list[Shown]:
    """Where strips are taken: usual, slowest and fastest rhythm, longest episodes of each kind, ectopy."""
    last_s = max(0.0, report.duration_s - STRIP_S)
    usual_s = _usual_s(findings)
    found = [] if usual_s is None else [Shown("Usual rhythm", usual_s)]
    for title, rate in (("Slowest rate", report.slowest), ("Fastest rate", report.fastest)):
        if rate is not None:
            found.append(Shown(f"{title}, {rate.bpm:.0f} beats/min", rate.at_s - STRIP_S + 1.0))
    episodes = [
        one for kind in KINDS if RULES[kind].priority != "technical" for one in _longest(findings, kind)
    ]
    found += [
        Shown(RULES[one.kind].title, one.onset / findings.fs - _BEFORE_S) for one in episodes[:_EPISODES]
    ]
    found += [Shown(title, at_s) for title, at_s in _single_ectopy(findings)]
    return [Shown(one.title, min(max(0.0, one.at_s), last_s)) for one in found]


def _longest(findings: Findings, kind: str) -> list[Episode]:
    def length(one: Episode) -> int:
        return (findings.until if one.end is None else one.end) - one.onset

    of_kind = [one for one in findings.episodes if one.kind == kind]
    return sorted(
        sorted(of_kind, key=lambda one: (-length(one), one.onset))[:_EACH], key=lambda one: one.onset
    )


def _usual_s(findings: Findings) -> float | None:
    """Where all waves are seen, beats look as usual, and the rate is nearest to the median of what is sound.

    None where there are hardly any beats. Whatever the rhythm is for most of the time is usual, whether its
    intervals count as normal or not.
    """
    intervals, quality = intervals_of(findings), findings.quality
    wide = int(STRIP_S) + 1
    starts = np.arange(0, max(1, quality.cells.size - wide), _CALM_S)
    grid = (quality.first_cell + starts) * FS
    a, b = (np.searchsorted(intervals.end, edge) for edge in (grid, grid + wide * FS))
    count = b - a
    usual = float(np.median(intervals.rr[intervals.sound])) if intervals.sound.any() else float(FS)

    def share(
        values: NDArray[Any], first: NDArray[np.int64], behind: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        sums = np.concatenate(([0.0], np.cumsum(values, dtype=np.float64)))
        shares: NDArray[np.float64] = (sums[behind] - sums[first]) / np.maximum(1, behind - first)
        return shares

    off = np.abs(share(intervals.rr, a, b) - usual) / usual
    unclear = share((quality.cells & GRADE) != 1, starts, np.minimum(starts + wide, quality.cells.size))
    unlike = 1.0 - share(findings.beats.agreement, a, b) / 100.0
    badness = off + unclear + unlike
    if not (count >= _LEAST_BEATS).any():
        return None
    best = int(np.argmin(np.where(count >= _LEAST_BEATS, badness, np.inf)))
    return float(quality.first_cell + starts[best])


def _single_ectopy(findings: Findings) -> Iterator[tuple[str, float]]:
    """The surest beat of each ectopic class."""
    beats = findings.beats
    for letter, title in (("V", "Ventricular ectopic beat"), ("S", "Supraventricular ectopic beat")):
        of_class = np.flatnonzero((beats.classes == BEAT_CLASSES.index(letter)) & (beats.grades == 1))
        if of_class.size:
            surest = of_class[np.argmax(beats.confidences[of_class])]
            yield title, float(beats.grid[surest]) / FS - STRIP_S / 2


def _strip(source: RecordingSource, lead: int, findings: Findings, shown: Shown) -> Strip:
    fs = source.info.fs
    first = round(shown.at_s * fs)
    ecg_mv = span_mv(source, lead, first, first + round(STRIP_S * fs))
    beats = findings.beats
    a, b = np.searchsorted(beats.positions, (first, first + ecg_mv.size))
    labels = tuple(
        ((int(position) - first) / fs, BEAT_CLASSES[code])
        for position, code in zip(beats.positions[a:b], beats.classes[a:b], strict=True)
    )
    return Strip(title=shown.title, at_s=first / fs, fs=fs, ecg_mv=ecg_mv, beats=labels)


# -------------------------------------------------------------------- beats that look alike


def _clusters(
    source: RecordingSource, lead: int, findings: Findings, told: Callable[[int, int], None]
) -> tuple[Cluster, ...]:
    beats = findings.beats
    if not len(beats):
        return ()
    offsets = _offsets(source.info.fs)
    sampled = np.unique(np.linspace(0, len(beats) - 1, min(len(beats), _SAMPLED)).astype(np.int64))
    chosen = [part for _, part in _shapes(source, lead, beats.positions[sampled], offsets, lambda *_: None)]
    shapes = find_shapes(np.concatenate(chosen)[:, _CORE], beats.classes[sampled])
    sums = _Sums(shapes, offsets.size)
    for rows, part in _shapes(source, lead, beats.positions, offsets, told):
        sums.add(part, beats.classes[rows])
    return sums.clusters(FS)


def _offsets(fs: float) -> NDArray[np.int64]:
    """Samples around a beat, as near to the analysis grid's 8 ms as the recording has them."""
    steps = np.arange(-round(_BEFORE_BEAT_S * FS), round(_BEHIND_BEAT_S * FS) + 1)
    return np.rint(steps * fs / FS).astype(np.int64)


def _shapes(
    source: RecordingSource,
    lead: int,
    positions: NDArray[np.int64],
    offsets: NDArray[np.int64],
    told: Callable[[int, int], None],
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Samples around beats, mV, as many at a time as lie in an hour."""
    step = round(_READ_S * source.info.fs)
    hours = -(-source.info.samples // step)
    for hour in range(hours):
        a, b = np.searchsorted(positions, (hour * step, (hour + 1) * step))
        if b > a:
            first = max(0, hour * step + int(offsets[0]))
            ecg_mv = span_mv(source, lead, first, (hour + 1) * step + int(offsets[-1]) + 1)
            at = positions[a:b, None] + offsets[None, :] - first
            inside = (at >= 0) & (at < ecg_mv.size)
            shapes = np.where(inside, ecg_mv[np.clip(at, 0, ecg_mv.size - 1)], np.nan)
            yield slice(int(a), int(b)), shapes.astype(np.float32)
        told(hour + 1, hours)


class _Sums:
    """Means and spreads of clusters as beats come."""

    def __init__(self, shapes: Shapes, samples: int) -> None:
        self._shapes = shapes
        self._counts = np.zeros(shapes.codes.size, np.int64)
        self._known = np.zeros((shapes.codes.size, samples), np.int64)
        self._sums = np.zeros((shapes.codes.size, samples))
        self._squares = np.zeros((shapes.codes.size, samples))

    def add(self, beats: NDArray[np.float32], codes: NDArray[np.uint8]) -> None:
        which = assign(self._shapes, beats[:, _CORE], codes)
        level = beats - np.median(beats[:, _CORE], axis=1, keepdims=True)
        for cluster in np.unique(which[which >= 0]).tolist():
            some = level[which == cluster].astype(np.float64)
            self._counts[cluster] += len(some)
            self._known[cluster] += np.isfinite(some).sum(axis=0)
            self._sums[cluster] += np.nansum(some, axis=0)
            self._squares[cluster] += np.nansum(some**2, axis=0)

    def clusters(self, fs: float) -> tuple[Cluster, ...]:
        found = []
        for number in np.argsort(-self._counts, kind="stable"):
            count = int(self._counts[number])
            if not count:
                continue
            known = np.maximum(1, self._known[number])
            mean = self._sums[number] / known
            spread = np.sqrt(np.maximum(0.0, self._squares[number] / known - mean**2))
            found.append(
                Cluster(
                    letter=BEAT_CLASSES[self._shapes.codes[number]],
                    beats=count,
                    fs=fs,
                    mean_mv=mean.astype(np.float32),
                    spread_mv=spread.astype(np.float32),
                )
            )
        return tuple(found)
