"""Where a comparison went wrong, beat by beat, and the stretches of ECG that show it best."""

from typing import Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.evaluation.beats import paired_beats
from einthoven.evaluation.labels import Labels

__all__ = ["MISTAKES", "Mistake", "MistakeKind", "Strip", "StripBeat", "mistakes", "strip_of", "worst_start"]

MistakeKind = Literal["missed", "extra", "class"]
MISTAKES: Final[tuple[MistakeKind, ...]] = ("missed", "extra", "class")
"""A beat that was not found, one that is none, and one of another class (V and S against all others)."""
STRIP_S: Final = 10.0


class Mistake(msgspec.Struct, frozen=True):
    """One beat that the two sides do not agree on."""

    kind: MistakeKind
    reference: int | None
    """Sample of the reference's beat, if there is one."""
    test: int | None

    @property
    def sample(self) -> int:
        """Where it is, for the reader: at the reference's beat, or at the test's where there is none."""
        return self.reference if self.reference is not None else (self.test or 0)


class StripBeat(msgspec.Struct, frozen=True):
    """One side's beat on a strip."""

    at_s: float
    """From the start of the strip."""
    label: str
    mistake: MistakeKind | None


class Strip(msgspec.Struct, frozen=True, eq=False):
    """A few seconds of one lead with both sides' beats: what a picture of a mistake is drawn from."""

    record: str
    lead: str
    start_s: float
    fs: float
    ecg_mv: NDArray[np.float32]
    """NaN where a sample is missing."""
    reference: tuple[StripBeat, ...]
    test: tuple[StripBeat, ...]
    kind: MistakeKind
    """What it was chosen for."""
    mistakes: int
    """How many of that kind it shows."""
    noise: str = ""
    """Kind and level of the noise in it, such as ``em:6``."""


def mistakes(
    reference: Labels, test: Labels, *, fs: float, start_s: float = 300.0, end: int
) -> list[Mistake]:
    """Every mistake of the test period in time order.

    Classes count where V or S is on one side: F called N, or Q called anything but V or S, is none.
    """
    paired = paired_beats(reference, test, fs=fs, start_s=start_s, end=end)
    found = [Mistake("missed", int(paired.reference[i]), None) for i in paired.missed]
    found += [Mistake("extra", None, int(paired.test[j])) for j in paired.extra]
    for i, j in paired.pairs:
        theirs, ours = str(paired.reference_classes[i]), str(paired.test_classes[j])
        if theirs != ours and {theirs, ours} & {"V", "S"}:
            found.append(Mistake("class", int(paired.reference[i]), int(paired.test[j])))
    return sorted(found, key=lambda mistake: mistake.sample)


def worst_start(found: list[Mistake], kind: MistakeKind, *, fs: float, end: int) -> int | None:
    """First sample of the strip with most mistakes of a kind, which lie in its middle; None without any."""
    at = np.array([mistake.sample for mistake in found if mistake.kind == kind], np.int64)
    if not at.size:
        return None
    size = round(STRIP_S * fs)
    counts = np.searchsorted(at, at + size - size // 5) - np.arange(at.size)
    first = int(counts.argmax())
    middle = (int(at[first]) + int(at[first + int(counts[first]) - 1])) // 2
    return int(np.clip(middle - size // 2, 0, max(0, end - size)))


def strip_of(
    ecg_mv: NDArray[np.float32],
    reference: Labels,
    test: Labels,
    found: list[Mistake],
    kind: MistakeKind,
    *,
    record: str,
    lead: str,
    fs: float,
    start: int,
    noise: str = "",
) -> Strip:
    """The strip from sample ``start`` on; ``ecg_mv`` are its own samples."""
    stop = start + ecg_mv.size

    def beats_of(side: Labels, wrong: dict[int, MistakeKind]) -> tuple[StripBeat, ...]:
        return tuple(
            StripBeat((int(sample) - start) / fs, str(label), wrong.get(int(sample)))
            for sample, label in zip(side.beats, side.classes, strict=True)
            if start <= sample < stop
        )

    return Strip(
        record=record,
        lead=lead,
        start_s=start / fs,
        fs=fs,
        ecg_mv=ecg_mv,
        reference=beats_of(
            reference, {one.reference: one.kind for one in found if one.reference is not None}
        ),
        test=beats_of(test, {one.test: one.kind for one in found if one.test is not None}),
        kind=kind,
        mistakes=sum(one.kind == kind and start <= one.sample < stop for one in found),
        noise=noise,
    )
