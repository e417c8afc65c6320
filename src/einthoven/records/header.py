"""WFDB headers (header(5) of the WFDB Applications Guide): a record line, then one per signal or segment."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from einthoven.errors import RecordingUnreadable
from einthoven.records.files import read_text

__all__ = ["Header", "SegmentLine", "SignalLine", "parse_header", "read_header"]

DEFAULT_FS: Final = 250.0
DEFAULT_GAIN: Final = 200.0
MAX_SIGNALS: Final = 512
MAX_SEGMENTS: Final = 100_000

_NAME: Final = re.compile(r"(?P<name>[^\s/]+)(?:/(?P<segments>\d+))?$", re.ASCII)
_FS: Final = re.compile(r"(?P<fs>[\d.eE+-]+)(?:/(?P<counter>[\d.eE+-]+)(?:\([^)]*\))?)?$")
_FORMAT: Final = re.compile(
    r"(?P<format>\d{1,6})(?:x(?P<per_frame>\d{1,6}))?(?::(?P<skew>\d{1,9}))?(?:\+(?P<offset>\d{1,15}))?$",
    re.ASCII,
)
_GAIN: Final = re.compile(
    r"(?P<gain>[\d.eE+-]+)(?:\((?P<baseline>[+-]?\d{1,10})\))?(?:/(?P<units>\S+))?$", re.ASCII
)
_TIME: Final = re.compile(
    r"(?:(?:(?P<h>\d{1,2}):)?(?P<m>\d{1,2}):)?(?P<s>\d{1,2})(?:\.(?P<part>\d{1,9}))?", re.ASCII
)
_DATE: Final = re.compile(r"(?P<day>\d{1,2})/(?P<month>\d{1,2})/(?P<year>\d{4})", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PER_MV: Final = {
    "mV": 1.0, "mv": 1.0, "MV": 1.0, "uV": 1e3, "uv": 1e3, "UV": 1e3, "\u00b5V": 1e3, "\u03bcV": 1e3,
    "V": 1e-3, "v": 1e-3, "nV": 1e6,
}  # fmt: skip


class SignalLine(msgspec.Struct, frozen=True):
    """One signal of a header."""

    file: str
    format: int
    per_frame: int
    """Samples per frame."""
    skew: int
    """Samples by which the signal is late."""
    offset: int
    """Bytes before the first sample in the file."""
    gain: float
    """ADC counts per mV; per unit where the unit is no voltage."""
    baseline: int
    name: str
    foreign_unit: str = ""
    """The unit, where it is no voltage; else empty."""


class SegmentLine(msgspec.Struct, frozen=True):
    """One segment of a multi-segment header."""

    name: str
    """Record name; ``~`` for a gap."""
    samples: int


class Header(msgspec.Struct, frozen=True):
    """A parsed header."""

    name: str
    fs: float
    samples: int | None
    """None when the header leaves it to the signal file."""
    start_ns: int | None
    signals: tuple[SignalLine, ...]
    segments: tuple[SegmentLine, ...]


def read_header(path: Path) -> Header:
    """The header in a ``.hea`` file.

    Raises
    ------
    RecordingNotFound, RecordingUnreadable : see `parse_header`.
    """
    return parse_header(read_text(path), str(path))


def parse_header(text: str, where: str) -> Header:
    """The header in a text.

    Raises
    ------
    RecordingUnreadable : the message names the line and what it should be.
    """
    lines = [
        (number, line.strip())
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not lines:
        raise RecordingUnreadable("the header is empty.", where=where, remedy="Get the header again.")
    number, first = lines[0]
    fields = first.split()
    match = _NAME.match(fields[0])
    if match is None or len(fields) < 2:
        raise _bad(where, number, "the record line needs a name and the number of signals")
    signals = _integer(fields[1], where, number, "the number of signals", MAX_SIGNALS)
    fs = DEFAULT_FS
    if len(fields) > 2:
        rate = _FS.match(fields[2])
        fs = _number(rate["fs"] if rate else fields[2], where, number, "the sampling rate")
    samples = _integer(fields[3], where, number, "the number of samples", 2**53) if len(fields) > 3 else None
    start_ns = _start_ns(fields[4:6])
    rest = lines[1:]
    if match["segments"] is not None:
        count = _integer(match["segments"], where, number, "the number of segments", MAX_SEGMENTS)
        return Header(
            match["name"], fs, samples or None, start_ns, (), tuple(_segments(rest, count, where, number))
        )
    if len(rest) < signals:
        raise _bad(where, number, f"{signals} signal lines are announced and {len(rest)} follow")
    described = tuple(_signal(line, where, at, index) for index, (at, line) in enumerate(rest[:signals]))
    return Header(match["name"], fs, samples or None, start_ns, described, ())


def _segments(lines: list[tuple[int, str]], count: int, where: str, number: int) -> list[SegmentLine]:
    if len(lines) < count:
        raise _bad(where, number, f"{count} segment lines are announced and {len(lines)} follow")
    found = []
    for at, line in lines[:count]:
        fields = line.split()
        if len(fields) < 2:
            raise _bad(where, at, "a segment line needs a name and a number of samples")
        found.append(SegmentLine(fields[0], _integer(fields[1], where, at, "the segment's length", 2**53)))
    return found


def _signal(line: str, where: str, number: int, index: int) -> SignalLine:
    fields = line.split(maxsplit=8)
    if len(fields) < 2:
        raise _bad(where, number, "a signal line needs a file name and a format")
    layout = _FORMAT.match(fields[1])
    if layout is None:
        raise _bad(where, number, "the signal's format is not one")
    gain, baseline, units = DEFAULT_GAIN, None, "mV"
    if len(fields) > 2:
        described = _GAIN.match(fields[2])
        if described is None:
            raise _bad(where, number, "the gain is not one")
        gain = _number(described["gain"], where, number, "the gain") or DEFAULT_GAIN
        baseline = int(described["baseline"]) if described["baseline"] else None
        units = described["units"] or "mV"
    zero = _signed(fields[4], where, number, "the ADC's zero") if len(fields) > 4 else 0
    name = fields[8] if len(fields) > 8 else f"ECG{index + 1}"
    return SignalLine(
        file=fields[0],
        format=int(layout["format"]),
        per_frame=int(layout["per_frame"] or 1),
        skew=int(layout["skew"] or 0),
        offset=int(layout["offset"] or 0),
        gain=gain * _PER_MV.get(units, 1.0),
        baseline=zero if baseline is None else baseline,
        name=name,
        foreign_unit="" if units in _PER_MV else units,
    )


def _start_ns(fields: list[str]) -> int | None:
    """Base time and date as UTC, because a header names no zone.

    None unless both are there and are ones: a time without a date is no instant.
    """
    clock = _TIME.fullmatch(fields[0]) if len(fields) == 2 else None
    day = _DATE.fullmatch(fields[1]) if len(fields) == 2 else None
    if clock is None or day is None:
        return None
    hour, minute, second = (int(clock[part] or 0) for part in "hms")
    try:
        at = datetime(int(day["year"]), int(day["month"]), int(day["day"]), hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    part_ns = int((clock["part"] or "0").ljust(9, "0"))
    return (at - _EPOCH) // timedelta(seconds=1) * 1_000_000_000 + part_ns


def _integer(text: str, where: str, number: int, what: str, most: int) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 16 or int(text) > most:
        raise _bad(where, number, f"{what} must be a whole number of at most {most}")
    return int(text)


def _signed(text: str, where: str, number: int, what: str) -> int:
    if not re.fullmatch(r"[+-]?\d{1,10}", text, re.ASCII):
        raise _bad(where, number, f"{what} must be a whole number")
    return int(text)


def _number(text: str, where: str, number: int, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise _bad(where, number, f"{what} must be a number") from None


def _bad(where: str, number: int, what: str) -> RecordingUnreadable:
    return RecordingUnreadable(
        f"line {number}: {what}.", where=where, remedy="Mend the header; header(5) of WFDB describes it."
    )
