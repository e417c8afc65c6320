"""Postprocessing: the rhythm rules over beats and quality cells."""

import msgspec
import numpy as np

from einthoven.errors import InputInvalid
from einthoven.functions.contract import contract_of, function
from einthoven.functions.ecg import Ecg, PatientState, RhythmSection, RhythmStateSection
from einthoven.signal.findings import Beats, Episode, Quality
from einthoven.signal.quality import CELL
from einthoven.signal.resampling import Ratio, ratio_of, source_position
from einthoven.signal.rhythm import Episodes, RhythmState, fold, open_episodes
from einthoven.signal.rules import KINDS, RULES, Criteria

__all__ = ["episodes_of", "fold_span", "postprocessing"]


@function(version="1.0", memory_mb=64, timeout_s=10.0)
def postprocessing(ecg: Ecg, state: PatientState) -> tuple[Ecg, PatientState]:
    """Fold beats and cells into episodes and polish the classes; adds the section ``rhythm``.

    Raises
    ------
    InputInvalid : beat detection did not come first.
    """
    if ecg.beats is None or ecg.cleaned is None:
        raise InputInvalid("the ECG object has no beats section.", where="beats", remedy="Run bdc first.")
    before = state.rhythm or RhythmStateSection(RhythmState.at(ecg.cleaned.start), np.empty(0, np.uint8))
    waiting = np.concatenate((before.cells, ecg.cleaned.cells))
    first_cell = ecg.cleaned.first_cell - before.cells.size
    until = ecg.beats.until
    if ecg.is_last:
        until = max(until, (first_cell + waiting.size) * CELL)
    folded = min(waiting.size, max(0, until // CELL - first_cell))
    rhythm, beats, ended = fold_span(before.rhythm, ecg.beats.beats, waiting[:folded], until, Criteria())
    section = RhythmSection(
        beats=beats,
        episodes=episodes_of(ended, rhythm, ratio_of(ecg.fs)),
        quality=Quality(first_cell, waiting[:folded].copy()),
    )
    after = RhythmStateSection(rhythm, waiting[folded:].copy())
    versions = {**ecg.versions, "postprocessing": contract_of(postprocessing).version}
    return (
        msgspec.structs.replace(ecg, rhythm=section, versions=versions),
        msgspec.structs.replace(state, rhythm=after),
    )


def fold_span(
    state: RhythmState,
    beats: Beats,
    cells: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]",
    until: int,
    criteria: Criteria,
) -> tuple[RhythmState, Beats, Episodes]:
    """Fold one span; returns the new state, the beats with their classes polished, and what ended."""
    after, classes, ended = fold(
        state, beats.grid, beats.morphology, beats.agreement, beats.p_wave, cells, until, criteria
    )
    return after, msgspec.structs.replace(beats, classes=classes), ended


def episodes_of(ended: Episodes, state: RhythmState, ratio: Ratio) -> tuple[Episode, ...]:
    """Those that ended, then those that go on, in source samples."""
    closed = [
        Episode(
            kind=KINDS[kind],
            onset=source_position(int(onset), ratio),
            end=source_position(int(end), ratio),
            priority=RULES[KINDS[kind]].priority,
        )
        for kind, onset, end in zip(*ended, strict=True)
    ]
    going_on = [
        Episode(kind=kind, onset=source_position(onset, ratio), end=None, priority=RULES[kind].priority)
        for kind, onset in open_episodes(state)
    ]
    return (*closed, *going_on)
