"""One moment of a recording, explained: the beat there, its neighbours, the quality and the episodes."""

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import InputInvalid
from einthoven.functions import Chunk, Ecg, PatientState, preprocessing, split
from einthoven.functions.chunks import LAG_S, MEMORY_S
from einthoven.functions.evidence import Evidence, evidence
from einthoven.runtime.batch import analyse_source
from einthoven.signal.findings import Beats, Episode, Findings, Quality
from einthoven.signal.recording import RecordingSource, span_mv
from einthoven.signal.resampling import FS, UNITS_PER_MV
from einthoven.signal.rules import KINDS, Kind

__all__ = ["STRIP_S", "Explanation", "Moment", "explain"]

STRIP_S: Final = 10.0


class Moment(msgspec.Struct, frozen=True):
    """What is to be explained: a time, or the onset of an episode of a kind, the first or another."""

    at_s: float | None = None
    kind: Kind | None = None
    number: int = 1

    @staticmethod
    def parse(text: str) -> "Moment":
        """From seconds, ``h:mm:ss``, ``mm:ss``, or an episode as ``pause`` or ``pause:2``.

        Raises
        ------
        InputInvalid : none of these.
        """
        name, _, number = text.strip().partition(":")
        for kind in KINDS:
            if name == kind and (not number or (number.isdigit() and int(number) > 0)):
                return Moment(kind=kind, number=int(number or 1))
        parts = text.strip().split(":")
        try:
            values = [float(part) for part in parts]
        except ValueError:
            values = []
        late = any(value >= 60 for value in values[1:])
        if 1 <= len(values) <= 3 and not late and all(0 <= value < 1e9 for value in values):
            return Moment(at_s=sum(value * 60**power for power, value in enumerate(reversed(values))))
        raise InputInvalid(
            f"{text!r} is neither a time nor a kind of episode.",
            where="explain",
            remedy="Give seconds (83.5), h:mm:ss (0:01:23.5), or an episode such as pause or pause:2; "
            f"kinds are {', '.join(KINDS)}.",
        )


class Explanation(msgspec.Struct, frozen=True, eq=False):
    """What a picture of one moment is drawn from."""

    recording: str
    lead: str
    fs: float
    start_s: float
    """Where the strip of `STRIP_S` begins."""
    ecg_mv: NDArray[np.float32]
    """The strip as the device gave it; NaN where a sample is missing."""
    cleaned_mv: NDArray[np.float32]
    """The strip on the analysis grid."""
    beats: Beats
    """Those of the strip and the neighbours that its intervals need, classes as told."""
    quality: Quality
    """The seconds of the strip."""
    episodes: tuple[Episode, ...]
    """Those that touch the strip, by onset."""
    chosen: int | None
    """Index of the explained beat; None when the strip has none."""
    evidence: Evidence | None
    versions: dict[str, str]


def explain(source: RecordingSource, lead: int, moment: Moment) -> Explanation:
    """Analyse a recording and gather what was known at a moment.

    Raises
    ------
    InputInvalid : an empty recording, a moment outside it, or an episode that it does not have.
    """
    info = source.info
    findings = analyse_source(source, lead)
    if findings is None:
        raise InputInvalid("the recording is empty.", where=info.name)
    at = round(_seconds(moment, findings, info.name) * info.fs)
    if at > info.samples:
        raise InputInvalid(
            f"{at / info.fs:g} s lies after the recording's end, {info.duration_s:g} s.",
            where=info.name,
            remedy="Give an earlier time.",
        )
    size = round(STRIP_S * info.fs)
    told = _evidence(source, lead, at)
    if told is not None and abs(told.position - at) > size // 2:
        told = None
    middle = at if told is None else told.position
    start = max(0, min(middle - size // 2, info.samples - size))
    start_s = start / info.fs
    first_cell = int(start_s)
    quality = findings.quality
    low = max(0, first_cell - quality.first_cell)
    high = max(low, -(-int((start_s + STRIP_S) * 10) // 10) - quality.first_cell)
    a, b = np.searchsorted(findings.beats.positions, (start, start + size))
    a, b = max(0, int(a) - 1), min(len(findings.beats), int(b) + 1)
    beats = Beats(*(column[a:b] for column in msgspec.structs.astuple(findings.beats)))
    chosen = None if told is None else np.flatnonzero(beats.grid == told.grid)
    return Explanation(
        recording=info.name,
        lead=info.leads[lead].name,
        fs=info.fs,
        start_s=start_s,
        ecg_mv=span_mv(source, lead, start, start + size),
        cleaned_mv=_cleaned(source, lead, start, start + size),
        beats=beats,
        quality=Quality(quality.first_cell + low, quality.cells[low:high]),
        episodes=tuple(
            episode
            for episode in sorted(findings.episodes, key=lambda one: one.onset)
            if episode.onset < start + size and (episode.end is None or episode.end > start)
        ),
        chosen=None if chosen is None or not chosen.size else int(chosen[0]),
        evidence=told,
        versions=findings.versions,
    )


def _seconds(moment: Moment, findings: Findings, name: str) -> float:
    if moment.kind is None:
        return moment.at_s or 0.0
    onsets = sorted(episode.onset for episode in findings.episodes if episode.kind == moment.kind)
    if moment.number > len(onsets):
        raise InputInvalid(
            f"the recording has {len(onsets)} episode{'s' * (len(onsets) != 1)} of {moment.kind}.",
            where=name,
            remedy="Give a time, or an episode that analyze lists.",
        )
    return onsets[moment.number - 1] / findings.fs


def _evidence(source: RecordingSource, lead: int, at: int) -> Evidence | None:
    """The evidence from a part of the recording, which is that of the whole.

    The beats that are called usual lie in the beat's own memory, and have theirs before it.
    """
    fs = source.info.fs
    before, after = round((2 * MEMORY_S + STRIP_S) * fs), round((LAG_S + STRIP_S) * fs)
    return evidence(_part(source, lead, at - before, at + after), at)


def _part(source: RecordingSource, lead: int, start: int, stop: int) -> Ecg:
    samples = source.info.samples
    start, stop = max(0, start), min(samples, stop)
    return split(source, Chunk(0, start, stop, start, stop, stop == samples), lead)


def _cleaned(source: RecordingSource, lead: int, start: int, stop: int) -> NDArray[np.float32]:
    """The clean signal of a span on the grid; NaN where there is none."""
    fs = source.info.fs
    around = round(STRIP_S * fs)
    prepared, _ = preprocessing(_part(source, lead, start - around, stop + around), PatientState())
    strip = np.full(round(STRIP_S * FS), np.nan, np.float32)
    if prepared.cleaned is None:
        return strip
    samples = prepared.cleaned.samples
    offset = round(start / fs * FS) - prepared.cleaned.first
    low, high = max(0, -offset), min(strip.size, samples.size - offset)
    if high > low:
        strip[low:high] = samples[offset + low : offset + high] / UNITS_PER_MV
    return strip
