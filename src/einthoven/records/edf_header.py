"""Headers of EDF, EDF+, BDF and BDF+ files (edfplus.info): fixed columns of text, and what they mean.

Who the patient is stands in a field of the header. Whether it says anything is kept, what it says is not.
"""

import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from einthoven.errors import RecordingUnreadable
from einthoven.records.files import read_span
from einthoven.signal.recording import Lead

__all__ = [
    "ANNOTATIONS",
    "MIT_CODES",
    "Calibration",
    "EdfHeader",
    "EdfSignal",
    "edf_start_ns",
    "is_ecg_label",
    "is_edf",
    "name_in",
    "read_edf_header",
]

ANNOTATIONS: Final = {2: "EDF Annotations", 3: "BDF Annotations"}
"""Label of the signals that hold text, by bytes of a sample."""
MIT_CODES: Final = "MIT annotation codes"
"""In the reserved field of an annotation signal: its texts are symbols of annot(5), written by us."""
MAX_SIGNALS: Final = 512
_VERSIONS: Final = {b"0       ": 2, b"\xffBIOSEMI": 3}
_FIXED: Final = 256
_WIDTHS: Final = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)
"""Columns of a signal: label, transducer, unit, physical and digital range, prefilter, samples, reserved."""
_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,2})?", re.ASCII)
_INTEGER: Final = re.compile(r"[+-]?\d{1,8}", re.ASCII)
_DATE: Final = re.compile(r"(\d\d)[./-](\d\d)[./-](\d\d|yy)", re.ASCII)
_TIME: Final = re.compile(r"(\d\d)[.:](\d\d)[.:](\d\d)", re.ASCII)
_START: Final = re.compile(r"Startdate (\d\d)-([A-Z]{3})-(\d{4})(?: |$)", re.ASCII)
_MARKER: Final = re.compile(r"missing (-?\d{1,8})(?: last (\d{1,6}))?", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_PER_MV: Final = {
    "mV": Fraction(1), "mv": Fraction(1), "uV": Fraction(1000), "uv": Fraction(1000), "UV": Fraction(1000),
    "\u00b5V": Fraction(1000), "V": Fraction(1, 1000), "nV": Fraction(10**6),
}  # fmt: skip
"""How many of a unit a millivolt has."""
_LEAD: Final = re.compile(
    r"I|II|III|aV[RLF]|AV[RLF]|V\d{1,2}R?|V[XYZ]|MLI{1,3}|M?CL\d|MV\d|C[MC]\d|mod\.V\d|D[1-4]|ES|AS|AI",
    re.ASCII,
)
_ECG: Final = re.compile(r"(?:ECG|EKG)(?![A-Za-z]).*", re.IGNORECASE)
_OTHER_UNITS: Final = {"bpm", "BPM", "/min", "1/min", "%", "ms", "s", "Hz", "degC", "Boolean"}


def is_ecg_label(label: str) -> bool:
    """Whether a label is one of an ECG: ``ECG``, ``ECG II``, ``EKG1``, or a lead's bare name."""
    return bool(_ECG.fullmatch(label) or _LEAD.fullmatch(label))


def name_in(label: str) -> str:
    """The lead's name: the label without the type of signal that EDF+ wants before it."""
    kind, _, rest = label.partition(" ")
    return rest.strip() if kind.upper() in {"ECG", "EKG"} and rest.strip() else label


class EdfSignal(msgspec.Struct, frozen=True, kw_only=True):
    """One signal of a header."""

    label: str
    unit: str
    physical: tuple[str, str]
    """Least and most, as they stand there; what is no lead may say what it likes."""
    digital: tuple[str, str]
    samples: int
    """Samples in a data record."""
    offset: int
    """Samples of a data record before its own."""
    missing: int | None
    """The sample that marks a missing one; only files written by us have it."""
    last: int | None
    """Samples that the last data record really has, where it is not full."""
    has_mit_codes: bool
    is_annotation: bool

    @property
    def is_ecg(self) -> bool:
        """Whether label and unit are those of an ECG."""
        return is_ecg_label(self.label) and self.unit not in _OTHER_UNITS

    @property
    def name(self) -> str:
        """The lead's name."""
        return name_in(self.label)

    def calibration(self, where: str) -> "Calibration":
        """How its samples are read as voltages.

        Raises
        ------
        RecordingUnreadable : a unit that is no voltage, or a range that is none.
        """
        per_mv = _PER_MV.get(self.unit)
        if per_mv is None:
            raise RecordingUnreadable(
                f"signal {self.label!r} has {f'the unit {self.unit!r}' if self.unit else 'no unit'}.",
                where=where,
                remedy="Put mV, uV or V into its header; nothing is guessed.",
            )
        low, high = (_number(text, f"the physical range of {self.label!r}", where) for text in self.physical)
        least, most = (_integer(text, f"the digital range of {self.label!r}", where) for text in self.digital)
        if least >= most or low == high:
            raise RecordingUnreadable(
                f"signal {self.label!r} has an empty range.", where=where, remedy="Mend its header."
            )
        per_unit = Fraction(most - least) / (high - low)
        zero = least - low * per_unit
        if per_unit < 0:
            per_unit, zero = -per_unit, -zero
        lead = Lead(self.name, float(per_unit * per_mv), round(zero))
        return Calibration(lead=lead, moved=round(zero) - zero, is_inverted=low > high, least=least)


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """How samples of a signal are read."""

    lead: Lead
    moved: Fraction
    """How far the baseline was moved to be a whole number of counts."""
    is_inverted: bool
    """Whether larger samples are lower voltages; counts are then the samples' negatives."""
    least: int
    """The smallest sample that its header allows."""


class EdfHeader(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed header."""

    sample_bytes: int
    """2 in EDF, 3 in BDF."""
    is_plus: bool
    has_gaps: bool
    """EDF+D: data records need not follow each other at once."""
    start_ns: int | None
    """Of the whole second in which it begins; None where the date is unknown."""
    records: int | None
    """Data records; None while the file is being written."""
    duration_s: Fraction
    """Of a data record."""
    size_bytes: int
    signals: tuple[EdfSignal, ...]
    says_who: bool
    """Whether patient or recording fields say anything."""

    @property
    def record_bytes(self) -> int:
        """Length of a data record."""
        return self.sample_bytes * sum(signal.samples for signal in self.signals)

    @property
    def annotation_signals(self) -> tuple[EdfSignal, ...]:
        """The signals that hold text; the first begins each record with its time."""
        return tuple(signal for signal in self.signals if signal.is_annotation)


def is_edf(beginning: bytes) -> bool:
    """Whether a file begins like EDF or BDF; only its content says so, not its name."""
    return (
        beginning[:8] in _VERSIONS
        and len(beginning) >= _FIXED
        and _INTEGER.fullmatch(beginning[184:192].decode("latin-1").strip()) is not None
        and _INTEGER.fullmatch(beginning[252:256].decode("latin-1").strip()) is not None
    )


def edf_start_ns(beginning: bytes) -> int | None:
    """The whole second in which a file says that it begins; None where it is no EDF or does not say."""
    if not is_edf(beginning):
        return None
    text = beginning[:_FIXED].decode("latin-1")
    return _start_ns(text[168:176], text[176:184], text[88:168].strip())


def read_edf_header(file: BinaryIO, path: Path) -> EdfHeader:
    """The header at the beginning of a file.

    Raises
    ------
    RecordingUnreadable : the message names the field.
    """
    where = str(path)
    fixed = read_span(file, 0, _FIXED, where)
    if not is_edf(fixed):
        raise RecordingUnreadable("this is no EDF file.", where=where, remedy="Get the file again.")
    sample_bytes = _VERSIONS[fixed[:8]]
    text = fixed.decode("latin-1")
    patient, recording = text[8:88].strip(), text[88:168].strip()
    reserved = text[192:236].strip()
    count = _integer(text[252:256], "the number of signals", where)
    if not 0 < count <= MAX_SIGNALS:
        raise _bad(f"the number of signals must lie in 1 to {MAX_SIGNALS}", where)
    size = _FIXED * (count + 1)
    if _integer(text[184:192], "the length of the header", where) != size:
        raise _bad(f"{count} signals have a header of {size} bytes, which is not what it says", where)
    records = _integer(text[236:244], "the number of data records", where)
    if records < -1:
        raise _bad("the number of data records is negative", where)
    is_plus = reserved[:5] in {"EDF+C", "EDF+D", "BDF+C", "BDF+D"}
    signals = _signals(read_span(file, _FIXED, size - _FIXED, where), count, sample_bytes, where)
    return EdfHeader(
        sample_bytes=sample_bytes,
        is_plus=is_plus,
        has_gaps=is_plus and reserved[4] == "D",
        start_ns=_start_ns(text[168:176], text[176:184], recording),
        records=None if records < 0 else records,
        duration_s=_number(text[244:252], "the duration of a data record", where),
        size_bytes=size,
        signals=signals,
        says_who=_says_anything(patient, recording),
    )


def _signals(content: bytes, count: int, sample_bytes: int, where: str) -> tuple[EdfSignal, ...]:
    if len(content) < count * sum(_WIDTHS):
        raise _bad("the file ends in its header", where)
    text = content.decode("latin-1")
    columns: list[list[str]] = []
    at = 0
    for width in _WIDTHS:
        columns.append([text[at + k * width : at + (k + 1) * width].strip() for k in range(count)])
        at += count * width
    offset = 0
    signals = []
    for label, _, unit, low, high, least, most, _, samples, reserved in zip(*columns, strict=True):
        if not label.isprintable() or not unit.isprintable():
            raise _bad("a label or unit has letters that cannot be printed", where)
        size = _integer(samples, f"the samples of {label!r}", where)
        if size < 0:
            raise _bad(f"the number of samples of {label!r} is negative", where)
        marker = _MARKER.fullmatch(reserved)
        is_annotation = label == ANNOTATIONS[sample_bytes]
        signals.append(
            EdfSignal(
                label=label,
                unit=unit,
                physical=(low, high),
                digital=(least, most),
                samples=size,
                offset=offset,
                missing=int(marker[1]) if marker else None,
                last=int(marker[2]) if marker and marker[2] else None,
                has_mit_codes=reserved == MIT_CODES,
                is_annotation=is_annotation,
            )
        )
        offset += size
    return tuple(signals)


def _start_ns(day: str, clock: str, recording: str) -> int | None:
    """The start as UTC, because a header names no zone; None where it says that the date is unknown.

    Two digits of the year are of 1985 to 2084; EDF+ says the year in full elsewhere.
    """
    if recording.startswith("Startdate X"):
        return None
    short, full, at = _DATE.fullmatch(day.strip()), _START.match(recording), _TIME.fullmatch(clock.strip())
    if at is None or (short is None and full is None):
        return None
    try:
        if full is not None:
            date = (int(full[3]), _MONTHS.index(full[2]) + 1, int(full[1]))
        elif short is not None and short[3] != "yy":
            year = int(short[3])
            date = (year + (1900 if year >= 85 else 2000), int(short[2]), int(short[1]))
        else:
            return None
        start = datetime(*date, int(at[1]), int(at[2]), int(at[3]), tzinfo=UTC)
    except ValueError:
        return None
    return (start - _EPOCH) // timedelta(seconds=1) * 1_000_000_000


def _says_anything(patient: str, recording: str) -> bool:
    """Whether a field holds more than X, which stands for what is not told, and the date."""
    told = [word for word in patient.split() if word != "X"]
    rest = re.sub(r"^Startdate \S+", "", recording).split()
    return bool(told or [word for word in rest if word not in {"X", "Einthoven"}])


def _integer(text: str, what: str, where: str) -> int:
    if not _INTEGER.fullmatch(text.strip()):
        raise _bad(f"{what} must be a whole number", where)
    return int(text)


def _number(text: str, what: str, where: str) -> Fraction:
    if not _NUMBER.fullmatch(text.strip()):
        raise _bad(f"{what} must be a number", where)
    return Fraction(text.strip())


def _bad(what: str, where: str) -> RecordingUnreadable:
    return RecordingUnreadable(f"{what}.", where=where, remedy="Mend the header; edfplus.info describes it.")
