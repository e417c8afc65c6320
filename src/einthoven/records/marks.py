"""Findings as annotations that WFDB tools read."""

import itertools
from typing import Final

import numpy as np

from einthoven.records.annotation import Annotations
from einthoven.signal.findings import BEAT_CLASSES, Findings
from einthoven.signal.quality import CELL, FIBRILLATION, GRADE
from einthoven.signal.resampling import ratio_of, source_position
from einthoven.signal.rules import Kind

__all__ = ["annotations_of", "shutdown_spans"]

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


SHUTDOWN: Final = 0x33
"""Subtype of a noise mark at which the analysis shuts down: both signals noisy, both unreadable."""
READABLE: Final = 0
"""Subtype of the noise mark that ends it."""


def annotations_of(findings: Findings) -> Annotations:
    """Beats, each change of the rhythm as ``+``, and shutdown as ``~``, in the recording's own samples.

    Where episodes overlap the most urgent names the rhythm; where none is, the rhythm is ``(N``. Shutdown is
    what `shutdown_spans` says; a change of the rhythm inside it ends it and begins it anew, because WFDB's
    ``bxb`` wants the end right after the beginning.
    """
    named = [
        (list(_AUX).index(episode.kind), episode.onset, episode.end)
        for episode in findings.episodes
        if episode.kind in _AUX
    ]
    names = list(_AUX.values())
    borders = sorted({findings.first, *(s for _, s, _ in named), *(e for _, _, e in named if e is not None)})
    rows: list[tuple[int, int, str, str, int]] = []
    last = ""
    for border in borders:
        running = [rank for rank, start, end in named if start <= border and (end is None or border < end)]
        name = names[min(running)] if running else "(N"
        if name != last:
            rows.append((border, 1, "+", name, 0))
            last = name
    changes = [row[0] for row in rows]
    for begin, end in shutdown_spans(findings):
        cuts = [begin, *(change for change in changes if begin < change < end), end]
        for a, b in itertools.pairwise(cuts):
            rows += [(a, 3, "~", "", SHUTDOWN), (b, 0, "~", "", READABLE)]
    rows += [
        (int(sample), 2, BEAT_CLASSES[code], "", 0)
        for sample, code in zip(findings.beats.positions, findings.beats.classes, strict=True)
    ]
    rows.sort(key=lambda row: row[:2])
    return Annotations(
        samples=np.array([row[0] for row in rows], np.int64),
        symbols=tuple(row[2] for row in rows),
        aux=tuple(row[3] for row in rows),
        subtypes=tuple(row[4] for row in rows),
    )


def shutdown_spans(findings: Findings) -> list[tuple[int, int]]:
    """Where the analysis says that it does not analyse, as pairs of samples of the recording.

    Whole seconds of quality grade 3 in which no beat is reported and no fibrillation is seen. A second with
    a reported beat is never shut down: what is claimed is scored. So shutdown excuses nothing; it tells the
    beats that were missed knowingly from those that were overlooked.
    """
    quality = findings.quality
    off = ((quality.cells & GRADE) == GRADE) & ((quality.cells & FIBRILLATION) == 0)
    at = findings.beats.grid // CELL - quality.first_cell
    off[at[(at >= 0) & (at < off.size)]] = False
    edges = np.flatnonzero(np.diff(np.concatenate(([0], off.astype(np.int8), [0]))))
    ratio = ratio_of(findings.fs)
    borders = [
        min(source_position((quality.first_cell + int(edge)) * CELL, ratio), findings.until) for edge in edges
    ]
    return list(zip(borders[::2], borders[1::2], strict=True))
