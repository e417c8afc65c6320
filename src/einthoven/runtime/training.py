"""From annotated recordings to the beat classifier: the rows it learns from, and its cross-validation.

Split and class map are de Chazal's (IEEE Trans. Biomed. Eng. 51(7), 2004): training reads DS1 alone. DS2 is
never opened here.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from einthoven.errors import DefectError, RecordingNotFound
from einthoven.evaluation.beats import ROWS, BeatTable
from einthoven.functions import PatientState, count_hours, preprocessing, split
from einthoven.records import open_recording, read_annotations
from einthoven.signal.beats import locate
from einthoven.signal.classes import classify, pack_model, unpack_model
from einthoven.signal.learning import CLASSES, NETWORKS, Ensemble, fit
from einthoven.signal.morphology import MINUTE, PatientContext, describe, turn
from einthoven.signal.recording import RecordingSource
from einthoven.signal.resampling import FS

__all__ = [
    "DS1",
    "FOLDS",
    "VARIANTS",
    "Annotated",
    "MadeRows",
    "Rows",
    "Tables",
    "Variant",
    "annotated",
    "class_of",
    "cross_validate",
    "features_of",
    "told_by",
    "train",
    "training_rows",
    "virtual_rows",
    "with_other_folds",
]

DS1: Final = (
    *("101", "106", "108", "109", "112", "114", "115", "116", "118", "119", "122"),
    *("124", "201", "203", "205", "207", "208", "209", "215", "220", "223", "230"),
)
"""The design half of the MIT-BIH records."""

_MAP: Final = {
    **dict.fromkeys("NLRBej", "N"),
    **dict.fromkeys("AaJSn", "S"),
    **dict.fromkeys("VEr", "V"),
    "F": "F",
    **dict.fromkeys("/fQ?", "Q"),
}


FOLDS: Final = 5
"""Parts of the records for cross-validation: every fifth record, so that no patient is on both sides."""


class Variant(NamedTuple):
    """One reading of a record."""

    lead: int
    jitter: int = 0
    """Samples by which beats are displaced at random, at most."""
    tempo: int = 100
    """Per cent of its duration that the record is stretched to, waves and intervals alike."""


VARIANTS: Final = (
    *(Variant(0), Variant(1)),
    *(Variant(0, 2), Variant(1, 2)),
    *(Variant(0, 1, 90), Variant(1, 1, 90), Variant(0, 1, 110), Variant(1, 1, 110)),
)
"""Both leads, because lead placement costs more than a missing lead; displaced, because detectors displace;
slower and faster, because twenty-two patients have few heart rates."""


class Rows(NamedTuple):
    """Features (n, f) and labels (n,), indices into `CLASSES`."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]


def class_of(symbol: str) -> str | None:
    """AAMI class of a MIT annotation symbol, de Chazal's map; None for what is no beat."""
    return _MAP.get(symbol)


class Annotated(NamedTuple):
    """A lead's clean signal and its annotated beats; class Q has the label -1."""

    samples: NDArray[np.int16]
    beats: NDArray[np.int64]
    labels: NDArray[np.int64]


def annotated(folder: Path, name: str, lead: int, *, tempo: int = 100, jitter: int = 0) -> Annotated:
    """One lead of a record, perhaps slower or faster, its beats perhaps displaced.

    Raises
    ------
    RecordingNotFound, RecordingUnreadable : see `einthoven.records`.
    """
    path = folder / name
    with open_recording(path) as source:
        if lead >= len(source.info.leads):
            raise RecordingNotFound(
                f"the record has no lead {lead}.",
                where=str(path),
                remedy="Training reads both leads.",
            )
        samples = _stretched(_clean(source, lead), tempo)
        fs = source.info.fs
    marks = read_annotations(folder / f"{name}.atr")
    pairs = [
        (sample, CLASSES.find(kind))
        for sample, symbol in zip(marks.samples.tolist(), marks.symbols, strict=True)
        if (kind := class_of(symbol)) is not None
    ]
    positions = np.rint(np.array([sample for sample, _ in pairs]) * (FS / fs)).astype(np.int64)
    positions = (positions * tempo + 50) // 100
    labels = np.array([label for _, label in pairs], np.int64)
    rng = np.random.default_rng((lead, jitter, tempo))
    return Annotated(samples, _placed(samples, positions, jitter, rng), labels)


def training_rows(folder: Path, name: str, variant: Variant) -> Rows:
    """Features and labels of one record at its annotated beats, class Q left out.

    Raises
    ------
    RecordingNotFound, RecordingUnreadable : see `einthoven.records`.
    """
    found = annotated(folder, name, variant.lead, tempo=variant.tempo, jitter=variant.jitter)
    features = features_of(found.samples, found.beats)
    known = found.labels >= 0
    return Rows(features[known], found.labels[known])


def virtual_rows(patient: RecordingSource, positions: NDArray[np.int64], labels: NDArray[np.int64]) -> Rows:
    """Features and labels of the beats of a virtual patient at 125 Hz, displaced by a sample at most."""
    samples = _clean(patient, 0)
    beats = _placed(samples, positions, 1, np.random.default_rng(positions.size))
    return Rows(features_of(samples, beats), labels)


def _clean(source: RecordingSource, lead: int) -> NDArray[np.int16]:
    """The whole of a lead as the classifier sees it."""
    (everything,) = count_hours(source.info, 1e9)
    prepared, _ = preprocessing(split(source, everything, lead), PatientState())
    if prepared.cleaned is None:
        raise DefectError("preprocessing left no clean signal.")
    return prepared.cleaned.samples


def _placed(
    samples: NDArray[np.int16], positions: NDArray[np.int64], jitter: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Fiducials near given positions, which are displaced at random first."""
    if jitter:
        positions = positions + rng.integers(-jitter, jitter + 1, positions.size)
    positions = np.clip(np.sort(positions), 0, samples.size - 1)
    fiducials: NDArray[np.int64] = np.maximum.accumulate(locate(samples, 0, positions, 0, samples.size))
    return fiducials


def _stretched(samples: NDArray[np.int16], tempo: int) -> NDArray[np.int16]:
    """The signal on a grid of its own, straight between samples; in integers, the same on every machine."""
    if tempo == 100:
        return samples
    at, rest = np.divmod(np.arange((samples.size - 1) * tempo // 100) * 100, tempo)
    before, after = samples[at].astype(np.int64), samples[at + 1].astype(np.int64)
    between: NDArray[np.int64] = (before * (tempo - rest) + after * rest + tempo // 2) // tempo
    return between.astype(np.int16)


def features_of(cleaned: NDArray[np.int16], beats: NDArray[np.int64]) -> NDArray[np.float32]:
    """Features of given beats, minute by minute, as the stream would have them."""
    context = PatientContext.empty()
    parts = []
    known = 0
    minute = 0
    while known < beats.size:
        count = int(np.searchsorted(beats, (minute + 1) * MINUTE)) - known
        features, _, context = describe(cleaned, 0, beats, known, count, context)
        parts.append(features)
        known += count
        minute += 1
        _, context = turn(context)
    return np.concatenate(parts)


Tables = dict[str, tuple[BeatTable, ...]]
"""Per record: one table for each lead."""


MadeRows = dict[tuple[str, str], Rows]
"""What was made for training, by the record it was made of (none: virtual) and a name."""


def train(
    rows: Iterable[tuple[str, Rows]],
    made: Iterable[Rows] = (),
    *,
    seed: int = 0,
    networks: int = NETWORKS,
) -> Ensemble:
    """The classifier from rows and the name of the record that each set comes from, and from made ones."""
    sets, others = list(rows), list(made)
    return fit(
        np.concatenate([part.features for _, part in sets]),
        np.concatenate([part.labels for _, part in sets]),
        np.concatenate([np.full(part.labels.size, int(name)) for name, part in sets]),
        made=(
            np.concatenate([part.features for part in others]),
            np.concatenate([part.labels for part in others]),
        )
        if others
        else None,
        seed=seed,
        networks=networks,
    )


def cross_validate(
    rows: dict[tuple[str, Variant], Rows],
    made: MadeRows,
    *,
    seeds: Iterable[int],
    networks: int = NETWORKS,
    done: Callable[[], None] = lambda: None,
) -> Iterator[Tables]:
    """For each seed, every record's beats told by a classifier that never saw a beat of that record.

    Training is on all variants of the other four fifths of the records, on what was made of them, and on
    virtual patients; what is held out is told at the annotated positions of each lead. ``done`` is called
    after each of the `FOLDS` classifiers of a seed. The tables have no row or column for missed and
    invented beats, because the positions are given.
    """
    names = list(dict.fromkeys(name for name, _ in rows))

    def one_fold(seed: int, fold: int) -> Tables:
        held_out = names[fold::FOLDS]
        ensemble = train(
            ((name, part) for (name, _), part in rows.items() if name not in held_out),
            (part for (name, _), part in made.items() if name not in held_out),
            seed=seed,
            networks=networks,
        )
        tables = {
            name: told_by(
                ensemble,
                (
                    part
                    for (of, variant), part in rows.items()
                    if of == name and variant == Variant(variant.lead)
                ),
            )
            for name in held_out
        }
        done()
        return tables

    with ThreadPoolExecutor(max_workers=min(FOLDS, os.cpu_count() or 1)) as pool:
        for seed in seeds:
            parts = list(pool.map(one_fold, [seed] * FOLDS, range(FOLDS)))
            together = {name: tables for part in parts for name, tables in part.items()}
            yield {name: together[name] for name in names}


def with_other_folds(rows: dict[tuple[str, Variant], Rows], seed: int) -> dict[tuple[str, Variant], Rows]:
    """The same rows in another order of records, from which `cross_validate` makes other folds."""
    names = list(dict.fromkeys(name for name, _ in rows))
    order = np.random.default_rng(seed).permutation(len(names)).tolist()
    return {key: rows[key] for i in order for key in rows if key[0] == names[i]}


def told_by(ensemble: Ensemble, parts: Iterable[Rows]) -> tuple[BeatTable, ...]:
    """What a classifier tells of rows, counted; one table for each part."""
    model = unpack_model(pack_model(ensemble, "held out"))
    return tuple(_table(part.labels, classify(part.features, model)[0]) for part in parts)


def _table(labels: NDArray[np.int64], classes: NDArray[np.uint8]) -> BeatTable:
    """Counts of the told class against the annotated one."""
    counts = np.zeros((len(ROWS), len(ROWS)), np.int64)
    np.add.at(counts, (labels, classes), 1)
    return BeatTable(counts)
