"""Cutting a recording into chunks that can be analysed apart, exactly.

A chunk owns a span of the recording and reads `MEMORY_S` before and `LAG_S` after it. Every beat and every
quality cell depends on less than that, so what a chunk finds in its own span is what the whole would find.
Episodes may be longer than any overlap; `einthoven.functions.joining` folds them anew.
"""

import math
from typing import Final

import msgspec
import numpy as np

from einthoven.errors import InputInvalid
from einthoven.functions.bdc import LAG
from einthoven.functions.contract import function
from einthoven.functions.ecg import Ecg
from einthoven.functions.finalization import conditions_of
from einthoven.signal.beats import DETECTION_MEMORY
from einthoven.signal.filters import CLEAN_REACH, ENVELOPE_REACH
from einthoven.signal.findings import Beats, Findings, Quality
from einthoven.signal.morphology import CONTEXT_MEMORY, MINUTE
from einthoven.signal.quality import CELL, CELL_LAG
from einthoven.signal.recording import RecordingInfo, RecordingSource
from einthoven.signal.resampling import FS, ratio_of
from einthoven.signal.variability import add_intervals, heart_rate, rr_intervals, variability

__all__ = [
    "CHUNK_S",
    "LAG_S",
    "LEAST_CHUNK_S",
    "MEMORY_S",
    "Chunk",
    "count_hours",
    "in_sequence",
    "own_part",
    "split",
]

CHUNK_S: Final = 3600.0
"""The article's chunk: one hour."""
LEAST_CHUNK_S: Final = 60.0
MEMORY_S: Final = math.ceil(
    (CONTEXT_MEMORY + DETECTION_MEMORY + ENVELOPE_REACH + 2 * CLEAN_REACH + 2 * FS) / FS
)
"""What a chunk reads before its own span, s."""
LAG_S: Final = math.ceil((CLEAN_REACH + LAG + CELL_LAG + CELL + 2 * FS) / FS)
"""What a chunk reads after its own span, s; also how far a stream's newest edge is undecided, at most."""


class Chunk(msgspec.Struct, frozen=True):
    """A piece of a recording: it reads ``read_start`` to ``read_stop`` and owns ``start`` to ``stop``."""

    number: int
    start: int
    stop: int
    read_start: int
    read_stop: int
    is_last: bool


@function(version="1.0", memory_mb=64, timeout_s=5.0)
def count_hours(info: RecordingInfo, chunk_s: float = CHUNK_S) -> tuple[Chunk, ...]:
    """The chunks of a recording; none for an empty one.

    Raises
    ------
    InputInvalid : chunks of less than a minute.
    """
    if not chunk_s >= LEAST_CHUNK_S:
        raise InputInvalid(
            f"the chunk length is {chunk_s:g} s; at least {LEAST_CHUNK_S:g} s are needed.",
            where="chunk",
            remedy="Choose a longer chunk; an hour is the usual one.",
        )
    length = max(1, round(min(chunk_s * info.fs, max(info.samples, 1))))
    before, after = math.ceil(MEMORY_S * info.fs), math.ceil(LAG_S * info.fs)
    starts = range(0, info.samples, length)
    return tuple(
        Chunk(
            number=number,
            start=start,
            stop=min(start + length, info.samples),
            read_start=max(0, start - before),
            read_stop=min(start + length + after, info.samples),
            is_last=start + length + after >= info.samples,
        )
        for number, start in enumerate(starts)
    )


@function(version="1.0", memory_mb=128, timeout_s=30.0)
def split(source: RecordingSource, chunk: Chunk, lead: int = 0) -> Ecg:
    """The ECG object of one chunk of one lead.

    Raises
    ------
    InputInvalid : the recording has no such lead.
    """
    info = source.info
    if not 0 <= lead < len(info.leads):
        raise InputInvalid(
            f"there is no lead {lead}; the recording has {len(info.leads)}.",
            where=info.name,
            remedy="Count leads from 0, or name one.",
        )
    counts = source.read(chunk.read_start, chunk.read_stop, lead)[0]
    samples = counts.astype(np.int32)
    if counts.dtype == np.int16:
        samples[counts == np.iinfo(np.int16).min] = np.iinfo(np.int32).min
    described = info.leads[lead]
    return Ecg(
        fs=info.fs,
        gain=described.gain,
        baseline=described.baseline,
        lead=described.name,
        first=chunk.read_start,
        is_last=chunk.is_last,
        samples=samples,
    )


def own_part(findings: Findings, chunk: Chunk) -> Findings:
    """What a chunk found in its own span; episodes and statistics are left to `join`."""
    ratio = ratio_of(findings.fs)
    start = -(-chunk.start * ratio.up // ratio.down)
    stop = -(-chunk.stop * ratio.up // ratio.down)
    quality = findings.quality
    first_cell, last_cell = -(-start // CELL), -(-stop // CELL)
    a = max(0, first_cell - quality.first_cell)
    b = max(a, last_cell - quality.first_cell)
    intervals = tuple(
        row
        for row in findings.intervals
        if start < (row.minute + 1) * MINUTE <= stop
        or (chunk.stop == chunk.read_stop and (row.minute + 1) * MINUTE > stop)
    )
    return msgspec.structs.replace(
        findings,
        first=chunk.start,
        until=chunk.stop,
        beats=findings.beats.between(start, stop),
        episodes=(),
        quality=Quality(quality.first_cell + a, quality.cells[a:b].copy()),
        intervals=intervals,
        conditions=(),
    )


def in_sequence(parts: list[Findings]) -> Findings:
    """The findings of consecutive spans as those of one longer span.

    It keeps what each said of the rhythm: that is decided already, by a state that went through all of them.
    """
    if len(parts) == 1:
        return parts[0]
    beats = Beats.concatenate([part.beats for part in parts])
    quality = Quality(parts[0].quality.first_cell, np.concatenate([part.quality.cells for part in parts]))
    ended = [episode for part in parts for episode in part.episodes if episode.end is not None]
    going_on = [episode for episode in parts[-1].episodes if episode.end is None]
    sums = add_intervals(rr_intervals(beats.grid, beats.classes, quality.first_cell, quality.cells))
    return msgspec.structs.replace(
        parts[-1],
        first=parts[0].first,
        beats=beats,
        episodes=(*ended, *going_on),
        quality=quality,
        intervals=tuple(row for part in parts for row in part.intervals),
        heart_rate=heart_rate(sums),
        variability=variability(sums),
        conditions=conditions_of((*ended, *going_on)),
    )
