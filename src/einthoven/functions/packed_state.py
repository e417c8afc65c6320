"""The patient state as bytes: about 1.4 kB, in some fifty microseconds.

The state's type is walked, whatever it is made of: records (structs and named tuples), records that may be
None, integers, and arrays of integers or booleans. Nothing here names a field, so nothing here changes when
a function remembers something else; only ``STATE_VERSION`` does.

====================  =====================================================================
version               LEB128
numbers               LEB128, how many integers the records hold; 0 or 1 in front of what may be None
sizes                 LEB128, how many sizes follow
head                  LEB128, bytes of the first two series
the first two series  the numbers; the sizes of all arrays, each doubled, plus one when another
                      size of the same array follows (`signal.packing`)
the arrays            one series each
CRC-32                little-endian, of everything before it
====================  =====================================================================
"""

import functools
import types
import typing
from collections.abc import Iterator
from typing import Any, Final, Protocol
from zlib import crc32

import msgspec
import numpy as np

from einthoven.errors import DefectError, InputInvalid, StateUnreadable
from einthoven.functions.ecg import STATE_VERSION, PatientState
from einthoven.signal.packing import bounds, pack_series, unpack_series

__all__ = ["check_state", "decode_state", "encode_state"]

_MOST_NUMBERS: Final = 4096
_MOST_VALUES: Final = 2**18
"""Largest state that is unpacked, values in all its arrays."""
_AFRESH: Final = "Start the stream afresh."
_WHOLE: Final = bounds(np.dtype(np.int64))


class _Content:
    """What a state is made of, in the order of the walk."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.arrays: list[Any] = []


class _Part(Protocol):
    """One place of a state's type."""

    def put(self, value: Any, content: _Content) -> None:
        """Add what the value is made of."""
        ...

    def kinds(self, numbers: Iterator[int], found: list[np.dtype[Any]]) -> None:
        """Add the types of its arrays."""
        ...

    def take(self, numbers: Iterator[int], arrays: Iterator[Any]) -> Any:
        """The value again."""
        ...


class _Number:
    def put(self, value: Any, content: _Content) -> None:
        content.numbers.append(value)

    def kinds(self, numbers: Iterator[int], found: list[np.dtype[Any]]) -> None:  # noqa: ARG002
        next(numbers)

    def take(self, numbers: Iterator[int], arrays: Iterator[Any]) -> Any:  # noqa: ARG002
        return next(numbers)


class _Array:
    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype

    def put(self, value: Any, content: _Content) -> None:
        content.arrays.append(value)

    def kinds(self, numbers: Iterator[int], found: list[np.dtype[Any]]) -> None:  # noqa: ARG002
        found.append(self._dtype)

    def take(self, numbers: Iterator[int], arrays: Iterator[Any]) -> Any:  # noqa: ARG002
        return next(arrays).astype(self._dtype)


class _Optional:
    def __init__(self, part: _Part) -> None:
        self._part = part

    def put(self, value: Any, content: _Content) -> None:
        content.numbers.append(value is not None)
        if value is not None:
            self._part.put(value, content)

    def kinds(self, numbers: Iterator[int], found: list[np.dtype[Any]]) -> None:
        if next(numbers):
            self._part.kinds(numbers, found)

    def take(self, numbers: Iterator[int], arrays: Iterator[Any]) -> Any:
        return self._part.take(numbers, arrays) if next(numbers) else None


class _Record:
    def __init__(self, kind: type[Any], parts: tuple[tuple[str, _Part], ...]) -> None:
        self._kind = kind
        self._parts = parts

    def put(self, value: Any, content: _Content) -> None:
        for name, part in self._parts:
            part.put(getattr(value, name), content)

    def kinds(self, numbers: Iterator[int], found: list[np.dtype[Any]]) -> None:
        for _, part in self._parts:
            part.kinds(numbers, found)

    def take(self, numbers: Iterator[int], arrays: Iterator[Any]) -> Any:
        return self._kind(*[part.take(numbers, arrays) for _, part in self._parts])


@functools.cache
def _part_of(kind: Any) -> _Part:
    """How values of this type are walked."""
    if kind is int:
        return _Number()
    arguments = typing.get_args(kind)
    if isinstance(kind, types.UnionType) and len(arguments) == 2 and arguments[1] is type(None):
        return _Optional(_part_of(arguments[0]))
    if typing.get_origin(kind) is np.ndarray:
        dtype = np.dtype(typing.get_args(arguments[1])[0])
        if dtype.kind in "iub" and dtype != np.uint64:
            return _Array(dtype)
    if isinstance(kind, type) and (issubclass(kind, msgspec.Struct) or hasattr(kind, "_fields")):
        hints = typing.get_type_hints(kind)
        names = kind.__struct_fields__ if issubclass(kind, msgspec.Struct) else kind._fields
        return _Record(kind, tuple((name, _part_of(hints[name])) for name in names))
    raise DefectError("a patient state holds integers, arrays of them, and records.", where=str(kind))


def encode_state(state: PatientState) -> bytes:
    """The state as bytes."""
    content = _Content()
    _part_of(PatientState).put(state, content)
    arrays = content.arrays
    sizes = [2 * size + (axis < array.ndim - 1) for array in arrays for axis, size in enumerate(array.shape)]
    head = pack_series(
        np.array(content.numbers + sizes, np.int64),
        np.array([len(content.numbers), len(sizes)]),
        np.zeros(2, np.int64),
    )
    values = [array.ravel() for array in arrays]
    body = pack_series(
        np.concatenate(values, dtype=np.int64, casting="unsafe") if values else np.empty(0, np.int64),
        np.array([array.size for array in arrays], np.int64),
        np.array([array.shape[-1] if array.ndim > 1 else 0 for array in arrays], np.int64),
    )
    front = b"".join(
        _leb128(number) for number in (state.version, len(content.numbers), len(sizes), len(head))
    )
    whole = front + head + body
    return whole + crc32(whole).to_bytes(4, "little")


def decode_state(content: bytes) -> PatientState:
    """The state in ``content``.

    Raises
    ------
    StateUnreadable : not a state, or one of another version.
    """
    numbers, sizes, head, at = _front(content)
    try:
        return _decoded(content[at : at + head], content[at + head : -4], numbers, sizes)
    except (InputInvalid, StopIteration) as error:
        raise _unreadable() from error


def check_state(content: bytes) -> None:
    """Whether these are the whole bytes of a state of this version, without unpacking them.

    Raises
    ------
    StateUnreadable : they are not.
    """
    _front(content)


def _front(content: bytes) -> tuple[int, int, int, int]:
    """How many numbers and sizes, how many bytes they have, and where they begin."""
    if len(content) < 8 or crc32(content[:-4]).to_bytes(4, "little") != content[-4:]:
        raise StateUnreadable("the patient state is damaged, or older than version 4.", remedy=_AFRESH)
    at = 0
    front = []
    for _ in range(4):
        number, at = _from_leb128(content, at)
        front.append(number)
    version, numbers, sizes, head = front
    if version != STATE_VERSION:
        raise StateUnreadable(
            f"the patient state has version {version}; this program reads version {STATE_VERSION}.",
            remedy=_AFRESH,
        )
    return numbers, sizes, head, at


def _decoded(head: bytes, body: bytes, numbers: int, sizes: int) -> PatientState:
    if numbers > _MOST_NUMBERS or sizes > _MOST_NUMBERS:
        raise _unreadable()
    pairs = np.array([_WHOLE, _WHOLE])
    found = unpack_series(
        head, np.array([numbers, sizes]), np.zeros(2, np.int64), pairs[:, 0].copy(), pairs[:, 1].copy()
    ).tolist()
    part = _part_of(PatientState)
    kinds: list[np.dtype[Any]] = []
    part.kinds(iter(found[:numbers]), kinds)
    shapes: list[tuple[int, ...]] = []
    shape: tuple[int, ...] = ()
    for size in found[numbers:]:
        shape = (*shape, size >> 1)
        if not 0 <= size <= 2 * _MOST_VALUES or len(shape) > 8:
            raise _unreadable()
        if not size & 1:
            shapes.append(shape)
            shape = ()
    lengths = [_product(shape) for shape in shapes]
    if shape or len(shapes) != len(kinds) or sum(lengths) > _MOST_VALUES:
        raise _unreadable()
    values = unpack_series(
        body,
        np.array(lengths, np.int64),
        np.array([shape[-1] if len(shape) > 1 else 0 for shape in shapes], np.int64),
        np.array([bounds(kind)[0] for kind in kinds], np.int64),
        np.array([bounds(kind)[1] for kind in kinds], np.int64),
    )
    rest = iter(found[:numbers])
    state: PatientState = part.take(rest, _cut(values, lengths, shapes))
    if next(rest, None) is not None:
        raise _unreadable()
    return state


def _cut(values: Any, lengths: list[int], shapes: list[tuple[int, ...]]) -> Iterator[Any]:
    start = 0
    for length, shape in zip(lengths, shapes, strict=True):
        yield values[start : start + length].reshape(shape)
        start += length


def _product(shape: tuple[int, ...]) -> int:
    product = 1
    for size in shape:
        product *= size
    return product


def _unreadable() -> StateUnreadable:
    return StateUnreadable("the patient state cannot be read.", remedy=_AFRESH)


def _leb128(number: int) -> bytes:
    octets = bytearray()
    while number > 127:
        octets.append(number & 127 | 128)
        number >>= 7
    octets.append(number)
    return bytes(octets)


def _from_leb128(content: bytes, at: int) -> tuple[int, int]:
    """The number, and where the next one begins."""
    number = 0
    for place, octet in enumerate(content[at : at + 5]):
        number |= (octet & 127) << (7 * place)
        if octet < 128:
            return number, at + place + 1
    raise _unreadable()
