"""The master dataset's container: many segments in one object that is written once and never changed.

``docs/reference/container.md`` describes it byte by byte: a header, the segments, each with what it is and
its own checksum, an index of them, and a footer that says where the index is. A reader needs the end of the
object and then the segments that it wants; `recover` needs neither index nor footer.

Segments lie in order of organisation, patient, device, lead, time and sequence, whatever order they come in:
what a patient's span needs lies together, and the same segments make the same bytes.
"""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from struct import Struct
from typing import Any, Final, NoReturn

import msgspec
import numpy as np

from einthoven.errors import EinthovenError, InputInvalid, ObjectDamaged
from einthoven.signal.packing import pack, unpack
from einthoven.storage.blocks import MARK, Head, KeptSegment, block_of, block_sum, head_of, segment_of

__all__ = [
    "FOOTER_BYTES",
    "HEADER",
    "Container",
    "Damage",
    "Entry",
    "Footer",
    "container_of_blocks",
    "read_footer",
    "read_index",
    "read_segment",
    "recover",
    "write_container",
]

HEADER: Final = b"EINTHSEG\x01\x00\x00\x00" + block_sum(b"EINTHSEG\x01\x00\x00\x00")[:4]
"""Name, version 1, flags 0 (both 16 bits, little-endian), checksum: 16 bytes, always the same."""
_END: Final = b"GESHTNIE"
_FOOTER: Final = Struct("<QQQQ16s")
FOOTER_BYTES: Final = _FOOTER.size + 8 + len(_END)
_MOST_SEGMENTS: Final = 2**22
_DIGEST_BYTES: Final = 16


class Entry(Head, frozen=True, array_like=True):
    """What a segment is, and where it lies in its container."""

    offset: int
    """Its first byte."""
    length: int
    """Its bytes, checksum included."""

    @property
    def order(self) -> tuple[str, str, str, str, int, int]:
        """Segments lie in this order."""
        return _order(self)


class Footer(msgspec.Struct, frozen=True):
    """Where the index lies, and what it must be."""

    offset: int
    length: int
    segments: int
    samples: int
    digest: bytes


class Container(msgspec.Struct, frozen=True):
    """A container's bytes and what they hold."""

    content: bytes
    entries: tuple[Entry, ...]
    digest: str
    """BLAKE2b of the content, 16 bytes in hexadecimal."""


class Damage(msgspec.Struct, frozen=True):
    """Bytes of a container that are not what was written."""

    start: int
    stop: int


class _Index(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The entries as columns."""

    texts: list[str]
    """All texts, each once, sorted."""
    reals: list[float]
    """All rates and gains, each once, sorted."""
    columns: list[bytes]
    """Each field of `Entry` as packed integers; texts and reals as places in the tables."""


_TEXTS: Final = {"org", "patient", "device", "lead"}
_REALS: Final = {"fs", "gain"}


def write_container(segments: Iterable[KeptSegment]) -> Container:
    """One container of these segments.

    Raises
    ------
    InputInvalid : a segment with a name, number or array that is not kept.
    """
    return container_of_blocks(block_of(segment.head, segment) for segment in segments)


def container_of_blocks(whole: Iterable[bytes]) -> Container:
    """One container of segments that are blocks already.

    Raises
    ------
    InputInvalid : one that is not whole.
    """
    blocks = sorted(((_order(head), block, head) for block, head in _headed(whole)), key=lambda one: one[:2])
    at = len(HEADER)
    entries = []
    for _, block, head in blocks:
        entries.append(Entry(**msgspec.structs.asdict(head), offset=at, length=len(block)))
        at += len(block)
    index = _index_of(entries)
    samples = sum(entry.count for entry in entries)
    footer = _FOOTER.pack(at, len(index), len(entries), samples, _digest(index).digest())
    content = b"".join([HEADER, *(block for _, block, _ in blocks), index, footer, block_sum(footer), _END])
    return Container(content, tuple(entries), _digest(content).hexdigest())


def _headed(blocks: Iterable[bytes]) -> Iterator[tuple[bytes, Head]]:
    for block in blocks:
        yield block, head_of(block)


def read_footer(tail: bytes, name: str = "") -> Footer:
    """The footer, which is the last `FOOTER_BYTES` of a container; ``tail`` may be longer.

    Raises
    ------
    ObjectDamaged : it is damaged, or there is none.
    """
    found = tail[-FOOTER_BYTES:]
    body = found[: _FOOTER.size]
    if len(found) < FOOTER_BYTES or found[_FOOTER.size :] != block_sum(body) + _END:
        _refuse("the container's footer is damaged or cut off.", name)
    return Footer(*_FOOTER.unpack(body))


def read_index(index: bytes, footer: Footer, name: str = "") -> tuple[Entry, ...]:
    """The entries; ``index`` are the bytes that the footer tells of.

    Raises
    ------
    ObjectDamaged : they are damaged.
    """
    if _digest(index).digest() != footer.digest or not 0 <= footer.segments <= _MOST_SEGMENTS:
        _refuse("the container's index is damaged.", name)
    try:
        found = msgspec.msgpack.decode(index, type=_Index)
        columns: list[Sequence[Any]] = []
        for field, packed in zip(Entry.__struct_fields__, found.columns, strict=True):
            numbers = unpack(packed, np.int64, footer.segments).tolist()
            table = found.texts if field in _TEXTS else found.reals if field in _REALS else None
            columns.append(numbers if table is None else [table[number] for number in numbers])
        entries = tuple(Entry(*row) for row in zip(*columns, strict=True))
    except (msgspec.MsgspecError, UnicodeDecodeError, EinthovenError, IndexError, ValueError):
        _refuse("the container's index cannot be read.", name)
    if len(entries) != footer.segments or sum(entry.count for entry in entries) != footer.samples:
        _refuse("the container's index does not hold as much as its footer says.", name)
    at = len(HEADER)
    for entry in entries:
        if entry.offset != at or entry.length <= 0:
            _refuse("the container's index has a hole.", name)
        at += entry.length
    if at != footer.offset:
        _refuse("the container's index has a hole.", name)
    return entries


def read_segment(block: bytes, entry: Entry, name: str = "") -> KeptSegment:
    """The segment whose bytes, from ``entry.offset`` on, these are.

    Raises
    ------
    ObjectDamaged : they are damaged, or another segment's; the message names the place.
    """
    place = f"{name or 'container'}, bytes {entry.offset} to {entry.offset + entry.length}"
    try:
        head, segment, length = segment_of(block)
    except InputInvalid as error:
        _refuse(error.what, place)
    if length != len(block) or (*msgspec.structs.astuple(head), length) != (
        *msgspec.structs.astuple(entry)[:-2],
        entry.length,
    ):
        _refuse("the segment is not the one that the index tells of.", place)
    return segment


def recover(content: bytes) -> Iterator[tuple[Entry, KeptSegment] | Damage]:
    """Every segment that can still be read, and the bytes between that cannot; nothing else is needed."""
    done = 0
    if content.startswith(HEADER):
        done = len(HEADER)
    at = content.find(MARK)
    while at >= 0:
        try:
            head, segment, length = segment_of(content, at)
        except InputInvalid:
            at = content.find(MARK, at + 1)
            continue
        if at > done:
            yield Damage(done, at)
        yield Entry(**msgspec.structs.asdict(head), offset=at, length=length), segment
        done = at + length
        at = content.find(MARK, done)
    if not _ends(content, done):
        yield Damage(done, len(content))


def _ends(content: bytes, at: int) -> bool:
    """Whether nothing but a whole index and footer begins there."""
    try:
        footer = read_footer(content[at:])
        read_index(content[footer.offset : footer.offset + footer.length], footer)
    except ObjectDamaged:
        return False
    return footer.offset == at and len(content) == at + footer.length + FOOTER_BYTES


def _order(head: Head) -> tuple[str, str, str, str, int, int]:
    return head.org, head.patient, head.device, head.lead, head.start_ns, head.sequence


def _index_of(entries: list[Entry]) -> bytes:
    texts = sorted({getattr(entry, field) for entry in entries for field in _TEXTS})
    reals = sorted({getattr(entry, field) for entry in entries for field in _REALS})
    places: dict[Any, int] = {text: place for place, text in enumerate(texts)}
    places |= {real: place for place, real in enumerate(reals)}
    columns = []
    for field in Entry.__struct_fields__:
        values = [getattr(entry, field) for entry in entries]
        if field in _TEXTS or field in _REALS:
            values = [places[value] for value in values]
        columns.append(pack(np.array(values, np.int64)))
    return msgspec.msgpack.encode(_Index(texts, reals, columns))


def _digest(content: bytes) -> Any:
    return blake2b(content, digest_size=_DIGEST_BYTES)


def _refuse(what: str, where: str) -> NoReturn:
    raise ObjectDamaged(
        what,
        where=where or "container",
        remedy="Restore the object from a copy; the rest of it stays readable.",
    )
