"""docs/reference/container.md is enough: a reader written from that page alone, without any of our code."""

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from struct import unpack_from
from typing import Any

import msgspec
import numpy as np
from hypothesis import given

from einthoven.signal.packing import pack
from einthoven.storage.blocks import KeptSegment
from einthoven.storage.containers import write_container
from einthoven.testing.builders import some_kept_segments

GOLDEN = Path(__file__).parent / "golden" / "container-1.eseg"
AHEAD = {3: (0, 0), 4: (2, 0), 5: (2, -1), 6: (3, -1), 7: (4, 0)}


def signed(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63


class Bits:
    def __init__(self, content: bytes) -> None:
        self.bits = "".join(f"{octet:08b}"[::-1] for octet in content)
        self.at = 0

    def take(self, count: int) -> int:
        self.at += count
        return int(self.bits[self.at - count : self.at][::-1] or "0", 2)

    def zeros(self) -> int:
        start, self.at = self.at, self.bits.index("1", self.at) + 1
        return self.at - start - 1

    def number(self, length: int) -> int:
        return self.take(length - 1) | 1 << (length - 1) if length else 0


def plain_unpack(content: bytes) -> list[int]:
    size = at = 0
    while True:
        size |= (content[at] & 127) << (7 * at)
        at += 1
        if content[at - 1] < 128:
            break
    if size == 0:
        return []
    bits = Bits(content[at:])
    predictor, mixed = bits.take(3), bits.take(1)
    values: list[int] = []
    if predictor:
        values.append(unfold(bits.number(bits.take(7))))
    for miss in misses(bits, size - len(values), mixed):
        values.append(signed(expected(predictor, values) + unfold(miss)))
    return values


def unfold(folded: int) -> int:
    return signed(folded >> 1 if folded % 2 == 0 else -(folded + 1) // 2)


def expected(predictor: int, values: list[int]) -> int:
    if predictor == 0:
        return 0
    one, two = AHEAD[predictor]
    last = signed(values[-1] - values[-2]) if len(values) > 1 else 0
    before = signed(values[-2] - values[-3]) if len(values) > 2 else 0
    return values[-1] + (signed(one * last + two * before) >> 2)


def misses(bits: Bits, size: int, mixed: int) -> Iterator[int]:
    if mixed:
        width = bits.take(3)
        for _ in range(size):
            yield bits.number(bits.take(width))
        return
    before = 3
    while size:
        z = bits.zeros()
        parameter = bits.take(6) if z == 15 else before + ((z + 1) // 2 if z % 2 else -z // 2)
        if parameter == 0:
            count = min(12 * bits.number(bits.zeros() + 1), size)
            yield from [0] * count
        else:
            before = parameter
            count = min(12, size)
            quotients = [bits.zeros() for _ in range(count)]
            for quotient in quotients:
                yield quotient << (parameter - 1) | bits.take(parameter - 1)
        size -= count


def plain_read(content: bytes) -> list[tuple[list[Any], list[int]]]:
    assert content[:12] == b"EINTHSEG\1\0\0\0"
    assert content[12:16] == blake2b(content[:12], digest_size=8).digest()[:4]
    footer = content[-64:]
    offset, length, segments, samples = unpack_from("<4Q", footer)
    index = content[offset : offset + length]
    assert footer[32:48] == blake2b(index, digest_size=16).digest()
    assert footer[48:56] == blake2b(footer[:48], digest_size=8).digest()
    assert footer[56:] == b"GESHTNIE"
    assert offset + length + 64 == len(content)
    texts, reals, columns = msgspec.msgpack.decode(index)
    rows = [plain_unpack(column) for column in columns]
    rows[:4] = [[texts[place] for place in row] for row in rows[:4]]
    rows[6:8] = [[reals[place] for place in row] for row in rows[6:8]]
    found = []
    at = 16
    for row in zip(*rows, strict=True):
        mark, says, packed = unpack_from("<4sII", content, at)
        assert (mark, row[11], row[12]) == (b"\xe5SEG", at, 12 + says + packed + 8)
        head = msgspec.msgpack.decode(content[at + 12 : at + 12 + says])
        assert head == list(row[:11])
        end = at + 12 + says + packed
        assert content[end : end + 8] == blake2b(content[at:end], digest_size=8).digest()
        found.append((head, plain_unpack(content[at + 12 + says : end])))
        at = end + 8
    assert (len(found), sum(len(one) for _, one in found)) == (segments, samples)
    return found


@given(segments=some_kept_segments())
def test_a_reader_written_from_the_page_reads_what_we_write(segments: list[KeptSegment]) -> None:
    found = [(tuple(head[:6]), one) for head, one in plain_read(write_container(segments).content)]
    kept = [
        ((one.org, one.patient, one.device, one.lead, one.sequence, one.start_ns), one.samples.tolist())
        for one in segments
    ]
    assert sorted(found) == sorted(kept)


def test_it_reads_the_first_container_too() -> None:
    assert [len(samples) for _, samples in plain_read(GOLDEN.read_bytes())] == [3750, 40, 0]


def test_it_reads_real_and_extreme_series() -> None:
    rng = np.random.default_rng(3)
    for values in (
        np.cumsum(rng.integers(-9, 10, 4000)),
        np.arange(3000) ** 2,
        rng.integers(-(2**63), 2**63 - 1, 300),
        np.where(rng.random(2000) < 0.02, -(2**63), np.cumsum(rng.integers(-2, 3, 2000))),
    ):
        assert plain_unpack(pack(values)) == values.tolist()
