"""Preprocessing: onto the 125-Hz grid, clean, and graded second by second."""

from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import InputInvalid, StateUnreadable
from einthoven.functions.contract import contract_of, function
from einthoven.functions.ecg import Cleaned, CleaningState, Ecg, PatientState
from einthoven.signal.beats import DETECTION_LAG, PLACE
from einthoven.signal.filters import CLEAN_REACH, ENVELOPE_REACH, clean
from einthoven.signal.morphology import CONTEXT_LAG, REACH
from einthoven.signal.quality import CELL, CELL_LAG, cells
from einthoven.signal.recording import Lead
from einthoven.signal.resampling import Ratio, fill, grid_length, lost_on_grid, ratio_of, resample

__all__ = ["OVERLAP", "preprocessing"]

OVERLAP: Final = ENVELOPE_REACH + DETECTION_LAG + PLACE + CONTEXT_LAG + REACH
"""Clean samples given again with the next call: what the beats not yet decided need of them (5.6 s)."""
HOLD_S: Final = 2.0
"""Missing samples take the last valid value for so long, then 0 mV."""


class _Source(NamedTuple):
    """Source samples from ``first`` on, in fine units, and which of them are missing."""

    first: int
    fine: NDArray[np.int32]
    lost: NDArray[np.bool_]
    held: int
    held_for: int

    @property
    def end(self) -> int:
        return self.first + self.fine.size


class _Grid(NamedTuple):
    """Grid samples from ``first`` on, in units, and which of them are missing."""

    first: int
    units: NDArray[np.int16]
    lost: NDArray[np.bool_]

    @property
    def end(self) -> int:
        return self.first + self.units.size


@function(version="1.0", memory_mb=128, timeout_s=10.0)
def preprocessing(ecg: Ecg, state: PatientState) -> tuple[Ecg, PatientState]:
    """Resample, filter and grade; adds the section ``cleaned``.

    Raises
    ------
    InputInvalid : the samples are not here.
    StateUnreadable : the state belongs to another place in the stream.
    """
    if ecg.samples is None:
        raise InputInvalid(
            "the ECG object carries no samples.",
            where="samples",
            remedy="Send the samples, or the path of an object that holds them.",
        )
    before = state.cleaning
    if before is not None and before.source_next != ecg.first:
        raise StateUnreadable(
            f"the state ends at sample {before.source_next} and the segment begins at {ecg.first}.",
            where="first",
            remedy="Send the segments in order, or start the stream afresh.",
        )
    ratio = ratio_of(ecg.fs)
    source = _take_in(ecg, before)
    start, grid = _onto_grid(source, before, ratio, is_last=ecg.is_last)
    section, after = _clean(source, start, grid, before, ratio, is_last=ecg.is_last)
    versions = {**ecg.versions, "preprocessing": contract_of(preprocessing).version}
    return (
        msgspec.structs.replace(ecg, cleaned=section, versions=versions),
        msgspec.structs.replace(state, cleaning=after),
    )


def _take_in(ecg: Ecg, before: CleaningState | None) -> _Source:
    """Counts to fine units, missing ones filled, behind the tail of the call before."""
    assert ecg.samples is not None  # noqa: S101 - checked by the caller; for the type checker
    longest = int(HOLD_S * ecg.fs)
    held, held_for = (before.held, before.held_for) if before else (0, longest + 1)
    lead = Lead(ecg.lead, ecg.gain, ecg.baseline)
    fine, lost, held, held_for = fill(ecg.samples, lead, longest, held, held_for)
    if before is None:
        return _Source(ecg.first, fine, lost, held, held_for)
    return _Source(
        before.source_next - before.source_tail.size,
        np.concatenate((before.source_tail, fine)),
        np.concatenate((before.lost_tail, lost)),
        held,
        held_for,
    )


def _onto_grid(
    source: _Source, before: CleaningState | None, ratio: Ratio, *, is_last: bool
) -> tuple[int, _Grid]:
    """Where the stream begins on the grid, and the units known so far, behind the tail."""
    if before is None:
        begin = -(-source.first * ratio.up // ratio.down)
        start = begin
        tail = _Grid(begin, np.empty(0, np.int16), np.empty(0, np.bool_))
    else:
        begin, start = before.grid_next, before.start
        tail = _Grid(begin - before.units_tail.size, before.units_tail, before.lost_units)
    if is_last:
        stop = grid_length(source.end, ratio)
    else:
        stop = ((source.end - ratio.half) * ratio.up - 1) // ratio.down + 1
    stop = max(begin, stop)
    if source.fine.size == 0 or stop == begin:
        return start, tail
    # Only at the beginning of the stream does the tail not reach back as far as the kernel.
    left = max(0, source.first + ratio.half - begin * ratio.down // ratio.up)
    right = ratio.half if is_last else 0
    padded = np.pad(source.fine, (left, right), mode="edge") if left or right else source.fine
    units = resample(padded, source.first - left, begin, stop, ratio)
    lost = lost_on_grid(source.lost, source.first, begin, stop, ratio)
    if tail.units.size == 0:
        edge = np.full(CLEAN_REACH, units[0], np.int16)
        tail = _Grid(begin - CLEAN_REACH, edge, np.zeros(CLEAN_REACH, np.bool_))
    return start, _Grid(tail.first, np.concatenate((tail.units, units)), np.concatenate((tail.lost, lost)))


def _clean(
    source: _Source, start: int, grid: _Grid, before: CleaningState | None, ratio: Ratio, *, is_last: bool
) -> tuple[Cleaned, CleaningState]:
    end = grid.end if grid.units.size else start
    fresh = before.clean_next if before else start
    cell_next = before.cell_next if before else -(-start // CELL)
    units, lost = grid.units, grid.lost
    if is_last and units.size:
        units = np.pad(units, (0, CLEAN_REACH), mode="edge")
    cleaned = clean(units)
    first = grid.first + CLEAN_REACH if units.size else fresh
    if cleaned.size == 0:
        first = fresh
    clean_end = first + cleaned.size
    new_cells, last_cell = _grade(grid, cleaned, first, clean_end, cell_next, is_last=is_last)
    section = Cleaned(start, first, fresh, cleaned, cell_next, new_cells)
    keep_source = ((end * ratio.down) // ratio.up - ratio.half) if grid.units.size else source.first
    cut = min(max(0, keep_source - source.first), source.fine.size)
    keep = min(clean_end - OVERLAP - CLEAN_REACH, last_cell * CELL)
    drop = min(max(0, keep - grid.first), grid.units.size)
    return section, CleaningState(
        start=start,
        source_next=source.end,
        source_tail=source.fine[cut:].copy(),
        lost_tail=source.lost[cut:].copy(),
        held=source.held,
        held_for=source.held_for,
        grid_next=end,
        units_tail=grid.units[drop:].copy(),
        lost_units=lost[drop:].copy(),
        clean_next=max(fresh, clean_end),
        cell_next=last_cell,
    )


def _grade(
    grid: _Grid, cleaned: NDArray[np.int16], first: int, clean_end: int, cell_next: int, *, is_last: bool
) -> tuple[NDArray[np.uint16], int]:
    """The cells that can be graded now, and the number of the next one."""
    begin = cell_next * CELL
    if is_last:
        count = max(0, -(-(clean_end - begin) // CELL))
        pad = begin + (count - 1) * CELL + CELL_LAG - clean_end
    else:
        count = max(0, (clean_end - begin - CELL_LAG) // CELL + 1)
        pad = 0
    if count == 0 or begin < first:
        return np.empty(0, np.uint16), cell_next
    units = grid.units[begin - grid.first : clean_end - grid.first]
    lost = grid.lost[begin - grid.first : clean_end - grid.first]
    part = cleaned[begin - first :]
    if pad > 0:
        units = np.pad(units, (0, pad), mode="edge")
        lost = np.pad(lost, (0, pad))
        part = np.pad(part, (0, pad))
    graded = cells(units, lost, part)[:count]
    return graded, cell_next + graded.size
