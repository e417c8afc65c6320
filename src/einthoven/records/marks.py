"""Findings as annotations that WFDB tools read."""

from typing import Final

import numpy as np

from einthoven.records.annotation import Annotations
from einthoven.signal.findings import BEAT_CLASSES, Findings
from einthoven.signal.rules import Kind

__all__ = ["annotations_of"]

_AUX: Final[dict[Kind, str]] = {
    "ventricular_fibrillation": "(VFL",
    "ventricular_tachycardia": "(VT",
    "ventricular_run": "(VT",
    "supraventricular_tachycardia": "(SVTA",
    "supraventricular_run": "(SVTA",
    "atrial_fibrillation": "(AFIB",
    "bradycardia": "(SBR",
    "extreme_bradycardia": "(SBR",
    "bigeminy": "(B",
    "trigeminy": "(T",
}
"""WFDB's names of rhythms, most urgent first; other kinds have none there."""


def annotations_of(findings: Findings) -> Annotations:
    """Beats, and each change of the rhythm as ``+`` with its WFDB name, in the recording's own samples.

    Where episodes overlap the most urgent names the rhythm; where none is, the rhythm is ``(N``.
    """
    named = [
        (list(_AUX).index(episode.kind), episode.onset, episode.end)
        for episode in findings.episodes
        if episode.kind in _AUX
    ]
    names = list(_AUX.values())
    borders = sorted({findings.first, *(s for _, s, _ in named), *(e for _, _, e in named if e is not None)})
    rows: list[tuple[int, int, str, str]] = []
    last = ""
    for border in borders:
        running = [rank for rank, start, end in named if start <= border and (end is None or border < end)]
        name = names[min(running)] if running else "(N"
        if name != last:
            rows.append((border, 0, "+", name))
            last = name
    rows += [
        (int(sample), 1, BEAT_CLASSES[code], "")
        for sample, code in zip(findings.beats.positions, findings.beats.classes, strict=True)
    ]
    rows.sort(key=lambda row: row[:2])
    return Annotations(
        samples=np.array([row[0] for row in rows], np.int64),
        symbols=tuple(row[2] for row in rows),
        aux=tuple(row[3] for row in rows),
    )
