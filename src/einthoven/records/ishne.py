"""ISHNE Holter files in and out (Badilini, Ann. Noninvasive Electrocardiol. 3(3), 1998, 263-266).

Ten bytes, a header of 512, a block of any length, then samples of 16 bits, the leads interleaved. The header
is covered by a CRC, which is checked. How many samples there are, some programs say of each lead and some of
all together; both are read, and must be what the file holds.
"""

import binascii
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import msgspec
import numpy as np

from einthoven.errors import InputInvalid, RecordingUnreadable
from einthoven.records.files import open_file, read_exactly, read_span, replacing, size_of
from einthoven.records.spans import clipped, rows_of
from einthoven.signal.instants import in_calendar
from einthoven.signal.recording import Counts, Lead, RecordingInfo, RecordingSource, missing

__all__ = ["IshneRecording", "is_ishne", "ishne_start_ns", "plan_ishne", "write_ishne"]

MAGIC: Final = b"ISHNE1.0"
_FIXED: Final = 522
MAX_LEADS: Final = 12
MAX_BLOCK_BYTES: Final = 2**20
_NV_PER_MV: Final = 1_000_000
_LOST: Final = -32768
_NAMES: Final = {
    2: "X", 3: "Y", 4: "Z", 5: "I", 6: "II", 7: "III", 8: "aVR", 9: "aVL", 10: "aVF", 11: "V1", 12: "V2",
    13: "V3", 14: "V4", 15: "V5", 16: "V6", 17: "ES", 18: "AS", 19: "AI",
}  # fmt: skip
"""Leads by their code; 0 is unknown, 1 any bipolar one."""
_CODES: Final = {name: code for code, name in _NAMES.items()}
_SPAN: Final = 2**16
_SECOND_NS: Final = 1_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ABSENT: Final = -9


def is_ishne(beginning: bytes) -> bool:
    """Whether a file begins like one."""
    return beginning[:8] == MAGIC


class IshneRecording:
    """The leads of one file. A sample of -32768 is a missing one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO = open_file(path)
        try:
            header = read_span(self._file, 0, _FIXED, str(path))
            self._offset = self._checked(header)
            leads = _leads(header, str(path))
            self.info = RecordingInfo(
                name=path.stem,
                fs=float(_short(header, 272)),
                leads=leads,
                samples=self._length(header, len(leads)),
                start_ns=ishne_start_ns(header),
            )
            self.remarks = (
                ("What the header says of patient and recorder is left out.",)
                if header[28:128].strip(b"\0 ") or header[232:272].strip(b"\0 ")
                else ()
            )
        except BaseException:
            self.close()
            raise

    def _checked(self, header: bytes) -> int:
        """Where the samples begin, if the header is whole."""
        where = str(self._path)
        if len(header) < _FIXED or not is_ishne(header):
            raise RecordingUnreadable("the file ends in its header.", where=where, remedy="Get it again.")
        block, _, first, offset = struct.unpack_from("<4i", header, 10)
        if not 0 <= block <= MAX_BLOCK_BYTES or first != _FIXED or offset != _FIXED + block:
            raise RecordingUnreadable(
                "the parts of the header do not follow each other.", where=where, remedy="Mend the header."
            )
        rest = read_span(self._file, 10, offset - 10, where)
        if binascii.crc_hqx(rest, 0xFFFF) != struct.unpack_from("<H", header, 8)[0]:
            raise RecordingUnreadable(
                "the header is not what its checksum says.", where=where, remedy="Get the file again."
            )
        return int(offset)

    def _length(self, header: bytes, leads: int) -> int:
        """Samples of each lead."""
        said = struct.unpack_from("<i", header, 14)[0]
        held = (size_of(self._file, str(self._path)) - self._offset) // 2
        if said not in {held // leads, held} or held % leads:
            raise RecordingUnreadable(
                f"the header says {said} samples; the file has {held} of {leads} leads together.",
                where=str(self._path),
                remedy="Get the file again, or correct the header.",
            )
        return int(held // leads)

    def read(self, start: int, stop: int, lead: int | None = None) -> Counts:
        """See `einthoven.signal.recording.RecordingSource`."""
        start, stop = clipped(self.info, start, stop)
        rows = rows_of(self.info, lead)
        width = 2 * len(self.info.leads)
        size = (stop - start) * width
        content = read_exactly(self._file, self._offset + start * width, size, str(self._path))
        frames = np.frombuffer(content, "<i2").reshape(stop - start, len(self.info.leads))
        counts: Counts = np.ascontiguousarray(frames[:, list(rows)].T, np.int16)
        return counts

    def annotations(self) -> None:
        """The format has them in files of their own."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _short(header: bytes, at: int) -> int:
    return int(struct.unpack_from("<h", header, at)[0])


def _leads(header: bytes, where: str) -> tuple[Lead, ...]:
    count = _short(header, 156)
    if not 0 < count <= MAX_LEADS:
        raise RecordingUnreadable(
            f"the number of leads must lie in 1 to {MAX_LEADS}.", where=where, remedy="Mend the header."
        )
    leads = []
    for number in range(count):
        code = _short(header, 158 + 2 * number)
        resolution_nv = struct.unpack_from("<H", header, 206 + 2 * number)[0]
        name = _NAMES.get(code, f"ECG{number + 1}")
        if resolution_nv == 0 or resolution_nv == _ABSENT % 2**16:
            raise RecordingUnreadable(
                f"lead {name} has no resolution.", where=where, remedy="Put nV a count into its header."
            )
        leads.append(Lead(name, _NV_PER_MV / resolution_nv, 0))
    return tuple(leads)


def ishne_start_ns(header: bytes) -> int | None:
    """When a recording starts, as UTC, because a header names no zone; None where it is no instant."""
    if not is_ishne(header) or len(header) < _FIXED:
        return None
    day, month, year = struct.unpack_from("<3h", header, 138)
    try:
        hour, minute, second = struct.unpack_from("<3h", header, 150)
        start = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    return (start - _EPOCH) // timedelta(seconds=1) * _SECOND_NS


class IshnePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What is known before the first byte is written."""

    resolutions_nv: tuple[int, ...]
    losses: tuple[str, ...]
    """What the file cannot hold, in sentences."""


def plan_ishne(source: RecordingSource) -> IshnePlan:
    """How a recording is written, and what the file cannot hold.

    Raises
    ------
    InputInvalid : more leads than twelve, or a rate that is not a whole number.
    """
    info = source.info
    if not 0 < len(info.leads) <= MAX_LEADS:
        raise InputInvalid(
            f"ISHNE has 1 to {MAX_LEADS} leads.", where=info.name, remedy="Write another format."
        )
    if info.fs != round(info.fs):
        raise InputInvalid(
            f"ISHNE has whole sampling rates; this is {info.fs!r} Hz.",
            where=info.name,
            remedy="Write another format, or resample the recording first.",
        )
    losses, resolutions = [], []
    for lead in info.leads:
        exact_nv = _NV_PER_MV / lead.gain
        if not 0.5 <= exact_nv < 2**15 - 0.5:
            raise InputInvalid(
                f"ISHNE has 1 to {2**15 - 1} nV a count; this is {exact_nv:.3g}.",
                where=f"lead {lead.name}",
                remedy="Write another format, or scale the recording and its gain.",
            )
        resolution_nv = round(exact_nv)
        resolutions.append(resolution_nv)
        if _NV_PER_MV / resolution_nv != lead.gain:
            error = abs(resolution_nv / exact_nv - 1)
            losses.append(f"The gain of lead {lead.name} is written to {1e6 * error:.1g} parts in a million.")
        if lead.name not in _CODES:
            losses.append(f"ISHNE has no code for lead {lead.name}; it is written as unknown.")
    if info.start_ns is not None and info.start_ns % _SECOND_NS:
        losses.append("The start is written to the second.")
    return IshnePlan(resolutions_nv=tuple(resolutions), losses=tuple(losses))


def write_ishne(path: str | Path, source: RecordingSource) -> tuple[str, ...]:
    """Write an ISHNE file; it appears whole. Samples count from the lead's baseline.

    Returns what could not be carried, in sentences.

    Raises
    ------
    InputInvalid : see `plan_ishne`; or counts that do not fit in 16 bits.
    RecordingUnreadable : the folder does not take the file.
    """
    plan = plan_ishne(source)
    baselines = np.array([[lead.baseline] for lead in source.info.leads], np.int64)
    with replacing(Path(path)) as file:
        file.write(_header(source.info, plan))
        for start in range(0, source.info.samples, _SPAN):
            counts = source.read(start, start + _SPAN)
            lost = counts == missing(counts.dtype)
            moved = np.where(lost, 0, counts - baselines)
            if moved.size and (moved.min() <= _LOST or moved.max() >= 2**15):
                raise InputInvalid(
                    "counts do not fit in 16 bits from their baseline.",
                    where=source.info.name,
                    remedy="Write BDF, which has 24 bits, or scale the recording and its gain.",
                )
            moved[lost] = _LOST
            file.write(np.ascontiguousarray(moved.T, "<i2").tobytes())
    return plan.losses


def _header(info: RecordingInfo, plan: IshnePlan) -> bytes:
    body = bytearray(_FIXED - 10)
    count = len(info.leads)
    absent = [_ABSENT] * (MAX_LEADS - count)
    struct.pack_into("<4i", body, 0, 0, info.samples, _FIXED, _FIXED)
    struct.pack_into("<h", body, 16, 1)
    if info.start_ns is not None:
        start = in_calendar(info.start_ns, info.name)
        struct.pack_into("<3h", body, 128, start.day, start.month, start.year)
        struct.pack_into("<3h", body, 140, start.hour, start.minute, start.second)
    struct.pack_into("<h", body, 146, count)
    struct.pack_into("<12h", body, 148, *(_CODES.get(lead.name, 0) for lead in info.leads), *absent)
    struct.pack_into("<12h", body, 172, *[0] * count, *absent)
    struct.pack_into("<12h", body, 196, *plan.resolutions_nv, *absent)
    struct.pack_into("<h", body, 262, round(info.fs))
    return MAGIC + struct.pack("<H", binascii.crc_hqx(bytes(body), 0xFFFF)) + bytes(body)
