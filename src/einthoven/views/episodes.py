"""Episodes as columns, and how much of the time they took."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, get_args

import numpy as np
from numpy.typing import NDArray

from einthoven.signal.rules import KINDS, Kind, Priority
from einthoven.views.seen import Past

__all__ = ["EPISODE", "GOES_ON", "PRIORITIES", "Episodes", "burden", "columns_of", "onsets", "rows_of"]

PRIORITIES: Final[tuple[Priority, ...]] = get_args(Priority)
GOES_ON: Final = np.iinfo(np.int64).max
"""The end of an episode that has none yet."""
EPISODE: Final = np.dtype(
    [
        ("onset_ns", "<i8"),
        ("end_ns", "<i8"),
        ("kind", "u1"),
        ("priority", "u1"),
        ("confidence", "u1"),
        ("grade", "u1"),
    ]
)
Episodes = NDArray[Any]
"""Episodes as rows of `EPISODE`."""
_MS: Final = 1_000_000


def columns_of(episodes: Sequence[Past]) -> Episodes:
    """Episodes as rows."""
    return np.array(
        [
            (
                one.onset_ns,
                GOES_ON if one.end_ns is None else one.end_ns,
                KINDS.index(one.kind),
                PRIORITIES.index(one.priority),
                one.confidence,
                one.grade,
            )
            for one in episodes
        ],
        EPISODE,
    )


def rows_of(episodes: Episodes) -> list[Past]:
    """Rows as episodes."""
    return [
        Past(
            kind=KINDS[kind],
            onset_ns=onset_ns,
            end_ns=None if end_ns == GOES_ON else end_ns,
            priority=PRIORITIES[priority],
            confidence=confidence,
            grade=grade,
        )
        for onset_ns, end_ns, kind, priority, confidence, grade in episodes.tolist()
    ]


def burden(episodes: Episodes, edges_ns: NDArray[np.int64], now_ns: int) -> dict[Kind, NDArray[np.int64]]:
    """How long each kind lasted in each span.

    Parameters
    ----------
    edges_ns : where the spans begin, and where the last one ends; shape (spans + 1,), rising.
    now_ns : so far do those last that go on.

    Returns
    -------
    Milliseconds by kind, shape (spans,); kinds that did not occur are left out.
    """
    edges = (edges_ns - edges_ns[0]) // _MS
    onset = (np.maximum(episodes["onset_ns"], edges_ns[0]) - edges_ns[0]) // _MS
    end = (
        np.minimum(np.maximum(episodes["end_ns"], edges_ns[0]), max(now_ns, edges_ns[0])) - edges_ns[0]
    ) // _MS
    end = np.maximum(end, onset)
    found: dict[Kind, NDArray[np.int64]] = {}
    for number, kind in _kinds(episodes):
        here = episodes["kind"] == number
        lasted = np.diff(_before(onset[here], edges) - _before(end[here], edges))
        if lasted.any():
            found[kind] = lasted
    return found


def onsets(episodes: Episodes, edges_ns: NDArray[np.int64]) -> dict[Kind, NDArray[np.int64]]:
    """How many episodes of each kind began in each span; see `burden`."""
    found: dict[Kind, NDArray[np.int64]] = {}
    for number, kind in _kinds(episodes):
        counts, _ = np.histogram(episodes["onset_ns"][episodes["kind"] == number], edges_ns)
        # The last bin of a histogram has both its edges.
        counts[-1] -= np.count_nonzero((episodes["kind"] == number) & (episodes["onset_ns"] == edges_ns[-1]))
        if counts.any():
            found[kind] = counts.astype(np.int64)
    return found


def _kinds(episodes: Episodes) -> Iterable[tuple[int, Kind]]:
    return [(number, KINDS[number]) for number in np.unique(episodes["kind"]).tolist()]


def _before(times: NDArray[np.int64], edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum over all times before an edge of how long before; for each edge."""
    times = np.sort(times)
    sums = np.concatenate(([0], np.cumsum(times)))
    count = np.searchsorted(times, edges)
    return np.asarray(count * edges - sums[count], np.int64)
