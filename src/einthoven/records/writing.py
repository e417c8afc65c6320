"""Recordings out, as WFDB."""

import os
import re
import tempfile
from pathlib import Path
from typing import Final, Literal

import numpy as np

from einthoven.errors import InputInvalid, RecordingUnreadable
from einthoven.records.files import write_whole
from einthoven.records.formats import encode_16, encode_212
from einthoven.signal.recording import RecordingInfo, RecordingSource, missing

__all__ = ["write_recording"]

_SPAN: Final = 2**16
_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")
_RANGES: Final = {16: (-32767, 32767), 212: (-2047, 2047)}


def write_recording(stem: Path, source: RecordingSource, *, wfdb_format: Literal[16, 212] = 16) -> None:
    """Write ``stem.hea`` and ``stem.dat``, exact in ADC counts; the files appear whole.

    Raises
    ------
    InputInvalid : a name that WFDB does not take, or counts that the format does not hold.
    RecordingUnreadable : the folder does not take the files.
    """
    if _NAME.fullmatch(stem.name) is None:
        raise InputInvalid(
            "a WFDB record's name has letters, digits, '_' and '-' only.",
            where=stem.name,
            remedy="Rename it.",
        )
    info = source.info
    checks = [0] * len(info.leads)
    first = [0] * len(info.leads)
    try:
        descriptor, aside = tempfile.mkstemp(dir=stem.parent, prefix=".")
    except OSError as error:
        raise RecordingUnreadable(
            f"the file cannot be written ({error.strerror}).", where=str(stem), remedy="Check the folder."
        ) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            for start in range(0, info.samples, _SPAN):
                counts = _fitting(source, start, wfdb_format)
                if start == 0:
                    first = counts[:, 0].tolist()
                checks = [
                    check + int(total)
                    for check, total in zip(checks, counts.sum(1, dtype=np.int64), strict=True)
                ]
                samples = np.ascontiguousarray(counts.T).reshape(-1)
                file.write(encode_16(samples) if wfdb_format == 16 else encode_212(samples))
        Path(aside).replace(stem.with_name(f"{stem.name}.dat"))
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
    header = _header(info, stem.name, wfdb_format, first, checks)
    write_whole(stem.with_name(f"{stem.name}.hea"), header.encode())


def _fitting(
    source: RecordingSource, start: int, wfdb_format: int
) -> "np.ndarray[tuple[int, ...], np.dtype[np.int16]]":
    counts = source.read(start, start + _SPAN)
    lost = counts == missing(counts.dtype)
    low, high = _RANGES[wfdb_format]
    known = counts[~lost]
    if known.size and (known.min() < low or known.max() > high):
        raise InputInvalid(
            f"counts do not fit in format {wfdb_format} ({low} to {high}).",
            where=source.info.name,
            remedy="Choose format 16, or scale the recording and its gain.",
        )
    narrow = counts.astype(np.int16)
    narrow[lost] = -2048 if wfdb_format == 212 else missing(np.dtype(np.int16))
    return narrow


def _header(info: RecordingInfo, name: str, wfdb_format: int, first: list[int], checks: list[int]) -> str:
    lines = [f"{name} {len(info.leads)} {info.fs:.10g} {info.samples}"]
    bits = 12 if wfdb_format == 212 else 16
    for lead, start, check in zip(info.leads, first, checks, strict=True):
        total = (check + 2**15) % 2**16 - 2**15
        lines.append(
            f"{name}.dat {wfdb_format} {lead.gain:.10g}({lead.baseline})/mV {bits} 0 "
            f"{start} {total} 0 {lead.name}"
        )
    return "\n".join(lines) + "\n"
