"""WFDB recordings, read a span at a time; nothing in a header is trusted before the files agree with it."""

from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import RecordingNotFound, RecordingUnreadable
from einthoven.records.files import beside, open_file, read_span
from einthoven.records.formats import FORMATS
from einthoven.records.header import Header, SegmentLine, SignalLine, read_header
from einthoven.signal.recording import Counts, Lead, RecordingInfo, missing

__all__ = ["MultiSegment", "SignalFiles", "open_wfdb"]

_GAP: Final = "~"


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

    def __init__(self, header: Header, path: Path) -> None:
        self._where = str(path)
        self._groups = _groups(header, path)
        self._wide = any(FORMATS[group.format].dtype is np.int32 for group in self._groups)
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
        start = min(max(0, start), self.info.samples)
        stop = min(max(start, stop), self.info.samples)
        dtype = np.int32 if self._wide else np.int16
        rows = range(len(self.info.leads)) if lead is None else (lead,)
        out = np.empty((len(rows), stop - start), dtype)
        for group in self._groups:
            if stop > start and any(row in group.rows for row in rows):
                frames = self._frames(group, start, stop)
                for place, row in enumerate(rows):
                    if row in group.rows:
                        out[place] = _signal(frames, group, group.rows.index(row), out.dtype)
        return out

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
        content = read_span(
            self._files[group.path], group.offset + from_group * layout.octets, size, str(group.path)
        )
        octets = np.frombuffer(content, np.uint8)
        if octets.size < size:  # the last group may be cut off where the last sample ends
            octets = np.pad(octets, (0, size - octets.size))
        decoded = layout.decode(octets)
        skip = first - from_group * layout.samples
        frames: NDArray[np.int16] | NDArray[np.int32] = decoded[skip : skip + last - first]
        return frames.reshape(-1, width)

    def _length(self, header: Header) -> int:
        """Frames in the record: what the header says, checked against the files, or what they hold."""
        held = []
        for group in self._groups:
            size = group.path.stat().st_size - group.offset
            layout = FORMATS[group.format]
            whole, rest = divmod(max(size, 0), layout.octets)
            tail = rest * layout.samples // layout.octets
            held.append(((whole * layout.samples + tail) // sum(group.per_frame), group.path, size))
        if not held:
            return header.samples or 0
        frames, path, size = min(held)
        if header.samples is None:
            return frames
        if frames < header.samples:
            group = next(group for group in self._groups if group.path == path)
            layout = FORMATS[group.format]
            wanted = -(-header.samples * sum(group.per_frame) * layout.octets // layout.samples)
            raise RecordingUnreadable(
                f"the header promises {header.samples} samples, {wanted} bytes; the file has {max(size, 0)}.",
                where=str(path),
                remedy="Get the file again, or correct the header.",
            )
        return header.samples


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
    """One signal of the frames, missing samples marked as `missing` says."""
    start = sum(group.per_frame[:index])
    count = group.per_frame[index]
    part = frames[:, start : start + count]
    invalid = FORMATS[group.format].invalid
    lost = (part == invalid).any(axis=1)
    values: Any
    if count == 1:
        values = part[:, 0].astype(dtype)
    else:
        values = np.floor_divide(part.sum(axis=1, dtype=np.int64), count).astype(dtype)
    values[lost] = missing(dtype)
    counts: Counts = values
    return counts


class MultiSegment:
    """A multi-segment record, fixed or variable layout; gaps and absent leads read as missing samples."""

    def __init__(self, header: Header, path: Path) -> None:
        self._path = path
        segments = header.segments
        layout: Header | None = None
        if segments and segments[0].samples == 0 and segments[0].name != _GAP:
            layout = _segment_header(path, segments[0])
            segments = segments[1:]
        self._starts = np.concatenate(([0], np.cumsum([s.samples for s in segments], dtype=np.int64)))
        self._segments = segments
        self._open: tuple[int, SignalFiles] | None = None
        model = layout or self._first_header()
        total = int(self._starts[-1])
        if header.samples is not None and header.samples != total:
            raise RecordingUnreadable(
                f"the segments have {total} samples together; the header says {header.samples}.",
                where=str(path),
                remedy="Mend the header.",
            )
        self.info = RecordingInfo(
            name=header.name,
            fs=header.fs,
            leads=tuple(Lead(line.name, line.gain, line.baseline) for line in model.signals),
            samples=total,
            start_ns=header.start_ns,
        )

    def _first_header(self) -> Header:
        for segment in self._segments:
            if segment.name != _GAP:
                return _segment_header(self._path, segment)
        raise RecordingUnreadable("the record has no segment.", where=str(self._path), remedy="Mend it.")

    def read(self, start: int, stop: int, lead: int | None = None) -> Counts:
        """See `einthoven.signal.recording.RecordingSource`."""
        start = min(max(0, start), self.info.samples)
        stop = min(max(start, stop), self.info.samples)
        rows = range(len(self.info.leads)) if lead is None else (lead,)
        pieces: list[NDArray[np.int32]] = []
        number = int(np.searchsorted(self._starts, start, side="right")) - 1
        at = start
        while at < stop:
            end = min(stop, int(self._starts[number + 1]))
            if end > at:
                pieces.append(self._piece(number, at, end, rows))
            at, number = end, number + 1
        if not pieces:
            return np.empty((len(rows), 0), np.int16)
        whole = np.concatenate(pieces, axis=1)
        lost = whole == missing(np.dtype(np.int32))
        known = whole[~lost]
        if known.size == 0 or (known.min() > -32768 and known.max() < 32768):
            narrow = whole.astype(np.int16)
            narrow[lost] = missing(np.dtype(np.int16))
            return narrow
        return whole

    def _piece(self, number: int, start: int, stop: int, rows: range | tuple[int, ...]) -> NDArray[np.int32]:
        out = np.full((len(rows), stop - start), missing(np.dtype(np.int32)), np.int32)
        segment = self._segments[number]
        if segment.name == _GAP:
            return out
        source = self._source(number, segment)
        offset = int(self._starts[number])
        here = {described.name: index for index, described in enumerate(source.info.leads)}
        for place, row in enumerate(rows):
            wanted = self.info.leads[row]
            index = here.get(wanted.name)
            if index is None:
                continue
            if source.info.leads[index] != wanted:
                raise RecordingUnreadable(
                    f"segment {segment.name} has another gain or baseline than the record.",
                    where=str(self._path),
                    remedy="Analyse its segments one by one.",
                )
            counts = source.read(start - offset, stop - offset, index)[0]
            out[place] = counts
            out[place][counts == missing(counts.dtype)] = missing(out.dtype)
        return out

    def _source(self, number: int, segment: SegmentLine) -> SignalFiles:
        if self._open is not None:
            if self._open[0] == number:
                return self._open[1]
            self._open[1].close()
            self._open = None
        source = SignalFiles(_segment_header(self._path, segment), self._path)
        if source.info.samples < segment.samples:
            source.close()
            raise RecordingUnreadable(
                f"segment {segment.name} has {source.info.samples} samples; "
                f"the record says {segment.samples}.",
                where=str(self._path),
                remedy="Get the segment again.",
            )
        self._open = (number, source)
        return source

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
