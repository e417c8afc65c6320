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
_RESOLUTION: Final = re.compile(r"## time resolution: ([\d.eE+-]+)")
MAX_BYTES: Final = 512 * 2**20


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

    def __post_init__(self) -> None:
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


def read_annotations(path: Path) -> Annotations:
    """The annotations in a file such as ``100.atr``.

    Raises
    ------
    RecordingNotFound, RecordingUnreadable : no file, truncated, or no annotation file.
    """
    with open_file(path) as file:
        content = read_span(file, 0, MAX_BYTES + 1, str(path))
    if len(content) > MAX_BYTES:
        raise RecordingUnreadable(
            "the annotation file is absurdly large.", where=str(path), remedy="Is it one?"
        )
    words = np.frombuffer(content[: len(content) // 2 * 2], "<u2").tolist()
    rows: list[list[object]] = []
    at = 0
    channel = num = 0
    fs: float | None = None
    i = 0
    while i < len(words):
        code, value = words[i] >> 10, words[i] & 0x3FF
        i += 1
        if code == 0 and value == 0:
            break
        if code == _SKIP:
            if i + 1 >= len(words):
                raise _truncated(path)
            step = (words[i] << 16) | words[i + 1]
            at += step - (1 << 32) if step & 0x80000000 else step
            i += 2
        elif code == _NUM:
            num = _signed(value)
            if rows:
                rows[-1][5] = num
        elif code == _SUB:
            if rows:
                rows[-1][3] = _signed(value)
        elif code == _CHN:
            channel = _signed(value)
            if rows:
                rows[-1][4] = channel
        elif code == _AUX:
            length = (value + 1) // 2
            if i + length > len(words):
                raise _truncated(path)
            text = content[2 * i : 2 * i + value].decode("latin-1")
            i += length
            if rows:
                rows[-1][2] = text
        elif code == 0:
            at += value  # time without an annotation
        elif code < _SKIP:
            at += value
            rows.append([at, SYMBOLS.get(code, f"[{code}]"), "", 0, channel, num])
        else:
            raise RecordingUnreadable(
                f"code {code} is not one of an annotation.",
                where=str(path),
                remedy="Is it an annotation file?",
            )
        if rows and len(rows) == 1 and rows[0][1] == '"' and rows[0][0] == 0 and fs is None:
            note = _RESOLUTION.match(str(rows[0][2]))
            if note is not None:
                fs = float(note[1])
                rows.clear()
    columns = list(zip(*rows, strict=True)) or [()] * 6
    return Annotations(
        samples=np.array(columns[0], np.int64),
        symbols=tuple(map(str, columns[1])),
        aux=tuple(str(text).rstrip("\0") for text in columns[2]),
        subtypes=tuple(int(str(n)) for n in columns[3]),
        channels=tuple(int(str(n)) for n in columns[4]),
        nums=tuple(int(str(n)) for n in columns[5]),
        fs=fs,
    )


def write_annotations(path: Path, annotations: Annotations) -> None:
    """Write an annotation file; the whole file appears at once.

    Raises
    ------
    InputInvalid : a symbol without a code, an aux text that is too long, samples that go back.
    """
    octets = bytearray()
    last = 0
    channel = num = 0
    for k, sample in enumerate(annotations.samples.tolist()):
        symbol = annotations.symbols[k]
        code = _CODES.get(symbol)
        if code is None:
            raise InputInvalid(
                f"{symbol!r} is not an annotation symbol.", where=f"annotation {k}", remedy="See annot(5)."
            )
        step = sample - last
        if step < 0:
            raise InputInvalid("annotations go back in time.", where=f"annotation {k}", remedy="Sort them.")
        if step > 0x3FF:
            if step >= 1 << 31:
                raise InputInvalid("annotations lie too far apart.", where=f"annotation {k}")
            octets += _word(_SKIP, 0) + _word16(step >> 16) + _word16(step & 0xFFFF)
            step = 0
        octets += _word(code, step)
        last = sample
        if annotations.subtypes and annotations.subtypes[k]:
            octets += _word(_SUB, annotations.subtypes[k] & 0x3FF)
        if annotations.channels and annotations.channels[k] != channel:
            channel = annotations.channels[k]
            octets += _word(_CHN, channel & 0x3FF)
        if annotations.nums and annotations.nums[k] != num:
            num = annotations.nums[k]
            octets += _word(_NUM, num & 0x3FF)
        if annotations.aux and annotations.aux[k]:
            octets += _aux(annotations.aux[k], k)
    octets += _word(0, 0)
    write_whole(path, bytes(octets))


def _aux(text: str, k: int) -> bytes:
    content = text.encode("latin-1", errors="replace") + b"\0"  # as the database's own files end it
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
    return value - 0x400 if value & 0x200 else value


def _truncated(path: Path) -> RecordingUnreadable:
    return RecordingUnreadable(
        "the annotation file ends in the middle of an annotation.", where=str(path), remedy="Get it again."
    )
