"""What was found in a span of ECG: beats, episodes, quality, intervals. Positions are source samples."""

from typing import Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.signal.rules import Kind, Priority

__all__ = [
    "BEAT_CLASSES",
    "Beats",
    "Condition",
    "Episode",
    "Findings",
    "HeartRate",
    "MinuteIntervals",
    "Quality",
    "Variability",
]

BEAT_CLASSES: Final = "NSVFQ"
"""AAMI classes in the order of their codes: normal, supraventricular, ventricular, fusion, unknown."""


class Beats(msgspec.Struct, frozen=True, eq=False):
    """Beats as columns, in time order; every column has shape (beats,) unless it says otherwise."""

    positions: NDArray[np.int64]
    """Sample of the recording at which the beat's largest deflection lies."""
    classes: NDArray[np.uint8]
    """Code into `BEAT_CLASSES`, after the rhythm rules."""
    confidences: NDArray[np.uint8]
    """Per cent: the classifier's share of votes for its own class."""
    grid: NDArray[np.int64]
    """Position on the 125-Hz analysis grid."""
    morphology: NDArray[np.uint8]
    """Code from the beat's shape and timing alone, before the rhythm rules."""
    agreement: NDArray[np.uint8]
    """Per cent: likeness of the QRS to the patient's, or to the beat before."""
    p_wave: NDArray[np.int8]
    """Per cent, signed: likeness of the P zone to the patient's."""
    p_shape: NDArray[np.int8]
    """Four numbers a beat, row after row, shape (4 * beats,): see `einthoven.signal.atrial.p_shapes`."""
    widths_ms: NDArray[np.uint16]
    amplitudes_uv: NDArray[np.int32]
    grades: NDArray[np.uint8]
    """Grade of the second in which the beat lies, 1 to 3; 0 before postprocessing."""

    def __len__(self) -> int:
        return self.positions.size

    @staticmethod
    def none() -> "Beats":
        """No beats."""
        return Beats(
            np.empty(0, np.int64),
            np.empty(0, np.uint8),
            np.empty(0, np.uint8),
            np.empty(0, np.int64),
            np.empty(0, np.uint8),
            np.empty(0, np.uint8),
            np.empty(0, np.int8),
            np.empty(0, np.int8),
            np.empty(0, np.uint16),
            np.empty(0, np.int32),
            np.empty(0, np.uint8),
        )

    @staticmethod
    def concatenate(parts: "list[Beats]") -> "Beats":
        """The beats of consecutive spans as one."""
        if not parts:
            return Beats.none()
        columns = zip(*(msgspec.structs.astuple(part) for part in parts), strict=True)
        return Beats(*(np.concatenate(column) for column in columns))

    def between(self, start: int, stop: int) -> "Beats":
        """Those whose grid position lies in ``start`` to ``stop``."""
        a, b = np.searchsorted(self.grid, (start, stop))
        size = len(self)
        columns = msgspec.structs.astuple(self)
        # A column may have several numbers a beat.
        each = [column.size // size if size else 1 for column in columns]
        return Beats(*(column[a * m : b * m] for column, m in zip(columns, each, strict=True)))


class Episode(msgspec.Struct, frozen=True):
    """A stretch of one rhythm, or of one technical condition."""

    kind: Kind
    onset: int
    """Sample of the recording."""
    end: int | None
    """Sample of the recording; None while the episode goes on."""
    priority: Priority
    confidence: int
    """Per cent, when it was decided; docs/reference/rhythm-rules.md says of what."""
    grade: int
    """The worse grade of the last two seconds before it was decided, 1 to 3."""


class Condition(msgspec.Struct, frozen=True):
    """An episode that somebody must be told of."""

    condition: Kind
    priority: Priority
    onset: int
    end: int | None
    confidence: int
    grade: int
    action: Literal["alert", "doubt", "hold"] = "alert"
    """``doubt``: the alert is technical. ``hold``: it alerts nobody."""
    reason: str = ""
    """Why it is not the alert that its kind would be; see `einthoven.signal.rules.GUARDS`."""


class MinuteIntervals(msgspec.Struct, frozen=True):
    """Intervals of one minute's mean calm beat."""

    minute: int
    beats: int
    rr_ms: float
    qrs_ms: float | None
    qt_ms: float | None
    qtc_ms: float | None
    """Fridericia: QT / cube root of RR in s; None outside 40 to 120 beats/min."""


class HeartRate(msgspec.Struct, frozen=True):
    """Rates over the sound intervals, beats/min; minimum and maximum of eight-interval means."""

    mean: float | None
    min: float | None
    max: float | None


class Variability(msgspec.Struct, frozen=True):
    """Heart-rate variability over NN intervals; see `einthoven.signal.variability`."""

    nn_share: float
    """Share of all RR intervals that are NN; below 0.8 nothing else is given."""
    mean_nn_ms: float | None
    sdnn_ms: float | None
    rmssd_ms: float | None
    pnn50_percent: float | None
    sdann_ms: float | None


class Quality(msgspec.Struct, frozen=True, eq=False):
    """What could be read, second by second."""

    first_cell: int
    """Number of the first second, counted from the start of the recording."""
    cells: NDArray[np.uint16]
    """See `einthoven.signal.quality`: grade in the low two bits, the reasons, the score."""

    @property
    def analysable_fraction(self) -> float | None:
        """Share of seconds of grade 1 or 2; None when there are none."""
        return float(np.mean((self.cells & 3) < 3)) if self.cells.size else None

    def seconds(self, grade: int) -> int:
        """How many seconds have this grade."""
        return int(np.count_nonzero((self.cells & 3) == grade))


class Findings(msgspec.Struct, frozen=True, eq=False):
    """Everything that the four functions found in one span."""

    fs: float
    first: int
    """Sample of the recording at which the span begins."""
    until: int
    """Everything before this sample of the recording is decided."""
    beats: Beats
    episodes: tuple[Episode, ...]
    """Those that ended in the span, in order of their end; then those that go on, most urgent first."""
    quality: Quality
    intervals: tuple[MinuteIntervals, ...]
    heart_rate: HeartRate
    variability: Variability
    conditions: tuple[Condition, ...]
    versions: dict[str, str]
    """Version of each function that had a part in it."""
