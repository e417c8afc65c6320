"""MIT annotation files, in and out (annot(5) of the WFDB Applications Guide)."""

import re
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import InputInvalid, RecordingUnreadable
from einthoven.records.files import open_file, read_span, write_whole

__all__ = ["Annotations", "read_annotations", "write_annotations"]

SYMBOLS: Final[dict[int, str]] = {
    1: "N", 2: "L", 3: "R", 4: "a", 5: "V", 6: "F", 7: "J", 8: "A", 9: "S", 10: "E", 11: "j", 12: "/",
    13: "Q", 14: "~", 16: "|", 18: "s", 19: "T", 20: "*", 21: "D", 22: '"', 23: "=", 24: "p", 25: "B",
    26: "^", 27: "t", 28: "+", 29: "u", 30: "?", 31: "!", 32: "[", 33: "]", 34: "e", 35: "n", 36: "@",
    37: "x", 38: "f", 39: "(", 40: ")", 41: "r",
}  # fmt: skip
"""The standard codes and their printed symbols."""
_CODES: Final = {symbol: code for code, symbol in SYMBOLS.items()}
_SKIP, _NUM, _SUB, _CHN, _AUX = 59, 60, 61, 62, 63
_NOTE: Final = 22
_RESOLUTION: Final = re.compile(r"## time resolution: (\d+(?:\.\d*)?)\s*", re.ASCII)
_NUMBERED: Final = re.compile(r"\[(\d{1,2})\]", re.ASCII)
_EDF: Final = {b"0       ", b"\xffBIOSEMI"}
_LONGEST_STEP: Final = 0x3FF
MAX_RESOLUTION: Final = 1e9
"""Ticks per second; beyond it a time resolution is not one."""
MAX_BYTES: Final = 16 * 2**20
"""Longest annotation file that is read; a week of beats has 3 MB."""


class Annotations(msgspec.Struct, frozen=True, eq=False):
    """Annotations as columns, in the order of the file."""

    samples: NDArray[np.int64]
    symbols: tuple[str, ...]
    aux: tuple[str, ...] = ()
    """One per annotation; empty where there is none. May be left out altogether."""
    subtypes: tuple[int, ...] = ()
    channels: tuple[int, ...] = ()
    nums: tuple[int, ...] = ()
    fs: float | None = None
    """Rate at which ``samples`` count, where the file says so, Hz."""
    moved: int = 0
    """How many lay between two samples and are taken at the nearest; files of times have such."""

    def __post_init__(self) -> None:
        if self.samples.ndim != 1 or not np.issubdtype(self.samples.dtype, np.integer):
            raise InputInvalid(
                f"the samples are {self.samples.dtype} of shape {self.samples.shape}.",
                where="annotations",
                remedy="Give one row of whole sample numbers.",
            )
        count = self.samples.size
        for name in ("symbols", "aux", "subtypes", "channels", "nums"):
            length = len(getattr(self, name))
            if length != count and not (length == 0 and name != "symbols"):
                raise InputInvalid(
                    f"there are {count} samples and {length} {name}.",
                    where="annotations",
                    remedy="Give one each.",
                )

    def __len__(self) -> int:
        return self.samples.size


class _Columns:
    """Annotations as they are read, a column each; what else one says comes after its time and code."""

    def __init__(self) -> None:
        self.samples: list[int] = []
        self.symbols: list[str] = []
        self.aux: list[str] = []
        self.subtypes: list[int] = []
        self.channels: list[int] = []
        self.nums: list[int] = []
        self.fs: float | None = None

    def begin(self, sample: int, code: int, channel: int, num: int) -> None:
        """One more annotation; its channel and num stay those of the last unless it says otherwise."""
        self.samples.append(sample)
        self.symbols.append(SYMBOLS.get(code, f"[{code}]"))
        self.aux.append("")
        self.subtypes.append(0)
        self.channels.append(channel)
        self.nums.append(num)

    def note(self, text: str) -> None:
        """The aux text of the last annotation. The first of a file may say at what rate it counts."""
        self.aux[-1] = text
        if len(self.samples) > 1 or self.fs is not None or (self.samples[0], self.symbols[0]) != (0, '"'):
            return
        said = _RESOLUTION.fullmatch(text)
        if said is not None and 0 < float(said[1]) < MAX_RESOLUTION:
            self.fs = float(said[1])
            for column in (self.samples, self.symbols, self.aux, self.subtypes, self.channels, self.nums):
                column.clear()

    def finished(self) -> Annotations:
        """The annotations, when the file has no more."""
        return Annotations(
            samples=np.array(self.samples, np.int64),
            symbols=tuple(self.symbols),
            aux=tuple(self.aux),
            subtypes=tuple(self.subtypes),
            channels=tuple(self.channels),
            nums=tuple(self.nums),
            fs=self.fs,
        )


def read_annotations(path: str | Path) -> Annotations:
    """The annotations in a file such as ``100.atr``.

    A code without a standard symbol reads as its number in brackets, ``[42]``. Subtype and num are signed
    bytes, the channel is an unsigned one, as the WFDB library has them.

    Raises
    ------
    RecordingNotFound, RecordingUnreadable : no file, truncated, or no annotation file.
    """
    path = Path(path)
    with open_file(path) as file:
        content = read_span(file, 0, MAX_BYTES + 1, str(path))
    if len(content) > MAX_BYTES:
        raise RecordingUnreadable(
            f"the annotation file has more than {MAX_BYTES} bytes.", where=str(path), remedy="Is it one?"
        )
    if content[:8] in _EDF:
        raise RecordingUnreadable(
            "this is an EDF file, not an annotation file.",
            where=str(path),
            remedy="Its annotations come with open_recording(path).annotations().",
        )
    words = np.frombuffer(content[: len(content) // 2 * 2], "<u2").tolist()
    columns = _Columns()
    at = channel = num = i = 0
    while i < len(words):
        code, value = words[i] >> 10, words[i] & 0x3FF
        i += 1
        if code == 0 and value == 0:
            return columns.finished()
        if code == _SKIP:
            if i + 1 >= len(words):
                raise _truncated(path)
            step = (words[i] << 16) | words[i + 1]
            at += step - (1 << 32) if step & 0x80000000 else step
            i += 2
        elif code == _NUM:
            num = _signed(value)
            if columns.nums:
                columns.nums[-1] = num
        elif code == _SUB:
            if columns.subtypes:
                columns.subtypes[-1] = _signed(value)
        elif code == _CHN:
            channel = value & 0xFF
            if columns.channels:
                columns.channels[-1] = channel
        elif code == _AUX:
            length = (value + 1) // 2
            if i + length > len(words):
                raise _truncated(path)
            if columns.aux:
                columns.note(content[2 * i : 2 * i + value].decode("latin-1").rstrip("\0"))
            i += length
        else:
            at += value
            if code:  # 0 is time without an annotation
                columns.begin(at, code, channel, num)
    raise _truncated(path)


def write_annotations(path: str | Path, annotations: Annotations) -> None:
    """Write an annotation file, with its ``fs`` as time resolution if it has one; it appears whole.

    Raises
    ------
    InputInvalid : a symbol without a code, a text, subtype, channel or num that does not fit, samples that
        go back.
    RecordingUnreadable : the folder does not take it.
    """
    octets = bytearray()
    if annotations.fs is not None:
        octets += _word(_NOTE, 0) + _aux(_resolution(annotations.fs), 0)
    last = channel = num = 0
    for k, sample in enumerate(annotations.samples.tolist()):
        octets += _time_and_code(sample - last, _code(annotations.symbols[k], k), k)
        last = sample
        if annotations.subtypes and annotations.subtypes[k]:
            octets += _word(_SUB, _octet(annotations.subtypes[k], -128, 127, "subtype", k))
        if annotations.channels and annotations.channels[k] != channel:
            channel = annotations.channels[k]
            octets += _word(_CHN, _octet(channel, 0, 255, "channel", k))
        if annotations.nums and annotations.nums[k] != num:
            num = annotations.nums[k]
            octets += _word(_NUM, _octet(num, -128, 127, "num", k))
        if annotations.aux and annotations.aux[k]:
            octets += _aux(annotations.aux[k], k)
    octets += _word(0, 0)
    write_whole(Path(path), bytes(octets))


def _resolution(fs: float) -> str:
    if not 1e-3 <= fs < MAX_RESOLUTION:  # NaN fails too
        raise InputInvalid(
            f"the time resolution is {fs:g} Hz.", where="annotations", remedy="Give the rate they count at."
        )
    return f"## time resolution: {repr(float(fs)).removesuffix('.0')}"


def _code(symbol: str, k: int) -> int:
    code = _CODES.get(symbol)
    if code is not None:
        return code
    numbered = _NUMBERED.fullmatch(symbol)
    if numbered is None or not 0 < int(numbered[1]) < _SKIP:
        raise InputInvalid(
            f"{symbol!r} is not an annotation symbol.", where=f"annotation {k}", remedy="See annot(5)."
        )
    return int(numbered[1])


def _time_and_code(step: int, code: int, k: int) -> bytes:
    if step < 0:
        raise InputInvalid("annotations go back in time.", where=f"annotation {k}", remedy="Sort them.")
    if step <= _LONGEST_STEP:
        return _word(code, step)
    if step >= 1 << 31:
        raise InputInvalid(
            "annotations lie too far apart: 2^31 samples or more.",
            where=f"annotation {k}",
            remedy="Write them to several files.",
        )
    return _word(_SKIP, 0) + _word16(step >> 16) + _word16(step & 0xFFFF) + _word(code, 0)


def _octet(value: int, low: int, high: int, what: str, k: int) -> int:
    if not low <= value <= high:
        raise InputInvalid(
            f"the {what} must lie in {low} to {high}.", where=f"annotation {k}", remedy="See annot(5)."
        )
    return value & 0xFF


def _aux(text: str, k: int) -> bytes:
    try:
        content = text.encode("latin-1") + b"\0"  # as the database's own files end it
    except UnicodeEncodeError:
        raise InputInvalid(
            "an aux text has letters that are not of Latin-1.", where=f"annotation {k}", remedy="Spell them."
        ) from None
    if len(content) > 255:
        raise InputInvalid(
            "an aux text has more than 254 bytes.", where=f"annotation {k}", remedy="Shorten it."
        )
    return _word(_AUX, len(content)) + content + b"\0" * (len(content) % 2)


def _word(code: int, value: int) -> bytes:
    return _word16((code << 10) | value)


def _word16(value: int) -> bytes:
    return value.to_bytes(2, "little")


def _signed(value: int) -> int:
    """The low byte of a word, signed."""
    return (value & 0xFF) - ((value & 0x80) << 1)


def _truncated(path: Path) -> RecordingUnreadable:
    return RecordingUnreadable(
        "the file ends in the middle: an annotation file ends with a mark of its own.",
        where=str(path),
        remedy="Get it again.",
    )
