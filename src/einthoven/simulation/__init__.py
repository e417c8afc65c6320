"""Virtual patients: plausible ECG with its ground truth, from a seed. No I/O, no clock of its own."""

from einthoven.simulation.lessons import LESSONS, UNTAUGHT, lesson
from einthoven.simulation.noise import Noise, NoiseKind
from einthoven.simulation.patients import Truth, TruthBeats, VirtualPatient
from einthoven.simulation.rhythms import Period, Rhythm
from einthoven.simulation.scenes import SCENES, Scene

__all__ = [
    "LESSONS",
    "SCENES",
    "UNTAUGHT",
    "Noise",
    "NoiseKind",
    "Period",
    "Rhythm",
    "Scene",
    "Truth",
    "TruthBeats",
    "VirtualPatient",
    "lesson",
]
