"""Rows that are made for the beat classifier: the rhythms of lessons, by real and by virtual patients."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from einthoven.runtime.retiming import UNSTEADY, RealPatient, Script, retimed_rows
from einthoven.runtime.training import DS1, MadeRows, virtual_rows
from einthoven.signal.learning import CLASSES
from einthoven.signal.resampling import FS
from einthoven.simulation import LESSONS, UNTAUGHT, VirtualPatient, lesson
from einthoven.simulation.lessons import CONDUCTED, ECTOPIC, VENTRICULAR

__all__ = ["real_on_other_rhythms", "virtual"]

_SCRIPT_S: Final = 360.0
_LEADS: Final = 2
_LESSONS: Final = ((tuple(ECTOPIC), 7), (tuple(CONDUCTED), 5), (tuple(VENTRICULAR), 2))
"""How many lessons of each sort are drawn for a lead."""


def real_on_other_rhythms(
    folder: Path, *, seed: int, names: Iterable[str] = DS1, wide: bool = False
) -> MadeRows:
    """Lessons played by the patients of DS1, by record and a name of their own; ``wide`` for a test."""
    made: MadeRows = {}
    for name in names:
        for lead in range(_LEADS) if name not in UNSTEADY else ():
            patient = RealPatient(folder, name, lead)
            rng = np.random.default_rng((int(name), lead, seed, int(wide)))
            for sort, many in _LESSONS:
                for title in rng.choice(sort, many).tolist():
                    number = int(rng.integers(1_000_000))
                    script = _script(lesson(title, number, wide=wide))
                    if patient.can(script):
                        made[name, f"{title}, {number}, lead {lead}"] = retimed_rows(patient, script, rng)
    return made


def virtual(*, seeds: Iterable[int], wide: bool = False) -> MadeRows:
    """Lessons played by virtual patients, without a record's name; the untaught ones only in a test."""
    made: MadeRows = {}
    for title in LESSONS if wide else [title for title in LESSONS if title not in UNTAUGHT]:
        for seed in seeds:
            patient = lesson(title, seed, wide=wide)
            script = _script(patient, patient.info.duration_s)
            made["", f"{title}, {seed}"] = virtual_rows(patient, script.times, script.labels)
    return made


def _script(patient: VirtualPatient, duration_s: float = _SCRIPT_S) -> Script:
    beats = patient.truth(0, duration_s).beats
    labels = np.array([CLASSES.find(kind) for kind in beats.classes.tolist()], np.int64)
    return Script(beats.positions, labels, 60 * FS / patient.scene.periods[0].rate)
