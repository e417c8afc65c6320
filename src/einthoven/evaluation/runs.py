"""Runs of ventricular beats, as WFDB's ``rxr`` counts."""

from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.evaluation.beats import inside
from einthoven.evaluation.labels import Labels

__all__ = ["KINDS", "RunTable", "run_table"]

KINDS: Final = ("couplets", "short_runs", "long_runs")
_LEAST: Final = {"couplets": 2, "short_runs": 3, "long_runs": 6}
_WIDER_S: Final = 0.15


class RunTable(msgspec.Struct, frozen=True):
    """Found and missed reference runs, right and wrong test runs, by length: 2, 3 to 5, 6 or more."""

    found: dict[str, int]
    missed: dict[str, int]
    right: dict[str, int]
    wrong: dict[str, int]

    def __add__(self, other: "RunTable") -> "RunTable":
        return RunTable(
            *(
                {kind: mine[kind] + theirs[kind] for kind in KINDS}
                for mine, theirs in zip(
                    msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True
                )
            )
        )


class _Run(NamedTuple):
    begin: int
    end: int
    length: int


def run_table(reference: Labels, test: Labels, *, fs: float, start_s: float = 300.0, end: int) -> RunTable:
    """Compare runs of V and F from ``start_s`` to sample ``end``; fibrillation counts as a run of six."""
    start, wider = round(start_s * fs), round(_WIDER_S * fs)
    theirs, ours = _runs(reference, start, end), _runs(test, start, end)
    table = RunTable(*(dict.fromkeys(KINDS, 0) for _ in range(4)))
    for run in theirs:
        kind = _kind(run.length)
        if kind is not None:
            good = _longest(test, run, wider, ours) >= _LEAST[kind]
            (table.found if good else table.missed)[kind] += 1
    for run in ours:
        kind = _kind(run.length)
        if kind is not None:
            good = _longest(reference, run, wider, theirs) >= _LEAST[kind]
            (table.right if good else table.wrong)[kind] += 1
    return table


def _kind(length: int) -> str | None:
    if length < 2:
        return None
    return "couplets" if length == 2 else "short_runs" if length <= 5 else "long_runs"


def _runs(labels: Labels, start: int, end: int) -> list[_Run]:
    keep = (labels.beats >= start) & (labels.beats <= end) & ~inside(labels.beats, labels.fibrillation)
    beats, is_v = labels.beats[keep], np.isin(labels.classes[keep], ["V", "F"])
    runs = [
        _Run(max(int(a), start), min(int(b), end), 6) for a, b in labels.fibrillation if b > start and a < end
    ]
    edges = np.flatnonzero(np.diff(np.concatenate(([0], is_v.astype(np.int8), [0]))))
    runs += [_Run(int(beats[a]), int(beats[b - 1]), int(b - a)) for a, b in edges.reshape(-1, 2)]
    return sorted(runs)


def _longest(labels: Labels, run: _Run, wider: int, runs: list[_Run]) -> int:
    """The longest run of the other side inside the run's window."""
    low, high = run.begin - wider, run.end + wider
    longest = max(
        (6 for other in runs if other.length == 6 and _is_span(labels, other, low, high)), default=0
    )
    near = (labels.beats >= low) & (labels.beats <= high) & ~inside(labels.beats, labels.fibrillation)
    return max(longest, _in_a_row(np.isin(labels.classes[near], ["V", "F"])))


def _is_span(labels: Labels, run: _Run, low: int, high: int) -> bool:
    """Whether a run of six stands for fibrillation that overlaps the window."""
    spans = labels.fibrillation
    overlaps = bool(((spans[:, 0] <= high) & (spans[:, 1] >= low)).any()) if spans.size else False
    return overlaps and run.begin <= high and run.end >= low


def _in_a_row(flags: NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0])))).reshape(-1, 2)
    return int((edges[:, 1] - edges[:, 0]).max()) if edges.size else 0
