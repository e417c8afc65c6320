"""The ECG object and the patient state as bytes: JSON for everybody, MessagePack between our own.

In JSON an array is a list of integers (or numbers); in MessagePack it is the raw little-endian bytes of its
declared type. Both carry the same values exactly.
"""

import typing
import zlib
from typing import Any, Final, Literal, TypeVar

import msgspec
import numpy as np

from einthoven.errors import EinthovenError, InputInvalid, StateUnreadable
from einthoven.functions.ecg import STATE_VERSION, Ecg, PatientState
from einthoven.signal.kernel import kernel

__all__ = ["MAX_BYTES", "Encoding", "decode", "decode_state", "encode", "encode_state"]

Encoding = Literal["json", "msgpack"]
MAX_BYTES: Final = 256 * 2**20
"""Largest object that is decoded; longer recordings travel as files."""

MAX_STATE_BYTES: Final = 2**20
"""Largest patient state, inflated."""

_T = TypeVar("_T")


def encode(value: Ecg | PatientState, encoding: Encoding) -> bytes:
    """The value as bytes."""
    if encoding == "json":
        return msgspec.json.encode(value, enc_hook=_as_list)
    return msgspec.msgpack.encode(value, enc_hook=_as_bytes)


def decode(content: bytes, encoding: Encoding) -> Ecg:
    """The ECG object in ``content``.

    Raises
    ------
    InputInvalid : too large, not the encoding, or not an ECG object; the message names the field.
    """
    return _decode(content, encoding, Ecg)


def encode_state(state: PatientState) -> bytes:
    """The state as deflated MessagePack with its integers as deltas: about 2 kB.

    An array goes as its values, as their steps, or as what is left of each step when half of the one before
    is expected: whichever needs the fewest bits.
    """
    return zlib.compress(msgspec.msgpack.encode(state, enc_hook=_as_deltas), 9)


def decode_state(content: bytes) -> PatientState:
    """The state in ``content``.

    Raises
    ------
    StateUnreadable : not a state, or one of another version.
    """
    try:
        inflater = zlib.decompressobj()
        plain = inflater.decompress(content, MAX_STATE_BYTES)
        if inflater.unconsumed_tail or not inflater.eof:
            raise InputInvalid("the state is truncated or too large.")
        state = _decode(plain, "msgpack", PatientState)
    except zlib.error as error:
        raise StateUnreadable(
            "the patient state is not deflated data.", remedy="Start the stream afresh."
        ) from error
    except InputInvalid as error:
        raise StateUnreadable(
            "the patient state cannot be read.", where=error.where, remedy="Start the stream afresh."
        ) from error
    if state.version != STATE_VERSION:
        raise StateUnreadable(
            f"the patient state has version {state.version}; this program reads version {STATE_VERSION}.",
            remedy="Start the stream afresh.",
        )
    return state


def _decode(content: bytes, encoding: Encoding, kind: type[_T]) -> _T:
    if len(content) > MAX_BYTES:
        raise InputInvalid(
            f"the object has {len(content)} bytes; at most {MAX_BYTES} are decoded.",
            remedy="Upload the recording as a file and send its path.",
        )
    try:
        if encoding == "json":
            return msgspec.json.decode(content, type=kind, dec_hook=_array)
        return msgspec.msgpack.decode(content, type=kind, dec_hook=_array)
    except msgspec.ValidationError as error:
        cause = error.__cause__
        if isinstance(cause, EinthovenError):
            raise cause from None
        raise InputInvalid(_first_sentence(error), remedy="See docs/reference/ecg-object.md.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputInvalid(
            f"the object is not valid {encoding}: {_first_sentence(error)}",
            remedy="Send one complete object, in UTF-8 if it is JSON.",
        ) from None


def _first_sentence(error: Exception) -> str:
    """What the decoder says; it names types and places, never values."""
    return f"{str(error).splitlines()[0]}."


def _as_list(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise NotImplementedError(f"cannot encode {type(value).__name__}")


def _as_bytes(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        shape = value.shape if value.ndim != 1 else None
        content = np.ascontiguousarray(value, value.dtype.newbyteorder("<")).tobytes()
        return content if shape is None else [shape, content]
    raise NotImplementedError(f"cannot encode {type(value).__name__}")


def _as_deltas(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        raise NotImplementedError(f"cannot encode {type(value).__name__}")
    flat = value.ravel()
    if value.dtype.kind == "b":
        changes = np.flatnonzero(np.diff(flat)) + 1
        return [[value.size, bool(flat[0]) if flat.size else False], _varints(changes), "b"]
    whole = flat.astype(np.int64)
    steps = np.diff(whole, prepend=np.int64(0))
    turns = steps.copy()
    turns[1:] -= steps[:-1] >> 1
    content, kind = min(((steps, "i"), (turns, "j"), (whole, "p")), key=lambda one: _bits(one[0]))
    return [value.shape, _varints(np.cumsum(content)), kind]


def _bits(values: Any) -> float:
    """About how many bits these numbers need."""
    return float(np.log2(1 + 2 * np.abs(values.astype(np.float64))).sum())


@kernel
def _straightened(turns):  # type: ignore[no-untyped-def]
    """Values from their steps' turns: each step goes on half as far as the one before."""
    values = np.empty_like(turns)
    step = total = np.int64(0)
    for i in range(turns.size):
        step = turns[i] + (step >> np.int64(1))
        total += step
        values[i] = total
    return values


def _varints(values: Any) -> bytes:
    """Differences, zigzag, LEB128."""
    steps = np.diff(values.astype(np.int64), prepend=np.int64(0))
    folded = ((steps << 1) ^ (steps >> 63)).view(np.uint64)
    if folded.size == 0:
        return b""
    groups = np.array([(folded >> np.uint64(7 * j)) & np.uint64(127) for j in range(10)], np.uint8).T
    used = np.maximum(1, 10 - np.argmax(groups[:, ::-1] != 0, axis=1))
    used[folded == 0] = 1
    column = np.arange(10)
    groups[column < (used - 1)[:, None]] |= 128
    content: bytes = groups[column < used[:, None]].tobytes()
    return content


def _from_varints(content: bytes) -> Any:
    octets = np.frombuffer(content, np.uint8)
    if octets.size == 0:
        return np.empty(0, np.int64)
    ends = np.flatnonzero(octets < 128)
    starts = np.concatenate(([0], ends[:-1] + 1)) if ends.size else ends
    if ends.size == 0 or ends[-1] != octets.size - 1 or (ends - starts).max() > 9:
        raise ValueError("Expected packed integers")
    place = np.arange(octets.size) - np.repeat(starts, ends - starts + 1)
    parts = (octets & 127).astype(np.uint64) << (7 * place).astype(np.uint64)
    folded = np.bitwise_or.reduceat(parts, starts)
    steps = (folded >> np.uint64(1)).view(np.int64) ^ -(folded & np.uint64(1)).view(np.int64)
    return np.cumsum(steps)


def _unpack(value: list[Any], dtype: np.dtype[Any]) -> Any:
    """What `_as_deltas` packed."""
    shape, packed, kind = value
    if not isinstance(packed, bytes) or not isinstance(shape, list) or (kind == "b") != (dtype.kind == "b"):
        raise ValueError("Expected a packed array")
    found = _from_varints(packed)
    if kind == "b":
        size, flag = shape
        if type(size) is not int or not 0 <= size <= MAX_STATE_BYTES:
            raise ValueError("Expected a packed array's length")
        if found.size and (found.min() < 0 or found.max() >= max(size, 1)):
            raise ValueError("Expected positions inside the packed array")
        flips = np.zeros(size, np.int64)
        flips[found] = 1
        return ((np.cumsum(flips) & 1) == 1) != bool(flag)
    if not all(type(n) is int and 0 <= n <= MAX_STATE_BYTES for n in shape):
        raise ValueError("Expected a packed array's shape")
    if int(np.prod(shape, dtype=np.float64)) != found.size:
        raise ValueError("Expected as many items as the array's shape says")
    if kind in ("j", "p"):
        content = np.diff(found, prepend=np.int64(0))
        found = _straightened(content) if kind == "j" else content
    return _fitting(found, dtype).reshape(shape) if found.size else np.empty(shape, dtype)


def _array(kind: Any, value: Any) -> Any:
    """Rebuild an array of its declared type; a number that does not fit is an error."""
    dtype = np.dtype(typing.get_args(typing.get_args(kind)[1])[0])
    if isinstance(value, bytes):
        return _from_bytes(value, dtype, None)
    if not isinstance(value, list):
        raise ValueError(f"Expected `array`, got `{type(value).__name__}`")
    if len(value) == 3 and isinstance(value[1], bytes):
        return _unpack(value, dtype)
    if len(value) == 2 and isinstance(value[1], bytes):
        shape = value[0]
        if not isinstance(shape, list) or not all(type(n) is int and 0 <= n < 2**31 for n in shape):
            raise ValueError("Expected an array's shape")
        return _from_bytes(value[1], dtype, tuple(shape))
    if not value:
        return np.empty(0, dtype)
    try:
        found = np.array(value)
    except (ValueError, OverflowError):
        raise ValueError("Expected `array` of numbers of one shape") from None
    return _fitting(found, dtype)


def _from_bytes(content: bytes, dtype: np.dtype[Any], shape: tuple[int, ...] | None) -> Any:
    if len(content) % dtype.itemsize:
        raise ValueError(f"Expected a multiple of {dtype.itemsize} bytes")
    found = np.frombuffer(content, dtype.newbyteorder("<")).astype(dtype)
    if shape is None:
        return found
    if int(np.prod(shape, dtype=np.float64)) != found.size:
        raise ValueError("Expected as many items as the array's shape says")
    return found.reshape(shape)


def _fitting(found: Any, dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "b":
        if found.dtype.kind != "b":
            raise ValueError("Expected `array` of booleans")
        return found
    if dtype.kind == "f":
        if found.dtype.kind not in "iuf":
            raise ValueError("Expected `array` of numbers")
        return found.astype(dtype)
    if found.dtype.kind not in "iu":
        raise ValueError("Expected `array` of integers")
    limits = np.iinfo(dtype)
    if found.min() < limits.min or found.max() > limits.max:
        raise ValueError(f"Expected integers that fit in {dtype.name}")
    return found.astype(dtype)
