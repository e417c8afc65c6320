"""Integers as few bytes: exact, for any values, and some ten microseconds for a segment.

A series goes as one bit stream. Each value is predicted from those before it, what the prediction misses is
folded (0, -1, 1, -2 … become 0, 1, 2, 3 …) and written in Rice codes [1]_ in blocks of twelve, each block
with the parameter that needs the fewest bits. So far this is how lossless audio is packed [2]_. Our own:

- Steps are predicted, not values: the last step, half of it, none … (`_AHEAD`).
- The unary parts of a block stand together, and its parameter is such that they fit in one word of 64 bits.
  So there is no escape code, whatever the values, and no loop waits for a single bit.
- Blocks that were predicted exactly (flat, missing, zeros) are counted and not written.
- Short series of numbers unlike each other go as bit lengths and bits.
- A series with rows may be predicted from the row above.

All arithmetic is modulo 2^64, so that the extremes of a type and its missing marker need no case.

References
----------
.. [1] R. F. Rice. Some practical universal noiseless coding techniques. JPL Publication 79-22, 1979.
.. [2] M. van Beurden, A. Weaver. Free Lossless Audio Codec. RFC 9639, 2024.
"""

import functools
import sys
from typing import Any, Final, TypeVar

import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from einthoven.errors import InputInvalid
from einthoven.signal.kernel import inlined, kernel

__all__ = ["bounds", "pack", "pack_series", "unpack", "unpack_series"]

_Integer = TypeVar("_Integer", bound=np.integer[Any])
Whole = NDArray[np.int64]

_BLOCK: Final = 12
"""Values with one parameter."""
_WORD: Final = 64
_START: Final = 3
"""The parameter before the first block."""
_FAR: Final = 15
"""Bits from which a parameter is written as it is."""
_PROBED: Final = 512
"""Of a longer series `_PROBE` values at each of some places choose the predictor: at `_PROBES`, and at one
more for each `_PROBED_MORE` values."""
_PROBE: Final = 36
_PROBES: Final = 4
_PROBED_MORE: Final = 4096
_MIXED: Final = 128
"""Longest series that may go as bit lengths and bits."""
_VALUE: Final = 0
_ABOVE: Final = 1
_PLANE: Final = 2
_STEPS: Final = 3
_PREDICTORS: Final = 8
_AHEAD: Final = np.array([[0, 0], [2, 0], [2, -1], [3, -1], [4, 0]], np.int64)
"""Predictors from `_STEPS` on: how many quarters of the last step and of the one before are expected."""
_OUTSIDE: Final = -2
_NO_ROWS: Final = np.zeros(1, np.int64)
_SLACK: Final = 20
"""Words of nothing behind the content, so that a block's end is looked at once."""


@intrinsic
def _trailing_zeros(_context, word):  # type: ignore[no-untyped-def]  # noqa: ARG001 - intrinsics are typed by their arguments
    """Of an uint64; 64 for 0."""

    def generate(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        return builder.cttz(arguments[0], cgutils.false_bit)

    return types.uint64(types.uint64), generate


@intrinsic
def _leading_zeros(_context, word):  # type: ignore[no-untyped-def]  # noqa: ARG001 - intrinsics are typed by their arguments
    """Of an uint64; 64 for 0."""

    def generate(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        return builder.ctlz(arguments[0], cgutils.false_bit)

    return types.uint64(types.uint64), generate


@inlined
def _bits(word):  # type: ignore[no-untyped-def]
    """Bit length of an uint64."""
    return np.int64(np.uint64(_WORD) - _leading_zeros(word))


@inlined
def _put(words, at, value, count):  # type: ignore[no-untyped-def]
    """Append ``count`` bits, at most 64; the word behind is made, so that no memory need be cleared."""
    shift = np.uint64(at & 63)
    words[at >> 6] |= value << shift
    words[(at >> 6) + 1] = (value >> np.uint64(1)) >> (np.uint64(63) - shift)
    return at + count


@kernel
def _see(words, at):  # type: ignore[no-untyped-def]
    """The next 64 bits."""
    shift = np.uint64(at & 63)
    return (words[at >> 6] >> shift) | ((words[(at >> 6) + 1] << np.uint64(1)) << (np.uint64(63) - shift))


@inlined
def _low(word, count):  # type: ignore[no-untyped-def]
    """Its lowest bits, at most 63."""
    return word & ((np.uint64(1) << np.uint64(count)) - np.uint64(1))


@kernel
def _fold(miss):  # type: ignore[no-untyped-def]
    return np.uint64((miss << np.int64(1)) ^ (miss >> np.int64(63)))


@kernel
def _unfold(folded):  # type: ignore[no-untyped-def]
    return np.int64(folded >> np.uint64(1)) ^ -np.int64(folded & np.uint64(1))


@kernel
def _misses(values, start, stop, row, predictor, folded):  # type: ignore[no-untyped-def]
    """What the predictor misses at ``start`` to ``stop``, folded."""
    if predictor == _VALUE:
        for i in range(start, stop):
            folded[i - start] = _fold(values[i])
    elif predictor >= _STEPS:
        one = _AHEAD[predictor - _STEPS, 0]
        two = _AHEAD[predictor - _STEPS, 1]
        for i in range(start, min(stop, 3)):
            last = values[i - 1] - values[i - 2] if i > 1 else np.int64(0)
            folded[i - start] = _fold(values[i] - values[i - 1] - ((one * last) >> np.int64(2)))
        begin = max(start, np.int64(3))
        now = values[begin:stop]
        back1 = values[begin - 1 : stop - 1]
        back2 = values[begin - 2 : stop - 2]
        back3 = values[begin - 3 : stop - 3]
        out = folded[begin - start :]
        for i in range(stop - begin):
            last = back1[i] - back2[i]
            before = back2[i] - back3[i]
            out[i] = _fold(now[i] - back1[i] - ((one * last + two * before) >> np.int64(2)))
    else:
        for i in range(start, stop):
            if i < row:
                expected = values[i - 1]
            elif predictor == _ABOVE or i % row == 0:
                expected = values[i - row]
            else:
                expected = values[i - 1] + values[i - row] - values[i - row - 1]
            folded[i - start] = _fold(values[i] - expected)


@kernel
def _rice_bits(folded):  # type: ignore[no-untyped-def]
    """About how many bits these misses need in Rice codes."""
    bits = np.int64(0)
    for i in range(0, folded.size, _BLOCK):
        count = min(_BLOCK, folded.size - i)
        total = np.uint64(0)
        for j in range(count):
            total += folded[i + j]
        if total == 0:
            bits += 1
            continue
        parameter = max(np.int64(0), _bits(total // np.uint64(count)) - 1)
        bits += count * (parameter + 1) + np.int64(total >> np.uint64(parameter)) + 2
    return bits


@kernel
def _mixed_bits(folded):  # type: ignore[no-untyped-def]
    """How many bits these misses need as bit lengths and bits; how many a bit length has."""
    bits = np.int64(3)
    longest = np.int64(0)
    for one in folded:
        length = _bits(one)
        longest = max(longest, length)
        bits += max(np.int64(0), length - 1)
    width = _bits(np.uint64(longest))
    return bits + width * folded.size, width


@kernel
def _choose(values, row, folded):  # type: ignore[no-untyped-def]
    """The predictor that leaves the least, and whether bit lengths and bits are shorter than Rice codes."""
    size = values.size
    best = np.int64(2**62)
    chosen = np.int64(0)
    mixed = False
    for predictor in range(_PREDICTORS):
        if (predictor == _ABOVE or predictor == _PLANE) and not 0 < row < size:
            continue
        first = np.int64(predictor != _VALUE)
        bits = first * 7
        if size > _PROBED:
            probes = _PROBES + size // _PROBED_MORE
            for probe in range(probes):
                start = 3 + (size - 3 - _PROBE) * probe // (probes - 1)
                _misses(values, start, start + _PROBE, row, predictor, folded)
                bits += _rice_bits(folded[:_PROBE])
        else:
            _misses(values, first, size, row, predictor, folded)
            bits += first * _bits(_fold(values[0])) + _rice_bits(folded[: size - first])
        if bits < best:
            best, chosen, mixed = bits, predictor, False
        if size <= _MIXED:
            bits = first * (7 + _bits(_fold(values[0]))) + _mixed_bits(folded[: size - first])[0]
            if bits < best:
                best, chosen, mixed = bits, predictor, True
    return chosen, mixed


@inlined
def _put_parameter(words, at, parameter, before):  # type: ignore[no-untyped-def]
    """As far as it is from the one before: 0, 1, -1, 2 … in unary."""
    step = parameter - before
    far = 2 * step - 1 if step > 0 else -2 * step
    if far < _FAR:
        return _put(words, at, np.uint64(1) << np.uint64(far), far + 1)
    at = _put(words, at, np.uint64(1) << np.uint64(_FAR), np.int64(_FAR + 1))
    return _put(words, at, np.uint64(parameter), np.int64(6))


@inlined
def _quotients(folded, start, parameter):  # type: ignore[no-untyped-def]
    """The unary parts of a block as one word, and how many bits they have; no word when more than 64."""
    k = np.uint64(parameter)
    word = np.uint64(0)
    place = np.uint64(0)
    for j in range(_BLOCK):
        place += folded[start + j] >> k
        word |= np.uint64(1) << (place & np.uint64(63))
        place += np.uint64(1)
    return word, np.int64(place)


@inlined
def _put_block(words, at, folded, start, count, total, every, before):  # type: ignore[no-untyped-def]
    """One block, not all zero; its parameter plus one, too.

    ``total`` is the sum, modulo 2^64, and ``every`` the bits of its numbers together. Only the first
    ``count`` are written; those behind are zero, so that all loops have one length.
    """
    chosen = max(_bits(total // np.uint64(_BLOCK)) - 1, _bits(every) - 6, np.int64(0))
    word, bits = _quotients(folded, start, chosen)
    while bits > _WORD:
        chosen += 1
        word, bits = _quotients(folded, start, chosen)
    at = _put_parameter(words, at, chosen + 1, before)
    bits -= _BLOCK - count
    at = _put(words, at, word & (~np.uint64(0) >> np.uint64(_WORD - bits)), bits)
    if chosen * _BLOCK <= _WORD:
        k = np.uint64(chosen)
        mask = (np.uint64(1) << k) - np.uint64(1)
        word = np.uint64(0)
        for j in range(_BLOCK):
            word |= (folded[start + j] & mask) << (np.uint64(j) * k)
        at = _put(words, at, word, chosen * count)
    else:
        for j in range(count):
            at = _put(words, at, _low(folded[start + j], chosen), chosen)
    return at, chosen + 1


@kernel
def _put_series(words, at, values, row, folded):  # type: ignore[no-untyped-def]
    size = values.size
    predictor, mixed = _choose(values, row, folded)
    at = _put(words, at, np.uint64(predictor + 8 * mixed), np.int64(4))
    first = np.int64(predictor != _VALUE)
    if first:
        value = _fold(values[0])
        length = _bits(value)
        at = _put(words, at, np.uint64(length), np.int64(7))
        if length > 1:
            at = _put(words, at, _low(value, length - 1), length - 1)
    _misses(values, first, size, row, predictor, folded)
    size -= first
    if mixed:
        _, width = _mixed_bits(folded[:size])
        at = _put(words, at, np.uint64(width), np.int64(3))
        for value in folded[:size]:
            length = _bits(value)
            at = _put(words, at, np.uint64(length), width)
            if length > 1:
                at = _put(words, at, _low(value, length - 1), length - 1)
        return at
    folded[size : size + _BLOCK] = np.uint64(0)
    before = np.int64(_START)
    exact = np.int64(0)
    for i in range(0, size, _BLOCK):
        total = every = np.uint64(0)
        for j in range(_BLOCK):
            total += folded[i + j]
            every |= folded[i + j]
        if every == 0:
            exact += 1
            if i + _BLOCK < size:
                continue
        if exact:
            at = _put_parameter(words, at, np.int64(0), before)
            length = _bits(np.uint64(exact))
            at = _put(words, at, np.uint64(1) << np.uint64(length - 1), length)
            at = _put(words, at, _low(np.uint64(exact), length - 1), length - 1)
            exact = np.int64(0)
        if every != 0:
            at, before = _put_block(words, at, folded, i, min(_BLOCK, size - i), total, every, before)
    return at


@kernel
def _pack(values, lengths, rows, words):  # type: ignore[no-untyped-def]
    """All series after each other; how many bits they took."""
    folded = np.empty(values.size + _BLOCK, np.uint64)
    words[0] = np.uint64(0)
    at = start = np.int64(0)
    for i in range(lengths.size):
        if lengths[i]:
            at = _put_series(words, at, values[start : start + lengths[i]], rows[i], folded)
        start += lengths[i]
    return at


@kernel
def _rebuild(values, start, stop, row, predictor):  # type: ignore[no-untyped-def]
    """Misses at ``start`` to ``stop`` to values, in place."""
    if predictor >= _STEPS:
        one = _AHEAD[predictor - _STEPS, 0]
        two = _AHEAD[predictor - _STEPS, 1]
        value = values[start - 1]
        last = value - values[start - 2] if start > 1 else np.int64(0)
        before = values[start - 2] - values[start - 3] if start > 2 else np.int64(0)
        if one == 2 and two == 0:
            for i in range(start, stop):
                last = values[i] + ((last << np.int64(1)) >> np.int64(2))
                value += last
                values[i] = value
            return
        for i in range(start, stop):
            step = values[i] + ((one * last + two * before) >> np.int64(2))
            before = last
            last = step
            value += step
            values[i] = value
    elif predictor != _VALUE:
        for i in range(start, stop):
            if i < row:
                values[i] += values[i - 1]
            elif predictor == _ABOVE or i % row == 0:
                values[i] += values[i - row]
            else:
                values[i] += values[i - 1] + values[i - row] - values[i - row - 1]


@kernel
def _see_series(words, at, end, values, row):  # type: ignore[no-untyped-def]
    """The inverse of `_put_series`; -1 instead of the position when no such bits are ever written."""
    size = values.size
    head = _see(words, at)
    at += 4
    predictor = np.int64(head & np.uint64(7))
    mixed = (head & np.uint64(8)) != 0
    if (predictor == _ABOVE or predictor == _PLANE) and not 0 < row < size:
        return np.int64(-1)
    i = np.int64(predictor != _VALUE)
    if i:
        length = np.int64(_low(head >> np.uint64(4), np.int64(7)))
        at += 7
        if length > 64:
            return np.int64(-1)
        value = np.uint64(0)
        if length:
            value = _low(_see(words, at), length - 1) | (np.uint64(1) << np.uint64(length - 1))
            at += length - 1
        values[0] = _unfold(value)
    if mixed:
        width = np.int64(_low(_see(words, at), np.int64(3)))
        at += 3
        first = i
        while i < size:
            length = np.int64(_low(_see(words, at), width))
            at += width
            if length > 64:
                return np.int64(-1)
            value = np.uint64(0)
            if length:
                value = _low(_see(words, at), length - 1) | (np.uint64(1) << np.uint64(length - 1))
                at += length - 1
            values[i] = _unfold(value)
            i += 1
            if at > end:
                return np.int64(-1)
        _rebuild(values, first, size, row, predictor)
        return at
    before = np.int64(_START)
    while i < size:
        seen = _see(words, at)
        far = np.int64(_trailing_zeros(seen))
        if far > _FAR:
            return np.int64(-1)
        at += far + 1
        if far == _FAR:
            parameter = np.int64(_low(seen >> np.uint64(_FAR + 1), np.int64(6)))
            at += 6
        else:
            parameter = before + ((far + 1) >> 1 if far & 1 else -(far >> 1))
        if parameter == 0:
            seen = _see(words, at)
            length = np.int64(_trailing_zeros(seen))
            if length > 40:
                return np.int64(-1)
            at += length + 1
            exact = np.int64(_low(_see(words, at), length)) + (np.int64(1) << length)
            at += length
            if at > end or exact > (size - i + _BLOCK - 1) // _BLOCK:
                return np.int64(-1)
            stop = min(size, i + exact * _BLOCK)
            values[i:stop] = 0
            _rebuild(values, i, stop, row, predictor)
            i = stop
            continue
        if not 0 < parameter < 64:
            return np.int64(-1)
        before = parameter
        k = np.uint64(parameter - 1)
        rest = parameter - 1
        count = min(_BLOCK, size - i)
        seen = _see(words, at)
        last = np.uint64(0)
        for j in range(count):
            place = _trailing_zeros(seen)
            values[i + j] = np.int64((place - last) << k)
            last = place + np.uint64(1)
            seen &= seen - np.uint64(1)
        if last > np.uint64(_WORD):
            return np.int64(-1)
        at += np.int64(last)
        if rest * _BLOCK <= _WORD:
            seen = _see(words, at)
            for j in range(count):
                values[i + j] = _unfold(np.uint64(values[i + j]) | _low(seen, rest))
                seen >>= k
            at += rest * count
        else:
            for j in range(count):
                values[i + j] = _unfold(np.uint64(values[i + j]) | _low(_see(words, at), rest))
                at += rest
        if at > end:
            return np.int64(-1)
        _rebuild(values, i, i + count, row, predictor)
        i += count
    return at


@kernel
def _unpack(words, end, lengths, rows, least, most, values):  # type: ignore[no-untyped-def]
    """The inverse of `_pack`; -1 when no such bits are ever written, -2 when a value is out of range."""
    at = start = np.int64(0)
    for i in range(lengths.size):
        if lengths[i]:
            at = _see_series(words, at, end, values[start : start + lengths[i]], rows[i])
            if at < 0 or at > end:
                return np.int64(-1)
            lowest = highest = np.int64(0)
            for j in range(start, start + lengths[i]):
                lowest = min(lowest, values[j])
                highest = max(highest, values[j])
            if lowest < least[i] or highest > most[i]:
                return np.int64(_OUTSIDE)
        start += lengths[i]
    return at


def pack_series(values: Whole, lengths: Whole, rows: Whole) -> bytes:
    """Several series, one after the other in ``values``, as bytes.

    Parameters
    ----------
    values : all values, contiguous
    lengths : of each series
    rows : length of each one's rows; 0 for a series without rows
    """
    words = np.empty(values.size + values.size // 8 + 4 * lengths.size + 2, np.uint64)
    bits = int(_pack(values, lengths, rows, words))
    content: bytes = words[: bits // 64 + 1].astype("<u8", copy=False).tobytes()[: (bits + 7) // 8]
    return content


def unpack_series(content: bytes, lengths: Whole, rows: Whole, least: Whole, most: Whole) -> Whole:
    """What `pack_series` was given; the caller has bounded the sum of ``lengths``.

    Parameters
    ----------
    content : the bytes
    lengths, rows : as they were packed
    least, most : the range of each series

    Raises
    ------
    InputInvalid : not what `pack_series` gave for such series.
    """
    words = np.zeros(len(content) // 8 + _SLACK, np.uint64)
    words.view(np.uint8)[: len(content)] = np.frombuffer(content, np.uint8)
    if sys.byteorder == "big":
        words = words.byteswap()
    values = np.empty(sum(lengths.tolist()), np.int64)
    at = int(_unpack(words, 8 * len(content), lengths, rows, least, most, values))
    if at == _OUTSIDE:
        raise InputInvalid("packed numbers do not fit in their type.", remedy="Send them again.")
    if at < 0 or (at + 7) // 8 != len(content) or (at % 8 and content[-1] >> at % 8):
        raise InputInvalid("the packed numbers are truncated or damaged.", remedy="Send them again.")
    return values


@functools.cache
def bounds(dtype: np.dtype[Any]) -> tuple[int, int]:
    """Least and most of what a type holds, as `unpack_series` takes them."""
    if dtype.kind == "b":
        return 0, 1
    limits = np.iinfo(np.int64 if dtype == np.uint64 else dtype)
    return int(limits.min), int(limits.max)


def pack(values: NDArray[np.integer[Any]]) -> bytes:
    """A series of integers, shape (values,), as bytes."""
    whole = np.ascontiguousarray(values.astype(np.int64, copy=False))
    return _count(values.size) + pack_series(whole, np.array([values.size]), _NO_ROWS)


def unpack(content: bytes, dtype: type[_Integer] | np.dtype[_Integer], size_limit: int) -> NDArray[_Integer]:
    """What `pack` was given.

    Parameters
    ----------
    content : the bytes
    dtype : type of the integers
    size_limit : how many there may be at most

    Raises
    ------
    InputInvalid : truncated or damaged, more than ``size_limit``, or numbers that the type does not hold.
    """
    size = 0
    for used, octet in enumerate(content[:9]):
        size |= (octet & 127) << (7 * used)
        if octet < 128:
            break
    else:
        raise InputInvalid("the packed numbers are truncated or damaged.", remedy="Send them again.")
    if size > size_limit:
        raise InputInvalid(f"the packed numbers are {size}; at most {size_limit} are read.")
    least, most = bounds(np.dtype(dtype))
    values = unpack_series(
        content[used + 1 :], np.array([size]), _NO_ROWS, np.array([least]), np.array([most])
    )
    return values.astype(dtype, copy=False)


def _count(size: int) -> bytes:
    """LEB128."""
    octets = bytearray()
    while size > 127:
        octets.append(size & 127 | 128)
        size >>= 7
    octets.append(size)
    return bytes(octets)
