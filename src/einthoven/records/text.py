"""Recordings as text: one sample a row (the article's files), and JSON."""

import re
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import RecordingUnreadable
from einthoven.records.files import open_file, read_span
from einthoven.signal.recording import Counts, Lead, Recording, RecordingInfo, missing

__all__ = ["CsvRecording", "open_csv", "read_json"]

DEFAULT_FS: Final = 125.0
DEFAULT_GAIN: Final = 200.0
MAX_JSON_BYTES: Final = 256 * 2**20
_STRIDE: Final = 4096
"""Rows between two entries of the index."""
_BLOCK: Final = 2**20
_LONGEST_ROW: Final = 4096
_MOST_COLUMNS: Final = 512
_ROW: Final = re.compile(rb"[\s\d,;+-]*")


class CsvRecording:
    """A file of integers, one row per sample and one column per lead, read by an index of row offsets.

    An empty field is a missing sample. The first row may name the leads.
    """

    def __init__(self, path: Path, fs: float, gain: float, baseline: int) -> None:
        self._path = path
        self._file: BinaryIO = open_file(path)
        try:
            names, self._offsets, rows = self._index()
            self.info = RecordingInfo(
                name=path.stem,
                fs=fs,
                leads=tuple(Lead(name, gain, baseline) for name in names),
                samples=rows,
            )
        except BaseException:
            self.close()
            raise

    def read(self, start: int, stop: int, lead: int | None = None) -> Counts:
        """See `einthoven.signal.recording.RecordingSource`."""
        start = min(max(0, start), self.info.samples)
        stop = min(max(start, stop), self.info.samples)
        columns = len(self.info.leads)
        if stop == start:
            return np.empty((columns if lead is None else 1, 0), np.int32)
        first = start // _STRIDE
        last = min(-(-stop // _STRIDE), len(self._offsets) - 1)
        begin = self._offsets[first]
        content = read_span(self._file, begin, self._offsets[last] - begin, str(self._path))
        rows = content.splitlines()[start - first * _STRIDE : stop - first * _STRIDE]
        values = self._parse(rows, start, columns)
        return values if lead is None else values[lead : lead + 1]

    def _parse(self, rows: list[bytes], start: int, columns: int) -> NDArray[np.int32]:
        separator = b";" if any(b";" in row for row in rows[:1]) else b","
        lost = missing(np.dtype(np.int32))
        out = np.empty((len(rows), columns), np.int64)
        for number, row in enumerate(rows):
            fields = row.split(separator) if columns > 1 else [row]
            if len(fields) != columns:
                raise self._bad(start + number, f"{len(fields)} values instead of {columns}")
            try:
                out[number] = [int(field) if field.strip() else lost for field in fields]
            except (ValueError, OverflowError):
                raise self._bad(start + number, "not a whole number that fits in 32 bits") from None
        if out.size and (out.min() < lost or out.max() > -lost - 1):
            row_number = int(np.flatnonzero(((out < lost) | (out > -lost - 1)).any(axis=1))[0])
            raise self._bad(start + row_number, "a number that does not fit in 32 bits")
        return np.ascontiguousarray(out.T.astype(np.int32))

    def _bad(self, row: int, what: str) -> RecordingUnreadable:
        return RecordingUnreadable(
            f"sample {row}: {what}.",
            where=str(self._path),
            remedy="The file must hold integers, one sample a row.",
        )

    def _index(self) -> tuple[list[str], list[int], int]:
        """Lead names, the offset of every 4096th row and of the end, and the number of rows."""
        head = read_span(self._file, 0, _LONGEST_ROW, str(self._path))
        first, _, _ = head.partition(b"\n")
        begin = 0
        if head.startswith(b"\xef\xbb\xbf"):
            begin = 3
            first = first[3:]
        if not head.strip():
            return ["ECG"], [begin], 0
        separator = b";" if b";" in first else b","
        columns = first.count(separator) + 1
        if columns > _MOST_COLUMNS or len(first) >= _LONGEST_ROW:
            raise RecordingUnreadable(
                "the first row is too long to be one of samples.",
                where=str(self._path),
                remedy="One sample a row, one lead a column.",
            )
        names = ["ECG"] if columns == 1 else [f"ECG{n + 1}" for n in range(columns)]
        if _ROW.fullmatch(first.rstrip(b"\r")) is None:
            names = self._names(first, separator)
            begin += len(first) + 1
        return names, *self._rows(begin)

    def _names(self, row: bytes, separator: bytes) -> list[str]:
        try:
            names = [field.strip(" \t\r\"'") for field in row.decode("utf-8").split(separator.decode())]
        except UnicodeDecodeError:
            names = []
        if not names or not all(name and name.isprintable() and len(name) <= 64 for name in names):
            raise RecordingUnreadable(
                "the first row is neither numbers nor names of leads.",
                where=str(self._path),
                remedy="Is it a text file of integers, one sample a row?",
            )
        return names

    def _rows(self, begin: int) -> tuple[list[int], int]:
        offsets = [begin]
        rows = 0
        at = begin
        ends_whole = True
        last_end = begin - 1
        while True:
            block = read_span(self._file, at, _BLOCK, str(self._path))
            if not block:
                break
            octets = np.frombuffer(block, np.uint8)
            ends = np.flatnonzero(octets == ord("\n"))
            edges = np.concatenate(([last_end], ends + at, [at + len(block) - 1]))
            if np.diff(edges).max() > _LONGEST_ROW:
                raise RecordingUnreadable(
                    f"a row has more than {_LONGEST_ROW} bytes.",
                    where=str(self._path),
                    remedy="One sample a row, one lead a column.",
                )
            last_end = int(edges[-2])
            due = np.arange(_STRIDE - rows % _STRIDE - 1, ends.size, _STRIDE)
            offsets += [at + int(end) + 1 for end in ends[due]]
            rows += ends.size
            ends_whole = block.endswith(b"\n")
            at += len(block)
        if not ends_whole:
            rows += 1
        if offsets[-1] != at:
            offsets.append(at)
        return offsets, rows

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_csv(path: Path, fs: float | None, gain: float | None, baseline: int | None) -> CsvRecording:
    """A text file of integers; 125 Hz, 200 counts per mV and baseline 0 where nothing else is said."""
    return CsvRecording(path, fs or DEFAULT_FS, gain or DEFAULT_GAIN, baseline or 0)


class _JsonRecording(msgspec.Struct, rename="camel"):
    """The article's ECG object, as far as a recording needs it; other fields are let be."""

    samples: msgspec.Raw
    fs: float = DEFAULT_FS
    gain: float = DEFAULT_GAIN
    baseline: int = 0
    start_time: datetime | None = None
    lead: str = "ECG"


def read_json(path: Path, fs: float | None, gain: float | None, baseline: int | None) -> Recording:
    """A JSON array of integers, or an object with ``samples`` and perhaps ``fs``, ``gain``, ``baseline``.

    ``null`` is a missing sample. What the caller says counts more than what the file says.

    Raises
    ------
    RecordingUnreadable : not JSON, not integers, or too large.
    """
    with open_file(path) as file:
        content = read_span(file, 0, MAX_JSON_BYTES + 1, str(path))
    if len(content) > MAX_JSON_BYTES:
        raise RecordingUnreadable(
            f"the JSON file has more than {MAX_JSON_BYTES} bytes.",
            where=str(path),
            remedy="Store long recordings as WFDB or CSV, which are read a span at a time.",
        )
    try:
        is_bare = content.lstrip()[:1] == b"["
        described = (
            _JsonRecording(samples=msgspec.Raw(content))
            if is_bare
            else msgspec.json.decode(content, type=_JsonRecording)
        )
        counts = _integers(bytes(described.samples))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
        what = str(error).splitlines()[0] if isinstance(error, msgspec.MsgspecError) else "not valid JSON"
        raise RecordingUnreadable(
            f"the file is not a JSON recording: {what}.",
            where=str(path),
            remedy="It must be an array of integers, or an object with such an array in samples.",
        ) from None
    start = described.start_time
    lead = Lead(described.lead, gain or described.gain, described.baseline if baseline is None else baseline)
    info = RecordingInfo(
        name=path.stem,
        fs=fs or described.fs,
        leads=(lead,),
        samples=counts.size,
        start_ns=None if start is None else round(start.timestamp() * 1e6) * 1000,
    )
    return Recording(info, counts[None, :])


def _integers(content: bytes) -> NDArray[np.int32]:
    values = msgspec.json.decode(content, type=list[int | None])
    lost = missing(np.dtype(np.int32))
    if any(value is not None and not lost <= value <= -lost - 1 for value in values):
        raise msgspec.ValidationError("Expected integers that fit in 32 bits")
    return np.array([lost if value is None else value for value in values], np.int32)
