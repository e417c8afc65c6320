"""Postprocessing: the rhythm rules over beats and quality cells."""

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import InputInvalid
from einthoven.functions.contract import contract_of, function
from einthoven.functions.ecg import Ecg, PatientState, RhythmSection, RhythmStateSection
from einthoven.signal.atrial import P_SHAPE
from einthoven.signal.findings import Beats, Episode, Quality
from einthoven.signal.quality import CELL, grades_at
from einthoven.signal.resampling import Ratio, ratio_of, source_position
from einthoven.signal.rhythm import BeatColumns, Episodes, RhythmState, fold, open_episodes
from einthoven.signal.rules import KINDS, RULES, Criteria
from einthoven.signal.scores import RhythmScores, load_scores

__all__ = ["episodes_of", "fold_span", "postprocessing", "with_grades"]

Cells = NDArray[np.uint16]
_DEFAULTS: Final = Criteria()


@function(version="1.0", memory_mb=64, timeout_s=10.0)
def postprocessing(ecg: Ecg, state: PatientState) -> tuple[Ecg, PatientState]:
    """Fold beats and cells into episodes and polish the classes; adds the section ``rhythm``.

    Raises
    ------
    InputInvalid : beat detection did not come first.
    """
    if ecg.beats is None or ecg.cleaned is None:
        raise InputInvalid("the ECG object has no beats section.", where="beats", remedy="Run bdc first.")
    before = state.rhythm or RhythmStateSection(RhythmState.at(ecg.cleaned.start), np.empty(0, np.uint16))
    waiting = np.concatenate((before.cells, ecg.cleaned.cells))
    first_cell = ecg.cleaned.first_cell - before.cells.size
    until = ecg.beats.until
    if ecg.is_last:
        until = max(until, (first_cell + waiting.size) * CELL)
    folded = min(waiting.size, max(0, until // CELL - first_cell))
    graded = with_grades(ecg.beats.beats, first_cell, waiting)
    criteria = ecg.criteria or _DEFAULTS
    rhythm, beats, ended = fold_span(before.rhythm, graded, waiting[:folded], until, criteria)
    section = RhythmSection(
        beats=beats,
        episodes=episodes_of(ended, rhythm, ratio_of(ecg.fs)),
        quality=Quality(first_cell, waiting[:folded].copy()),
    )
    after = RhythmStateSection(rhythm, waiting[folded:].copy())
    versions = {
        **ecg.versions,
        "postprocessing": contract_of(postprocessing).version,
        "rhythm_scores": load_scores().version,
    }
    return (
        msgspec.structs.replace(ecg, rhythm=section, versions=versions),
        msgspec.structs.replace(state, rhythm=after),
    )


def with_grades(beats: Beats, first_cell: int, cells: Cells) -> Beats:
    """The beats with the grade of the second in which each lies; the nearest where that is not given."""
    if not cells.size:
        return beats
    return msgspec.structs.replace(beats, grades=grades_at(beats.grid, first_cell, cells))


def fold_span(
    state: RhythmState,
    beats: Beats,
    cells: Cells,
    until: int,
    criteria: Criteria,
    scores: RhythmScores | None = None,
) -> tuple[RhythmState, Beats, Episodes]:
    """Fold one span; returns the new state, the beats with their classes polished, and what ended."""
    columns = BeatColumns(
        beats.grid,
        beats.morphology,
        beats.confidences,
        beats.agreement,
        beats.p_wave,
        beats.p_shape.reshape(-1, P_SHAPE),
    )
    after, classes, ended = fold(state, columns, cells, until, criteria, scores)
    return after, msgspec.structs.replace(beats, classes=classes), ended


def episodes_of(ended: Episodes, state: RhythmState, ratio: Ratio) -> tuple[Episode, ...]:
    """Those that ended, then those that go on, in source samples."""
    closed = [
        Episode(
            kind=KINDS[kind],
            onset=source_position(onset, ratio),
            end=source_position(end, ratio),
            priority=RULES[KINDS[kind]].priority,
            confidence=confidence,
            grade=grade,
        )
        for kind, onset, end, confidence, grade in zip(*(column.tolist() for column in ended), strict=True)
    ]
    going_on = [
        Episode(
            kind=going.kind,
            onset=source_position(going.onset, ratio),
            end=None,
            priority=RULES[going.kind].priority,
            confidence=going.confidence,
            grade=going.grade,
        )
        for going in open_episodes(state)
    ]
    return (*closed, *going_on)
