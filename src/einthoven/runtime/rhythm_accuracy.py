"""The rhythm that is found in annotated recordings against what is known of them, with the shipped scores.

These records are those that the scores learnt from: ``train-rhythm --folds`` gives the figures on records
that a fit had not seen.
"""

from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.evaluation import CLASS_MAPS, EpisodeScore, Labels, labels_of, score_episodes
from einthoven.evaluation.windows import WindowScore, score_windows
from einthoven.records import open_recording, read_annotations
from einthoven.runtime.batch import analyse_source
from einthoven.runtime.score_training import OPEN_MARK, UNMARKED, cinc_labels
from einthoven.signal.findings import Condition, Findings
from einthoven.signal.quality import GRADE
from einthoven.signal.rules import Criteria, Kind

__all__ = [
    "AlertCount",
    "ChallengeScore",
    "RecordRhythm",
    "area_under_curve",
    "challenge_score",
    "names_of",
    "record_rhythm",
]

TOLERANCE: Final = 0.97
"""A limit counts as confirmed by annotated beats from this share of it on: positions are rounded."""
NOISY_SHARE: Final = 0.25
"""A record of which more seconds cannot be read is called noisy."""

Spans = NDArray[np.int64]


class AlertCount(msgspec.Struct, frozen=True):
    """Alerts of one kind and priority in one record, and those that annotated beats do not confirm."""

    condition: Kind
    priority: str
    raised: int
    unconfirmed: int


class RecordRhythm(msgspec.Struct, frozen=True):
    """What was found in one annotated record."""

    name: str
    duration_s: float
    atrial_fibrillation: EpisodeScore
    """From 5:00, as epicmp counts."""
    flutter_s: float
    """Of the time told as atrial fibrillation, what is annotated as atrial flutter."""
    windows: WindowScore | None
    """8-s windows of ventricular fibrillation; None where it is not known."""
    alerts: tuple[AlertCount, ...]


class ChallengeScore(msgspec.Struct, frozen=True):
    """The Challenge 2017 records: atrial fibrillation told, and how many seconds could not be read."""

    labels: tuple[str, ...]
    told: tuple[bool, ...]
    unreadable: tuple[float, ...]
    """Share of seconds of grade 3."""
    unlike: tuple[float, ...]
    """1 - mean agreement of the beats; 1 without beats."""

    def atrial_fibrillation(self) -> tuple[int, int, int, int]:
        """Found, missed, extra, rightly not told."""
        told = np.array(self.told, np.bool_)
        truth = np.array([label == "A" for label in self.labels], np.bool_)
        return (
            int((told & truth).sum()),
            int((~told & truth).sum()),
            int((told & ~truth).sum()),
            int((~told & ~truth).sum()),
        )

    def noise(self) -> tuple[float | None, float | None, float | None, float | None]:
        """Area under the curve by unreadable seconds and by agreement; Se and Sp at a quarter unreadable."""
        truth = np.array([label == "~" for label in self.labels], np.bool_)
        share = np.array(self.unreadable)
        noisy = share > NOISY_SHARE
        return (
            area_under_curve(share, truth),
            area_under_curve(np.array(self.unlike), truth),
            float(noisy[truth].mean()) if truth.any() else None,
            float((~noisy)[~truth].mean()) if (~truth).any() else None,
        )


def names_of(folder: Path) -> list[str]:
    """The records of a database; none where the database is not there."""
    index = folder / "RECORDS"
    return index.read_text(encoding="utf-8").split() if index.is_file() else []


def challenge_score(folder: Path) -> ChallengeScore:
    """Analyse each record of the Challenge 2017 as a user would.

    Raises
    ------
    RecordingNotFound, RecordingUnreadable : see `einthoven.records`.
    """
    labels = cinc_labels(folder)
    rows: list[tuple[str, bool, float, float]] = []
    for name in names_of(folder):
        with open_recording(folder / name) as source:
            findings = analyse_source(source)
        if findings is None:
            continue
        told = any(episode.kind == "atrial_fibrillation" for episode in findings.episodes)
        cells, beats = findings.quality.cells, findings.beats
        rows.append(
            (
                labels[name],
                told,
                float(np.mean((cells & GRADE) == GRADE)) if cells.size else 1.0,
                1 - float(beats.agreement.mean()) / 100 if len(beats) else 1.0,
            )
        )
    return ChallengeScore(*(tuple(column) for column in zip(*rows, strict=True)))


def record_rhythm(path: Path, criteria: Criteria | None = None) -> RecordRhythm | None:
    """Analyse one annotated record and compare; None when it is empty.

    Raises
    ------
    RecordingNotFound, RecordingUnreadable : the record or its ``.atr``.
    """
    with open_recording(path) as source:
        info = source.info
        findings = analyse_source(source, criteria=criteria)
    if findings is None:
        return None
    marks = read_annotations(path.with_name(f"{path.name}.atr"))
    labels = labels_of(marks, info.samples, CLASS_MAPS["bxb"])
    atrial = _spans(findings, "atrial_fibrillation", info.samples)
    flutter = _flutter(path, info.samples)
    known_end = int(labels.fibrillation[0, 0]) if path.name == OPEN_MARK else info.samples
    return RecordRhythm(
        name=path.name,
        duration_s=info.duration_s,
        atrial_fibrillation=score_episodes(labels.atrial_fibrillation, atrial, fs=info.fs, end=info.samples),
        flutter_s=score_episodes(flutter, atrial, fs=info.fs, end=info.samples).both_s,
        windows=None
        if path.name in UNMARKED
        else score_windows(
            labels.fibrillation,
            _spans(findings, "ventricular_fibrillation", info.samples),
            fs=info.fs,
            end=known_end,
        ),
        alerts=_alerts(findings, labels, criteria or Criteria()),
    )


def _spans(findings: Findings, kind: Kind, end: int) -> Spans:
    spans = [(e.onset, end if e.end is None else e.end) for e in findings.episodes if e.kind == kind]
    return np.array(spans, np.int64).reshape(-1, 2)


def _flutter(path: Path, end: int) -> Spans:
    """Spans annotated as atrial flutter."""
    marks = read_annotations(path.with_name(f"{path.name}.atr"))
    aux = marks.aux or ("",) * len(marks)
    changes = [(int(s), a) for s, k, a in zip(marks.samples, marks.symbols, aux, strict=True) if k == "+"]
    spans = [
        (start, stop)
        for (start, text), (stop, _) in zip(changes, [*changes[1:], (end, "")], strict=False)
        if text.startswith("(AFL")
    ]
    return np.array(spans, np.int64).reshape(-1, 2)


def _alerts(findings: Findings, labels: Labels, criteria: Criteria) -> tuple[AlertCount, ...]:
    counts: dict[tuple[Kind, str], list[int]] = {}
    for condition in findings.conditions:
        if condition.action == "hold":
            continue
        one = counts.setdefault((condition.condition, condition.priority), [0, 0])
        one[0] += 1
        one[1] += not _confirmed(condition, labels, criteria, findings.fs)
    return tuple(AlertCount(kind, priority, *count) for (kind, priority), count in sorted(counts.items()))


def _confirmed(condition: Condition, labels: Labels, criteria: Criteria, fs: float) -> bool:
    """Whether annotated beats or rhythms say the same of the first half minute of an alert."""
    begin = condition.onset
    end = min(condition.end or _last_beat(labels), begin + round(criteria.rate_s * fs))
    margin = round(fs)
    kind = condition.condition
    inside = (labels.beats >= begin - margin) & (labels.beats <= end + margin)
    beats = labels.beats[inside]
    if kind in {"ventricular_run", "ventricular_tachycardia"}:
        return _longest_run(labels.classes[inside]) >= criteria.run_beats
    if kind == "ventricular_fibrillation":
        return bool(((labels.fibrillation[:, 0] < end) & (labels.fibrillation[:, 1] > begin)).any())
    if kind == "atrial_fibrillation":
        spans = labels.atrial_fibrillation
        stop = _last_beat(labels) if condition.end is None else condition.end
        return bool(((spans[:, 0] < stop) & (spans[:, 1] > begin)).any())
    if beats.size < 2:
        return False
    rr_s = np.diff(beats) / fs
    rate = 60 * (beats.size - 1) * fs / float(beats[-1] - beats[0])
    if kind == "tachycardia":
        return rate > TOLERANCE * criteria.tachycardia_bpm
    if kind == "bradycardia":
        return rate * TOLERANCE < criteria.bradycardia_bpm
    if kind == "supraventricular_tachycardia":
        return rate > TOLERANCE * criteria.svt_bpm
    if kind in {"pause", "asystole"}:
        limit_s = criteria.pause_s if kind == "pause" else criteria.asystole_s
        return bool(rr_s.max() > TOLERANCE * limit_s)
    if kind == "extreme_bradycardia":
        slowest = 60 / _means(rr_s, int(criteria.extreme_bradycardia_beats)).max()
        return bool(slowest * TOLERANCE < criteria.extreme_bradycardia_bpm)
    if kind == "extreme_tachycardia":
        fastest = 60 / _means(rr_s, int(criteria.extreme_tachycardia_beats)).min()
        return bool(fastest > TOLERANCE * criteria.extreme_tachycardia_bpm)
    return True


def _last_beat(labels: Labels) -> int:
    """The last annotated beat."""
    return int(labels.beats[-1]) if labels.beats.size else 0


def _longest_run(classes: NDArray[np.str_]) -> int:
    longest = run = 0
    for kind in classes.tolist():
        run = run + 1 if kind in "VF" else 0
        longest = max(longest, run)
    return longest


def _means(rr_s: NDArray[np.float64], beats: int) -> NDArray[np.float64]:
    """Means of so many intervals in a row."""
    count = min(beats, rr_s.size)
    return np.convolve(rr_s, np.ones(count) / count, "valid")


def area_under_curve(score: NDArray[np.float64], truth: NDArray[np.bool_]) -> float | None:
    """Chance that a true case scores higher than another; ties count half. None without both."""
    positive, negative = score[truth], np.sort(score[~truth])
    if not positive.size or not negative.size:
        return None
    below = np.searchsorted(negative, positive, "left")
    upto = np.searchsorted(negative, positive, "right")
    return float((below + upto).sum() / (2 * positive.size * negative.size))
