"""Builders that fill what does not matter to a test."""

from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.signal.recording import Lead, Recording, RecordingInfo, Segment, missing
from einthoven.storage.blocks import KeptSegment

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = ["a_kept_segment", "a_recording", "some_ecg_mv", "some_kept_segments", "some_segments"]


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


def some_segments(device: str, count: int, seconds: float = 10.0, *, seed: int = 1) -> list[Segment]:
    """The stream of patient ``p-`` and the device's name, cut; it begins 1,000 s after 1970."""
    whole = a_recording(seed=seed, duration_s=count * seconds)
    size = round(seconds * whole.info.fs)
    return [
        Segment(
            patient=f"p-{device}",
            device=device,
            sequence=number,
            start_ns=round((1000 + number * seconds) * 1e9),
            recording=Recording(
                msgspec.structs.replace(whole.info, samples=size),
                whole.counts[:, number * size : (number + 1) * size],
            ),
        )
        for number in range(count)
    ]


def a_kept_segment(
    *,
    org: str = "main",
    patient: str = "patient-1",
    device: str = "device-1",
    lead: str = "ECG",
    sequence: int = 0,
    start_ns: int = 1_764_000_000_000_000_000,
    fs: float = 125.0,
    samples: NDArray[np.int16] | NDArray[np.int32] | None = None,
) -> KeptSegment:
    """Ten seconds of ECG, as they are kept."""
    if samples is None:
        samples = a_recording(seed=sequence % 1000, duration_s=10, fs=fs).counts[0]
    return KeptSegment(org, patient, device, lead, sequence, start_ns, fs, 200.0, 0, samples)


def some_kept_segments() -> "SearchStrategy[list[KeptSegment]]":
    """Up to eight segments of few patients, devices and leads, with any samples, in any order."""
    from hypothesis import strategies as st  # noqa: PLC0415 - only tests have it
    from hypothesis.extra import numpy as arrays  # noqa: PLC0415

    counts = st.sampled_from([np.int16, np.int32]).flatmap(
        lambda kind: arrays.arrays(kind, st.integers(0, 300), elements=arrays.from_dtype(np.dtype(kind)))
    )
    segment = st.builds(
        KeptSegment,
        st.sampled_from(["main", "north-1"]),
        st.sampled_from(["p", "p.2", "A_b-c"]),
        st.sampled_from(["d", "d.2"]),
        st.sampled_from(["", "ECG", "Ableitung II µ"]),
        st.integers(0, 5) | st.integers(0, 2**63 - 1),
        st.integers(-(2**63), 2**63 - 1),
        st.sampled_from([50.0, 125.0, 256.5, 360.0, 1000.0]),
        st.floats(1e-3, 1e7),
        st.integers(-(2**31) + 1, 2**31 - 1),
        counts,
    )
    return st.lists(segment, max_size=8)
