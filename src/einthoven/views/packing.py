"""Views as bytes: what is read often and much of lies plain, what is read seldom is packed."""

from collections.abc import Iterable, Sequence
from typing import Final, NoReturn, cast

import msgspec
import numpy as np

from einthoven.errors import ObjectDamaged
from einthoven.signal.packing import pack, unpack
from einthoven.signal.rules import KINDS, Kind, Priority
from einthoven.views.episodes import EPISODE, PRIORITIES, Episodes
from einthoven.views.growing import Carried
from einthoven.views.seen import Seen
from einthoven.views.tallies import FIELDS, Tallies

__all__ = [
    "pack_carried",
    "pack_episodes",
    "pack_part",
    "pack_tallies",
    "unpack_carried",
    "unpack_days",
    "unpack_episodes",
    "unpack_part",
    "unpack_tallies",
]

_ENCODER: Final = msgspec.msgpack.Encoder()


class _Tallies(msgspec.Struct, frozen=True, array_like=True):
    width: int
    count: int
    is_plain: bool
    starts: bytes
    rows: bytes


class _Episodes(msgspec.Struct, frozen=True, array_like=True):
    numbers: tuple[tuple[str, ...], tuple[str, ...]]
    """Kinds and priorities in the order of their numbers: a later program may count them otherwise."""
    rows: bytes


class _Stretch(msgspec.Struct, frozen=True, array_like=True):
    origin_ns: int
    beats: int
    grid: bytes
    classes: bytes
    confidences: bytes
    first_cell: int
    cells: int
    packed_cells: bytes


class _Carried(msgspec.Struct, frozen=True, array_like=True):
    origin_ns: int
    next_cell: int
    settled: int
    grid: bytes
    classes: bytes
    sound: bytes
    first_cell: int
    cells: bytes
    run_ms: bytes
    nn_ms: int


_TALLIES: Final = msgspec.msgpack.Decoder(_Tallies)
_EPISODES: Final = msgspec.msgpack.Decoder(_Episodes)
_NUMBERS: Final[tuple[tuple[str, ...], tuple[str, ...]]] = (KINDS, PRIORITIES)
_PART: Final = msgspec.msgpack.Decoder(list[_Stretch])
_CARRIED: Final = msgspec.msgpack.Decoder(_Carried)


def pack_tallies(tallies: Tallies, *, is_plain: bool) -> bytes:
    """Tallies as bytes; plain ones are quick to read, the others small."""
    starts, rows = tallies.starts, tallies.rows
    if is_plain:
        said = _Tallies(tallies.width, len(tallies), True, starts.tobytes(), rows.tobytes())
    else:
        columns = np.ascontiguousarray(rows.T).ravel()
        said = _Tallies(tallies.width, len(tallies), False, pack(starts), pack(columns))
    return _ENCODER.encode(said)


def unpack_tallies(content: bytes) -> Tallies:
    """Tallies that were packed.

    Raises
    ------
    ObjectDamaged : the bytes are others.
    """
    try:
        said = _TALLIES.decode(content)
        if said.is_plain:
            return _plain_ones(said.width, [said])
        starts = unpack(said.starts, np.int64, said.count)
        columns = unpack(said.rows, np.int64, said.count * FIELDS).reshape(FIELDS, said.count)
    except (msgspec.MsgspecError, ValueError):
        _refuse("tallies")
    return Tallies(said.width, starts, np.ascontiguousarray(columns.T))


def unpack_days(contents: Iterable[bytes]) -> list[Tallies]:
    """Plain tallies of many days, those of one width together: quicker than one by one.

    Their rows stand as they came, so they are to be merged, whatever their days.

    Raises
    ------
    ObjectDamaged : the bytes are others.
    """
    by_width: dict[int, list[_Tallies]] = {}
    try:
        for content in contents:
            said = _TALLIES.decode(content)
            by_width.setdefault(said.width, []).append(said)
        return [_plain_ones(width, these) for width, these in by_width.items()]
    except (msgspec.MsgspecError, ValueError):
        _refuse("tallies")


def _plain_ones(width: int, these: Sequence[_Tallies]) -> Tallies:
    starts = np.frombuffer(b"".join([one.starts for one in these]), np.int64)
    rows = np.frombuffer(b"".join([one.rows for one in these]), np.int64)
    return Tallies(width, starts, rows.reshape(starts.size, FIELDS))


def pack_episodes(episodes: Episodes) -> bytes:
    """Episodes as bytes."""
    return _ENCODER.encode(_Episodes(_NUMBERS, episodes.tobytes()))


def unpack_episodes(contents: Iterable[bytes]) -> Episodes:
    """Episodes of several packed columns, one behind the other.

    Raises
    ------
    ObjectDamaged : the bytes are others.
    """
    try:
        said = [_EPISODES.decode(content) for content in contents]
        if all(one.numbers == _NUMBERS for one in said):
            return np.frombuffer(b"".join([one.rows for one in said]), EPISODE)
        return np.concatenate(list(map(_renumbered, said)))
    except (msgspec.MsgspecError, ValueError):
        _refuse("episodes")


def _renumbered(said: _Episodes) -> Episodes:
    """Rows of a program that counted kinds and priorities otherwise."""
    kinds, priorities = said.numbers
    rows = np.frombuffer(said.rows, EPISODE).copy()
    rows["kind"] = np.array([KINDS.index(cast("Kind", name)) for name in kinds])[rows["kind"]]
    rows["priority"] = np.array([PRIORITIES.index(cast("Priority", name)) for name in priorities])[
        rows["priority"]
    ]
    return rows


def pack_part(stretches: Sequence[Seen]) -> bytes:
    """Beats and seconds as bytes, without episodes and intervals."""
    return _ENCODER.encode(
        [
            _Stretch(
                one.origin_ns,
                one.grid.size,
                pack(one.grid),
                pack(one.classes),
                pack(one.confidences),
                one.first_cell,
                one.cells.size,
                pack(one.cells),
            )
            for one in stretches
        ]
    )


def unpack_part(content: bytes) -> list[Seen]:
    """Beats and seconds that were packed.

    Raises
    ------
    ObjectDamaged : the bytes are others.
    """
    try:
        return [
            Seen(
                one.origin_ns,
                unpack(one.grid, np.int64, one.beats),
                unpack(one.classes, np.uint8, one.beats),
                unpack(one.confidences, np.uint8, one.beats),
                one.first_cell,
                unpack(one.packed_cells, np.uint16, one.cells),
            )
            for one in _PART.decode(content)
        ]
    except (msgspec.MsgspecError, ValueError):
        _refuse("beats")


def pack_carried(carried: Carried | None) -> bytes:
    """What is carried on, as bytes; none for nothing."""
    if carried is None:
        return b""
    return _ENCODER.encode(
        _Carried(
            carried.origin_ns,
            carried.next_cell,
            carried.settled,
            carried.grid.tobytes(),
            carried.classes.tobytes(),
            carried.sound.tobytes(),
            carried.first_cell,
            carried.cells.tobytes(),
            carried.run_ms.tobytes(),
            carried.nn_ms,
        )
    )


def unpack_carried(content: bytes) -> Carried | None:
    """What was carried on.

    Raises
    ------
    ObjectDamaged : the bytes are others.
    """
    if not content:
        return None
    try:
        one = _CARRIED.decode(content)
        return Carried(
            one.origin_ns,
            one.next_cell,
            one.settled,
            np.frombuffer(one.grid, np.int64),
            np.frombuffer(one.classes, np.uint8),
            np.frombuffer(one.sound, np.bool_),
            one.first_cell,
            np.frombuffer(one.cells, np.uint16),
            np.frombuffer(one.run_ms, np.int64),
            one.nn_ms,
        )
    except (msgspec.MsgspecError, ValueError):
        _refuse("what is carried on")


def _refuse(what: str) -> NoReturn:
    raise ObjectDamaged(
        f"a view's {what} cannot be read.", where="views", remedy="Run `einthoven views rebuild`."
    )
