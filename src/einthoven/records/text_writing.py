"""Recordings out as text: CSV, one sample a row, and JSON; a span at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from einthoven.errors import InputInvalid
from einthoven.records.files import replacing
from einthoven.records.text import is_lead_name, is_row
from einthoven.signal.instants import in_calendar
from einthoven.signal.recording import RecordingSource, missing

__all__ = ["write_csv", "write_json"]

_SPAN: Final = 2**16
_SEPARATORS: Final = frozenset(",;\"'")


def write_csv(path: str | Path, source: RecordingSource) -> None:
    """Write integers, a first row with the names of the leads, and nothing in place of a missing sample.

    Rate, gain, baseline and start have no place in it.

    Raises
    ------
    InputInvalid : a name that cannot stand in the first row.
    RecordingUnreadable : the folder does not take the file.
    """
    names = [lead.name for lead in source.info.leads]
    for name in names:
        if not _can_stand(name):
            raise InputInvalid(
                f"the lead {name!r} cannot be named in a row of CSV.",
                where=source.info.name,
                remedy="Rename it, or write another format.",
            )
    with replacing(Path(path)) as file:
        file.write((",".join(names) + "\n").encode())
        for start in range(0, source.info.samples, _SPAN):
            counts = source.read(start, start + _SPAN)
            lost = missing(counts.dtype)
            rows = counts.T.tolist()
            if (counts == lost).any():
                lines = [",".join("" if value == lost else str(value) for value in row) for row in rows]
            else:
                lines = [",".join(map(str, row)) for row in rows]
            file.write(("\n".join(lines) + "\n").encode())


def _can_stand(name: str) -> bool:
    """Whether a name in the first row is read as one, whatever stands beside it."""
    is_plain = not _SEPARATORS & set(name) and name.strip() == name
    return is_plain and is_lead_name(name) and not is_row(name.encode()) and len(name.encode()) <= 64


def write_json(path: str | Path, source: RecordingSource) -> None:
    """Write an object with ``samples`` or, where there are several leads, with ``leads``.

    Raises
    ------
    InputInvalid : a start that is no instant of a calendar.
    RecordingUnreadable : the folder does not take the file.
    """
    info = source.info
    about = {"fs": info.fs}
    text = msgspec.json.encode(about)[:-1]
    if info.start_ns is not None:
        text += b',"startTime":' + msgspec.json.encode(in_calendar(info.start_ns, info.name))
    with replacing(Path(path)) as file:
        file.write(text)
        if len(info.leads) == 1:
            file.write(b",")
            _write_lead(file, source, 0)
        else:
            file.write(b',"leads":[')
            for number in range(len(info.leads)):
                file.write(b",{" if number else b"{")
                _write_lead(file, source, number)
                file.write(b"}")
            file.write(b"]")
        file.write(b"}\n")


def _write_lead(file: BinaryIO, source: RecordingSource, number: int) -> None:
    """The fields of one lead, its samples a span at a time."""
    lead = source.info.leads[number]
    about = {"lead": lead.name, "gain": lead.gain, "baseline": lead.baseline}
    file.write(msgspec.json.encode(about)[1:-1] + b',"samples":[')
    for start, content in _spans(source, number):
        file.write(b"," + content if start else content)
    file.write(b"]")


def _spans(source: RecordingSource, number: int) -> Iterator[tuple[int, bytes]]:
    for start in range(0, source.info.samples, _SPAN):
        counts = source.read(start, start + _SPAN, number)[0]
        lost = missing(counts.dtype)
        values = [None if value == lost else value for value in counts.tolist()]
        yield start, msgspec.json.encode(values)[1:-1]
