"""EDF, EDF+, BDF and BDF+ recordings, read a span at a time (edfplus.info).

Samples are given as the file has them, the gain is exact; a zero that lies between two counts is taken at the
nearest. What is no ECG is left out, and named. Gaps of EDF+D read as missing samples.
"""

import itertools
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import numpy as np
from numpy.typing import NDArray

from einthoven.errors import RecordingUnreadable
from einthoven.records.annotation import Annotations
from einthoven.records.edf_header import EdfHeader, EdfSignal, read_edf_header
from einthoven.records.edf_texts import annotations_in, first_onset_s, record_onsets_s
from einthoven.records.files import open_file, read_exactly, size_of
from einthoven.records.formats import FORMATS
from einthoven.records.kept_indexes import KeptIndexes
from einthoven.records.spans import clipped, rows_of
from einthoven.signal.recording import Counts, RecordingInfo, missing

__all__ = ["EdfRecording"]

MAX_GAP_S: Final = 366 * 86_400
"""Gaps of a file together; beyond it the header is wrong, and no file bounds what it costs to read."""
_BLOCK_BYTES: Final = 4 * 2**20
_POSITIONS: Final[KeptIndexes[tuple[Fraction, NDArray[np.int64]]]] = KeptIndexes()
_SHOWN: Final = 12


class EdfRecording:
    """The ECG of one file. Several rates in a file are let be as long as the leads have one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO = open_file(path)
        try:
            self.header = read_edf_header(self._file, path)
            self._signals = _leads(self.header, str(path))
            self._per_record = self._signals[0].samples
            self._read_as = [signal.calibration(str(path)) for signal in self._signals]
            self.dtype = self._dtype()
            self._records = _records(self._file, self.header, str(path))
            begin_s, self._starts = self._begin()
            self.info = RecordingInfo(
                name=path.stem,
                fs=float(self.rate),
                leads=tuple(read_as.lead for read_as in self._read_as),
                samples=self._length(),
                start_ns=self._start_ns(begin_s),
            )
            self.remarks = self._remarks()
        except BaseException:
            self.close()
            raise

    @property
    def rate(self) -> Fraction:
        """Sampling rate, Hz, exactly."""
        return self._per_record / self.header.duration_s

    def read(self, start: int, stop: int, lead: int | None = None) -> Counts:
        """See `einthoven.signal.recording.RecordingSource`."""
        start, stop = clipped(self.info, start, stop)
        rows = rows_of(self.info, lead)
        out: Counts = np.full((len(rows), stop - start), missing(self.dtype), self.dtype)
        if stop > start:
            first = max(0, int(np.searchsorted(self._starts, start, side="right")) - 1)
            last = int(np.searchsorted(self._starts, stop, side="left"))
            each = max(1, _BLOCK_BYTES // self.header.record_bytes)
            for begin in range(first, last, each):
                self._fill(out, start, rows, range(begin, min(begin + each, last)))
        return out

    def _fill(self, out: Counts, start: int, rows: tuple[int, ...], records: range) -> None:
        """Put what some data records have into a piece that begins at sample ``start``."""
        width = self.header.record_bytes
        content = read_exactly(
            self._file, self.header.size_bytes + records.start * width, len(records) * width, str(self._path)
        )
        layout = FORMATS[16 if self.header.sample_bytes == 2 else 24]
        samples = layout.decode(np.frombuffer(content, np.uint8)).reshape(len(records), -1)
        starts = self._starts[records.start : records.stop]
        breaks = np.flatnonzero(np.diff(starts) != self._per_record) + 1
        for a, b in itertools.pairwise([0, *breaks.tolist(), len(records)]):
            at = int(starts[a]) - start
            skip, end = max(0, -at), min((b - a) * self._per_record, out.shape[1] - at)
            if skip >= end:  # all of it lies before, or the rest of the piece in a gap
                continue
            for place, row in enumerate(rows):
                counts = self._counts(samples[a:b], row)
                out[place, at + skip : at + end] = counts[skip:end]

    def _counts(self, samples: NDArray[np.int16] | NDArray[np.int32], row: int) -> Counts:
        """One lead of consecutive data records, missing samples marked as `missing` says."""
        signal, read_as = self._signals[row], self._read_as[row]
        found: Counts = samples[:, signal.offset : signal.offset + signal.samples].reshape(-1)
        counts: Counts = np.empty(found.size, self.dtype)
        np.multiply(found, -1 if read_as.is_inverted else 1, out=counts, dtype=self.dtype)
        if signal.missing is not None:
            counts[found == signal.missing] = missing(self.dtype)
        return counts

    def _dtype(self) -> np.dtype[np.int16] | np.dtype[np.int32]:
        """16 bits only where the value that marks a missing sample can be nothing else."""
        lowest = missing(np.dtype(np.int16))
        narrow = self.header.sample_bytes == 2 and all(
            not read_as.is_inverted and (read_as.least > lowest or signal.missing == lowest)
            for signal, read_as in zip(self._signals, self._read_as, strict=True)
        )
        return np.dtype(np.int16) if narrow else np.dtype(np.int32)

    def _begin(self) -> tuple[Fraction, NDArray[np.int64]]:
        """When the first data record begins, from the second in the header; and the sample of each record."""
        even = np.arange(self._records, dtype=np.int64) * self._per_record
        is_timed = bool(self.header.annotation_signals) and self.header.is_plus and self._records > 0
        if self.header.has_gaps and self._records and not is_timed:
            raise RecordingUnreadable(
                "the file has gaps, and no annotations that say when its records begin.",
                where=str(self._path),
                remedy="Mend the file, for example with EDFbrowser.",
            )
        if not is_timed:
            return Fraction(0), even
        if self.header.has_gaps:
            return _POSITIONS.of(self._path, self._file, lambda: self._spread(even))
        return first_onset_s(self._file, self.header, str(self._path)), even

    def _spread(self, even: NDArray[np.int64]) -> tuple[Fraction, NDArray[np.int64]]:
        """Data records where their own times put them."""
        first_s = first_onset_s(self._file, self.header, str(self._path))
        after_s = record_onsets_s(self._file, self.header, self._records, str(self._path)) - float(first_s)
        most_s = even.size * float(self.header.duration_s) + MAX_GAP_S
        absurd = (after_s < 0) | (after_s > most_s)
        if absurd.any():
            raise RecordingUnreadable(
                f"data record {int(absurd.argmax())} begins before the first, or more than a year of gaps "
                "after it.",
                where=str(self._path),
                remedy="Mend the times of its data records.",
            )
        at = np.floor(after_s * float(self.rate) + 0.5).astype(np.int64)
        gaps = at - even
        grown = np.maximum.accumulate(gaps)
        early = grown - gaps > 1  # one sample is how times are rounded
        if early.any():
            raise RecordingUnreadable(
                f"data record {int(early.argmax())} begins before the one before it ends.",
                where=str(self._path),
                remedy="Mend the times of its data records.",
            )
        return first_s, even + grown

    def _length(self) -> int:
        if not self._records:
            return 0
        last = self._signals[0].last
        used = self._per_record if last is None else min(last, self._per_record)
        return int(self._starts[-1]) + used

    def _start_ns(self, begin_s: Fraction) -> int | None:
        if self.header.start_ns is None:
            return None
        return self.header.start_ns + round(begin_s * 10**9)

    def _remarks(self) -> tuple[str, ...]:
        """What the file has and the recording has not, in sentences; never who the patient is."""
        said = []
        others = [
            signal.label or "(without a name)"
            for signal in self.header.signals
            if signal not in self._signals and not signal.is_annotation
        ]
        if others:
            more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
            said.append(f"Left out, because they are no ECG: {', '.join(others[:_SHOWN])}{more}.")
        moved = [one for one in self._read_as if one.moved]
        if moved:
            most_uv = max(abs(float(one.moved)) / one.lead.gain * 1000 for one in moved)
            names = ", ".join(one.lead.name for one in moved)
            said.append(
                f"The zero of {names} lies between two counts and is taken at the nearest, "
                f"at most {most_uv:.2g} µV off."
            )
        if self.header.says_who:
            said.append("What the header says of patient, place and equipment is left out.")
        return tuple(said)

    def annotations(self) -> Annotations | None:
        """Its annotations; None when the file can have none."""
        if not self.header.annotation_signals or not self.header.is_plus:
            return None
        return annotations_in(
            self._file, self.header, self._records, self.info.fs, self.rate, str(self._path)
        )

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _leads(header: EdfHeader, where: str) -> tuple[EdfSignal, ...]:
    leads = tuple(signal for signal in header.signals if signal.is_ecg and not signal.is_annotation)
    if not leads:
        labels = [repr(signal.label) for signal in header.signals if not signal.is_annotation]
        more = " ..." if len(labels) > _SHOWN else ""
        raise RecordingUnreadable(
            f"no signal is labelled as an ECG; there are {', '.join(labels[:_SHOWN]) or 'none'}{more}.",
            where=where,
            remedy="Label its ECG as ECG, or as ECG and the lead: ECG II.",
        )
    sizes = sorted({signal.samples for signal in leads})
    if len(sizes) > 1:
        raise RecordingUnreadable(
            f"the leads have different sampling rates: {', '.join(map(str, sizes))} samples a data record.",
            where=where,
            remedy="Resample them to one rate, or take some out.",
        )
    if header.duration_s <= 0 or not sizes[0]:
        raise RecordingUnreadable(
            "a data record has no length.", where=where, remedy="Mend the header of the file."
        )
    return leads


def _records(file: BinaryIO, header: EdfHeader, where: str) -> int:
    """Data records: as many as the header promises, or all that are whole where it does not say."""
    held = (size_of(file, where) - header.size_bytes) // header.record_bytes
    if header.records is None:
        return max(0, held)
    if held < header.records:
        raise RecordingUnreadable(
            f"the header promises {header.records} data records; the file has {held} whole ones.",
            where=where,
            remedy="Get the file again, or correct the header.",
        )
    return header.records
