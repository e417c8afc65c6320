"""WFDB recordings, read a span at a time; nothing in a header is trusted before the files agree with it.

Headers are as header(5) and samples as signal(5) of the WFDB Applications Guide have them. Deviations: skewed
signals are refused; a segment with another gain than its record is refused, not rescaled; checksums and
initial values are not compared, because published sets have wrong ones.
"""

import math
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import RecordingNotFound, RecordingUnreadable
from einthoven.records.files import beside, open_file, read_exactly, size_of
from einthoven.records.formats import FORMATS
from einthoven.records.header import Header, SegmentLine, SignalLine, read_header
from einthoven.records.spans import clipped, rows_of
from einthoven.signal.recording import Counts, Lead, RecordingInfo, missing

__all__ = ["MultiSegment", "SignalFiles", "open_wfdb"]

_GAP: Final = "~"
MAX_GAP_S: Final = 366 * 86_400
"""Gaps of a record together; beyond it the header is wrong, and no file bounds what it costs to read."""


class _Group(msgspec.Struct, frozen=True):
    """Signals that lie interleaved in one file."""

    path: Path
    format: int
    offset: int
    rows: tuple[int, ...]
    """Which signals of the record they are."""
    per_frame: tuple[int, ...]
    """Samples of each in a frame."""


class SignalFiles:
    """A single-segment record. Signals with several samples per frame are averaged to one, as WFDB does."""

    remarks: tuple[str, ...] = ()

    def __init__(self, header: Header, path: Path) -> None:
        self._where = str(path)
        self._lines = header.signals
        self._groups = _groups(header, path)
        self.dtype = _dtype(any(FORMATS[group.format].dtype is np.int32 for group in self._groups))
        self._files: dict[Path, BinaryIO] = {}
        try:
            for group in self._groups:
                self._files[group.path] = open_file(group.path)
            self.info = RecordingInfo(
                name=header.name,
                fs=header.fs,
                leads=tuple(Lead(line.name, line.gain, line.baseline) for line in header.signals),
                samples=self._length(header),
                start_ns=header.start_ns,
            )
        except BaseException:
            self.close()
            raise

    def read(self, start: int, stop: int, lead: int | None = None) -> Counts:
        """See `einthoven.signal.recording.RecordingSource`."""
        start, stop = clipped(self.info, start, stop)
        rows = rows_of(self.info, lead)
        _refuse_foreign(self._lines, rows, self._where)
        out: Counts = np.empty((len(rows), stop - start), self.dtype)
        for group in self._groups:
            if stop > start and any(row in group.rows for row in rows):
                frames = self._frames(group, start, stop)
                for place, row in enumerate(rows):
                    if row in group.rows:
                        out[place] = _signal(frames, group, group.rows.index(row), out.dtype)
        return out

    def annotations(self) -> None:
        """The format has them in files of their own."""

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _frames(self, group: _Group, start: int, stop: int) -> NDArray[np.int16] | NDArray[np.int32]:
        """Samples of frames ``start`` to ``stop``, shape (frames, samples in a frame)."""
        layout = FORMATS[group.format]
        width = sum(group.per_frame)
        first, last = start * width, stop * width
        from_group, to_group = first // layout.samples, -(-last // layout.samples)
        size = (to_group - from_group) * layout.octets
        skip = first - from_group * layout.samples
        content = read_exactly(
            self._files[group.path],
            group.offset + from_group * layout.octets,
            size,
            str(group.path),
            least=layout.octets_of(skip + last - first),
        )
        # The last group may be cut off where the last sample ends.
        octets = np.frombuffer(content.ljust(size, b"\0"), np.uint8)
        decoded = layout.decode(octets)
        frames: NDArray[np.int16] | NDArray[np.int32] = decoded[skip : skip + last - first]
        return frames.reshape(-1, width)

    def _length(self, header: Header) -> int:
        """Frames in the record: what the header says, checked against the files, or what they hold."""
        return min((self._frames_in(group, header.samples) for group in self._groups), default=0)

    def _frames_in(self, group: _Group, promised: int | None) -> int:
        """Frames that one file gives: as many as the header promises, or all that it holds."""
        size = size_of(self._files[group.path], str(group.path)) - group.offset
        layout, width = FORMATS[group.format], sum(group.per_frame)
        if size < 0:
            raise RecordingUnreadable(
                f"the header has the samples begin at byte {group.offset}; "
                f"the file has {size + group.offset} bytes.",
                where=str(group.path),
                remedy="Get the file again, or correct the header.",
            )
        held = layout.samples_in(size) // width
        if promised is None:
            return held
        if held < promised:
            wanted = layout.octets_of(promised * width)
            raise RecordingUnreadable(
                f"the header promises {promised} samples, {wanted} bytes; the file has {size}.",
                where=str(group.path),
                remedy="Get the file again, or correct the header.",
            )
        return promised


def _groups(header: Header, path: Path) -> tuple[_Group, ...]:
    groups: list[_Group] = []
    for row, line in enumerate(header.signals):
        if line.format not in FORMATS:
            raise RecordingUnreadable(
                f"signal format {line.format} is not read; these are: {', '.join(map(str, FORMATS))}.",
                where=str(path),
                remedy="Convert the record, for example with xform.",
            )
        if line.skew:
            raise RecordingUnreadable(
                "the signals are skewed against each other.",
                where=str(path),
                remedy="De-skew the record first.",
            )
        if not 1 <= line.per_frame <= 4096:
            raise RecordingUnreadable(
                "the number of samples per frame is out of range.", where=str(path), remedy="Mend the header."
            )
        groups = _joined(groups, line, row, path)
    return tuple(groups)


def _joined(groups: list[_Group], line: SignalLine, row: int, header: Path) -> list[_Group]:
    """The groups with one more signal: in the same file means interleaved with the signal before."""
    path = beside(header, line.file)
    known = next((group for group in groups if group.path == path), None)
    if known is None:
        return [*groups, _Group(path, line.format, line.offset, (row,), (line.per_frame,))]
    if known.format != line.format:
        raise RecordingUnreadable(
            "signals of one file have different formats.", where=str(header), remedy="Mend the header."
        )
    more = msgspec.structs.replace(
        known, rows=(*known.rows, row), per_frame=(*known.per_frame, line.per_frame)
    )
    return [more if group is known else group for group in groups]


def _signal(
    frames: NDArray[np.int16] | NDArray[np.int32],
    group: _Group,
    index: int,
    dtype: np.dtype[np.int16] | np.dtype[np.int32],
) -> Counts:
    """One signal of the frames, missing samples marked as `missing` says.

    Several samples of a frame are averaged and the mean cut towards zero, as WFDB's low-resolution mode has
    it; where one of them is missing, so is the mean.
    """
    start = sum(group.per_frame[:index])
    count = group.per_frame[index]
    part = frames[:, start : start + count]
    invalid = FORMATS[group.format].invalid
    counts: Counts = np.empty(part.shape[0], dtype)
    if count == 1:
        counts[:] = part[:, 0]
    else:
        total = part.sum(axis=1, dtype=np.int64)
        counts[:] = np.sign(total) * (np.abs(total) // count)
    if count > 1 or invalid != missing(dtype):
        counts[(part == invalid).any(axis=1) if count > 1 else counts == invalid] = missing(dtype)
    return counts


def _dtype(wide: bool) -> np.dtype[np.int16] | np.dtype[np.int32]:
    """What holds the samples of a record: 16 bits unless one of its formats has more."""
    return np.dtype(np.int32) if wide else np.dtype(np.int16)


def _refuse_foreign(lines: tuple[SignalLine, ...], rows: tuple[int, ...], where: str) -> None:
    """A lead in another unit than volts has no gain in counts per mV: it is listed, and not read."""
    for row in rows:
        if lines[row].foreign_unit:
            raise RecordingUnreadable(
                f"lead {row} ({lines[row].name}) is no voltage; its unit is {lines[row].foreign_unit}.",
                where=where,
                remedy="Read the other leads by their numbers.",
            )


class MultiSegment:
    """A multi-segment record, fixed or variable layout; gaps and absent leads read as missing samples."""

    remarks: tuple[str, ...] = ()

    def __init__(self, header: Header, path: Path) -> None:
        self._path = path
        self._fs = header.fs
        self._open: tuple[int, SignalFiles] | None = None
        segments = header.segments
        layout: Header | None = None
        if segments[0].samples == 0 and segments[0].name != _GAP:
            layout = _segment_header(path, segments[0])
            segments = segments[1:]
        self._segments = segments
        total = sum(segment.samples for segment in segments)
        if header.samples is not None and header.samples != total:
            raise RecordingUnreadable(
                f"the segments have {total} samples together; the header says {header.samples}.",
                where=str(path),
                remedy="Mend the header.",
            )
        self._refuse_absurd_gaps()
        self._lines = (layout or self._first_header()).signals
        self.dtype = self._widest()
        self._starts = np.concatenate(([0], np.cumsum([s.samples for s in segments], dtype=np.int64)))
        self.info = RecordingInfo(
            name=header.name,
            fs=header.fs,
            leads=tuple(Lead(line.name, line.gain, line.baseline) for line in self._lines),
            samples=total,
            start_ns=header.start_ns,
        )

    def _refuse_absurd_gaps(self) -> None:
        gaps = sum(segment.samples for segment in self._segments if segment.name == _GAP)
        if not gaps <= MAX_GAP_S * self._fs:  # NaN fails too
            raise RecordingUnreadable(
                f"the record has {gaps} samples of gaps; more than a year cannot be meant.",
                where=str(self._path),
                remedy="Mend the header.",
            )

    def _first_header(self) -> Header:
        for segment in self._segments:
            if segment.name != _GAP:
                return _segment_header(self._path, segment)
        raise RecordingUnreadable("the record has no segment.", where=str(self._path), remedy="Mend it.")

    def _widest(self) -> np.dtype[np.int16] | np.dtype[np.int32]:
        """The type that holds every segment, each opened once: a broken one is said when the record opens."""
        wide = False
        for segment in self._segments:
            if segment.name != _GAP:
                with self._opened(segment) as source:
                    wide = wide or source.dtype == np.int32
        return _dtype(wide)

    def read(self, start: int, stop: int, lead: int | None = None) -> Counts:
        """See `einthoven.signal.recording.RecordingSource`."""
        start, stop = clipped(self.info, start, stop)
        rows = rows_of(self.info, lead)
        _refuse_foreign(self._lines, rows, str(self._path))
        out: Counts = np.full((len(rows), stop - start), missing(self.dtype), self.dtype)
        number = int(np.searchsorted(self._starts, start, side="right")) - 1
        at = start
        while at < stop:
            end = min(stop, int(self._starts[number + 1]))
            if end > at and self._segments[number].name != _GAP:
                self._fill(out[:, at - start : end - start], number, at - int(self._starts[number]), rows)
            at, number = end, number + 1
        return out

    def _fill(self, out: Counts, number: int, start: int, rows: tuple[int, ...]) -> None:
        """Put what a segment has from its sample ``start`` on into a piece, shape (rows, samples)."""
        source = self._source(number)
        here = {key: index for index, key in enumerate(_keys(source.info))}
        keys = _keys(self.info)
        for place, row in enumerate(rows):
            index = here.get(keys[row])
            if index is None:
                continue
            if source.info.leads[index] != self.info.leads[row]:
                raise RecordingUnreadable(
                    f"segment {self._segments[number].name} has another gain or baseline than the record.",
                    where=str(self._path),
                    remedy="Analyse its segments one by one.",
                )
            counts = source.read(start, start + out.shape[1], index)[0]
            out[place] = counts
            if counts.dtype != out.dtype:
                out[place][counts == missing(counts.dtype)] = missing(out.dtype)

    def _source(self, number: int) -> SignalFiles:
        if self._open is not None:
            if self._open[0] == number:
                return self._open[1]
            self._open[1].close()
            self._open = None
        source = self._opened(self._segments[number])
        self._open = (number, source)
        return source

    def _opened(self, segment: SegmentLine) -> SignalFiles:
        source = SignalFiles(_segment_header(self._path, segment), self._path)
        wrong = ""
        if source.info.samples < segment.samples:
            wrong = f"has {source.info.samples} samples; the record says {segment.samples}."
        elif not math.isclose(source.info.fs, self._fs, rel_tol=1e-6):
            wrong = f"is sampled at {source.info.fs:g} Hz; the record at {self._fs:g} Hz."
        if wrong:
            source.close()
            raise RecordingUnreadable(
                f"segment {segment.name} {wrong}", where=str(self._path), remedy="Get the segment again."
            )
        return source

    def annotations(self) -> None:
        """The format has them in files of their own."""

    def close(self) -> None:
        """Close the file that is open."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _keys(info: RecordingInfo) -> list[tuple[str, int]]:
    """What a lead is found by in a segment: its name, and which of the leads of that name it is."""
    seen: dict[str, int] = {}
    keys = []
    for lead in info.leads:
        seen[lead.name] = seen.get(lead.name, -1) + 1
        keys.append((lead.name, seen[lead.name]))
    return keys


def _segment_header(path: Path, segment: SegmentLine) -> Header:
    header = read_header(beside(path, f"{segment.name}.hea"))
    if header.segments:
        raise RecordingUnreadable(
            f"segment {segment.name} is itself made of segments.",
            where=str(path),
            remedy="Flatten the record.",
        )
    return header


def open_wfdb(path: Path) -> SignalFiles | MultiSegment:
    """A WFDB record by its header file.

    Raises
    ------
    RecordingNotFound, RecordingUnreadable, ReferenceRefused : what is wrong, where, and what to do.
    """
    header = read_header(path)
    if header.segments:
        return MultiSegment(header, path)
    if not header.signals:
        raise RecordingNotFound(
            "the record has no signals.", where=str(path), remedy="Analyse a record that has at least one."
        )
    return SignalFiles(header, path)
