"""The master dataset: every segment that was accepted, in containers that are never changed.

A container is named ``segments/<org>/<yyyy>/<mm>/<dd>/<hh>-<digest>.eseg`` by the hour (UTC) in which its
segments begin and by its content. So sealing the same segments again gives the same name and changes nothing,
and whoever looks for a span needs no database to know which containers to ask.
"""

import re
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Final

import msgspec

from einthoven.errors import EinthovenError, ObjectDamaged
from einthoven.signal.recording import SEGMENT_MAX_S
from einthoven.storage.blocks import KeptSegment, block_of, head_of
from einthoven.storage.containers import (
    FOOTER_BYTES,
    Damage,
    Entry,
    container_of_blocks,
    read_footer,
    read_index,
    read_segment,
    recover,
)
from einthoven.storage.objects import ObjectStore
from einthoven.storage.spans import Located, Span, in_runs

__all__ = ["MasterDataset", "Problem", "SealedObject", "Verification"]

_ROOT: Final = "segments"
_NAME: Final = re.compile(
    _ROOT + r"/(?P<org>[a-z0-9][a-z0-9-]{0,39})/(?P<hour>\d{4}/\d\d/\d\d/\d\d)-(?P<digest>[0-9a-f]{32})\.eseg"
)
_TAIL_BYTES: Final = 2**17
"""Read from the end at once: the index of some ten thousand segments."""
_REMEMBERED: Final = 200_000
"""Entries of indexes that are remembered, some 100 MB; they never change."""
_NS: Final = 10**9


class SealedObject(msgspec.Struct, frozen=True):
    """A container that is safe in the store."""

    name: str
    size: int
    """Bytes."""
    entries: tuple[Entry, ...]
    """Its segments: what they are, offset and length."""


class Problem(msgspec.Struct, frozen=True):
    """Something in the dataset that is not as it was written."""

    name: str
    what: str
    start: int | None = None
    """First byte that is concerned, if it is a matter of bytes."""
    stop: int | None = None


class Verification(msgspec.Struct, frozen=True):
    """What a dataset holds, every byte checked."""

    objects: int
    segments: int
    samples: int
    size: int
    """Bytes."""
    problems: tuple[Problem, ...]


class MasterDataset:
    """The master dataset in an object store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._indexes: OrderedDict[str, tuple[Entry, ...]] = OrderedDict()
        self._remembered = 0

    def seal(self, segments: Iterable[KeptSegment]) -> tuple[SealedObject, ...]:
        """Keep these segments: a container for each organisation and hour; all are safe when this returns.

        The same segments give the same answer in any order and however often; those wholly alike count once.

        Raises
        ------
        InputInvalid : a segment that cannot be kept.
        StoreUnavailable : try again; what was sealed meanwhile does no harm.
        """
        return self.seal_blocks(block_of(segment.head, segment) for segment in segments)

    def seal_blocks(self, blocks: Iterable[bytes]) -> tuple[SealedObject, ...]:
        """The same for segments that are blocks already, as a journal keeps them."""
        groups: dict[tuple[str, str], set[bytes]] = defaultdict(set)
        for block in blocks:
            head = head_of(block)
            groups[head.org, _hour(head.start_ns)].add(block)
        sealed = []
        for (org, hour), group in sorted(groups.items()):
            container = container_of_blocks(group)
            name = f"{_ROOT}/{org}/{hour}-{container.digest}.eseg"
            self._store.create(name, container.content)
            sealed.append(SealedObject(name, len(container.content), container.entries))
        return tuple(sealed)

    def entries(self, name: str) -> tuple[Entry, ...]:
        """What a container holds; where its index is damaged, what can be recovered.

        Raises
        ------
        RecordingNotFound, StoreUnavailable : see `ObjectStore`.
        """
        found = self._indexes.get(name)
        if found is not None:
            self._indexes.move_to_end(name)
            return found
        found = self._indexes[name] = self._read_entries(name)
        self._remembered += len(found)
        while self._remembered > _REMEMBERED and len(self._indexes) > 1:
            self._remembered -= len(self._indexes.popitem(last=False)[1])
        return found

    def find(
        self,
        org: str,
        patient: str,
        start_ns: int,
        until_ns: int,
        *,
        device: str | None = None,
        lead: str | None = None,
    ) -> list[Located]:
        """A patient's segments with a sample in a span, as they lie.

        Raises
        ------
        ReferenceRefused, StoreUnavailable : see `ObjectStore`.
        """
        return [
            Located(name, entry)
            for name in self._names(org, start_ns - round(SEGMENT_MAX_S * _NS), until_ns)
            for entry in self.entries(name)
            if (entry.org, entry.patient) == (org, patient)
            and (device is None or entry.device == device)
            and (lead is None or entry.lead == lead)
            and entry.start_ns < until_ns
            and entry.start_ns + entry.count * _NS / entry.fs > start_ns
        ]

    def span(
        self,
        org: str,
        patient: str,
        start_ns: int,
        until_ns: int,
        *,
        device: str | None = None,
        lead: str | None = None,
        damaged_is_missing: bool = False,
    ) -> Span:
        """A patient's span as a recording; see `Span`.

        Raises
        ------
        RecordingNotFound : nothing of it is kept.
        InputInvalid : several devices, leads, rates or gains.
        ReferenceRefused, StoreUnavailable : see `ObjectStore`.
        """
        found = self.find(org, patient, start_ns, until_ns, device=device, lead=lead)
        return Span(self._store, patient, found, start_ns, until_ns, damaged_is_missing=damaged_is_missing)

    def segments(self, located: Iterable[Located]) -> Iterator[tuple[Entry, KeptSegment | None]]:
        """These segments in their order; None for one that is damaged.

        Raises
        ------
        RecordingNotFound, StoreUnavailable : see `ObjectStore`.
        """
        for run in in_runs(located):
            first, last = run[0].entry, run[-1].entry
            content = self._store.read(run[0].name, first.offset, last.offset + last.length - first.offset)
            for one in run:
                at = one.entry.offset - first.offset
                try:
                    yield one.entry, read_segment(content[at : at + one.entry.length], one.entry, one.name)
                except ObjectDamaged:
                    yield one.entry, None

    def verify(self, org: str | None = None) -> Verification:
        """Read everything, of one organisation or of all, and check every byte, name and count.

        Raises
        ------
        ReferenceRefused, StoreUnavailable : see `ObjectStore`.
        """
        objects = segments = samples = size = 0
        problems: list[Problem] = []
        for name in self._store.names(_ROOT if org is None else f"{_ROOT}/{org}"):
            objects += 1
            content = self._store.get(name)
            size += len(content)
            found, wrong = _checked(name, content)
            segments += len(found)
            samples += sum(entry.count for entry in found)
            problems += wrong
        return Verification(objects, segments, samples, size, tuple(problems))

    def _read_entries(self, name: str) -> tuple[Entry, ...]:
        tail = self._store.read_end(name, _TAIL_BYTES)
        try:
            footer = read_footer(tail, name)
            if footer.length + FOOTER_BYTES <= len(tail):
                index = tail[len(tail) - FOOTER_BYTES - footer.length : -FOOTER_BYTES]
            else:
                index = self._store.read(name, footer.offset, footer.length)
            return read_index(index, footer, name)
        except ObjectDamaged:
            items = recover(self._store.get(name))
            return tuple(item[0] for item in items if not isinstance(item, Damage))

    def _names(self, org: str, start_ns: int, until_ns: int) -> Iterator[str]:
        """Containers whose segments begin between these times."""
        first, last = _hour(start_ns), _hour(max(start_ns, until_ns))
        day = _time(start_ns).replace(hour=0)
        while f"{day:%Y/%m/%d}" <= last:
            for name in self._store.names(f"{_ROOT}/{org}/{day:%Y/%m/%d}"):
                match = _NAME.fullmatch(name)
                if match and first <= match["hour"] <= last:
                    yield name
            day += timedelta(days=1)


def _checked(name: str, content: bytes) -> tuple[list[Entry], list[Problem]]:
    """The whole segments of a container, and what is wrong with it."""
    items = list(recover(content))
    found = [item[0] for item in items if not isinstance(item, Damage)]
    problems = [
        Problem(name, "these bytes are damaged", item.start, item.stop)
        for item in items
        if isinstance(item, Damage)
    ]
    match = _NAME.fullmatch(name)
    if match is None:
        return found, [*problems, Problem(name, "this is no container's name")]
    if blake2b(content, digest_size=16).hexdigest() != match["digest"]:
        problems.append(Problem(name, "the content is not what the name says"))
    if any(entry.org != match["org"] or _hour(entry.start_ns) != match["hour"] for entry in found):
        problems.append(Problem(name, "a segment of another organisation or hour lies in it"))
    if not problems:
        try:
            footer = read_footer(content)
            index = content[footer.offset : footer.offset + footer.length]
            if list(read_index(index, footer)) != found:
                problems.append(Problem(name, "the index tells of other segments"))
        except EinthovenError as error:
            problems.append(Problem(name, error.what))
    return found, problems


def _time(at_ns: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=at_ns // _NS // 3600 * 3600)


def _hour(at_ns: int) -> str:
    return f"{_time(at_ns):%Y/%m/%d/%H}"
