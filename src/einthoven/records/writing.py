"""Recordings out, as WFDB (header(5) and signal(5) of the WFDB Applications Guide)."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import numpy as np
from numpy.typing import NDArray

from einthoven.errors import InputInvalid
from einthoven.records.files import replacing
from einthoven.records.formats import FORMATS, encode_16, encode_24, encode_32, encode_212
from einthoven.signal.instants import in_calendar
from einthoven.signal.recording import RecordingInfo, RecordingSource, missing

__all__ = ["names_read", "write_recording"]

_SPAN: Final = 2**16
"""Samples of each lead that are held at once; even, so that format 212 begins each span on a whole byte."""
_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")
_ENCODERS: Final[dict[int, Callable[[NDArray[Any]], bytes]]] = {
    16: encode_16,
    24: encode_24,
    32: encode_32,
    212: encode_212,
}


def write_recording(
    stem: str | Path, source: RecordingSource, *, wfdb_format: Literal[16, 24, 32, 212] = 16
) -> None:
    """Write ``stem.hea`` and ``stem.dat``, exact in ADC counts; the files appear whole.

    The start is kept to the microsecond, as UTC.

    Raises
    ------
    InputInvalid : names that WFDB does not take, or counts that the format does not hold.
    RecordingUnreadable : the folder does not take the files.
    """
    stem = Path(stem)
    if _NAME.fullmatch(stem.name) is None:
        raise InputInvalid(
            "a WFDB record's name has letters, digits, '_' and '-' only.",
            where=stem.name,
            remedy="Rename it.",
        )
    if not all(lead.name.isprintable() for lead in source.info.leads):
        raise InputInvalid(
            "a lead's name has letters that cannot be printed.", where=stem.name, remedy="Rename the lead."
        )
    record_line = _record_line(source.info, stem.name)
    with (
        replacing(stem.with_name(f"{stem.name}.dat")) as signals,
        replacing(stem.with_name(f"{stem.name}.hea")) as header,
    ):
        first, sums = _write_samples(signals, source, wfdb_format)
        lines = _signal_lines(source.info, stem.name, wfdb_format, first, sums)
        header.write("".join([record_line, *lines]).encode())


def _write_samples(file: BinaryIO, source: RecordingSource, wfdb_format: int) -> tuple[list[int], list[int]]:
    """Write the samples a span at a time; gives each lead's first sample and its sum."""
    leads = len(source.info.leads)
    first, sums = [0] * leads, np.zeros(leads, np.int64)
    for start in range(0, source.info.samples, _SPAN):
        counts = _fitting(source, start, wfdb_format)
        if start == 0:
            first = counts[:, 0].tolist()
        sums += counts.sum(axis=1, dtype=np.int64)
        samples = np.ascontiguousarray(counts.T).reshape(-1)
        file.write(_ENCODERS[wfdb_format](samples))
    return first, sums.tolist()


def _fitting(source: RecordingSource, start: int, wfdb_format: int) -> NDArray[np.int16] | NDArray[np.int32]:
    """A span of counts in the format's range, missing samples as the format marks them."""
    counts = source.read(start, start + _SPAN)
    lost = counts == missing(counts.dtype)
    mark = FORMATS[wfdb_format].invalid
    low, high = mark + 1, -mark - 1
    known = counts[~lost]
    if known.size and (known.min() < low or known.max() > high):
        raise InputInvalid(
            f"counts do not fit in format {wfdb_format} ({low} to {high}).",
            where=source.info.name,
            remedy="Choose format 16, 24 or 32, or scale the recording and its gain.",
        )
    wide = FORMATS[wfdb_format].dtype is np.int32
    written: NDArray[np.int16] | NDArray[np.int32] = (
        counts.astype(np.int32) if wide else counts.astype(np.int16)
    )
    written[lost] = mark
    return written


def _record_line(info: RecordingInfo, name: str) -> str:
    line = f"{name} {len(info.leads)} {_exact(info.fs)} {info.samples}"
    if info.start_ns is None:
        return f"{line}\n"
    start = in_calendar(info.start_ns, info.name)
    part = f".{start.microsecond:06d}" if start.microsecond else ""
    return f"{line} {start:%H:%M:%S}{part} {start.day:02d}/{start.month:02d}/{start.year:04d}\n"


def _signal_lines(
    info: RecordingInfo, name: str, wfdb_format: int, first: list[int], sums: list[int]
) -> list[str]:
    bits = 12 if wfdb_format == 212 else wfdb_format
    return [
        f"{name}.dat {wfdb_format} {_exact(lead.gain)}({lead.baseline})/mV {bits} 0 "
        f"{start} {(total + 2**15) % 2**16 - 2**15} 0 {read}\n"
        for lead, read, start, total in zip(info.leads, names_read(info), first, sums, strict=True)
    ]


def names_read(info: RecordingInfo) -> list[str]:
    """What the leads are called in the header: without spaces around, and by their number if by nothing."""
    return [lead.name.strip() or f"ECG{number}" for number, lead in enumerate(info.leads, 1)]


def _exact(value: float) -> str:
    """The shortest decimal that reads back as the same number."""
    return repr(float(value)).removesuffix(".0")
