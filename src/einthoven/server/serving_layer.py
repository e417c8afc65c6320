"""The serving layer: what is asked of a patient's views, from batch views and real-time views together."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import InputInvalid
from einthoven.server.real_time_views import RealTimeView, real_time_view, recent_stretches
from einthoven.server.view_days import Part, parts_in
from einthoven.signal.findings import BEAT_CLASSES
from einthoven.signal.quality import GRADE, LEAD_OFF, LOST, NOISE, SATURATED
from einthoven.signal.rules import Kind
from einthoven.storage import ObjectStore, Statements
from einthoven.storage.view_rows import SourceRow, rows_between, sources_of, versions_named
from einthoven.views import (
    DAY,
    DAY_NS,
    HOUR,
    Episodes,
    Measures,
    Past,
    Seen,
    Tallies,
    burden,
    cell_ns,
    columns_of,
    day_of,
    grid_ns,
    measures,
    onsets,
    rows_of,
    settled,
    unpack_days,
    unpack_episodes,
    unpack_part,
    unpack_tallies,
)

__all__ = [
    "RESOLUTIONS",
    "BeatColumns",
    "QualityRun",
    "Trend",
    "read_beats",
    "read_episodes",
    "read_quality",
    "read_trend",
]

RESOLUTIONS: Final[dict[str, int]] = {
    "1m": 1,
    "5m": 5,
    "15m": 15,
    "1h": HOUR,
    "6h": 6 * HOUR,
    "1d": DAY,
}
"""Minutes by name."""
ROWS_MAX: Final = 5000
"""Most rows of one answer."""
BEATS_SPAN_NS: Final = 24 * 3600 * 10**9
_MINUTE_NS: Final = 60 * 10**9
_EVER: Final = 2**40
"""A day that never comes."""


class Trend(msgspec.Struct, frozen=True, eq=False):
    """A patient's views over a span, a row for each bucket in which there is something."""

    from_ns: int
    until_ns: int
    """The span, widened to whole buckets."""
    width: int
    """Minutes of a bucket."""
    devices: tuple[str, ...]
    tallies: Tallies
    measures: Measures
    burden_ms: dict[Kind, NDArray[np.int64]]
    """How long each kind of rhythm lasted in each row."""
    onsets: dict[Kind, NDArray[np.int64]]
    """How many episodes of each kind began in each row."""
    batch_until_ns: int | None
    """The end of the day up to which batch views go, at most; what is later was found by the online path."""
    made_by: dict[str, dict[str, str]]
    """Versions of the functions that had a part in it, by the name of all together."""


class BeatColumns(msgspec.Struct, frozen=True, eq=False):
    """Beats of a span, in time order."""

    at_ns: NDArray[np.int64]
    classes: str
    confidences: NDArray[np.uint8]


class QualityRun(msgspec.Struct, frozen=True):
    """Seconds of one grade that follow each other."""

    start_ns: int
    until_ns: int
    grade: int
    reasons: tuple[str, ...]


class _Source(msgspec.Struct, frozen=True, eq=False):
    """One source and what the speed layer has of it."""

    row: SourceRow | None
    device: str
    live: RealTimeView | None
    """None of a recording."""


def read_trend(
    statements: Statements,
    org: str,
    patient: str,
    from_ns: int,
    until_ns: int,
    width: int | None,
    *,
    device: str | None = None,
    now_ns: int,
) -> Trend:
    """Counts, rates, variability, intervals and burden of a patient.

    Parameters
    ----------
    from_ns, until_ns : the span, UTC; widened to whole buckets.
    width : minutes of a bucket, one of `RESOLUTIONS`; None: the whole span is one, widened to whole hours.
    device : what this one sent alone. Of several that a patient wears at once each counts.
    now_ns : so far do episodes last that go on.

    Raises
    ------
    InputInvalid : the span ends before it begins, or has more than `ROWS_MAX` buckets.
    """
    if until_ns <= from_ns:
        raise InputInvalid(
            "the span ends before it begins.", where="until", remedy="Give an end after its beginning."
        )
    fine = HOUR if width is None else width
    first = from_ns // _MINUTE_NS // fine * fine
    last = -(-until_ns // (_MINUTE_NS * fine)) * fine
    if width is not None and (last - first) // width > ROWS_MAX:
        raise InputInvalid(
            f"the span has more than {ROWS_MAX} buckets.",
            where="resolution",
            remedy="Ask for a coarser resolution or a shorter span.",
        )
    sources = _sources(statements, org, patient, device)
    parts: list[Tallies] = []
    names: set[str] = set()
    batch_until: list[int] = []
    for one in sources:
        own, made_by = _tallies(statements, one, first, last, fine)
        parts += own
        names |= made_by
        if one.row is not None and one.row.newest is not None:
            batch_until.append((one.row.newest + 1) * DAY_NS)
    tallies = Tallies.merge(parts, fine).between(first, last)
    edges_ns = np.arange(first, last + fine, fine, dtype=np.int64) * _MINUTE_NS
    if width is None:
        tallies = tallies.as_one(first, last - first)
        edges_ns = edges_ns[[0, -1]]
    # Spans without anything have no row.
    there = (tallies.starts - first) // tallies.width
    episodes = _episodes(statements, sources, int(edges_ns[0]), int(edges_ns[-1]))
    return Trend(
        from_ns=first * _MINUTE_NS,
        until_ns=last * _MINUTE_NS,
        width=tallies.width,
        devices=tuple(sorted({one.device for one in sources})),
        tallies=tallies,
        measures=measures(tallies),
        burden_ms={kind: ms[there] for kind, ms in burden(episodes, edges_ns, now_ns).items()},
        onsets={kind: count[there] for kind, count in onsets(episodes, edges_ns).items()},
        batch_until_ns=max(batch_until, default=None),
        made_by={
            name: msgspec.json.decode(content)
            for name, content in versions_named(statements, sorted(names)).items()
        },
    )


def read_episodes(
    statements: Statements,
    org: str,
    patient: str,
    from_ns: int,
    until_ns: int,
    *,
    device: str | None = None,
    limit: int | None = None,
) -> list[Past]:
    """Episodes that touch a span, by onset, the first ``limit``; what goes on has no end."""
    found = _episodes(statements, _sources(statements, org, patient, device), from_ns, until_ns)
    touching = found[(found["onset_ns"] < until_ns) & (found["end_ns"] > from_ns)]
    order = np.lexsort((touching["kind"], touching["onset_ns"]))
    return rows_of(touching[order[:limit]])


def read_beats(
    statements: Statements,
    store: ObjectStore,
    org: str,
    patient: str,
    from_ns: int,
    until_ns: int,
    *,
    device: str | None = None,
) -> BeatColumns:
    """Every beat of a span of at most a day.

    Raises
    ------
    InputInvalid : the span is longer, or ends before it begins.
    RecordingNotFound, StoreUnavailable : see `ObjectStore`.
    """
    stretches = _stretches(statements, store, org, patient, from_ns, until_ns, device)
    at_ns = np.concatenate([grid_ns(one) for one in stretches] or [np.empty(0, np.int64)])
    classes = np.concatenate([one.classes for one in stretches] or [np.empty(0, np.uint8)])
    confidences = np.concatenate([one.confidences for one in stretches] or [np.empty(0, np.uint8)])
    order = np.argsort(at_ns, kind="stable")
    order = order[(at_ns[order] >= from_ns) & (at_ns[order] < until_ns)]
    letters = np.frombuffer(BEAT_CLASSES.encode(), np.uint8)
    return BeatColumns(at_ns[order], letters[classes[order]].tobytes().decode(), confidences[order])


def read_quality(
    statements: Statements,
    store: ObjectStore,
    org: str,
    patient: str,
    from_ns: int,
    until_ns: int,
    *,
    device: str | None = None,
) -> list[QualityRun]:
    """What could be read and what could not, by seconds; where there is no run nothing was received.

    Raises
    ------
    InputInvalid, RecordingNotFound, StoreUnavailable : see `read_beats`.
    """
    runs = []
    for one in _stretches(statements, store, org, patient, from_ns, until_ns, device):
        at_ns = cell_ns(one)
        inside = (at_ns >= from_ns) & (at_ns < until_ns)
        runs += list(_runs(at_ns[inside], one.cells[inside]))
    return sorted(runs, key=lambda run: run.start_ns)


_REASONS: Final = {LOST: "missing", LEAD_OFF: "lead_off", SATURATED: "saturated", NOISE: "noise"}
_TOLD: Final = GRADE | LOST | LEAD_OFF | SATURATED | NOISE
_SECOND_NS: Final = 10**9


def _runs(at_ns: NDArray[np.int64], cells: NDArray[np.uint16]) -> Iterator[QualityRun]:
    if not cells.size:
        return
    told = cells & _TOLD
    first = np.concatenate(([0], np.flatnonzero(np.diff(told)) + 1))
    for start, stop in zip(first.tolist(), [*first[1:].tolist(), told.size], strict=True):
        what = int(told[start])
        yield QualityRun(
            int(at_ns[start]),
            int(at_ns[stop - 1]) + _SECOND_NS,
            what & GRADE,
            tuple(name for bit, name in _REASONS.items() if what & bit),
        )


# ---------------------------------------------------------------- what they are read from


def _sources(statements: Statements, org: str, patient: str, device: str | None) -> list[_Source]:
    rows = sources_of(statements, org, patient, device)
    known = {one.stream: one for one in rows}
    return [
        *(_Source(one, one.device, None) for one in rows if one.stream is None),
        *(
            _Source(known.get(stream), name, real_time_view(statements, stream, known.get(stream)))
            for stream, name in _streams(statements, org, patient, device)
        ),
    ]


def _streams(statements: Statements, org: str, patient: str, device: str | None) -> list[tuple[int, str]]:
    """A patient's streams by number and device; one may be in no batch view yet."""
    which, values = ("", (org, patient)) if device is None else (" AND device = ?", (org, patient, device))
    sql = f"SELECT id, device FROM streams WHERE org = ? AND patient = ?{which} ORDER BY id"  # noqa: S608
    return [(stream, name) for stream, name in statements.rows(sql, values)]


def _tallies(
    statements: Statements, source: _Source, first: int, last: int, fine: int
) -> tuple[list[Tallies], set[str]]:
    """What a source has of these minutes, and who made it.

    The pieces at the borders of days are not summed into hours; nor is anything of the newest day, which the
    real-time view goes on with.
    """
    parts: list[Tallies] = []
    names: set[str] = set()
    row, live = source.row, source.live
    if row is not None and row.newest is not None:
        begin, end = first // DAY - 1, -(-last // DAY)

        def read(columns: str, start: int, stop: int, *, but: int | None = None) -> list[bytes]:
            rows = rows_between(
                statements, row.id, row.generation, start, stop, f"made_by, {columns}", but=but
            )
            names.update(made_by for made_by, *_ in rows)
            return [content for _, *contents in rows for content in contents]

        if fine < HOUR:
            parts += map(unpack_tallies, read("minutes", begin, end))
        else:
            parts += unpack_days(read("edges, hours", begin, end, but=row.newest))
            if begin <= row.newest <= end:
                parts += map(unpack_tallies, read("minutes", row.newest, row.newest))
    if live is not None:
        parts += [live.minutes, settled(live.carried)]
        if live.made_by:
            names.add(live.made_by)
    return parts, names


def _episodes(statements: Statements, sources: Sequence[_Source], from_ns: int, until_ns: int) -> Episodes:
    """Episodes that may touch a span: those that ended in it or behind it, and those that go on."""
    contents: list[bytes] = []
    others: list[Past] = []
    for one in sources:
        if one.row is not None and one.row.newest is not None:
            rows = rows_between(
                statements,
                one.row.id,
                one.row.generation,
                day_of(from_ns) - 1,
                _EVER,
                "ended",
                reach_ns=until_ns,
            )
            contents += [row[0] for row in rows]
        if one.live is not None:
            others += [*one.live.ended, *one.live.going_on]
    return np.concatenate([unpack_episodes(contents), columns_of(others)])


def _stretches(
    statements: Statements,
    store: ObjectStore,
    org: str,
    patient: str,
    from_ns: int,
    until_ns: int,
    device: str | None,
) -> list[Seen]:
    if until_ns <= from_ns:
        raise InputInvalid(
            "the span ends before it begins.", where="until", remedy="Give an end after its beginning."
        )
    if until_ns - from_ns > BEATS_SPAN_NS:
        raise InputInvalid(
            "the span is longer than a day.", where="until", remedy="Ask for one day after the other."
        )
    found: list[Seen] = []
    days = day_of(from_ns) - 1, day_of(until_ns)
    sources = sources_of(statements, org, patient, device)
    for source in sources:
        for (content,) in rows_between(statements, source.id, source.generation, *days, "parts"):
            for part in parts_in(content):
                if _meets(part, from_ns, until_ns):
                    found += unpack_part(store.get(part.name))
    known = {one.stream: one for one in sources}
    for stream, _ in _streams(statements, org, patient, device):
        found += recent_stretches(statements, stream, known.get(stream))
    return found


def _meets(part: Part, from_ns: int, until_ns: int) -> bool:
    return part.start_ns < until_ns and part.until_ns > from_ns
