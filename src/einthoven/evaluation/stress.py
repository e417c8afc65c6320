"""Noise stress: real noise added to an annotated record at a known ratio, as WFDB's ``nst`` defines it.

Five clean minutes, then two noisy and two clean ones in turn. The power of the signal is
S = (mean peak-to-peak of the first 300 normal QRS, 50 ms each side)² / 8, that of the noise
N = (mean RMS about its own mean of the first 300 one-second pieces)², each mean without the largest and the
smallest 5 %; the noise is multiplied by a so that 10 log10(S / (N a²)) is the ratio asked for, lead by lead.
Where noise begins and ends there is no step: it enters from zero, and what it ends on stays as an offset
until the next noisy period goes on from there. Source: Moody, Muldrow and Mark, Computers in Cardiology 11,
1984, and the description of ``nst``.
"""

import math
from typing import Final, Literal, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import InputInvalid

__all__ = [
    "NoiseKind",
    "NoiseLevel",
    "add_noise",
    "gain_for",
    "noise_power_mv2",
    "noisy_spans",
    "recovered_noise",
    "signal_power_mv2",
    "snr_inside_db",
]

NoiseKind = Literal["bw", "ma", "em"]
"""Baseline wander, muscle artefact, electrode motion."""
CLEAN_S: Final = 300.0
PERIOD_S: Final = 120.0
MEASURED: Final = 300
"""QRS complexes, and seconds of noise, that a power is measured on."""
_QRS_S: Final = 0.05
_TRIMMED: Final = 0.05
_LOUDEST_DB: Final = -30.0
_FAINTEST_DB: Final = 60.0


class NoiseLevel(msgspec.Struct, frozen=True):
    """One kind of noise at one signal-to-noise ratio."""

    kind: NoiseKind
    snr_db: float

    @staticmethod
    def parse(text: str) -> "NoiseLevel":
        """From ``KIND:DB``, such as ``em:6``.

        Raises
        ------
        InputInvalid : another form, kind, or a ratio out of range.
        """
        kind, _, ratio = text.strip().partition(":")
        kinds: tuple[NoiseKind, ...] = get_args(NoiseKind)
        try:
            snr_db = float(ratio)
        except ValueError:
            snr_db = math.nan
        for known in kinds:
            if known == kind and _LOUDEST_DB <= snr_db <= _FAINTEST_DB:  # NaN fails too
                return NoiseLevel(known, snr_db)
        raise InputInvalid(
            f"{text.strip()!r} is not a kind and level of noise.",
            where="noise",
            remedy=f"Give KIND:DB with one of {', '.join(kinds)} and {_LOUDEST_DB:g} to {_FAINTEST_DB:g} dB, "
            "such as em:6.",
        )

    def __str__(self) -> str:
        return f"{self.kind}:{self.snr_db:g}"


def noisy_spans(samples: int, fs: float) -> NDArray[np.int64]:
    """First and last sample of each noisy period of a record; shape (n, 2)."""
    spans = []
    begin_s = CLEAN_S
    while round(begin_s * fs) < samples:
        spans.append((round(begin_s * fs), min(round((begin_s + PERIOD_S) * fs), samples) - 1))
        begin_s += 2 * PERIOD_S
    return np.array(spans, np.int64).reshape(-1, 2)


def signal_power_mv2(ecg_mv: NDArray[np.float64], normal_beats: NDArray[np.int64], fs: float) -> float:
    """S of a lead, from the samples of its normal beats.

    Raises
    ------
    InputInvalid : no normal beat, or none that shows.
    """
    reach = round(_QRS_S * fs)
    heights = [
        float(np.ptp(ecg_mv[beat - reach : beat + reach + 1]))
        for beat in normal_beats[:MEASURED].tolist()
        if beat >= reach and beat + reach < ecg_mv.size
    ]
    power = _trimmed_mean(np.array(heights)) ** 2 / 8 if heights else 0.0
    if not power > 0:
        raise InputInvalid(
            "the record has no normal QRS complex to measure the signal by.",
            where="noise",
            remedy="Leave it out of the noise-stress test.",
        )
    return power


def noise_power_mv2(noise_mv: NDArray[np.float64], fs: float) -> float:
    """N of a noise record; 0 for silence and for less than a second."""
    return _power_mv2(_seconds(noise_mv, fs)[:MEASURED])


def gain_for(signal_mv2: float, noise_mv2: float, snr_db: float) -> float:
    """What the noise is multiplied by."""
    return math.sqrt(signal_mv2 / noise_mv2 / 10 ** (snr_db / 10))


def recovered_noise(
    noisy_mv: NDArray[np.float64], clean_mv: NDArray[np.float64], spans: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The noise that makes ``noisy_mv`` of ``clean_mv``: their difference in each span less its first value.

    Zero outside the spans.
    """
    noise = np.zeros(min(noisy_mv.size, clean_mv.size))
    for begin, end in spans:
        piece = noisy_mv[begin : end + 1] - clean_mv[begin : end + 1]
        noise[begin : end + 1] = piece - piece[0]
    return noise


def add_noise(
    counts: NDArray[np.int32],
    noise_counts: NDArray[np.float64],
    spans: NDArray[np.int64],
    missing: int,
) -> NDArray[np.int32]:
    """The counts of a lead with noise in the spans; what was missing stays missing.

    Everything before the first span is left as it is; between the spans nothing but an offset is added.
    """
    added = np.zeros(counts.size)
    offset = 0.0
    for begin, end in spans:
        piece = noise_counts[begin : end + 1]
        added[begin : end + 1] = offset + piece - piece[0]
        offset = added[end]
        added[end + 1 :] = offset
    mixed = counts + np.rint(added)
    return np.where(counts == missing, missing, mixed).astype(np.int32)


def snr_inside_db(
    signal_mv2: float, added_mv: NDArray[np.float64], spans: NDArray[np.int64], fs: float
) -> float:
    """The ratio as measured afterwards, on every second of noise inside the spans; inf for silence."""
    seconds = np.concatenate(
        [np.empty((0, round(fs))), *(_seconds(added_mv[begin : end + 1], fs) for begin, end in spans)]
    )
    power = _power_mv2(seconds)
    return 10 * math.log10(signal_mv2 / power) if power > 0 else math.inf


def _seconds(signal: NDArray[np.float64], fs: float) -> NDArray[np.float64]:
    size = round(fs)
    whole = signal.size // size
    return signal[: whole * size].reshape(whole, size)


def _power_mv2(seconds: NDArray[np.float64]) -> float:
    return _trimmed_mean(seconds.std(axis=1)) ** 2 if len(seconds) else 0.0


def _trimmed_mean(values: NDArray[np.float64]) -> float:
    cut = int(_TRIMMED * values.size)
    return float(np.sort(values)[cut : values.size - cut].mean())
