"""The ECG object that walks through the functions, and the state that walks beside it.

Each function adds its own section and drops none. ``ecgDataFilePath`` is the switch of the article (Ristov
et al., IEEE Computer 2023, doi:10.1109/MC.2023.3281873): null means that the samples are here, by value; set
means that the whole object lies in an object store under that name, by reference.
"""

from datetime import datetime
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import InputInvalid
from einthoven.signal.beats import Trace
from einthoven.signal.findings import (
    Beats,
    Episode,
    Findings,
    HeartRate,
    MinuteIntervals,
    Quality,
    Variability,
)
from einthoven.signal.morphology import PatientContext
from einthoven.signal.recording import MAX_FS, MIN_FS
from einthoven.signal.rhythm import RhythmState
from einthoven.signal.rules import Criteria

__all__ = [
    "STATE_VERSION",
    "BeatSection",
    "BeatState",
    "Cleaned",
    "CleaningState",
    "Ecg",
    "FinalState",
    "Joined",
    "PatientState",
    "RhythmSection",
    "RhythmStateSection",
]

STATE_VERSION: Final = 5


class Cleaned(msgspec.Struct, frozen=True, eq=False):
    """What preprocessing adds: the clean signal on the 125-Hz grid and its quality, second by second."""

    start: int
    """Grid position at which the stream begins."""
    first: int
    """Grid position of the first sample; before ``fresh`` they repeat earlier calls."""
    fresh: int
    samples: NDArray[np.int16]
    """Units of 5 µV."""
    first_cell: int
    cells: NDArray[np.uint16]


class BeatSection(msgspec.Struct, frozen=True, eq=False):
    """What beat detection and classification adds."""

    since: int
    until: int
    """Grid positions: the beats are all those from ``since`` to ``until``."""
    beats: Beats
    intervals: tuple[MinuteIntervals, ...]


class RhythmSection(msgspec.Struct, frozen=True, eq=False):
    """What postprocessing adds."""

    beats: Beats
    episodes: tuple[Episode, ...]
    quality: Quality


class Joined(msgspec.Struct, frozen=True, eq=False):
    """What join adds: a whole recording in few numbers, and where its findings lie, span after span."""

    fs: float = 125.0
    first: int = 0
    until: int = 0
    """Samples of the recording: the spans reach from one to the other."""
    beats: dict[str, int] = {}
    """By class, each of "NSVFQ"."""
    seconds: tuple[int, int, int] = (0, 0, 0)
    """Of grade 1, 2 and 3."""
    episodes: int = 0
    heart_rate: HeartRate = HeartRate(None, None, None)
    variability: Variability = Variability(0.0, None, None, None, None, None)
    parts: tuple[str, ...] = ()
    """Names of ECG objects with the findings of consecutive spans of about a day: as the whole has them."""
    versions: dict[str, str] = {}
    """Version of each function that had a part in it."""


class CleaningState(msgspec.Struct, frozen=True, eq=False, array_like=True):
    """What preprocessing remembers."""

    start: int
    source_next: int
    """Position of the next source sample."""
    source_tail: NDArray[np.int32]
    """Last source samples in fine units."""
    lost_tail: NDArray[np.bool_]
    held: int
    """Last valid source sample, fine units."""
    held_for: int
    """Source samples since then."""
    grid_next: int
    units_tail: NDArray[np.int16]
    lost_units: NDArray[np.bool_]
    clean_next: int
    cell_next: int


class BeatState(msgspec.Struct, frozen=True, eq=False, array_like=True):
    """What beat detection and classification remembers."""

    after: int
    trace: Trace
    beats: NDArray[np.int64]
    """Fiducials: ``known`` already described, then those that wait for what follows them."""
    known: int
    boundary: int
    context: PatientContext


class RhythmStateSection(msgspec.Struct, frozen=True, eq=False, array_like=True):
    """What postprocessing remembers."""

    rhythm: RhythmState
    cells: NDArray[np.uint16]
    """Cells that wait for the beats around them."""


class FinalState(msgspec.Struct, frozen=True, eq=False, array_like=True):
    """What finalization remembers: the last two beats, for the intervals across the border."""

    grid: NDArray[np.int64]
    classes: NDArray[np.uint8]
    first: int
    """Source sample at which the next findings begin."""


class PatientState(msgspec.Struct, frozen=True, eq=False, array_like=True):
    """What the functions must remember of one stream between its segments; each has its own section."""

    version: int = STATE_VERSION
    cleaning: CleaningState | None = None
    beats: BeatState | None = None
    rhythm: RhythmStateSection | None = None
    final: FinalState | None = None


class Ecg(
    msgspec.Struct, frozen=True, eq=False, rename="camel", omit_defaults=True, forbid_unknown_fields=True
):
    """One lead of ECG and what the functions have added to it so far."""

    patient_id: str = ""
    """Pseudonym."""
    start_time: datetime | None = None
    fs: float = 125.0
    gain: float = 200.0
    """ADC counts per mV."""
    baseline: int = 0
    lead: str = "ECG"
    first: int = 0
    """Position of the first sample in its recording or stream."""
    is_last: bool = True
    """Nothing follows: the newest edge is analysed too."""
    samples: NDArray[np.int32] | None = None
    """ADC counts; the smallest 32-bit integer marks a missing sample."""
    ecg_data_file_path: str | None = None
    cleaned: Cleaned | None = None
    beats: BeatSection | None = None
    rhythm: RhythmSection | None = None
    findings: Findings | None = None
    joined: Joined | None = None
    criteria: Criteria | None = None
    """Limits of the rhythm rules for this patient; the defaults when None."""
    versions: dict[str, str] = {}

    def __post_init__(self) -> None:
        if not MIN_FS <= self.fs <= MAX_FS:
            raise InputInvalid(
                f"the sampling rate is {self.fs:g} Hz; it must lie in {MIN_FS:g} to {MAX_FS:g} Hz.",
                where="fs",
                remedy="Give fs in Hz, or resample first.",
            )
        if not 1e-3 <= self.gain <= 1e7:
            raise InputInvalid(
                f"the gain is {self.gain:g} counts per mV; it must lie in 0.001 to 10000000.",
                where="gain",
                remedy="Give the gain in ADC counts per millivolt.",
            )
        if not -(2**31) < self.baseline < 2**31:
            raise InputInvalid("the baseline does not fit in 32 bits.", where="baseline")
        if not 0 <= self.first < 2**53:
            raise InputInvalid("the position of the first sample is out of range.", where="first")
        if self.samples is not None and self.ecg_data_file_path is not None:
            raise InputInvalid(
                "both samples and ecgDataFilePath are set.",
                where="ecgDataFilePath",
                remedy="Send the samples, or the path of an object that holds them, not both.",
            )
        if self.samples is not None and self.samples.ndim != 1:
            raise InputInvalid("the samples are not one flat list.", where="samples")
