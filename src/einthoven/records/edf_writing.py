"""Recordings out, as EDF+ or BDF+ (edfplus.info): exact in counts, a span at a time.

A missing sample is the smallest of its range, which the lead's reserved field says: other programs show it as
a spike to the rail. Data records in which nothing is known are left out, and the file is an EDF+D with a gap.
"""

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import DefectError, InputInvalid
from einthoven.records.annotation import Annotations
from einthoven.records.edf_header import ANNOTATIONS, MIT_CODES, is_ecg_label, name_in
from einthoven.records.edf_scaling import RecordLayout, Scaling, layout_of, scaling_of
from einthoven.records.edf_texts import Text, decimal_of, texts_of
from einthoven.records.files import replacing
from einthoven.signal.instants import in_calendar
from einthoven.signal.recording import Lead, RecordingSource, missing

__all__ = ["EdfPlan", "plan_edf", "write_edf"]

_SPAN: Final = 2**16
_RANGES: Final = {16: (-(2**15), 2**15 - 1), 24: (-(2**23), 2**23 - 1)}
_SECOND_NS: Final = 1_000_000_000
_MONTHS: Final = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_LONGEST_LABEL: Final = 16
_MOST_RECORDS: Final = 99_999_999
_TIME_BYTES: Final = 24
"""Of the time with which a data record begins."""
_ROOM_BYTES: Final = 512
"""Texts of a data record up to this many bytes stay in it; more may come in records after it."""


class EdfPlan(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """All that is known before the first byte is written."""

    bits: Literal[16, 24]
    layout: RecordLayout
    labels: tuple[str, ...]
    scalings: tuple[Scaling, ...]
    has_marker: bool
    """Whether the least sample of each range marks missing samples."""
    kept: NDArray[np.bool_]
    """Which data records are written."""
    last: int | None
    """Samples of the last data record, where it is not full."""
    texts: tuple[Text, ...]
    text_bytes: int
    """Room for texts in each data record."""
    losses: tuple[str, ...]
    """What the file cannot hold, in sentences."""


def write_edf(
    path: str | Path,
    source: RecordingSource,
    annotations: Annotations | None = None,
    *,
    bits: Literal[16, 24] | None = None,
) -> tuple[str, ...]:
    """Write an EDF+ file, or a BDF+ file where ``bits`` is 24 or the name ends in ``.bdf``; it appears whole.

    Returns what could not be carried, in sentences; nothing is usual. See `plan_edf`.
    """
    path = Path(path)
    plan = plan_edf(source, annotations, bits or (24 if path.suffix.lower() == ".bdf" else 16))
    write_planned(path, source, plan)
    return plan.losses


def plan_edf(source: RecordingSource, annotations: Annotations | None, bits: Literal[16, 24]) -> EdfPlan:
    """How a recording is written, and what the file cannot hold; reads its samples once.

    Raises
    ------
    InputInvalid : counts that do not fit, names that cannot be printed, texts that EDF+ does not take.
    """
    info, layout = source.info, layout_of(source.info.fs)
    labels, losses = _labels(info.leads)
    seen = _look(source, layout.samples)
    last = info.samples % layout.samples or None
    has_marker = seen.has_missing or last is not None
    if seen.known.size > _MOST_RECORDS:
        raise InputInvalid("the recording is too long.", where=info.name, remedy="Write it to several files.")
    least, most = _RANGES[bits]
    scalings = tuple(
        scaling_of(lead, low - has_marker, high, least, most)
        for lead, low, high in zip(info.leads, seen.low, seen.high, strict=True)
    )
    kept = seen.known.copy()
    kept[:1] = kept[-1:] = True  # a recording ends where it ends, not where the last known sample is
    texts = _texts(source, annotations, layout, kept)
    return EdfPlan(
        bits=bits,
        layout=layout,
        labels=labels,
        scalings=scalings,
        has_marker=has_marker,
        kept=kept,
        last=last,
        texts=texts,
        text_bytes=_room(source, texts, layout, kept),
        losses=(*losses, *_scale_losses(source, layout, scalings)),
    )


class _Seen(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a look at all samples tells."""

    low: list[int]
    high: list[int]
    has_missing: bool
    known: NDArray[np.bool_]
    """Which data records have a sample that is not missing."""


def _look(source: RecordingSource, per_record: int) -> _Seen:
    leads, samples = len(source.info.leads), source.info.samples
    low, high = np.full(leads, 2**31 - 1), np.full(leads, -(2**31))
    has_missing = False
    known = np.zeros(-(-samples // per_record), np.bool_)
    for start, counts in _spans(source, per_record):
        lost = counts == missing(counts.dtype)
        has_missing = has_missing or bool(lost.any())
        wide = counts.astype(np.int32)
        low = np.minimum(low, wide.min(axis=1, initial=2**31 - 1, where=~lost))
        high = np.maximum(high, wide.max(axis=1, initial=-(2**31), where=~lost))
        begins = np.arange(0, counts.shape[1], per_record)
        first = start // per_record
        known[first : first + begins.size] = np.logical_or.reduceat(~lost.all(axis=0), begins)
    nothing = low > high
    low[nothing] = high[nothing] = 0
    return _Seen(low=low.tolist(), high=high.tolist(), has_missing=has_missing, known=known)


def _spans(
    source: RecordingSource, per_record: int
) -> Iterator[tuple[int, NDArray[np.int16] | NDArray[np.int32]]]:
    """The samples, whole data records at a time."""
    size = max(1, _SPAN // per_record) * per_record
    for start in range(0, source.info.samples, size):
        yield start, source.read(start, min(start + size, source.info.samples))


def _labels(leads: tuple[Lead, ...]) -> tuple[tuple[str, ...], list[str]]:
    """Labels with the type of signal before the lead, as EDF+ wants them."""
    labels, losses = [], []
    for lead in leads:
        if not lead.name.isprintable():
            raise InputInvalid(
                "a lead's name has letters that cannot be printed.", where="EDF", remedy="Rename the lead."
            )
        says_it = lead.name[:3].upper() in {"ECG", "EKG"} and is_ecg_label(lead.name)
        whole = lead.name if says_it and name_in(lead.name) == lead.name else f"ECG {lead.name}"
        label = whole.encode("ascii", "replace").decode()[:_LONGEST_LABEL].rstrip()
        if name_in(label) != lead.name:
            losses.append(f"The name of lead {lead.name} is written as {label}.")
        labels.append(label)
    return tuple(labels), losses


def _scale_losses(
    source: RecordingSource, layout: RecordLayout, scalings: tuple[Scaling, ...]
) -> Iterator[str]:
    if not layout.is_exact:
        read = float(layout.samples / layout.duration_s)
        yield f"The sampling rate is written as {read!r} Hz instead of {source.info.fs!r} Hz."
    for lead, scaling in zip(source.info.leads, scalings, strict=True):
        if scaling.error:
            yield f"The gain of lead {lead.name} is written to {1e6 * scaling.error:.1g} parts in a million."
        if scaling.moved:
            yield f"The zero of lead {lead.name} is written {scaling.moved} counts off."


def _texts(
    source: RecordingSource, annotations: Annotations | None, layout: RecordLayout, kept: NDArray[np.bool_]
) -> tuple[Text, ...]:
    if annotations is None or not len(annotations):
        return ()
    if not kept.size:
        raise InputInvalid(
            "there are annotations and no samples.", where=source.info.name, remedy="Leave them out."
        )
    rate = layout.samples / layout.duration_s
    return tuple(texts_of(annotations, source.info.fs, rate, _begin_s(source)))


def _begin_s(source: RecordingSource) -> Fraction:
    """How much after the second in the header the first sample was taken."""
    return Fraction((source.info.start_ns or 0) % _SECOND_NS, _SECOND_NS)


def _room(
    source: RecordingSource, texts: tuple[Text, ...], layout: RecordLayout, kept: NDArray[np.bool_]
) -> int:
    """Bytes that a data record has for its texts: enough that all have been written by the last one.

    A record has twice what the texts from it on come to on the average, and no text is longer than half of
    that: whatever does not fit after others leaves more than half of the record full.
    """
    if not texts:
        return _TIME_BYTES
    begin_s, numbers = _begin_s(source), np.flatnonzero(kept)
    sizes = np.array([len(_bytes_of(text)) for text in texts])
    ends = float(begin_s) + (numbers + 1) * float(layout.duration_s)
    at = np.searchsorted(ends, [float(text.onset_s) for text in texts], side="right")
    each = np.bincount(np.minimum(at, numbers.size - 1), weights=sizes, minlength=numbers.size)
    left = np.cumsum(each[::-1])[::-1] / np.arange(numbers.size, 0, -1)
    most = max(sizes.max() * 2, np.ceil(left.max()) * 2, min(each.max(), _ROOM_BYTES))
    return _TIME_BYTES + int(most)


def _lists(source: RecordingSource, plan: EdfPlan) -> Iterator[bytes]:
    """The texts of each data record that is written, its time first.

    A text goes into the record in which it lies, or, where that is full, into the first one with room.
    """
    begin_s, waiting = _begin_s(source), deque(plan.texts)
    last = int(np.flatnonzero(plan.kept)[-1]) if plan.kept.size else -1
    for number in np.flatnonzero(plan.kept).tolist():
        onset_s = begin_s + number * plan.layout.duration_s
        content = bytearray(b"+" + decimal_of(onset_s).encode() + b"\x14\x14\0")
        end_s = onset_s + plan.layout.duration_s
        while waiting and (waiting[0].onset_s < end_s or number == last):
            one = _bytes_of(waiting[0])
            if len(content) + len(one) > plan.text_bytes and number != last:
                break
            content += one
            waiting.popleft()
        if len(content) > plan.text_bytes:
            raise DefectError("the annotations of an EDF file do not fit into their signal.")
        yield bytes(content)


def _bytes_of(text: Text) -> bytes:
    sign = "-" if text.onset_s < 0 else "+"
    lasting = "" if text.duration_s is None else f"\x15{decimal_of(text.duration_s)}"
    return f"{sign}{decimal_of(abs(text.onset_s))}{lasting}\x14{text.text}\x14\0".encode()


def write_planned(path: Path, source: RecordingSource, plan: EdfPlan) -> None:
    """Write what was planned; the file appears whole."""
    sample_bytes = plan.bits // 8
    text_samples = -(-plan.text_bytes // sample_bytes)
    with replacing(path) as file:
        file.write(_header(source, plan, text_samples))
        _write_records(file, source, plan, text_samples * sample_bytes)


def _header(source: RecordingSource, plan: EdfPlan, text_samples: int) -> bytes:
    kind = "EDF+" if plan.bits == 16 else "BDF+"
    start_ns, name = source.info.start_ns, source.info.name
    start = datetime(1985, 1, 1, tzinfo=UTC) if start_ns is None else in_calendar(start_ns, name)
    day = "X" if start_ns is None else f"{start.day:02d}-{_MONTHS[start.month - 1]}-{start.year:04d}"
    year = f"{start.year % 100:02d}" if 1985 <= start.year <= 2084 else "yy"
    count = len(plan.labels) + 1
    fixed = [
        ("0" if plan.bits == 16 else "\xffBIOSEMI", 8),
        ("X X X X", 80),
        (f"Startdate {day} X X Einthoven", 80),
        (f"{start.day:02d}.{start.month:02d}.{year}", 8),
        (f"{start:%H.%M.%S}", 8),
        (str(256 * (count + 1)), 8),
        (f"{kind}{'C' if plan.kept.all() else 'D'}", 44),
        (str(np.count_nonzero(plan.kept)), 8),
        (plan.layout.duration, 8),
        (str(count), 4),
    ]
    least, most = _RANGES[plan.bits]
    rows = [
        (label, "", one.unit, *one.physical, str(one.digital[0]), str(one.digital[1]), "",
         str(plan.layout.samples), _marker(one, plan))
        for label, one in zip(plan.labels, plan.scalings, strict=True)
    ]  # fmt: skip
    texts = (ANNOTATIONS[plan.bits // 8], "", "", "-1", "1", str(least), str(most), "", str(text_samples))
    rows.append((*texts, MIT_CODES))
    widths = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)
    columns = [(field, width) for width, column in zip(widths, zip(*rows, strict=True), strict=True)
               for field in column]  # fmt: skip
    return "".join(text.ljust(width) for text, width in [*fixed, *columns]).encode("latin-1")


def _marker(scaling: Scaling, plan: EdfPlan) -> str:
    if not plan.has_marker:
        return ""
    return f"missing {scaling.digital[0]}" + (f" last {plan.last}" if plan.last else "")


def _write_records(file: BinaryIO, source: RecordingSource, plan: EdfPlan, text_bytes: int) -> None:
    size, lists = plan.layout.samples, _lists(source, plan)
    marks = np.array([[one.digital[0]] for one in plan.scalings], np.int32)
    for start, counts in _spans(source, size):
        wide = np.where(counts == missing(counts.dtype), marks, counts).astype(np.int32)
        short = -wide.shape[1] % size
        if short:
            wide = np.concatenate([wide, np.repeat(marks, short, axis=1)], axis=1)
        records = wide.reshape(len(marks), -1, size).transpose(1, 0, 2)
        kept = plan.kept[start // size : start // size + records.shape[0]]
        octets = np.ascontiguousarray(records[kept], "<i4").view(np.uint8)
        if not kept.any():
            continue
        octets = octets.reshape(octets.shape[0], -1, 4)[:, :, : plan.bits // 8]
        for row in octets.reshape(octets.shape[0], -1):
            file.write(row.tobytes())
            file.write(next(lists).ljust(text_bytes, b"\0"))
