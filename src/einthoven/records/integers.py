"""A JSON list of integers as an array, three times as fast as through Python's numbers."""

import numpy as np
from numpy.typing import NDArray

from einthoven.errors import InputInvalid
from einthoven.signal.kernel import kernel

__all__ = ["parse_integers"]


def parse_integers(content: bytes | memoryview, where: str) -> NDArray[np.int16]:
    """The integers of one JSON list, which is known to be valid JSON.

    Raises
    ------
    InputInvalid : not a list, or an item that is no integer of 16 bits; the message says which.
    """
    octets = np.frombuffer(content, np.uint8)
    values = np.empty(octets.size // 2 + 1, np.int16)
    count = _parse(octets, values)
    if count < 0:
        raise InputInvalid(
            f"item {-count - 1} is not an integer between -32768 and 32767."
            if octets[:1].tobytes() == b"["
            else "this is not a list.",
            where=where,
            remedy="Send ADC counts as a flat list of integers; -32768 marks a missing sample.",
        )
    return values[:count]


@kernel
def _parse(octets, values):  # type: ignore[no-untyped-def]
    """How many integers were read; minus one more than the number of the first that is none."""
    if octets.size < 2 or octets[0] != 91:
        return -1
    count = 0
    total = 0
    sign = 1
    digits = 0
    for i in range(1, octets.size):
        octet = octets[i]
        if 48 <= octet <= 57:
            total = total * 10 + (octet - 48)
            digits += 1
            if digits > 5:
                return -count - 1
        elif octet == 44 or octet == 93:
            if digits == 0:
                return count if octet == 93 and count == 0 else -count - 1
            total *= sign
            if total < -32768 or total > 32767:
                return -count - 1
            values[count] = total
            count += 1
            total = 0
            sign = 1
            digits = 0
        elif octet == 45:
            sign = -1
        elif octet > 32:
            return -count - 1
    return count
