"""Beat by beat, as WFDB's ``bxb`` counts (EC57): pairing, border, fibrillation, shutdown, statistics."""

import itertools
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.evaluation.labels import BXB, DE_CHAZAL, Labels
from einthoven.evaluation.pairing import pair_beats

__all__ = ["CLASS_MAPS", "ROWS", "BeatTable", "PairedBeats", "beat_table", "inside", "paired_beats"]

CLASS_MAPS: Final = {"bxb": BXB, "de-chazal": DE_CHAZAL}
ROWS: Final = "NSVFQOX"
"""Rows: the reference's classes, O (no beat there) and X (no beat there, in the reference's shutdown).

Columns: the test's classes, o (missed) and x (missed in the test's shutdown). O and X against o and x stay
empty."""
WINDOW_S: Final = 0.15


class BeatTable(msgspec.Struct, frozen=True, eq=False):
    """Counts of one record, or of many."""

    counts: NDArray[np.int64]
    """Shape (7, 7): rows and columns as `ROWS`."""
    shutdown_s: float = 0.0
    rr_intervals: int = 0
    """RR intervals whose beats were paired in a row, with no fibrillation and no shutdown between."""
    rr_squares_ms2: float = 0.0
    """Sum of their squared differences, ms²."""

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
        """False V over everything that is not V and that the test called something."""
        return _rate(self._of("NSOX", "V"), self._of("NSFQOX", "NSFQ"))

    def sveb_fpr(self) -> float | None:
        """False S over everything that is not S and that the test called something.

        The reference tool has no such figure; this is its rule for V with the roles of V and S changed.
        """
        return _rate(self._of("NVFOX", "S"), self._of("NVFQOX", "NVFQ"))

    def missed_in_shutdown(self) -> int:
        """Reference beats missed where the test said that it does not analyse; missed all the same."""
        return self._of("NSVFQ", "X")

    @property
    def rr_error_ms(self) -> float | None:
        """Root mean square of the RR differences; None without an interval."""
        return float(np.sqrt(self.rr_squares_ms2 / self.rr_intervals)) if self.rr_intervals else None

    def __add__(self, other: "BeatTable") -> "BeatTable":
        mine, theirs = msgspec.structs.astuple(self), msgspec.structs.astuple(other)
        return BeatTable(*(a + b for a, b in zip(mine, theirs, strict=True)))


class PairedBeats(NamedTuple):
    """Which beats of the test period are which, after the rules of border and fibrillation."""

    reference: NDArray[np.int64]
    reference_classes: NDArray[np.str_]
    test: NDArray[np.int64]
    test_classes: NDArray[np.str_]
    pairs: list[tuple[int, int]]
    missed: NDArray[np.int64]
    """Indices into ``reference``."""
    extra: NDArray[np.int64]
    """Indices into ``test``."""


def _rate(false: int, true: int) -> float | None:
    return false / (false + true) if false + true else None


def inside(samples: NDArray[np.int64], spans: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which samples lie in one of the spans, borders included."""
    found = np.zeros(samples.size, np.bool_)
    for begin, end in spans:
        found |= (samples >= begin) & (samples <= end)
    return found


def paired_beats(
    reference: Labels, test: Labels, *, fs: float, start_s: float = 300.0, end: int
) -> PairedBeats:
    """Pair the beats from ``start_s`` to sample ``end``, at the record's own rate ``fs``.

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
    pairs = pair_beats(theirs, ours, window)
    missed, extra = np.ones(theirs.size, np.bool_), ours >= start + window
    for i, j in pairs:
        missed[i] = extra[j] = False
    return PairedBeats(
        theirs,
        reference.classes[a],
        ours,
        test.classes[b],
        pairs,
        np.flatnonzero(missed),
        np.flatnonzero(extra),
    )


def beat_table(
    reference: Labels,
    test: Labels,
    *,
    fs: float,
    start_s: float = 300.0,
    end: int,
    within: NDArray[np.int64] | None = None,
) -> BeatTable:
    """Compare beat by beat from ``start_s`` to sample ``end``; see `paired_beats`.

    With ``within``, spans of samples of shape (n, 2), all beats are paired and those count whose reference
    beat, or whose test beat where there is none, lies in a span; RR intervals with both ends in one of them.
    """
    paired = paired_beats(reference, test, fs=fs, start_s=start_s, end=end)
    start = round(start_s * fs)
    spans = np.array([[start, end]], np.int64) if within is None else within
    counted = inside(paired.reference, spans)
    counts = np.zeros((len(ROWS), len(ROWS)), np.int64)
    for i, j in paired.pairs:
        if counted[i]:
            counts[ROWS.index(paired.reference_classes[i]), ROWS.index(paired.test_classes[j])] += 1
    off_theirs = inside(paired.reference, test.shutdown)
    for i in paired.missed[counted[paired.missed]].tolist():
        counts[ROWS.index(paired.reference_classes[i]), ROWS.index("X" if off_theirs[i] else "O")] += 1
    off_ours = inside(paired.test, reference.shutdown)
    for j in paired.extra[inside(paired.test[paired.extra], spans)].tolist():
        counts[ROWS.index("X" if off_ours[j] else "O"), ROWS.index(paired.test_classes[j])] += 1
    errors = _rr_errors(paired, reference, test, spans)
    shutdown = sum(
        max(0, min(int(e), int(last)) - max(int(s), int(first)))
        for first, last in spans
        for s, e in test.shutdown
    )
    return BeatTable(counts, shutdown / fs, errors.size, float(np.square(1000 / fs * errors).sum()))


def _rr_errors(
    paired: PairedBeats, reference: Labels, test: Labels, spans: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Test interval less reference interval, samples, of beats paired in a row."""
    theirs, ours = paired.reference, paired.test
    broken = [
        *(begin for begin, _ in [*reference.fibrillation, *reference.shutdown]),
        *(begin for begin, _ in [*test.fibrillation, *test.shutdown]),
    ]
    breaks = np.sort(np.array(broken, np.int64))
    counted = inside(theirs, spans)
    errors = []
    for (before_i, before_j), (i, j) in itertools.pairwise(paired.pairs):
        if before_i != i - 1 or before_j != j - 1 or not (counted[i] and counted[before_i]):
            continue
        first, last = min(theirs[before_i], ours[before_j]), max(theirs[i], ours[j])
        if np.searchsorted(breaks, first) == np.searchsorted(breaks, last):
            errors.append(int(ours[j] - ours[before_j]) - int(theirs[i] - theirs[before_i]))
    return np.array(errors, np.int64)
