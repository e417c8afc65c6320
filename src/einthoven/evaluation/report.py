"""One line a record, then gross (pooled counts) and average (mean of the records' percentages)."""

from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np

from einthoven.evaluation.beats import ROWS, BeatTable, beat_table
from einthoven.evaluation.episodes import EpisodeScore, score_episodes
from einthoven.evaluation.labels import Labels
from einthoven.evaluation.rates import RateScore, rate_score
from einthoven.evaluation.runs import KINDS, RunTable, run_table

__all__ = ["NoisyPeriods", "RecordReport", "Report", "Share", "compare", "report_of"]

STATISTICS: Final = ("qrs", "veb", "sveb")


class Share(msgspec.Struct, frozen=True):
    """Sensitivity, positive predictivity and their F1, per cent; None without a denominator."""

    se: float | None
    ppv: float | None
    f1: float | None

    @staticmethod
    def of(found: float, missed: float, extra: float) -> "Share":
        """From counts, or seconds."""
        se = 100 * found / (found + missed) if found + missed else None
        ppv = 100 * found / (found + extra) if found + extra else None
        f1 = 200 * found / (2 * found + missed + extra) if found + missed and found + extra else None
        return Share(se, ppv, f1)


def _shares(beats: BeatTable) -> dict[str, Share]:
    return {name: Share.of(*getattr(beats, name)()) for name in STATISTICS}


class NoisyPeriods(msgspec.Struct, frozen=True, eq=False):
    """What was counted inside the noisy periods of a noise-stress test alone."""

    beats: BeatTable
    seconds_by_grade: tuple[int, int, int]
    """Seconds of the analysis' quality grades 1, 2 and 3 that begin in a noisy period."""
    snr_db: tuple[float, ...]
    """Signal over noise as it was measured inside the periods afterwards, one a record; inf without noise."""

    def shares(self) -> dict[str, Share]:
        """Beat-by-beat statistics."""
        return _shares(self.beats)

    def __add__(self, other: "NoisyPeriods") -> "NoisyPeriods":
        one, two, three = (a + b for a, b in zip(self.seconds_by_grade, other.seconds_by_grade, strict=True))
        return NoisyPeriods(self.beats + other.beats, (one, two, three), self.snr_db + other.snr_db)


class RecordReport(msgspec.Struct, frozen=True, eq=False):
    """Everything counted of one record, or of many together."""

    beats: BeatTable
    runs: RunTable
    atrial_fibrillation: EpisodeScore
    fibrillation: EpisodeScore
    rates: RateScore
    noisy: NoisyPeriods | None = None
    """Of a noise-stress test."""

    def __add__(self, other: "RecordReport") -> "RecordReport":
        return RecordReport(
            self.beats + other.beats,
            self.runs + other.runs,
            self.atrial_fibrillation + other.atrial_fibrillation,
            self.fibrillation + other.fibrillation,
            self.rates + other.rates,
            None if self.noisy is None or other.noisy is None else self.noisy + other.noisy,
        )

    def shares(self) -> dict[str, Share]:
        """Beat-by-beat statistics."""
        return _shares(self.beats)

    def run_shares(self) -> dict[str, Share]:
        """Se by reference runs, +P by test runs, which are different lists."""
        shares = {}
        for kind in KINDS:
            se = Share.of(self.runs.found[kind], self.runs.missed[kind], 0).se
            ppv = Share.of(self.runs.right[kind], 0, self.runs.wrong[kind]).ppv
            shares[kind] = Share(se, ppv, None)
        return shares

    def episode_shares(self) -> dict[str, dict[str, Share]]:
        """Episodes touched and time shared, of both kinds of fibrillation."""
        shares = {}
        for name in ("atrial_fibrillation", "fibrillation"):
            score: EpisodeScore = getattr(self, name)
            se = Share.of(score.found, score.missed, 0).se
            ppv = Share.of(score.right, 0, score.wrong).ppv
            seconds = Share.of(score.both_s, score.reference_s - score.both_s, score.test_s - score.both_s)
            shares[name] = {"episodes": Share(se, ppv, None), "duration": seconds}
        return shares


class Report(msgspec.Struct, frozen=True, eq=False):
    """A database compared."""

    records: dict[str, RecordReport]
    gross: RecordReport
    average: dict[str, Share]
    average_errors: dict[str, float | None]
    """Means of the records' false positive rates (per cent), RR errors and heart-rate errors."""
    jk: float | None
    """0.5 kappa + 0.125 (Se_S + Se_V + +P_S + +P_V) over N S V F (Mar et al. 2011)."""


def compare(reference: Labels, test: Labels, *, fs: float, start_s: float = 300.0, end: int) -> RecordReport:
    """Every comparison of one record."""
    return RecordReport(
        beats=beat_table(reference, test, fs=fs, start_s=start_s, end=end),
        runs=run_table(reference, test, fs=fs, start_s=start_s, end=end),
        atrial_fibrillation=score_episodes(
            reference.atrial_fibrillation, test.atrial_fibrillation, fs=fs, start_s=start_s, end=end
        ),
        fibrillation=score_episodes(
            reference.fibrillation, test.fibrillation, fs=fs, start_s=start_s, end=end
        ),
        rates=rate_score(reference, test, fs=fs, start_s=start_s, end=end),
    )


def report_of(records: Mapping[str, RecordReport]) -> Report:
    """Gross and average over at least one record."""
    each = list(records.values())
    gross = each[0]
    for one in each[1:]:
        gross = gross + one
    shares = [one.shares() for one in each]
    average = {
        name: Share(
            _mean([one[name].se for one in shares]),
            _mean([one[name].ppv for one in shares]),
            _mean([one[name].f1 for one in shares]),
        )
        for name in STATISTICS
    }
    errors = [_errors(one) for one in each]
    average_errors = {name: _mean([one[name] for one in errors]) for name in errors[0]}
    return Report(dict(records), gross, average, average_errors, _jk(gross))


def _errors(one: RecordReport) -> dict[str, float | None]:
    rates = {"veb_fpr": one.beats.veb_fpr(), "sveb_fpr": one.beats.sveb_fpr()}
    return {
        **{name: None if rate is None else 100 * rate for name, rate in rates.items()},
        "rr_error_ms": one.beats.rr_error_ms,
        "hr_error_bpm": one.rates.error_bpm,
        "hr_error_percent": one.rates.error_percent,
    }


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _jk(gross: RecordReport) -> float | None:
    matrix = gross.beats.counts[: ROWS.index("Q"), : ROWS.index("Q")].astype(np.float64)
    total = matrix.sum()
    shares = gross.shares()
    parts = [shares["sveb"].se, shares["veb"].se, shares["sveb"].ppv, shares["veb"].ppv]
    if not total or any(part is None for part in parts):
        return None
    agreed = np.trace(matrix) / total
    chance = float(matrix.sum(0) @ matrix.sum(1)) / total**2
    if chance == 1:
        return None
    kappa = (agreed - chance) / (1 - chance)
    return float(0.5 * kappa + 0.125 * sum(part / 100 for part in parts if part is not None))
