"""Found annotations against an expert's, counted as EC57's reference tools count. No I/O."""

from einthoven.evaluation.beats import CLASS_MAPS, BeatTable, beat_table
from einthoven.evaluation.episodes import EpisodeScore, score_episodes
from einthoven.evaluation.labels import Labels, labels_of
from einthoven.evaluation.pairing import pair_beats
from einthoven.evaluation.rates import RateScore, rate_score
from einthoven.evaluation.report import NoisyPeriods, RecordReport, Report, Share, report_of
from einthoven.evaluation.runs import RunTable, run_table

__all__ = [
    "CLASS_MAPS",
    "BeatTable",
    "EpisodeScore",
    "Labels",
    "NoisyPeriods",
    "RateScore",
    "RecordReport",
    "Report",
    "RunTable",
    "Share",
    "beat_table",
    "labels_of",
    "pair_beats",
    "rate_score",
    "report_of",
    "run_table",
    "score_episodes",
]
