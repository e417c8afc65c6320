"""The container: what is written is read, any damage is found and named, and the rest stays readable."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.errors import InputInvalid, ObjectDamaged
from einthoven.storage.blocks import KeptSegment
from einthoven.storage.containers import (
    FOOTER_BYTES,
    HEADER,
    Container,
    Damage,
    Entry,
    read_footer,
    read_index,
    read_segment,
    recover,
    write_container,
)
from einthoven.testing.builders import a_kept_segment, some_kept_segments

GOLDEN = Path(__file__).parent / "golden" / "container-1.eseg"


def same(one: KeptSegment, other: KeptSegment) -> bool:
    return one.head == other.head and np.array_equal(one.samples, other.samples)


def index_of(content: bytes) -> tuple[Entry, ...]:
    footer = read_footer(content[-200:])
    return read_index(content[footer.offset : footer.offset + footer.length], footer)


def segments_in(content: bytes) -> list[KeptSegment]:
    return [
        read_segment(content[entry.offset : entry.offset + entry.length], entry)
        for entry in index_of(content)
    ]


@given(segments=some_kept_segments())
def test_what_is_written_is_read(segments: list[KeptSegment]) -> None:
    container = write_container(segments)
    found = segments_in(container.content)
    assert index_of(container.content) == container.entries
    assert [entry.order for entry in container.entries] == sorted(entry.order for entry in container.entries)
    assert len(found) == len(segments)
    for one in found:
        assert any(same(one, other) for other in segments)


@given(segments=some_kept_segments(), seed=st.integers(0, 99))
def test_the_same_segments_make_the_same_bytes_in_any_order(segments: list[KeptSegment], seed: int) -> None:
    shuffled = [segments[i] for i in np.random.default_rng(seed).permutation(len(segments))]
    assert write_container(shuffled) == write_container(segments)


@given(segments=some_kept_segments())
def test_everything_is_recovered_without_index_and_footer(segments: list[KeptSegment]) -> None:
    container = write_container(segments)
    end = len(container.content) - FOOTER_BYTES
    for content in (container.content, container.content[:end]):
        found = [item for item in recover(content) if not isinstance(item, Damage)]
        assert tuple(entry for entry, _ in found) == container.entries
    assert not any(isinstance(item, Damage) for item in recover(container.content))


@given(segments=some_kept_segments(), at=st.integers(0, 10**6), flip=st.integers(1, 255))
def test_any_changed_byte_is_found_and_the_other_segments_stay_readable(
    segments: list[KeptSegment], at: int, flip: int
) -> None:
    container = write_container(segments)
    damaged = bytearray(container.content)
    at %= len(damaged)
    damaged[at] ^= flip
    items = list(recover(bytes(damaged)))
    places = [item for item in items if isinstance(item, Damage)]
    assert len(places) == 1
    assert places[0].start <= at < places[0].stop
    hit = [entry for entry in container.entries if entry.offset <= at < entry.offset + entry.length]
    kept = [entry for entry in container.entries if entry not in hit]
    assert [item[0] for item in items if not isinstance(item, Damage)] == kept
    for entry in hit:
        with pytest.raises(ObjectDamaged, match=f"bytes {entry.offset} to"):
            read_segment(bytes(damaged[entry.offset : entry.offset + entry.length]), entry)
    if at >= read_footer(container.content).offset:
        with pytest.raises(ObjectDamaged, match=r"footer|index"):
            index_of(bytes(damaged))


@given(segments=some_kept_segments(), cut=st.integers(0, 10**6))
def test_a_container_that_was_cut_off_gives_its_whole_segments(segments: list[KeptSegment], cut: int) -> None:
    container = write_container(segments)
    content = container.content[: cut % len(container.content)]
    items = list(recover(content))
    whole = [entry for entry in container.entries if entry.offset + entry.length <= len(content)]
    assert [item[0] for item in items if not isinstance(item, Damage)] == whole
    assert isinstance(items[-1], Damage)
    with pytest.raises(ObjectDamaged):
        index_of(content)


@given(content=st.binary(max_size=300))
def test_any_bytes_give_segments_damage_or_a_typed_error(content: bytes) -> None:
    assert all(isinstance(item, Damage) for item in recover(HEADER + content))
    with pytest.raises(ObjectDamaged):
        index_of(content)


def test_another_segment_in_its_place_is_refused() -> None:
    container = write_container([a_kept_segment(sequence=1), a_kept_segment(sequence=2)])
    first, second = container.entries
    block = container.content[second.offset : second.offset + second.length]
    with pytest.raises(ObjectDamaged, match="not the one"):
        read_segment(block, first)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"org": "Main"}, "organisation"),
        ({"patient": "Jane Doe"}, "name"),
        ({"device": ""}, "name"),
        ({"lead": "x" * 17}, "lead"),
        ({"sequence": -1}, "64 bits"),
        ({"start_ns": 2**63}, "64 bits"),
        ({"fs": 20.0}, "sampling rate"),
        ({"gain": 0.0}, "gain"),
        ({"baseline": 2**31}, "baseline"),
        ({"samples": np.zeros(7501, np.int16)}, "minute"),
        ({"samples": np.zeros((2, 5), np.int16)}, "one lead"),
        ({"samples": np.zeros(5, np.int64)}, "one lead"),
    ],
)
def test_what_cannot_be_kept_is_refused(change: dict[str, object], says: str) -> None:
    with pytest.raises(InputInvalid, match=says):
        write_container([msgspec.structs.replace(a_kept_segment(), **change)])


def golden() -> Container:
    return write_container(
        [
            KeptSegment(
                "main", "p-1", "d-1", "MLII", 7, 1_764_000_000_000_000_000, 125.0, 200.0, 0, zigzag(3750)
            ),
            KeptSegment("main", "p-2", "d.2", "ECG", 0, -5, 360.0, 1e4, -12, zigzag(40).astype(np.int32)),
            KeptSegment("north-1", "p-1", "d-1", "ECG", 2**62, 0, 256.5, 0.5, 1, np.empty(0, np.int16)),
        ]
    )


def zigzag(size: int) -> np.ndarray:
    samples = (np.arange(size) * 7 % 100 - np.arange(size) * 3 % 41).astype(np.int16)
    samples[5:9] = -32768
    return samples


def test_the_container_of_version_1_is_read_forever() -> None:
    """The file was written once, by the first program that wrote containers. Never write it again."""
    content = GOLDEN.read_bytes()
    for found, expected in zip(segments_in(content), segments_in(golden().content), strict=True):
        assert same(found, expected)
        assert found.samples.dtype == expected.samples.dtype
    assert sum(not isinstance(item, Damage) for item in recover(content)) == 3
