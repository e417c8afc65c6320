"""Beat detection and classification."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import DefectError, EinthovenError, InputInvalid
from einthoven.functions.contract import contract_of, function
from einthoven.functions.ecg import BeatSection, BeatState, Cleaned, Ecg, PatientState
from einthoven.signal.atrial import p_shapes
from einthoven.signal.beats import BLOCK, DETECTION_LAG, DETECTION_REACH, PLACE, Trace, detect, locate
from einthoven.signal.classes import classify, load_model
from einthoven.signal.filters import ENVELOPE_REACH, envelope
from einthoven.signal.findings import Beats, MinuteIntervals
from einthoven.signal.intervals import measure
from einthoven.signal.morphology import (
    CONTEXT_LAG,
    HISTORY,
    MINUTE,
    PatientContext,
    appearance,
    describe,
    turn,
)
from einthoven.signal.resampling import ratio_of, source_positions

__all__ = ["LAG", "DescribedBeats", "bdc", "bdc_batch", "describe_beats"]

LAG: Final = ENVELOPE_REACH + DETECTION_LAG + PLACE + CONTEXT_LAG
"""Clean samples that a beat needs after it before it is decided, at most (5.3 s)."""
_FLUSH: Final = LAG + BLOCK


@function(version="1.0", memory_mb=128, timeout_s=10.0)
def bdc(ecg: Ecg, state: PatientState) -> tuple[Ecg, PatientState]:
    """Find beats and tell their classes; adds the section ``beats``.

    Raises
    ------
    InputInvalid : preprocessing did not come first.
    """
    described, after = _described(ecg, state)
    return _told(ecg, state, described, after, *classify(described.features, load_model()))


def bdc_batch(
    pairs: Sequence[tuple[Ecg, PatientState]],
) -> list[tuple[Ecg, PatientState] | EinthovenError]:
    """`bdc` of many patients, the beats of all classified in one call; for each its answer or its error."""
    found: list[tuple[DescribedBeats, BeatState] | EinthovenError] = []
    for ecg, state in pairs:
        try:
            found.append(_described(ecg, state))
        except EinthovenError as error:
            found.append(error)
    features = [one[0].features for one in found if not isinstance(one, EinthovenError)]
    if not features:
        return [one for one in found if isinstance(one, EinthovenError)]
    classes, confidences = classify(np.concatenate(features), load_model())
    answers: list[tuple[Ecg, PatientState] | EinthovenError] = []
    first = 0
    for (ecg, state), one in zip(pairs, found, strict=True):
        if isinstance(one, EinthovenError):
            answers.append(one)
            continue
        own = slice(first, first + len(one[0].features))
        answers.append(_told(ecg, state, *one, classes[own].copy(), confidences[own].copy()))
        first = own.stop
    return answers


def _described(ecg: Ecg, state: PatientState) -> tuple["DescribedBeats", BeatState]:
    if ecg.cleaned is None:
        raise InputInvalid(
            "the ECG object was not preprocessed.", where="cleaned", remedy="Run preprocessing first."
        )
    return describe_beats(ecg.cleaned, state.beats, is_last=ecg.is_last)


def _told(
    ecg: Ecg,
    state: PatientState,
    described: "DescribedBeats",
    after: BeatState,
    classes: NDArray[np.uint8],
    confidences: NDArray[np.uint8],
) -> tuple[Ecg, PatientState]:
    """The section ``beats`` and the state after it."""
    grid = described.grid
    looks = appearance(described.features, described.sizes)
    section = BeatSection(
        since=described.since,
        until=after.boundary,
        beats=Beats(
            positions=source_positions(grid, ratio_of(ecg.fs)),
            classes=classes,
            confidences=confidences,
            grid=grid,
            morphology=classes,
            agreement=looks.agreement,
            p_wave=looks.p_wave,
            p_shape=p_shapes(described.samples, described.first, grid, looks.patient_amplitudes),
            widths_ms=looks.widths_ms,
            amplitudes_uv=looks.amplitudes_uv,
            grades=np.zeros(len(classes), np.uint8),
        ),
        intervals=described.intervals,
    )
    versions = {
        **ecg.versions,
        "bdc": contract_of(bdc).version,
        "beat_model": load_model().version,
    }
    return (
        msgspec.structs.replace(ecg, beats=section, versions=versions),
        msgspec.structs.replace(state, beats=after),
    )


class DescribedBeats(NamedTuple):
    """The beats of one call with what their classes are told from."""

    since: int
    """Grid position from which on they are all."""
    grid: NDArray[np.int64]
    features: NDArray[np.float32]
    """Shape (beats, len(FEATURES))."""
    sizes: NDArray[np.int32]
    """Shape (beats, 2): peak amplitude (units) and width (samples)."""
    intervals: tuple[MinuteIntervals, ...]
    samples: NDArray[np.int16]
    """The clean signal that they were described on, units."""
    first: int
    """Grid position of its first sample."""
    fiducials: NDArray[np.int64]
    """Beats of earlier calls, these, and those that follow and are not decided yet."""
    known: int
    """How many are of earlier calls."""


def describe_beats(
    cleaned: Cleaned, state: BeatState | None, *, is_last: bool
) -> tuple[DescribedBeats, BeatState]:
    """Find the beats that can be decided now and describe them; the state after them."""
    before = state or BeatState(
        cleaned.start,
        Trace.empty(cleaned.start),
        np.empty(0, np.int64),
        0,
        cleaned.start,
        PatientContext.empty(),
    )
    samples, first, end = _window(cleaned, before, is_last=is_last)
    found, until, trace = _detect(samples, first, before, cleaned.start, end)
    beats = np.concatenate((before.beats, found))
    boundary = max(before.boundary, until - PLACE - CONTEXT_LAG)
    if is_last:
        boundary = max(before.boundary, end)
    # What lies before the stream is nothing, not the padding that the envelope was given there.
    skip = max(0, cleaned.start - first)
    samples, first = samples[skip:], first + skip
    features, sizes, intervals, context = _describe(samples, first, beats, before, boundary, is_last=is_last)
    described = before.known + len(features)
    grid = beats[before.known : described]
    keep = max(0, described - HISTORY)
    return (
        DescribedBeats(
            before.boundary, grid, features, sizes, intervals, samples, first, beats, before.known
        ),
        BeatState(until, trace, beats[keep:].copy(), described - keep, boundary, context),
    )


def _window(cleaned: Cleaned, before: BeatState, *, is_last: bool) -> tuple[NDArray[np.int16], int, int]:
    """Clean samples that this call needs, the position of the first, and where the signal ends."""
    end = cleaned.first + cleaned.samples.size
    need = max(cleaned.start, before.after - DETECTION_REACH) - ENVELOPE_REACH
    samples, first = cleaned.samples, cleaned.first
    if samples.size == 0:
        return samples, first, end
    if need < first:
        if first > cleaned.start:
            raise DefectError(
                "the clean signal does not reach back as far as beat detection needs.",
                where="cleaned.first",
                remedy="Please report how the stream was cut.",
            )
        samples = np.pad(samples, (first - need, 0), mode="edge")
        first = need
    if is_last:
        samples = np.pad(samples, (0, _FLUSH), mode="edge")
    return samples, first, end


def _detect(
    samples: NDArray[np.int16], first: int, before: BeatState, start: int, end: int
) -> tuple[NDArray[np.int64], int, Trace]:
    need = max(first, before.after - DETECTION_REACH - ENVELOPE_REACH)
    energy = envelope(samples[need - first :])
    begin = max(start, need)
    positions, until, trace = detect(
        energy, need + ENVELOPE_REACH, samples[begin - first :], begin, before.after, before.trace
    )
    positions = positions[positions < end]
    return locate(samples, first, positions, start, end), until, trace


def _describe(
    samples: NDArray[np.int16],
    first: int,
    beats: NDArray[np.int64],
    before: BeatState,
    boundary: int,
    *,
    is_last: bool,
) -> tuple[NDArray[np.float32], NDArray[np.int32], tuple[MinuteIntervals, ...], PatientContext]:
    """Describe the beats before ``boundary``, minute by minute."""
    context = before.context
    known = before.known
    features: list[NDArray[np.float32]] = []
    sizes: list[NDArray[np.int32]] = []
    intervals: list[MinuteIntervals] = []
    minute = before.boundary // MINUTE
    while True:
        stop = min((minute + 1) * MINUTE, boundary)
        count = int(beats.searchsorted(stop)) - known
        rows, size, context = describe(samples, first, beats, known, count, context)
        features.append(rows)
        sizes.append(size)
        known += count
        ends_here = stop == (minute + 1) * MINUTE
        if ends_here or (is_last and boundary > minute * MINUTE):
            mean, turned = turn(context)
            intervals.append(measure(minute, mean))
            context = turned if ends_here else context
        if not ends_here or stop == boundary:
            if len(features) == 1:
                return features[0], sizes[0], tuple(intervals), context
            return np.concatenate(features), np.concatenate(sizes), tuple(intervals), context
        minute += 1
