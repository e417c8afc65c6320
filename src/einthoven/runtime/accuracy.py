"""One annotated record, analysed in one of three ways and compared with its annotations."""

import functools
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import DefectError, InputInvalid, RecordingUnreadable
from einthoven.evaluation import CLASS_MAPS, Labels, NoisyPeriods, RecordReport, beat_table, labels_of
from einthoven.evaluation.mistakes import MISTAKES, STRIP_S, Strip, mistakes, strip_of, worst_start
from einthoven.evaluation.report import compare
from einthoven.evaluation.stress import (
    NoiseKind,
    NoiseLevel,
    add_noise,
    gain_for,
    noise_power_mv2,
    noisy_spans,
    recovered_noise,
    signal_power_mv2,
    snr_inside_db,
)
from einthoven.functions import Ecg, PatientState, analyse, count_hours, join, split
from einthoven.records import annotations_of, open_recording, read_annotations
from einthoven.signal.beats import REFRACTORY
from einthoven.signal.findings import Findings
from einthoven.signal.quality import CELL, GRADE
from einthoven.signal.recording import Recording, RecordingInfo, RecordingSource, missing, span_mv
from einthoven.signal.resampling import FS

__all__ = ["Compared", "Mode", "Stress", "analyse_in_mode", "compared_record", "stressed"]

Mode = Literal["stream", "isolated", "whole"]
SEGMENT_S: Final = 30.0
EM_RECORD: Final = "118e00"
"""Record 118 with electrode motion at 0 dB: its difference from 118 is that noise."""


class Stress(msgspec.Struct, frozen=True):
    """A noise-stress test: which noise, and where its recordings are."""

    level: NoiseLevel | None
    """None: the same periods without noise, to compare with."""
    noise_folder: Path
    """Holds ``bw``, ``ma`` and ``118e00``."""
    clean_118: Path
    """Record 118, from which ``118e00`` was made."""


class Compared(msgspec.Struct, frozen=True, eq=False):
    """What a comparison of one record gives."""

    report: RecordReport
    strips: tuple[Strip, ...] = ()
    """At most one for each kind of mistake: where the record has most of them."""


class Stressed(NamedTuple):
    """A recording of one lead with noise in it."""

    recording: Recording
    spans: NDArray[np.int64]
    """First and last sample of each noisy period; shape (n, 2)."""
    snr_db: float
    """As measured inside the periods; inf without noise."""


def compared_record(
    path: Path,
    *,
    lead: int,
    mode: Mode,
    class_map: str,
    start_s: float,
    stress: Stress | None = None,
    with_strips: bool = False,
) -> Compared:
    """Analyse and compare; the test annotations are those that ``analyze --annotations`` writes.

    With ``stress``, noise is added before the analysis, and the noisy periods are also counted apart.

    Raises
    ------
    RecordingNotFound, RecordingUnreadable : the record or its ``.atr``.
    InputInvalid : noise that does not fit the record.
    """
    marks = read_annotations(path.with_name(f"{path.name}.atr"))
    chosen = CLASS_MAPS[class_map]
    with open_recording(path) as opened:
        info = opened.info
        reference = labels_of(marks, info.samples, chosen)
        mixed = None if stress is None else stressed(opened, lead, reference, stress)
        source: RecordingSource = opened if mixed is None else mixed.recording
        number = lead if mixed is None else 0
        findings = analyse_in_mode(source, number, mode)
        if findings is None:
            raise RecordingUnreadable("the record is empty.", where=str(path), remedy="Leave it out.")
        test = labels_of(annotations_of(findings), info.samples, chosen)
        noise = "" if stress is None or stress.level is None else str(stress.level)
        strips = _strips(source, number, reference, test, start_s, noise) if with_strips else ()
    report = compare(reference, test, fs=info.fs, start_s=start_s, end=info.samples)
    if mixed is not None:
        inside = beat_table(
            reference, test, fs=info.fs, start_s=start_s, end=info.samples, within=mixed.spans
        )
        noisy = NoisyPeriods(inside, _seconds_by_grade(findings, mixed.spans), (mixed.snr_db,))
        report = msgspec.structs.replace(report, noisy=noisy)
    return Compared(report, strips)


def _strips(
    source: RecordingSource, lead: int, reference: Labels, test: Labels, start_s: float, noise: str
) -> tuple[Strip, ...]:
    info = source.info
    found = mistakes(reference, test, fs=info.fs, start_s=start_s, end=info.samples)
    strips = []
    for kind in MISTAKES:
        start = worst_start(found, kind, fs=info.fs, end=info.samples)
        if start is None:
            continue
        strips.append(
            strip_of(
                span_mv(source, lead, start, start + round(STRIP_S * info.fs)),
                reference,
                test,
                found,
                kind,
                record=info.name,
                lead=info.leads[lead].name,
                fs=info.fs,
                start=start,
                noise=noise,
            )
        )
    return tuple(strips)


def stressed(source: RecordingSource, lead: int, reference: Labels, stress: Stress) -> Stressed:
    """One lead of a recording with the noise of a stress test added; see `einthoven.evaluation.stress`.

    Raises
    ------
    InputInvalid : a lead that the noise does not have, another sampling rate, or a longer recording.
    """
    info = source.info
    counts = source.read(0, info.samples, lead)[0]
    lost = missing(counts.dtype)
    spans = noisy_spans(info.samples, info.fs)
    described = info.leads[lead]
    clean = np.where(counts == lost, missing(np.dtype(np.int32)), counts).astype(np.int32)
    one_lead = RecordingInfo(info.name, info.fs, (described,), info.samples, info.start_ns)
    if stress.level is None:
        return Stressed(Recording(one_lead, clean[None, :]), spans, np.inf)
    noise = _noise(stress.level.kind, lead, stress.noise_folder, stress.clean_118)
    if noise.fs != info.fs or noise.samples_mv.size < info.samples:
        raise InputInvalid(
            f"the noise has {noise.samples_mv.size} samples at {noise.fs:g} Hz, the record {info.samples} at "
            f"{info.fs:g} Hz.",
            where=info.name,
            remedy="Choose records of that rate and no longer, such as those of mitdb.",
        )
    ecg_mv = np.nan_to_num(span_mv(source, lead, 0, info.samples)).astype(np.float64)
    signal_mv2 = signal_power_mv2(ecg_mv, reference.beats[reference.classes == "N"], info.fs)
    gain = gain_for(signal_mv2, noise.power_mv2, stress.level.snr_db)
    mixed = add_noise(
        clean, described.gain * gain * noise.samples_mv[: info.samples], spans, missing(np.dtype(np.int32))
    )
    added_mv = (mixed.astype(np.float64) - clean) / described.gain
    return Stressed(
        Recording(one_lead, mixed[None, :]), spans, snr_inside_db(signal_mv2, added_mv, spans, info.fs)
    )


class _Noise(NamedTuple):
    fs: float
    samples_mv: NDArray[np.float64]
    power_mv2: float
    """The power that the levels are relative to."""


@functools.lru_cache(maxsize=3)
def _noise(kind: NoiseKind, lead: int, folder: Path, clean_118: Path) -> _Noise:
    if kind != "em":
        fs, noise_mv = _lead_mv(folder / kind, lead)
        return _Noise(fs, noise_mv, noise_power_mv2(noise_mv, fs))
    fs, noisy_mv = _lead_mv(folder / EM_RECORD, lead)
    _, clean_mv = _lead_mv(clean_118, lead)
    marks = read_annotations(clean_118.with_name(f"{clean_118.name}.atr"))
    labels = labels_of(marks, clean_mv.size, CLASS_MAPS["bxb"])
    # At 0 dB the power of the noise is that of the signal it was scaled for.
    nominal_mv2 = signal_power_mv2(clean_mv, labels.beats[labels.classes == "N"], fs)
    return _Noise(fs, recovered_noise(noisy_mv, clean_mv, noisy_spans(clean_mv.size, fs)), nominal_mv2)


def _lead_mv(path: Path, lead: int) -> tuple[float, NDArray[np.float64]]:
    with open_recording(path) as source:
        info = source.info
        if lead >= len(info.leads):
            raise InputInvalid(
                f"the noise has {len(info.leads)} leads.", where=str(path), remedy="Choose one of these."
            )
        return info.fs, span_mv(source, lead, 0, info.samples).astype(np.float64)


def _seconds_by_grade(findings: Findings, spans: NDArray[np.int64]) -> tuple[int, int, int]:
    """Seconds of each grade that begin in one of the spans of samples."""
    grades = findings.quality.cells & GRADE
    begins = (findings.quality.first_cell + np.arange(grades.size)) * CELL * findings.fs / FS
    chosen = np.zeros(grades.size, np.bool_)
    for begin, end in spans:
        chosen |= (begins >= begin) & (begins <= end)
    one, two, three = (int(np.count_nonzero(grades[chosen] == grade)) for grade in (1, 2, 3))
    return one, two, three


def analyse_in_mode(source: RecordingSource, lead: int, mode: Mode) -> Findings | None:
    """Findings of a whole recording; None when it is empty.

    ``whole`` at once, ``stream`` in 30-s segments with their state carried, ``isolated`` in 30-s segments
    that know nothing of each other (their beats are joined; rhythm is folded over all of them).
    """
    chunks = count_hours(source.info, 1e9)
    if not chunks:
        return None
    ecg = split(source, chunks[0], lead)
    if mode == "whole":
        return _findings(analyse(ecg)[0])
    size = round(SEGMENT_S * source.info.fs)
    if ecg.samples is None:
        raise DefectError("split left no samples.")
    parts: list[Findings] = []
    state: PatientState | None = None
    for start in range(0, ecg.samples.size, size):
        stop = min(start + size, ecg.samples.size)
        segment = msgspec.structs.replace(
            ecg,
            samples=ecg.samples[start:stop],
            first=start,
            is_last=mode == "isolated" or stop == ecg.samples.size,
        )
        result, after = analyse(segment, state)
        state = after if mode == "stream" else None
        parts.append(_findings(result))
    return join(parts if mode == "stream" else _without_halves(parts))


def _without_halves(parts: list[Findings]) -> list[Findings]:
    """Isolated segments, less each first beat that is the second half of the last one before the border."""
    kept = parts[:1]
    for part in parts[1:]:
        grid = part.beats.grid
        last = kept[-1].beats.grid[-1:]
        if grid.size and last.size and grid[0] - last[0] < REFRACTORY:
            beats = part.beats.between(int(grid[0]) + 1, int(grid[-1]) + 1)
            kept.append(msgspec.structs.replace(part, beats=beats))
        else:
            kept.append(part)
    return kept


def _findings(ecg: Ecg) -> Findings:
    if ecg.findings is None:
        raise DefectError("the pipeline left no findings.")
    return ecg.findings
