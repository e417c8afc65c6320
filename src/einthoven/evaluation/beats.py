"""Beat by beat, as WFDB's ``bxb`` counts (EC57): pairing, border, fibrillation, shutdown, statistics."""

import itertools
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.evaluation.labels import BXB, DE_CHAZAL, Labels
from einthoven.evaluation.pairing import pair_beats

__all__ = ["CLASS_MAPS", "ROWS", "BeatTable", "beat_table", "inside"]

CLASS_MAPS: Final = {"bxb": BXB, "de-chazal": DE_CHAZAL}
ROWS: Final = "NSVFQOX"
"""Rows: the reference's classes, O (no beat there) and X (no beat there, in shutdown).

Columns: the test's classes, o (missed) and x (missed in shutdown). O and X against o and x stay empty."""
WINDOW_S: Final = 0.15


class BeatTable(msgspec.Struct, frozen=True, eq=False):
    """Counts of one record, or of many."""

    counts: NDArray[np.int64]
    """Shape (7, 7): rows and columns as `ROWS`."""
    shutdown_s: float = 0.0
    rr_error_ms: float | None = None
    """Root mean square of the RR differences over beats that were paired in a row."""

    def _of(self, rows: str, columns: str) -> int:
        return int(self.counts[np.ix_([ROWS.index(r) for r in rows], [ROWS.index(c) for c in columns])].sum())

    def qrs(self) -> tuple[int, int, int]:
        """Found, missed, invented: any two real beats are a pair, whatever their classes."""
        return self._of("NSVFQ", "NSVFQ"), self._of("NSVFQ", "OX"), self._of("OX", "NSVFQ")

    def veb(self) -> tuple[int, int, int]:
        """V called V; V called anything else; N, S or nothing called V. F and Q called V are neither."""
        return self._of("V", "V"), self._of("V", "NSFQOX"), self._of("NSOX", "V")

    def sveb(self) -> tuple[int, int, int]:
        """S called S; S called anything else; N, V, F or nothing called S. Q called S is neither."""
        return self._of("S", "S"), self._of("S", "NVFQOX"), self._of("NVFOX", "S")

    def veb_fpr(self) -> float | None:
        """False V over everything that is not V."""
        false = self._of("NSOX", "V")
        true = self._of("NSFQOX", "NSFQOX")
        return false / (false + true) if false + true else None

    def __add__(self, other: "BeatTable") -> "BeatTable":
        return BeatTable(self.counts + other.counts, self.shutdown_s + other.shutdown_s, None)


def inside(samples: NDArray[np.int64], spans: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which samples lie in one of the spans, borders included."""
    found = np.zeros(samples.size, np.bool_)
    for begin, end in spans:
        found |= (samples >= begin) & (samples <= end)
    return found


def beat_table(reference: Labels, test: Labels, *, fs: float, start_s: float = 300.0, end: int) -> BeatTable:
    """Compare beat by beat from ``start_s`` to sample ``end``, at the record's own rate ``fs``.

    A test beat just before the start may pair with a reference beat just after it; one just after it that
    finds no partner is dropped. Beats inside the reference's fibrillation do not count on either side.
    """
    start, window = round(start_s * fs), int(WINDOW_S * fs)
    a = (
        (reference.beats >= start)
        & (reference.beats <= end)
        & ~inside(reference.beats, reference.fibrillation)
    )
    b = (test.beats >= start - window) & (test.beats <= end) & ~inside(test.beats, reference.fibrillation)
    ours, theirs = test.beats[b], reference.beats[a]
    our_classes, their_classes = test.classes[b], reference.classes[a]
    pairs = pair_beats(theirs, ours, window)
    counts = np.zeros((len(ROWS), len(ROWS)), np.int64)
    missed, extra = np.ones(theirs.size, np.bool_), np.ones(ours.size, np.bool_)
    for i, j in pairs:
        counts[ROWS.index(their_classes[i]), ROWS.index(our_classes[j])] += 1
        missed[i] = extra[j] = False
    extra &= ours >= start + window
    off_theirs, off_ours = inside(theirs, test.shutdown), inside(ours, test.shutdown)
    for i in np.flatnonzero(missed).tolist():
        counts[ROWS.index(their_classes[i]), ROWS.index("X" if off_theirs[i] else "O")] += 1
    for j in np.flatnonzero(extra).tolist():
        counts[ROWS.index("X" if off_ours[j] else "O"), ROWS.index(our_classes[j])] += 1
    clipped = np.clip(test.shutdown, start, end)
    shutdown_s = float((clipped[:, 1] - clipped[:, 0]).sum() / fs)
    return BeatTable(counts, shutdown_s, _rr_error_ms(pairs, theirs, ours, fs))


def _rr_error_ms(
    pairs: list[tuple[int, int]], theirs: NDArray[np.int64], ours: NDArray[np.int64], fs: float
) -> float | None:
    errors = [
        (ours[j] - ours[j - 1]) - (theirs[i] - theirs[i - 1])
        for (before_i, before_j), (i, j) in itertools.pairwise(pairs)
        if before_i == i - 1 and before_j == j - 1
    ]
    return float(1000 / fs * np.sqrt(np.mean(np.square(errors)))) if errors else None
