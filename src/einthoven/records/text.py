"""Recordings as text: one sample a row (the article's files), and JSON."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Annotated, BinaryIO, Final, Self, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import InputInvalid, RecordingUnreadable
from einthoven.records.files import open_file, read_span
from einthoven.records.kept_indexes import KeptIndexes
from einthoven.records.spans import clipped, rows_of
from einthoven.signal.recording import Counts, Lead, Recording, RecordingInfo, missing

__all__ = ["CsvRecording", "agreed", "is_lead_name", "is_row", "is_text", "open_csv", "read_json"]

DEFAULT_FS: Final = 125.0
DEFAULT_GAIN: Final = 200.0
MAX_JSON_BYTES: Final = 256 * 2**20
_STRIDE: Final = 4096
"""Rows between two entries of the index."""
_BLOCK: Final = 2**20
_LONGEST_ROW: Final = 4096
_MOST_COLUMNS: Final = 512
_ROW: Final = re.compile(rb"[\s\d,;+-]*")
_INTEGER: Final = re.compile(rb"[+-]?\d{1,11}")
_LONGEST_INTEGER: Final = 11
_LOST: Final = missing(np.dtype(np.int32))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_Count = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
_Number = TypeVar("_Number", int, float)
_Index = tuple[list[str], bytes, list[int], int]
_INDEXES: Final[KeptIndexes[_Index]] = KeptIndexes()


class CsvRecording:
    """A file of integers, one row per sample and one column per lead, read by an index of row offsets.

    An empty field is a missing sample. The first row may name the leads.
    """

    def __init__(
        self, path: Path, fs: float, gain: float, baseline: int, remarks: tuple[str, ...] = ()
    ) -> None:
        self.remarks = remarks
        self._path = path
        self._file: BinaryIO = open_file(path)
        try:
            names, self._separator, self._offsets, rows = _INDEXES.of(path, self._file, self._index)
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
        start, stop = clipped(self.info, start, stop)
        wanted = list(rows_of(self.info, lead))
        columns = len(self.info.leads)
        if stop == start:
            return np.empty((len(wanted), 0), np.int32)
        first = start // _STRIDE
        last = min(-(-stop // _STRIDE), len(self._offsets) - 1)
        begin = self._offsets[first]
        content = read_span(self._file, begin, self._offsets[last] - begin, str(self._path))
        span = slice(start - first * _STRIDE, stop - first * _STRIDE)
        plain = _plain(content, columns, self._separator)
        values = self._parse(content.split(b"\n")[span], start, columns) if plain is None else plain[span]
        if len(content) < self._offsets[last] - begin or values.shape[0] != stop - start:
            raise RecordingUnreadable(
                f"the file changed while it was read: {values.shape[0]} rows where {stop - start} were.",
                where=str(self._path),
                remedy="Open it again when nothing writes to it.",
            )
        beyond = ((values < _LOST) | (values > -_LOST - 1)).any(axis=1)
        if beyond.any():
            raise self._bad(start + int(beyond.argmax()), "a number that does not fit in 32 bits")
        return np.ascontiguousarray(values[:, wanted].T, np.int32)

    def _parse(self, rows: list[bytes], start: int, columns: int) -> NDArray[np.int64]:
        """Row by row: for rows with spaces, with missing samples, or with something to complain about."""
        out = np.empty((len(rows), columns), np.int64)
        for number, row in enumerate(rows):
            fields = [field.strip() for field in (row.split(self._separator) if columns > 1 else [row])]
            if len(fields) != columns:
                raise self._bad(start + number, f"{len(fields)} values instead of {columns}")
            if not all(not field or _INTEGER.fullmatch(field) for field in fields):
                raise self._bad(start + number, "not a whole number that fits in 32 bits")
            out[number] = [int(field) if field else _LOST for field in fields]
        return out

    def _bad(self, row: int, what: str) -> RecordingUnreadable:
        return RecordingUnreadable(
            f"sample {row}: {what}.",
            where=str(self._path),
            remedy="The file must hold integers, one sample a row.",
        )

    def _index(self) -> _Index:
        """Lead names, what separates them, the offset of every 4096th row and of the end, and the rows."""
        head = read_span(self._file, 0, _LONGEST_ROW, str(self._path))
        first, _, _ = head.partition(b"\n")
        begin = 0
        if head.startswith(b"\xef\xbb\xbf"):
            begin = 3
            first = first[3:]
        if len(head) < _LONGEST_ROW and not head[begin:].strip():
            return ["ECG"], b",", [begin], 0
        separator = b";" if b";" in first else b","
        columns = first.count(separator) + 1
        if columns > _MOST_COLUMNS or len(first) >= _LONGEST_ROW:
            raise RecordingUnreadable(
                "the first row is too long to be one of samples.",
                where=str(self._path),
                remedy="One sample a row, one lead a column.",
            )
        names = ["ECG"] if columns == 1 else [f"ECG{n + 1}" for n in range(columns)]
        if not is_row(first):
            names = self._names(first, separator)
            begin += len(first) + 1
            if not is_row(head[begin:].partition(b"\n")[0]):
                raise self._bad(0, "not a whole number that fits in 32 bits")
        return names, separator, *self._rows(begin)

    def _names(self, row: bytes, separator: bytes) -> list[str]:
        try:
            names = [field.strip(" \t\r\"'") for field in row.decode("utf-8").split(separator.decode())]
        except UnicodeDecodeError:
            names = []
        if not names or not all(map(is_lead_name, names)):
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

    def annotations(self) -> None:
        """The format has none."""

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
    return CsvRecording(
        path,
        DEFAULT_FS if fs is None else fs,
        DEFAULT_GAIN if gain is None else gain,
        0 if baseline is None else baseline,
        _taken_for_granted(is_rate=fs is None, is_gain=gain is None),
    )


def _taken_for_granted(*, is_rate: bool, is_gain: bool) -> tuple[str, ...]:
    """What neither the file nor the caller says; everything that is found depends on it."""
    said = [f"a sampling rate of {DEFAULT_FS:g} Hz"] * is_rate
    said += [f"{DEFAULT_GAIN:g} counts per mV"] * is_gain
    return (f"The file does not say it: {' and '.join(said)} taken for granted.",) if said else ()


def _plain(content: bytes, columns: int, separator: bytes) -> NDArray[np.int64] | None:
    """Rows of nothing but integers, shape (rows, columns); None when they are not, for the slow way to say.

    Everything is checked before it is converted: NumPy's own reader stops at what it does not understand.
    """
    content = content.replace(b"\r\n", b"\n").removesuffix(b"\n") + b"\n"
    if content.translate(None, b"0123456789-\n" + separator):
        return None
    octets = np.frombuffer(content, np.uint8)
    is_digit = (octets >= ord("0")) & (octets <= ord("9"))
    minus = np.flatnonzero(octets == ord("-"))
    ends = np.flatnonzero(~is_digit & (octets != ord("-")))
    lengths = np.diff(ends, prepend=-1) - 1
    in_rows = ends.size % columns == 0 and bool(
        ((octets[ends] == ord("\n")).reshape(-1, columns) == (np.arange(columns) == columns - 1)).all()
    )
    leads_a_number = is_digit[minus + 1] & ~is_digit[minus - 1]  # before the first byte: the last, a newline
    if not in_rows or lengths.min() < 1 or lengths.max() > _LONGEST_INTEGER or not leads_a_number.all():
        return None
    values = np.fromstring(content[:-1].replace(b"\n", b",").replace(separator, b","), np.int64, sep=",")
    return values.reshape(-1, columns)


def is_row(line: bytes) -> bool:
    """Whether a line can be one of samples: nothing but digits, signs and what separates them."""
    return _ROW.fullmatch(line) is not None


def is_text(beginning: bytes) -> bool:
    """Whether a file begins with a row of samples, or has one after its first row, or is an object."""
    first, *more = beginning.split(b"\n", 2)
    return beginning[:1] in {b"{", b"["} or any(is_row(line) for line in [first, *more[:1]] if more)


def is_lead_name(name: str) -> bool:
    """Whether a field of the first row can name a lead; a number that is no integer must not pass for one."""
    try:
        float(name)
    except ValueError:
        return bool(name) and name.isprintable() and len(name) <= 64
    return False


def agreed(what: str, given: _Number | None, found: _Number | None, where: Path) -> _Number | None:
    """What the caller says and what the file says, which must not differ where both speak.

    Raises
    ------
    InputInvalid : they differ.
    """
    if given is not None and found is not None and given != found:
        raise InputInvalid(
            f"the {what} given is {given:g}; the file says {found:g}.",
            where=str(where),
            remedy=f"Leave out the {what}, or correct the file.",
        )
    return found if given is None else given


class _JsonLead(msgspec.Struct, rename="camel"):
    """One lead of several."""

    samples: msgspec.Raw
    gain: float | None = None
    baseline: int | None = None
    lead: str = "ECG"


class _JsonRecording(msgspec.Struct, rename="camel"):
    """The article's ECG object, as far as a recording needs it; other fields are let be."""

    samples: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    leads: list[_JsonLead] | msgspec.UnsetType = msgspec.UNSET
    """Instead of samples, gain, baseline and lead, where there are several."""
    fs: float | None = None
    gain: float | None = None
    baseline: int | None = None
    start_time: datetime | None = None
    lead: str = "ECG"


def read_json(
    path: Path, fs: float | None, gain: float | None, baseline: int | None
) -> tuple[Recording, tuple[str, ...]]:
    """The recording of a JSON file, and what was taken for granted.

    A JSON array of integers, or an object with ``samples`` and perhaps ``fs``, ``gain``, ``baseline``.

    ``leads`` is a list of such objects, a lead each. ``null`` is a missing sample; a ``startTime`` without a
    zone is UTC.

    Raises
    ------
    RecordingUnreadable : not JSON, not integers (the message has the sample's number), or too large.
    InputInvalid : the caller says one thing and the file another.
    """
    with open_file(path) as file:
        content = read_span(file, 0, MAX_JSON_BYTES + 1, str(path))
    if len(content) > MAX_JSON_BYTES:
        raise RecordingUnreadable(
            f"the JSON file has more than {MAX_JSON_BYTES} bytes.",
            where=str(path),
            remedy="Store long recordings as WFDB or CSV, which are read a span at a time.",
        )
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        is_bare = content.lstrip()[:1] == b"["
        described = (
            _JsonRecording(samples=msgspec.Raw(content))
            if is_bare
            else msgspec.json.decode(content, type=_JsonRecording)
        )
        rows = _json_leads(described)
        counts = [_integers(bytes(row.samples)) for row in rows]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
        what = str(error).splitlines()[0] if isinstance(error, msgspec.MsgspecError) else "not valid JSON"
        what = what if content.strip() else "it is empty"
        raise RecordingUnreadable(
            f"the file is not a JSON recording: {what}.",
            where=str(path),
            remedy="It must be an array of integers, or an object with such an array in samples.",
        ) from None
    fs = agreed("sampling rate", fs, described.fs, path)
    leads = []
    for row in rows:
        row_gain = agreed("gain", gain, row.gain, path)
        row_baseline = agreed("baseline", baseline, row.baseline, path)
        leads.append(Lead(row.lead, DEFAULT_GAIN if row_gain is None else row_gain, row_baseline or 0))
    if len({row.size for row in counts}) > 1:
        raise RecordingUnreadable(
            "the leads have different numbers of samples.", where=str(path), remedy="Fill up with null."
        )
    info = RecordingInfo(
        name=path.stem,
        fs=DEFAULT_FS if fs is None else fs,
        leads=tuple(leads),
        samples=counts[0].size,
        start_ns=_instant_ns(described.start_time),
    )
    is_gain = any(gain is None and row.gain is None for row in rows)
    return Recording(info, np.stack(counts)), _taken_for_granted(is_rate=fs is None, is_gain=is_gain)


def _json_leads(described: _JsonRecording) -> list[_JsonLead]:
    """What a file says of each lead."""
    if described.leads is not msgspec.UNSET:
        if not described.leads or described.samples is not msgspec.UNSET:
            raise msgspec.ValidationError("Expected `samples`, or `leads` with at least one")
        return described.leads
    if described.samples is msgspec.UNSET:
        raise msgspec.ValidationError("Object missing required field `samples`")
    return [_JsonLead(described.samples, described.gain, described.baseline, described.lead)]


def _instant_ns(start: datetime | None) -> int | None:
    if start is None:
        return None
    if start.tzinfo is None:
        start = start.replace(tzinfo=UTC)
    return (start - _EPOCH) // timedelta(microseconds=1) * 1000


def _integers(content: bytes) -> NDArray[np.int32]:
    """The integers of a JSON array, decoded a block at a time, so that no list of them all is made."""
    content = content.strip()
    if not (content.startswith(b"[") and content.endswith(b"]") and len(content) > 1):
        raise msgspec.ValidationError("Expected `array` of integers")
    inner = content[1:-1]
    if not inner.strip():
        return np.empty(0, np.int32)
    pieces: list[NDArray[np.int32]] = []
    at = first = 0
    while at <= len(inner):
        end = inner.find(b",", at + _BLOCK)
        end = len(inner) if end < 0 else end
        pieces.append(_piece(inner[at:end], first))
        first += pieces[-1].size
        at = end + 1
    return np.concatenate(pieces)


def _piece(content: bytes, first: int) -> NDArray[np.int32]:
    """Part of an array, from element ``first`` on."""
    try:
        values = msgspec.json.decode(b"[" + content + b"]", type=list[_Count | None])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        values = []
    if not values:
        raise msgspec.ValidationError(
            f"sample {first + _first_wrong(content)} is not a whole number that fits in 32 bits"
        )
    return np.array([_LOST if value is None else value for value in values], np.int32)


def _first_wrong(content: bytes) -> int:
    return next((number for number, field in enumerate(content.split(b",")) if not _is_count(field)), 0)


def _is_count(field: bytes) -> bool:
    try:
        msgspec.json.decode(field, type=_Count | None)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        return False
    return True
