"""Builders that fill what does not matter to a test."""

import numpy as np
from numpy.typing import NDArray

from einthoven.signal.recording import Lead, Recording, RecordingInfo, missing

__all__ = ["a_recording", "some_ecg_mv"]


def some_ecg_mv(seed: int, duration_s: float, fs: float = 125.0) -> NDArray[np.float64]:
    """A rough ECG, mV: irregular beats, wide early ones, pauses, noise, flat and wild stretches.

    It is made to be awkward, not to be plausible; `einthoven.simulation` has plausible patients.
    """
    rng = np.random.default_rng(seed)
    n = round(duration_s * fs)
    t_s = np.arange(n) / fs
    ecg = 0.15 * np.sin(2 * np.pi * 0.25 * t_s) + 0.01 * rng.standard_normal(n)
    at_s = rng.uniform(0, 1)
    rate_s = rng.uniform(0.4, 1.4)
    while at_s < duration_s:
        is_wide = rng.random() < 0.15
        centre = np.arange(max(0, round((at_s - 0.3) * fs)), min(n, round((at_s + 0.6) * fs)))
        x_s = centre / fs - at_s
        width_s = 0.045 if is_wide else 0.012
        height = rng.uniform(0.8, 1.2) * (-1.4 if is_wide else 1.0)
        ecg[centre] += height * np.exp(-0.5 * (x_s / width_s) ** 2)
        ecg[centre] += 0.25 * np.exp(-0.5 * ((x_s - 0.28) / 0.05) ** 2)
        if not is_wide:
            ecg[centre] += 0.12 * np.exp(-0.5 * ((x_s + 0.17) / 0.025) ** 2)
        at_s += rate_s * rng.uniform(0.55, 1.3) if rng.random() < 0.3 else rate_s
        if rng.random() < 0.02:
            at_s += rng.uniform(2, 6)
    for _ in range(rng.integers(0, 4)):
        start, span = rng.integers(0, max(n, 1)), round(rng.uniform(1, 8) * fs)
        kind = rng.integers(0, 4)
        piece = slice(start, start + span)
        size = ecg[piece].size
        if kind == 0:
            ecg[piece] = 0.02
        elif kind == 1:
            ecg[piece] += 0.6 * rng.standard_normal(size)
        elif kind == 2:
            ecg[piece] = 0.5 * np.sin(2 * np.pi * 4.5 * np.arange(size) / fs)
        else:
            ecg[piece] = np.nan
    return ecg


def a_recording(
    ecg_mv: NDArray[np.float64] | None = None, *, seed: int = 1, duration_s: float = 60.0, fs: float = 125.0
) -> Recording:
    """A recording of one lead at 200 counts per mV; NaN becomes a missing sample."""
    signal = some_ecg_mv(seed, duration_s, fs) if ecg_mv is None else ecg_mv
    counts = np.clip(np.rint(np.nan_to_num(signal) * 200), -2047, 2047).astype(np.int16)
    counts[~np.isfinite(signal)] = missing(np.dtype(np.int16))
    info = RecordingInfo(name=f"built-{seed}", fs=fs, leads=(Lead("MLII", 200.0, 0),), samples=counts.size)
    return Recording(info, counts[None, :])
