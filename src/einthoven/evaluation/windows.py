"""Windows of a fixed length, as detectors of fibrillation are compared in the literature (8 s)."""

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["BEFORE_S", "WINDOW_S", "WindowScore", "score_windows", "window_labels"]

WINDOW_S = 8.0
BEFORE_S = 60.0
"""Tachycardia nearly always comes first: windows this near before an onset are counted apart."""

Spans = NDArray[np.int64]


class WindowScore(msgspec.Struct, frozen=True):
    """Counts of windows of one record, or of many."""

    found: int = 0
    missed: int = 0
    rejected: int = 0
    """Windows without fibrillation, and none was told."""
    false: int = 0
    early: int = 0
    """Of the false, those within a minute before an onset."""
    before: int = 0
    """All windows without fibrillation within a minute before an onset."""

    def __add__(self, other: "WindowScore") -> "WindowScore":
        mine, theirs = msgspec.structs.astuple(self), msgspec.structs.astuple(other)
        return WindowScore(*(a + b for a, b in zip(mine, theirs, strict=True)))

    def sensitivity(self) -> float | None:
        """Per cent; None without fibrillation."""
        total = self.found + self.missed
        return 100 * self.found / total if total else None

    def specificity(self, *, with_before: bool = True) -> float | None:
        """Per cent; None without windows that are free of it."""
        false = self.false if with_before else self.false - self.early
        total = self.rejected + self.false - (0 if with_before else self.before)
        return 100 * (1 - false / total) if total else None


def window_labels(
    starts_s: NDArray[np.float64], width_s: float, spans_s: NDArray[np.float64]
) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    """1 inside a span, 0 outside all, -1 across a border; and which end in the minute before an onset."""
    labels = np.zeros(starts_s.size, np.int8)
    before = np.zeros(starts_s.size, np.bool_)
    ends_s = starts_s + width_s
    for begin, end in spans_s:
        inside = (starts_s >= begin - 0.01) & (ends_s <= end + 0.01)
        labels[inside] = 1
        labels[~inside & (ends_s > begin) & (starts_s < end)] = -1
        before |= (ends_s <= begin + 0.01) & (starts_s >= begin - BEFORE_S)
    return labels, before


def score_windows(reference: Spans, test: Spans, *, fs: float, end: int, start_s: float = 0.0) -> WindowScore:
    """Consecutive 8-s windows from ``start_s``; told is a window of which the test's spans hold half."""
    starts_s = np.arange(start_s, end / fs - WINDOW_S + 1e-9, WINDOW_S)
    labels, before = window_labels(starts_s, WINDOW_S, reference / fs)
    held = np.zeros(starts_s.size)
    for begin, stop in test / fs:
        held += np.clip(np.minimum(starts_s + WINDOW_S, stop) - np.maximum(starts_s, begin), 0, None)
    told = held >= WINDOW_S / 2
    free = labels == 0
    return WindowScore(
        found=int((told & (labels == 1)).sum()),
        missed=int((~told & (labels == 1)).sum()),
        rejected=int((~told & free).sum()),
        false=int((told & free).sum()),
        early=int((told & free & before).sum()),
        before=int((free & before).sum()),
    )
