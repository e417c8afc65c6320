"""The ECG object as bytes: JSON for everybody, MessagePack between our own.

In JSON an array is a list of integers (or numbers); in MessagePack it is the raw little-endian bytes of its
declared type. Both carry the same values exactly.
"""

import typing
from typing import Any, Final, Literal, TypeVar

import msgspec
import numpy as np

from einthoven.errors import EinthovenError, InputInvalid
from einthoven.functions.ecg import Ecg

__all__ = ["MAX_BYTES", "Encoding", "decode", "decode_as", "encode"]

Encoding = Literal["json", "msgpack"]
MAX_BYTES: Final = 256 * 2**20
"""Largest object that is decoded; longer recordings travel as files."""

_T = TypeVar("_T")


def encode(value: msgspec.Struct, encoding: Encoding) -> bytes:
    """An ECG object, a state, or a record of such, as bytes."""
    if encoding == "json":
        return msgspec.json.encode(value, enc_hook=_as_list)
    return msgspec.msgpack.encode(value, enc_hook=_as_bytes)


def decode(content: bytes, encoding: Encoding) -> Ecg:
    """The ECG object in ``content``.

    Raises
    ------
    InputInvalid : too large, not the encoding, or not an ECG object; the message names the field.
    """
    return decode_as(content, encoding, Ecg)


def decode_as(content: bytes, encoding: Encoding, kind: type[_T]) -> _T:
    """The record of this kind in ``content``; raises as `decode` does."""
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
        raise InputInvalid(_first_sentence(error), remedy="See docs/reference/functions.md.") from None
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


def _array(kind: Any, value: Any) -> Any:
    """Rebuild an array of its declared type; a number that does not fit is an error."""
    dtype = np.dtype(typing.get_args(typing.get_args(kind)[1])[0])
    if isinstance(value, bytes):
        return _from_bytes(value, dtype, None)
    if not isinstance(value, list):
        raise ValueError(f"Expected `array`, got `{type(value).__name__}`")
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
