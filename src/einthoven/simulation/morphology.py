"""The shape of a patient's beats: sums of Gaussians.

After McSharry, Clifford, Tarassenko and Smith, "A dynamical model for generating synthetic
electrocardiogram signals", IEEE Trans. Biomed. Eng. 50(3), 2003, doi:10.1109/TBME.2003.808805: each wave of
a beat is a Gaussian at a fixed place around R. Deviations: the sum is evaluated in closed form on the time
axis instead of integrating the oscillator, so that any span can be computed alone; the T wave moves with
the square root of RR (Bazett); ventricular beats have waves of their own.
"""

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["REACH_AFTER_S", "REACH_BEFORE_S", "Morphology", "Wave", "draw_morphology"]

REACH_BEFORE_S: Final = 0.45
REACH_AFTER_S: Final = 0.95
"""How far a beat's waves reach around its R, s."""


class Wave(msgspec.Struct, frozen=True):
    """One Gaussian."""

    at_s: float
    """From R; a T wave's is for an RR of 1 s."""
    width_s: float
    """Standard deviation."""
    height_mv: float


class Morphology(msgspec.Struct, frozen=True):
    """One patient's waves."""

    p: Wave
    ectopic_p: Wave
    """P wave of an atrial ectopic beat."""
    qrs: tuple[Wave, ...]
    t: Wave
    v_qrs: tuple[Wave, ...]
    """QRS of a ventricular beat; the first wave is the fiducial."""
    v_t: Wave

    def p_wave(
        self, x_s: NDArray[np.float64], rr_s: float, *, is_ectopic: bool, scale: float
    ) -> NDArray[np.float64]:
        """The P wave at times ``x_s`` from the R that follows it, mV."""
        wave = self.ectopic_p if is_ectopic else self.p
        return scale * _gauss(x_s, wave, min(1.0, _stretch(rr_s)))

    def beat(self, x_s: NDArray[np.float64], kind: str, rr_s: float, *, scale: float) -> NDArray[np.float64]:
        """QRS and T at times ``x_s`` from R, mV.

        ``kind`` is N, S, V or F (a fusion: half of each); ``scale`` is the beat-to-beat amplitude.
        """
        share = {"V": 1.0, "F": 0.5}.get(kind, 0.0)
        stretch = _stretch(rr_s)
        out = np.zeros_like(x_s)
        for waves, t, part in ((self.qrs, self.t, 1 - share), (self.v_qrs, self.v_t, share)):
            if part:
                for wave in waves:
                    out += part * _gauss(x_s, wave, 1.0)
                out += part * _gauss(x_s, t, stretch)
        return scale * out


def _stretch(rr_s: float) -> float:
    return float(np.sqrt(np.clip(rr_s, 0.3, 1.6)))


def _gauss(x_s: NDArray[np.float64], wave: Wave, stretch: float) -> NDArray[np.float64]:
    width_s = wave.width_s * stretch if abs(wave.at_s) > 0.1 else wave.width_s
    return np.asarray(wave.height_mv * np.exp(-0.5 * ((x_s - wave.at_s * stretch) / width_s) ** 2))


def draw_morphology(rng: np.random.Generator) -> Morphology:
    """One patient's waves, within ordinary adult limits for a lead like MLII."""
    r_mv = rng.uniform(0.7, 1.6)
    qrs_s = rng.uniform(0.009, 0.012)
    v_sign = rng.choice((-1.0, 1.0))
    v_mv = v_sign * rng.uniform(0.9, 1.6) * r_mv
    p = Wave(-rng.uniform(0.15, 0.19), rng.uniform(0.018, 0.026), rng.uniform(0.08, 0.18))
    usual = Morphology(
        p=p,
        ectopic_p=p,
        qrs=(
            Wave(0.0, qrs_s, r_mv),
            Wave(-rng.uniform(0.026, 0.034), 0.009, -rng.uniform(0.04, 0.15) * r_mv),
            Wave(rng.uniform(0.026, 0.036), 0.010, -rng.uniform(0.08, 0.3) * r_mv),
        ),
        t=Wave(rng.uniform(0.27, 0.31), rng.uniform(0.04, 0.055), rng.uniform(0.15, 0.35)),
        v_qrs=(
            Wave(0.0, rng.uniform(0.018, 0.024), v_mv),
            Wave(rng.uniform(0.055, 0.07), rng.uniform(0.016, 0.022), -rng.uniform(0.2, 0.5) * v_mv),
            Wave(-rng.uniform(0.045, 0.055), 0.016, rng.uniform(0.1, 0.25) * v_mv),
        ),
        v_t=Wave(rng.uniform(0.29, 0.33), rng.uniform(0.05, 0.065), -rng.uniform(0.25, 0.45) * v_mv),
    )
    is_near = rng.random() < 0.3
    ectopic_p = Wave(
        p.at_s * rng.uniform(0.9, 1.05) if is_near else -rng.uniform(0.11, 0.18),
        p.width_s * rng.uniform(0.85, 1.1) if is_near else rng.uniform(0.015, 0.024),
        p.height_mv
        * (rng.uniform(0.75, 1.2) if is_near else float(rng.choice((-1.0, 1.0))) * rng.uniform(0.3, 1.2)),
    )
    return msgspec.structs.replace(usual, ectopic_p=ectopic_p)
