"""What disturbs an ECG: each kind from a seed, and the same however the signal is cut."""

from typing import Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import InputInvalid

__all__ = ["Noise", "NoiseKind", "electrode_hiss", "noise_mv"]

NoiseKind = Literal[
    "wander", "muscle", "motion", "mains_50", "mains_60", "white", "lead_off", "saturation", "gap"
]
KINDS: Final = (
    "wander",
    "muscle",
    "motion",
    "mains_50",
    "mains_60",
    "white",
    "lead_off",
    "saturation",
    "gap",
)
_BLOCK: Final = 4096
_EVENT_BLOCK_S: Final = 8.0
_REACH_S: Final = 4.0
"""How long after its start an event still shows."""
_BEFORE_S: Final = 1.6
"""How long before its middle a bump begins: four of the largest standard deviation."""


class Noise(msgspec.Struct, frozen=True):
    """A disturbance over a span."""

    kind: NoiseKind
    amplitude_mv: float = 0.1
    """About the standard deviation; of mains the peak; without meaning for lead off, saturation and gap."""
    start_s: float = 0.0
    end_s: float = float("inf")

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputInvalid(
                f"{self.kind!r} is not a kind of noise.",
                where="noise.kind",
                remedy=f"One of: {', '.join(KINDS)}.",
            )
        if not 0 <= self.amplitude_mv <= 100:
            raise InputInvalid("the amplitude must lie in 0 to 100 mV.", where="noise.amplitude_mv")
        if not 0 <= self.start_s < self.end_s:
            raise InputInvalid("the span must begin before it ends.", where="noise.start_s")


def _white(seed: tuple[int, ...], start: int, stop: int) -> NDArray[np.float64]:
    """Standard normal samples ``start`` to ``stop`` of an endless sequence."""
    if stop <= start:
        return np.empty(0)
    blocks = range(start // _BLOCK, (stop - 1) // _BLOCK + 1)
    # Positions may be negative where a filter looks back before the start.
    parts = [np.random.default_rng((*seed, block + 1)).standard_normal(_BLOCK) for block in blocks]
    whole = np.concatenate(parts)
    offset = blocks[0] * _BLOCK
    return np.asarray(whole[start - offset : stop - offset])


def electrode_hiss(seed: int, start: int, stop: int) -> NDArray[np.float64]:
    """The 8-µV noise that no real electrode is without, mV."""
    return 0.008 * _white((seed, 1), start, stop)


def noise_mv(noise: Noise, seed: tuple[int, ...], start: int, stop: int, fs: float) -> NDArray[np.float64]:
    """Samples ``start`` to ``stop`` of a disturbance, mV; zero outside its span."""
    t_s = np.arange(start, stop) / fs
    inside = (t_s >= noise.start_s) & (t_s < noise.end_s)
    if not inside.any():
        return np.zeros(stop - start)
    rng = np.random.default_rng((*seed, 0))
    out: NDArray[np.float64]
    match noise.kind:
        case "white":
            out = _white(seed, start, stop)
        case "muscle":
            hiss = _white(seed, start - 1, stop)
            bursts = 1 + 0.7 * np.sin(2 * np.pi * 0.13 * t_s + rng.uniform(0, 6))
            out = np.diff(hiss) / np.sqrt(2) * bursts
        case "wander":
            hz, phase = rng.uniform(0.03, 0.4, 6), rng.uniform(0, 2 * np.pi, 6)
            angle = 2 * np.pi * t_s[:, None] * hz + phase
            out = np.asarray(np.sin(angle).sum(axis=1) / np.sqrt(3))
        case "mains_50" | "mains_60":
            mains_hz = 50.0 if noise.kind == "mains_50" else 60.0
            swell = 1 + 0.1 * np.sin(2 * np.pi * 0.07 * t_s + rng.uniform(0, 6))
            out = swell * np.sin(2 * np.pi * mains_hz * t_s + rng.uniform(0, 6))
        case "motion":
            out = _motion(seed, t_s)
        case _:
            out = np.zeros(stop - start)
    return np.where(inside, noise.amplitude_mv * out, 0.0)


def _motion(seed: tuple[int, ...], t_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Electrodes that move: bumps and decaying jumps, about one a second, and a rough hiss."""
    out = np.zeros_like(t_s)
    first = int((t_s[0] - _REACH_S) // _EVENT_BLOCK_S)
    last = int((t_s[-1] + _BEFORE_S) // _EVENT_BLOCK_S)
    for block in range(first, last + 1):
        rng = np.random.default_rng((*seed, block + 2))
        for _ in range(int(rng.poisson(1.4 * _EVENT_BLOCK_S))):
            at_s = (block + rng.uniform()) * _EVENT_BLOCK_S
            height, width_s = 2.2 * rng.standard_normal(), rng.uniform(0.02, 0.4)
            is_jump = rng.random() < 0.4
            near = (t_s > at_s - 4 * width_s) & (t_s < at_s + _REACH_S)
            if not near.any():
                continue
            x = t_s[near] - at_s
            if is_jump:
                out[near] += height * np.where(x >= 0, np.exp(-np.maximum(x, 0) / (2 * width_s)), 0.0)
            else:
                out[near] += height * np.exp(-0.5 * (x / width_s) ** 2)
    return out
