"""Texts of EDF+ files: time-stamped annotation lists (TAL) in and out, and what they are in annot(5).

A list is a time, perhaps a duration, and texts, with the separators 20, 21 and 0. The first list of a data
record says when the record begins.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import BinaryIO, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from einthoven.errors import InputInvalid, RecordingUnreadable
from einthoven.records.annotation import SYMBOLS, Annotations
from einthoven.records.edf_header import EdfHeader, EdfSignal
from einthoven.records.files import read_exactly

__all__ = ["Text", "annotations_in", "decimal_of", "first_onset_s", "record_onsets_s", "texts_of"]

_BLOCK_BYTES: Final = 4 * 2**20
MAX_TEXT_BYTES: Final = 64 * 2**20
"""Texts of a file together; a week of beats has 8 MB."""
_TIME: Final = re.compile(rb"([+-]\d{1,12}(?:\.\d{0,12})?)(?:\x15(\d{1,12}(?:\.\d{0,12})?))?", re.ASCII)
_LONGEST_TIME: Final = 32
_NEAR: Final = Fraction(1, 1000)
"""Of a sample: what is nearer to one lies on it, and its time was written to so many decimals."""
_NOTE: Final = '"'
_LASTING: Final = re.compile(r"(.*) \{lasts (\d{1,12}(?:\.\d{1,12})?) s\}", re.DOTALL | re.ASCII)
_NUMBERS: Final = re.compile(r"(.*?) ?\{(-?\d{1,3}),(\d{1,3}),(-?\d{1,3})\}", re.DOTALL | re.ASCII)
_NUMBERED: Final = re.compile(r"\[\d{1,2}\]", re.ASCII)
_SYMBOLS: Final = frozenset(SYMBOLS.values())


class Text(NamedTuple):
    """One annotation as EDF+ has it."""

    onset_s: Fraction
    """From the whole second in the header."""
    duration_s: Fraction | None
    text: str


def _blocks(
    file: BinaryIO, header: EdfHeader, records: int, where: str
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The data records, some at a time: number of the first, and their bytes, shape (records, bytes)."""
    width = header.record_bytes
    each = max(1, _BLOCK_BYTES // width)
    for first in range(0, records, each):
        count = min(each, records - first)
        content = read_exactly(file, header.size_bytes + first * width, count * width, where)
        yield first, np.frombuffer(content, np.uint8).reshape(count, width)


def first_onset_s(file: BinaryIO, header: EdfHeader, where: str) -> Fraction:
    """When the first data record begins, from the second in the header, exactly."""
    _, block = next(_blocks(file, header, 1, where))
    row = _columns(block, header.annotation_signals[0], header.sample_bytes)[0]
    found = _TIME.match(row.tobytes())
    if found is None:
        raise _malformed(0, where)
    return Fraction(found[1].decode())


def record_onsets_s(file: BinaryIO, header: EdfHeader, records: int, where: str) -> NDArray[np.float64]:
    """When each data record begins: a whole block is parsed at once, for a week has 600,000 of them."""
    onsets = np.empty(records)
    for first, block in _blocks(file, header, records, where):
        columns = _columns(block, header.annotation_signals[0], header.sample_bytes)[:, :_LONGEST_TIME]
        ends = (columns == 20).argmax(axis=1)
        is_before = np.arange(columns.shape[1]) < ends[:, None]
        is_number = ((columns >= ord("0")) & (columns <= ord("9"))) | (columns == ord("."))
        is_number[:, 0] = (columns[:, 0] == ord("+")) | (columns[:, 0] == ord("-"))
        wrong = (ends < 2) | (is_before & ~is_number).any(axis=1)
        if wrong.any():
            raise _malformed(first + int(wrong.argmax()), where)
        times = np.where(is_before, columns, 0).view(f"S{columns.shape[1]}")[:, 0]
        try:
            onsets[first : first + times.size] = times.astype(np.float64)
        except ValueError:
            raise _malformed(first, where) from None
    return onsets


def annotations_in(
    file: BinaryIO, header: EdfHeader, records: int, fs: float, rate: Fraction, where: str
) -> Annotations:
    """The texts of a file as annotations, in time order.

    Texts that we wrote are symbols with their aux text and numbers; all others are notes. A duration, which
    annot(5) has not, stands at the end of the note.
    """
    rows: list[tuple[int, str, str, tuple[int, int, int]]] = []
    begin_s = Fraction(0)
    has_codes = any(signal.has_mit_codes for signal in header.annotation_signals)
    total = moved = 0
    for number, text in _texts(file, header, records, where):
        if text.text == "":
            if number == 0:
                begin_s = text.onset_s
            continue
        total += len(text.text)
        if total > MAX_TEXT_BYTES:
            raise RecordingUnreadable(
                f"the annotations have more than {MAX_TEXT_BYTES} letters.", where=where, remedy="Split it."
            )
        exact = (text.onset_s - begin_s) * rate
        sample = round(exact)
        moved += abs(exact - sample) > _NEAR
        rows.append((sample, *_read(text, has_codes=has_codes)))
    rows.sort(key=lambda row: row[0])
    return Annotations(
        samples=np.array([row[0] for row in rows], np.int64),
        symbols=tuple(row[1] for row in rows),
        aux=tuple(row[2] for row in rows),
        subtypes=tuple(row[3][0] for row in rows),
        channels=tuple(row[3][1] for row in rows),
        nums=tuple(row[3][2] for row in rows),
        fs=fs,
        moved=moved,
    )


def _texts(file: BinaryIO, header: EdfHeader, records: int, where: str) -> Iterator[tuple[int, Text]]:
    """All texts with the number of their data record; an empty one is the time of the record."""
    for first, block in _blocks(file, header, records, where):
        for signal in header.annotation_signals:
            keeps_time = signal is header.annotation_signals[0]
            for k, row in enumerate(_columns(block, signal, header.sample_bytes)):
                lists = [one for one in row.tobytes().split(b"\0") if one]
                for place, one in enumerate(lists):
                    for text in _list(one, first + k, where):
                        if text.text or (keeps_time and place == 0):
                            yield first + k, text


def _list(content: bytes, number: int, where: str) -> Iterator[Text]:
    time, *texts = content.split(b"\x14")
    found = _TIME.fullmatch(time)
    if found is None or not texts or texts[-1]:
        raise _malformed(number, where)
    duration_s = Fraction(found[2].decode()) if found[2] else None
    for text in texts[:-1]:
        yield Text(Fraction(found[1].decode()), duration_s, _decoded(text))


def _decoded(text: bytes) -> str:
    """EDF+ has UTF-8; older programs wrote what their machine had."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _columns(block: NDArray[np.uint8], signal: EdfSignal, sample_bytes: int) -> NDArray[np.uint8]:
    begin = signal.offset * sample_bytes
    return block[:, begin : begin + signal.samples * sample_bytes]


def _read(text: Text, *, has_codes: bool) -> tuple[str, str, tuple[int, int, int]]:
    """Symbol, aux text, and subtype, channel and num."""
    if has_codes:
        numbered = _NUMBERS.fullmatch(text.text)
        words = numbered[1] if numbered else text.text
        symbol, _, aux = words.partition(" ")
        if symbol in _SYMBOLS or _NUMBERED.fullmatch(symbol):
            numbers = (int(numbered[2]), int(numbered[3]), int(numbered[4])) if numbered else (0, 0, 0)
            return symbol, _with_duration(aux, text.duration_s), numbers
    return _NOTE, _with_duration(text.text, text.duration_s), (0, 0, 0)


def _with_duration(aux: str, duration_s: Fraction | None) -> str:
    return aux if duration_s is None else f"{aux} {{lasts {decimal_of(duration_s)} s}}"


def texts_of(annotations: Annotations, fs: float, rate: Fraction, begin_s: Fraction) -> list[Text]:
    """Annotations as texts, in time order; a sample counts from ``begin_s`` at ``rate``.

    Raises
    ------
    InputInvalid : a text with letters that separate texts.
    """
    counted = rate if annotations.fs in (None, fs) else Fraction(repr(float(annotations.fs or fs)))
    texts = []
    for k, sample in enumerate(annotations.samples.tolist()):
        aux = annotations.aux[k] if annotations.aux else ""
        duration_s = None
        lasting = _LASTING.fullmatch(aux)
        if lasting is not None:
            aux, duration_s = lasting[1], Fraction(lasting[2])
        numbers = [
            column[k] if column else 0
            for column in (annotations.subtypes, annotations.channels, annotations.nums)
        ]
        text = f"{annotations.symbols[k]} {aux}" if aux else annotations.symbols[k]
        if any(numbers) or _NUMBERS.fullmatch(text):
            text += " {" + ",".join(map(str, numbers)) + "}"
        if any(ord(letter) in {0, 20, 21} for letter in text):
            raise InputInvalid(
                "a text has letters that separate texts in EDF+.",
                where=f"annotation {k}",
                remedy="Take them out.",
            )
        texts.append(Text(begin_s + sample / counted, duration_s, text))
    return sorted(texts, key=lambda text: text.onset_s)


def decimal_of(value: Fraction) -> str:
    """A decimal of at most nine places, without zeros at its end."""
    text = f"{Decimal(round(value * 10**9)).scaleb(-9):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _malformed(number: int, where: str) -> RecordingUnreadable:
    return RecordingUnreadable(
        f"the annotations of data record {number} are no list of texts.",
        where=where,
        remedy="Mend the file, for example with EDFbrowser.",
    )
