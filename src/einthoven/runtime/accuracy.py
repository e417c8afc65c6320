"""One annotated record, analysed in one of three ways and compared with its annotations."""

from pathlib import Path
from typing import Final, Literal

import msgspec

from einthoven.errors import DefectError, RecordingUnreadable
from einthoven.evaluation import CLASS_MAPS, RecordReport, labels_of
from einthoven.evaluation.report import compare
from einthoven.functions import Ecg, PatientState, analyse, count_hours, join, split
from einthoven.records import annotations_of, open_recording, read_annotations
from einthoven.signal.beats import NEIGHBOURS
from einthoven.signal.findings import Findings
from einthoven.signal.recording import RecordingSource

__all__ = ["Mode", "analyse_in_mode", "record_report"]

Mode = Literal["stream", "isolated", "whole"]
SEGMENT_S: Final = 30.0


def record_report(path: Path, *, lead: int, mode: Mode, class_map: str, start_s: float) -> RecordReport:
    """Analyse and compare; the test annotations are those that ``analyze --annotations`` writes.

    Raises
    ------
    RecordingNotFound, RecordingUnreadable : the record or its ``.atr``.
    """
    marks = read_annotations(path.with_name(f"{path.name}.atr"))
    with open_recording(path) as source:
        info = source.info
        findings = analyse_in_mode(source, lead, mode)
    if findings is None:
        raise RecordingUnreadable("the record is empty.", where=str(path), remedy="Leave it out.")
    chosen = CLASS_MAPS[class_map]
    return compare(
        labels_of(marks, info.samples, chosen),
        labels_of(annotations_of(findings), info.samples, chosen),
        fs=info.fs,
        start_s=start_s,
        end=info.samples,
    )


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
        if grid.size and last.size and grid[0] - last[0] < NEIGHBOURS:
            beats = part.beats.between(int(grid[0]) + 1, int(grid[-1]) + 1)
            kept.append(msgspec.structs.replace(part, beats=beats))
        else:
            kept.append(part)
    return kept


def _findings(ecg: Ecg) -> Findings:
    if ecg.findings is None:
        raise DefectError("the pipeline left no findings.")
    return ecg.findings
