"""A real patient's beats on another rhythm: what the recordings lack, with waves that no simulator draws.

Each beat of a script is a beat of the patient's own, cut from the clean signal with its baseline taken off,
and put where the script has it; where two overlap they are added, so that an early P wave rides on the T
wave before it. A supraventricular beat is one of the patient's normal beats with another P wave: inverted,
flat, absent, or nearer to the QRS.
"""

from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from einthoven.runtime.training import Rows, annotated, features_of
from einthoven.signal.learning import CLASSES

__all__ = ["UNSTEADY", "Part", "RealPatient", "Script", "retimed_rows"]

UNSTEADY: Final = frozenset({"108", "201", "203"})
"""Records of DS1 without a steady P wave: fibrillation, and atria that wander."""
_AHEAD, _BEYOND = 35, 62
"""Samples before and after R that a beat is cut with (280 and 496 ms)."""
_P_ZONE: Final = _AHEAD - 9
_LEAST_NORMAL, _LEAST_VENTRICULAR = 50, 3
_LEAST_RR: Final = _AHEAD + 30
_OTHER_P: Final = ("inverted", "flat", "absent", "nearer", "inverted", "nearer", "same")
"""How the P wave of a patient's ectopic beats differs, by frequency; sometimes nothing shows."""


class Script(NamedTuple):
    """A rhythm: where beats lie (samples at 125 Hz), their classes, and the usual interval."""

    times: NDArray[np.int64]
    labels: NDArray[np.int64]
    usual: float


class Part(NamedTuple):
    """A made recording."""

    samples: NDArray[np.int16]
    beats: NDArray[np.int64]
    labels: NDArray[np.int64]


class RealPatient:
    """The beats of one lead of a record that others are made of."""

    def __init__(self, folder: Path, name: str, lead: int) -> None:
        self._samples, self._beats, labels = annotated(folder, name, lead)
        inside = np.arange(2, self._beats.size - 2)
        rr = np.diff(self._beats)
        whole = (self._beats[inside] > _AHEAD) & (rr[inside] > _LEAST_RR)
        after_normal = labels[inside - 1] == CLASSES.find("N")
        self._normal = inside[
            whole & after_normal & (labels[inside] == 0) & (labels[inside + 1] == CLASSES.find("N"))
        ]
        self._ventricular = inside[whole & after_normal & (labels[inside] == CLASSES.find("V"))]
        self._usual = float(np.median(rr[self._normal - 1])) if self._normal.size else 0.0

    def can(self, script: Script) -> bool:
        """Whether there are beats enough of each class."""
        needs_ventricular = bool((script.labels == CLASSES.find("V")).any())
        return self._normal.size >= _LEAST_NORMAL and (
            not needs_ventricular or self._ventricular.size >= _LEAST_VENTRICULAR
        )

    def play(self, script: Script, rng: np.random.Generator) -> Part:
        """The script by this patient, at about the patient's own rate."""
        tempo = self._usual / script.usual * float(rng.uniform(0.85, 1.15))
        beats = np.rint(script.times * tempo).astype(np.int64) + _AHEAD + 5
        out = np.zeros(int(beats[-1]) + _BEYOND + 200)
        at = int(rng.integers(self._normal.size))
        kind, share = _OTHER_P[int(rng.integers(len(_OTHER_P)))], float(rng.uniform(0.3, 1))
        for beat, label in zip(beats.tolist(), script.labels.tolist(), strict=True):
            if label == CLASSES.find("V"):
                piece = self._piece(int(rng.choice(self._ventricular)))
            else:
                piece = self._piece(int(self._normal[at % self._normal.size]))
                at += 1
                if label == CLASSES.find("S"):
                    piece = _with_other_p(piece, kind, share)
            out[beat - _AHEAD : beat - _AHEAD + piece.size] += piece
        samples = np.clip(np.rint(out), -32_000, 32_000).astype(np.int16)
        return Part(samples, beats, script.labels)

    def _piece(self, k: int) -> NDArray[np.float64]:
        """One beat, both ends on 0."""
        start = int(self._beats[k]) - _AHEAD
        stop = min(int(self._beats[k]) + _BEYOND, int(self._beats[k + 1]) - _AHEAD)
        piece = self._samples[start:stop].astype(np.float64)
        return piece - np.linspace(piece[:3].mean(), piece[-3:].mean(), piece.size)


def _with_other_p(piece: NDArray[np.float64], kind: str, share: float) -> NDArray[np.float64]:
    """The beat with the P wave of another focus."""
    base = np.linspace(piece[0], piece[_P_ZONE], _P_ZONE)
    own = piece[:_P_ZONE] - base
    match kind:
        case "inverted":
            other = -share * own
        case "flat":
            other = 0.4 * share * own
        case "absent":
            other = np.zeros(_P_ZONE)
        case "nearer":
            by = 3 + int(5 * share)
            other = np.concatenate((np.zeros(by), own[:-by]))
        case _:
            other = own
    much = np.ones(_P_ZONE)
    much[:3], much[-4:] = (0.25, 0.5, 0.75), (0.8, 0.6, 0.4, 0.2)
    changed = piece.copy()
    changed[:_P_ZONE] = base + much * other + (1 - much) * own
    return changed


def retimed_rows(patient: RealPatient, script: Script, rng: np.random.Generator) -> Rows:
    """Features and labels of the script's beats by this patient."""
    part = patient.play(script, rng)
    return Rows(features_of(part.samples, part.beats), part.labels)
