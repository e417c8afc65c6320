"""From annotated recordings to the rhythm scores: the rows that they learn from, and honest figures.

Fibrillation learns from cu01-cu18 (without cu02 and cu14, which have no marks), the MIT-BIH records, real
noise and normal rhythm; atrial fibrillation from the 1,500 records of the Challenge 2017 and, of the
MIT-BIH records, from DS1 alone. Cross-validation groups by record.
"""

import csv
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import DefectError, RecordingNotFound
from einthoven.evaluation import CLASS_MAPS, labels_of
from einthoven.evaluation.windows import WINDOW_S, WindowScore, score_windows, window_labels
from einthoven.functions import PatientState, bdc, count_hours, preprocessing, split
from einthoven.functions.postprocessing import fold_span
from einthoven.records import open_recording, read_annotations
from einthoven.runtime.training import DS1
from einthoven.signal.atrial import ATRIAL_FEATURES
from einthoven.signal.findings import Beats
from einthoven.signal.quality import (
    CELL,
    FIBRILLATION_FEATURES,
    fibrillation_features,
    is_plausible,
    with_scores,
)
from einthoven.signal.resampling import FS
from einthoven.signal.rhythm import RhythmState, atrial_row, evidence_row
from einthoven.signal.rules import KINDS, Criteria, Kind
from einthoven.signal.score_learning import FittedScore, Recipe, fit_logistic, fit_score
from einthoven.signal.scores import RhythmScores, ScoreModel, score_model

__all__ = [
    "ATRIAL_RECIPE",
    "FIBRILLATION_RECIPE",
    "Fold",
    "Prepared",
    "Reading",
    "atrial_rows",
    "cinc_labels",
    "cross_validate",
    "evidence_rows",
    "fibrillation_rows",
    "fit_atrial",
    "fit_evidence",
    "fit_fibrillation",
    "prepare",
    "prepare_all",
    "told_spans",
    "train",
    "window_score",
]

FIBRILLATION_RECIPE: Final = Recipe(
    hidden=10,
    perceptrons=2,
    epochs=10,
    batch=256,
    peak_rate=5e-3,
    decay=3e-3,
    noise=0.2,
    dropout=0.05,
    cross_entropy=1.0,
)
ATRIAL_RECIPE: Final = Recipe(
    hidden=12,
    perceptrons=8,
    epochs=20,
    batch=512,
    peak_rate=1e-2,
    decay=2e-3,
    noise=0.15,
    dropout=0.1,
    cross_entropy=0.1,
)
UNMARKED: Final = ("cu02", "cu14")
"""Records of cudb without a mark: what they hold is not known."""
OPEN_MARK: Final = "cu15"
"""It has one mark and no end: what follows is not known."""
JUDGED_S: Final = 5
FIRST_JUDGED_S: Final = 10
MIT_STEP: Final = 6
"""Of the judgements on a MIT-BIH record every sixth, 30 s apart, is learnt from."""
MIT_WEIGHT: Final = 0.5
WHOLE_S: Final = 30
EARLY_WEIGHT: Final = 0.3
"""Judgements on less than 30 s, when more are known later, weigh less."""

FREE_WEIGHT: Final = {"cudb": 3.0, "nstdb": 14.0}
"""Windows without fibrillation that are hard, or few, weigh more."""

DEFAULT_CRITERIA: Final = Criteria()
NO_SCORE: Final = ScoreModel(
    np.zeros(len(ATRIAL_FEATURES), np.float32),
    np.ones(len(ATRIAL_FEATURES), np.float32),
    np.zeros((len(ATRIAL_FEATURES) + 2, 1), np.float32),
    1,
    -9.0,
)
"""Never atrial fibrillation: while nothing has been learnt of it."""
DATABASES: Final = ("cudb", "mitdb", "nstdb", "nsrdb", "cinc2017")

Floats = NDArray[np.float64]


class Prepared(msgspec.Struct, frozen=True, eq=False):
    """A record after beat detection."""

    name: str
    cleaned: NDArray[np.int16]
    cells: NDArray[np.uint16]
    beats: Beats
    fs: float
    samples: int


class Reading(NamedTuple):
    """Rows of one record for one score: features (n, f), labels (n,) of 0 and 1, seconds (n,) of each."""

    features: Floats
    labels: Floats
    seconds: NDArray[np.int64]


def prepare(path: Path, lead: int = 0) -> Prepared:
    """Preprocessing and beat detection of a whole record.

    Raises
    ------
    RecordingNotFound, RecordingUnreadable : see `einthoven.records`.
    """
    with open_recording(path) as source:
        (everything,) = count_hours(source.info, 1e9)
        ecg = split(source, everything, lead)
        fs, samples = source.info.fs, source.info.samples
    cleaned_ecg, state = preprocessing(ecg, PatientState())
    found, _ = bdc(cleaned_ecg, state)
    if found.cleaned is None or found.beats is None:
        raise DefectError("the functions left no sections.")
    return Prepared(path.name, found.cleaned.samples, found.cleaned.cells, found.beats.beats, fs, samples)


def cinc_labels(folder: Path) -> dict[str, str]:
    """Label N, A, O or ~ of each record of the Challenge 2017."""
    with (folder / "REFERENCE.csv").open(encoding="utf-8") as file:
        return dict(row[:2] for row in csv.reader(file))


def _marks_s(path: Path, record: Prepared) -> tuple[Floats, Floats, Floats]:
    """Ventricular fibrillation, atrial fibrillation and atrial flutter, spans in s."""
    marks = read_annotations(path.with_name(f"{path.name}.atr"))
    labels = labels_of(marks, record.samples, CLASS_MAPS["bxb"])
    aux = marks.aux or ("",) * len(marks)
    changes = [(int(s), a) for s, k, a in zip(marks.samples, marks.symbols, aux, strict=True) if k == "+"]
    pairs = itertools.pairwise([*changes, (record.samples, "")])
    flutter = [(start, end) for (start, text), (end, _) in pairs if text.startswith("(AFL")]
    return (
        labels.fibrillation / record.fs,
        labels.atrial_fibrillation / record.fs,
        np.array(flutter, np.float64).reshape(-1, 2) / record.fs,
    )


def _steps(
    record: Prepared, cells: NDArray[np.uint16], seconds: int, scores: RhythmScores
) -> Iterator[tuple[int, RhythmState]]:
    """The state of the fold after each ``seconds``."""
    state = RhythmState.at(0)
    for second in range(seconds, cells.size + 1, seconds):
        span = record.beats.between((second - seconds) * CELL, second * CELL)
        state, _, _ = fold_span(
            state, span, cells[second - seconds : second], second * CELL, Criteria(), scores
        )
        yield second, state


def fibrillation_rows(path: Path, record: Prepared) -> Reading:
    """One row for each second whose four seconds lie inside or outside fibrillation."""
    features = fibrillation_features(record.cleaned)
    starts = np.arange(len(features), dtype=np.float64)
    labels = _fibrillation_labels(path, record, starts, 4.0)
    used = (labels >= 0) & is_plausible(features)
    return Reading(
        features[used][:, : len(FIBRILLATION_FEATURES)],
        labels[used].astype(np.float64),
        np.flatnonzero(used),
    )


def evidence_rows(path: Path, record: Prepared, model: ScoreModel) -> Reading:
    """One row for each second: mean score of 8 s, and the beats of these."""
    scores = RhythmScores("", model, np.array([0.0, 0, 0, 0, -9]), NO_SCORE)
    cells = with_scores(record.cells, record.cleaned, model)[: record.cleaned.size // CELL - 3]
    rows = np.array([evidence_row(state) for _, state in _steps(record, cells, 1, scores)])
    starts = np.arange(len(rows), dtype=np.float64) - 4
    labels = _fibrillation_labels(path, record, starts, WINDOW_S)
    used = (labels >= 0) & (starts >= 0)
    return Reading(rows[used], labels[used].astype(np.float64), np.flatnonzero(used))


def _fibrillation_labels(path: Path, record: Prepared, starts_s: Floats, width_s: float) -> NDArray[np.int8]:
    """Of windows: 1 in fibrillation, 0 not, -1 where it cannot be said, or shortly before an onset."""
    if record.name in UNMARKED:
        return np.full(starts_s.size, -1, np.int8)
    if not path.with_name(f"{path.name}.atr").is_file():
        return np.zeros(starts_s.size, np.int8)
    spans_s = _marks_s(path, record)[0]
    labels, before = window_labels(starts_s, width_s, spans_s)
    labels[before & (labels == 0)] = -1
    if record.name == OPEN_MARK:
        labels[starts_s + width_s > spans_s[0, 0]] = -1
    return labels


def atrial_rows(path: Path, record: Prepared, scores: RhythmScores, label: str | None) -> Reading:
    """One row for each judgement; ``label`` A or another, or None: from the rhythm marks."""
    rows: list[Floats] = []
    labels: list[float] = []
    seconds: list[int] = []
    wanted = JUDGED_S if label is not None else JUDGED_S * MIT_STEP
    marks = None if label is not None else _marks_s(path, record)
    cells = _rescored(record, scores.fibrillation)
    for second, state in _steps(record, cells, JUDGED_S, scores):
        if second < FIRST_JUDGED_S or second % wanted:
            continue
        row = atrial_row(state)
        target = float(label == "A") if marks is None else _share_label(marks, second)
        if row is not None and target is not None:
            rows.append(row)
            labels.append(target)
            seconds.append(second)
    return Reading(
        np.array(rows).reshape(len(rows), len(ATRIAL_FEATURES)),
        np.array(labels),
        np.array(seconds, np.int64),
    )


def _share_label(marks: tuple[Floats, Floats, Floats], second: int) -> float | None:
    """1 where the 30 s are all atrial fibrillation, 0 where they have none; None in between, or flutter."""
    begin = max(0, second - 30)
    share, flutter = (
        float(np.clip(np.minimum(spans[:, 1], second) - np.maximum(spans[:, 0], begin), 0, None).sum())
        / (second - begin)
        for spans in marks[1:]
    )
    if flutter > 0.02 or 0.02 < share < 0.98:
        return None
    return float(share > 0.5)


def fit_fibrillation(rows: dict[str, Reading]) -> FittedScore:
    """The score of four seconds, from the rows of each record (named with its database)."""
    return fit_score(*_weighted(rows), FIBRILLATION_RECIPE)


def fit_evidence(rows: dict[str, Reading]) -> Floats:
    """Weights of the mean score and of the beats, the bias last."""
    return fit_logistic(*_weighted(rows))


def _weighted(rows: dict[str, Reading]) -> tuple[Floats, Floats, Floats]:
    """Classes weigh the same; a record by the square root of its rows."""
    weights = []
    for name, (_, labels, _) in rows.items():
        count = np.maximum(np.bincount(labels.astype(np.int64), minlength=2), 1)
        weight = 1 / np.sqrt(count[labels.astype(np.int64)])
        weights.append(weight * FREE_WEIGHT.get(name.split("/")[0], 1.0) ** (labels == 0))
    features = np.concatenate([reading.features for reading in rows.values()])
    labels = np.concatenate([reading.labels for reading in rows.values()])
    weight = np.concatenate(weights)
    for kind in (0, 1):
        weight[labels == kind] *= labels.size / 2 / weight[labels == kind].sum()
    return features, labels, weight


def fit_atrial(rows: dict[str, Reading]) -> FittedScore:
    """The score of thirty seconds; a record of the Challenge weighs as much as any other."""
    parts = []
    challenge = {name: reading for name, reading in rows.items() if name.startswith("cinc2017")}
    mean = sum(reading.labels.size for reading in challenge.values()) / max(len(challenge), 1)
    for name, reading in rows.items():
        seconds = reading.seconds
        if name in challenge:
            is_whole = (seconds >= WHOLE_S) | (np.arange(seconds.size) == seconds.size - 1)
            weight = np.where(is_whole, 1.0, EARLY_WEIGHT)
            parts.append(weight * mean / max(weight.sum(), 1e-9))
        else:
            parts.append(np.full(seconds.size, MIT_WEIGHT))
    filled = [reading for reading in rows.values() if reading.labels.size]
    return fit_score(
        np.concatenate([reading.features for reading in filled]),
        np.concatenate([reading.labels for reading in filled]),
        np.concatenate(parts),
        ATRIAL_RECIPE,
    )


def told_spans(
    record: Prepared, scores: RhythmScores, kind: Kind, criteria: Criteria = DEFAULT_CRITERIA
) -> NDArray[np.int64]:
    """Where the rules find one kind of episode with these scores; grid positions, shape (n, 2)."""
    cells = _rescored(record, scores.fibrillation)
    end = cells.size * CELL
    state, _, ended = fold_span(RhythmState.at(0), record.beats, cells, end, criteria, scores)
    number = KINDS.index(kind)
    chosen = ended.kind == number
    spans = list(zip(ended.onset[chosen].tolist(), ended.end[chosen].tolist(), strict=True))
    if state.opened[0, number] >= 0:
        spans.append((int(state.opened[0, number]), end))
    return np.array(spans, np.int64).reshape(-1, 2)


def _rescored(record: Prepared, model: ScoreModel) -> NDArray[np.uint16]:
    """The record's cells with another score; the newest edge is repeated, as preprocessing does."""
    missing = (record.cells.size + 3) * CELL - record.cleaned.size
    cleaned = np.pad(record.cleaned, (0, max(0, missing)), mode="edge") if missing > 0 else record.cleaned
    return with_scores(record.cells, cleaned, model)


def prepare_all(folder: Path, progress: Callable[[str], None] = lambda _: None) -> dict[str, Prepared]:
    """Every record that the scores learn from, by database and name.

    Raises
    ------
    RecordingNotFound : a database is not there.
    """
    prepared: dict[str, Prepared] = {}
    for database in DATABASES:
        index = folder / database / "RECORDS"
        if not index.is_file():
            raise RecordingNotFound(
                "there is no such file.", where=str(index), remedy="Give --data the folder of the databases."
            )
        for name in index.read_text(encoding="utf-8").split():
            prepared[f"{database}/{name}"] = prepare(folder / database / name)
            progress(name)
    return prepared


def train(folder: Path, prepared: dict[str, Prepared]) -> tuple[FittedScore, Floats, FittedScore]:
    """The three fits: fibrillation by signal, fibrillation by signal and beats, atrial fibrillation."""
    labels = cinc_labels(folder / "cinc2017")
    signal = [name for name in prepared if not name.startswith("cinc2017")]
    fibrillation = fit_fibrillation({n: fibrillation_rows(folder / n, prepared[n]) for n in signal})
    model = score_model(fibrillation)
    evidence = fit_evidence({n: evidence_rows(folder / n, prepared[n], model) for n in signal})
    scores = RhythmScores("", model, evidence, NO_SCORE)
    rows = {
        n: atrial_rows(folder / n, prepared[n], scores, label) for n, label in _atrial_set(prepared, labels)
    }
    return fibrillation, evidence, fit_atrial(rows)


def _atrial_set(prepared: dict[str, Prepared], labels: dict[str, str]) -> list[tuple[str, str | None]]:
    """The records that atrial fibrillation is learnt from, each with its label."""
    found: list[tuple[str, str | None]] = []
    for name in prepared:
        database, record = name.split("/")
        if database == "cinc2017":
            found.append((name, labels[record]))
        elif database == "mitdb" and record in DS1:
            found.append((name, None))
    return found


class Fold(NamedTuple):
    """What was measured on the records that one fit did not see."""

    windows: WindowScore
    """8-s windows of cudb."""
    free: WindowScore
    """Those of the MIT-BIH and normal rhythm records, without 207."""
    found: int
    missed: int
    extra: int
    """Records of the Challenge 2017 with atrial fibrillation told."""


def cross_validate(
    folder: Path, prepared: dict[str, Prepared], folds: int, progress: Callable[[str], None] = lambda _: None
) -> list[Fold]:
    """Fit on the other folds, measure on each; records are never on both sides."""
    labels = cinc_labels(folder / "cinc2017")
    signal = [name for name in prepared if not name.startswith("cinc2017")]
    number = _folds(prepared, labels, folds)
    signal_rows = {n: fibrillation_rows(folder / n, prepared[n]) for n in signal}
    results = []
    for fold in range(folds):
        kept = [n for n in signal if number[n] != fold]
        model = score_model(fit_fibrillation({n: signal_rows[n] for n in kept}))
        evidence = fit_evidence({n: evidence_rows(folder / n, prepared[n], model) for n in kept})
        scores = RhythmScores("", model, evidence, NO_SCORE)
        learnt = {
            n: atrial_rows(folder / n, prepared[n], scores, label)
            for n, label in _atrial_set(prepared, labels)
            if number[n] != fold
        }
        scores = RhythmScores("", model, evidence, score_model(fit_atrial(learnt)))
        results.append(
            _measured(folder, prepared, labels, [n for n in prepared if number[n] == fold], scores)
        )
        progress(f"fold {fold + 1}")
    return results


def _folds(prepared: dict[str, Prepared], labels: dict[str, str], folds: int) -> dict[str, int]:
    """A fold for each record: databases, and the classes of the Challenge, are spread evenly."""
    groups: dict[str, list[str]] = {}
    for name in prepared:
        database, record = name.split("/")
        groups.setdefault(f"{database}{labels.get(record, '') == 'A'}", []).append(name)
    rng = np.random.default_rng(0)
    return {
        str(name): i % folds for group in groups.values() for i, name in enumerate(rng.permutation(group))
    }


def _measured(
    folder: Path,
    prepared: dict[str, Prepared],
    labels: dict[str, str],
    names: list[str],
    scores: RhythmScores,
) -> Fold:
    windows, free = WindowScore(), WindowScore()
    found = missed = extra = 0
    for name in names:
        database, record = name.split("/")
        one = prepared[name]
        if database == "cinc2017":
            told = told_spans(one, scores, "atrial_fibrillation").size > 0
            found += told and labels[record] == "A"
            missed += not told and labels[record] == "A"
            extra += told and labels[record] != "A"
        elif database == "cudb" and record not in UNMARKED:
            windows += window_score(folder / name, one, told_spans(one, scores, "ventricular_fibrillation"))
        elif database in {"mitdb", "nsrdb"} and record != "207":
            free += window_score(folder / name, one, told_spans(one, scores, "ventricular_fibrillation"))
    return Fold(windows, free, found, missed, extra)


def window_score(path: Path, record: Prepared, told: NDArray[np.int64]) -> WindowScore:
    """8-s windows of a record; what follows the open mark of cu15 is left out."""
    spans_s = _marks_s(path, record)[0]
    end = int(spans_s[0, 0] * record.fs) if record.name == OPEN_MARK else record.samples
    return score_windows(
        np.rint(spans_s * record.fs).astype(np.int64),
        np.rint(told * (record.fs / FS)).astype(np.int64),
        fs=record.fs,
        end=end,
    )
