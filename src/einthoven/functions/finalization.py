"""Finalization: statistics and the conditions that somebody must be told of."""

import msgspec
import numpy as np

from einthoven.errors import InputInvalid
from einthoven.functions.contract import contract_of, function
from einthoven.functions.ecg import Ecg, FinalState, PatientState
from einthoven.signal.findings import Condition, Episode, Findings
from einthoven.signal.resampling import ratio_of, source_position
from einthoven.signal.rules import guard_of
from einthoven.signal.variability import add_intervals, heart_rate, rr_intervals, variability

__all__ = ["conditions_of", "finalization"]


@function(version="1.0", memory_mb=64, timeout_s=10.0)
def finalization(ecg: Ecg, state: PatientState) -> tuple[Ecg, PatientState]:
    """Rates, variability, alert check; adds the section ``findings``.

    Raises
    ------
    InputInvalid : postprocessing did not come first.
    """
    if ecg.rhythm is None or ecg.beats is None:
        raise InputInvalid(
            "the ECG object has no rhythm section.", where="rhythm", remedy="Run postprocessing first."
        )
    before = state.final or FinalState(np.empty(0, np.int64), np.empty(0, np.uint8), ecg.first)
    beats, quality = ecg.rhythm.beats, ecg.rhythm.quality
    grid = np.concatenate((before.grid, beats.grid))
    classes = np.concatenate((before.classes, beats.classes))
    sums = add_intervals(rr_intervals(grid, classes, quality.first_cell, quality.cells))
    until = source_position(ecg.beats.until, ratio_of(ecg.fs))
    if ecg.is_last and ecg.samples is not None:
        until = ecg.first + ecg.samples.size
    findings = Findings(
        fs=ecg.fs,
        first=before.first,
        until=until,
        beats=beats,
        episodes=ecg.rhythm.episodes,
        quality=quality,
        intervals=ecg.beats.intervals,
        heart_rate=heart_rate(sums),
        variability=variability(sums),
        conditions=conditions_of(ecg.rhythm.episodes),
        versions={**ecg.versions, "finalization": contract_of(finalization).version},
    )
    after = FinalState(grid[-2:].copy(), classes[-2:].copy(), until)
    return (
        msgspec.structs.replace(ecg, findings=findings, versions=findings.versions),
        msgspec.structs.replace(state, final=after),
    )


def conditions_of(episodes: tuple[Episode, ...]) -> tuple[Condition, ...]:
    """The episodes that carry a priority, after the guards."""
    return tuple(_condition(episode) for episode in episodes if episode.priority != "none")


def _condition(episode: Episode) -> Condition:
    guard = guard_of(episode.kind, episode.confidence, episode.grade)
    return Condition(
        condition=episode.kind,
        priority="technical" if guard and guard.action == "doubt" else episode.priority,
        onset=episode.onset,
        end=episode.end,
        confidence=episode.confidence,
        grade=episode.grade,
        action=guard.action if guard else "alert",
        reason=guard.reason if guard else "",
    )
