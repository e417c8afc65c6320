"""A patient who needs oxygen, the oximeter that shows it, and the controller that doses it.

Saturation follows from the inspired fraction and the shunt: Severinghaus' dissociation curve (J Appl Physiol
46:599, 1979, doi 10.1152/jappl.1979.46.3.599), the alveolar gas equation and the shunt equation, haemoglobin
14 g/dL, arterio-venous difference 5 mL/dL. Ours are how fast the lungs take up another fraction (25 s), how
late a finger shows it (16 s) and what the oximeter averages (8 s), and 3 % of oxygen for each L/min.

The target, 92 to 96 % with 0 to 15 L/min, and a decision each second on the mean of fifteen is that of a
device for patients with Covid-19 (Hansen et al., Eur Clin Respir J 2020, doi 10.1080/20018525.2020.1833695).

This is a simulation for the study of deployments. It is not a medical device, and doses nobody.
"""

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["ControllerState", "Disturbances", "OxygenPatient", "disturbances", "dosed", "saturation_pct"]

AIR: Final = 0.21
_PER_LITRE: Final = 0.03
_WASH_S: Final = 25.0
_LAG_S: Final = 16
_AVERAGED_S: Final = 8.0
_GOAL_PCT: Final = 94.0
_GAIN: Final = 0.8
_RESET_S: Final = 60.0
_FLOW_MAX: Final = 15.0
_SLEW_DOWN, _SLEW_UP = -0.25, 0.5
"""L/min in a second."""
_FAST_PCT: Final = 2.0
"""So far below the goal the flow does not wait for the sum of errors."""
_SHUNTS: Final = (0.02, 0.45)
_HALVINGS: Final = 30
"""Of 700 mmHg: to less than a millionth."""


def _dissociated(p_mmhg: float) -> float:
    return 1 / (23400 / (p_mmhg**3 + 150 * p_mmhg) + 1)


def _content_ml_dl(p_mmhg: float) -> float:
    return 1.34 * 14.0 * _dissociated(p_mmhg) + 0.0031 * p_mmhg


def saturation_pct(fraction: float, shunt: float) -> float:
    """Arterial saturation, %, in equilibrium.

    Parameters
    ----------
    fraction : of oxygen in what is breathed in.
    shunt : part of the blood that passes by no air.
    """
    arterial = _content_ml_dl(fraction * (760 - 47) - 40 / 0.8) - shunt / (1 - shunt) * 5.0
    low, high = 1.0, 700.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _content_ml_dl(middle) < arterial else (low, middle)
    return 100 * _dissociated((low + high) / 2)


class Disturbances(msgspec.Struct, frozen=True, eq=False):
    """What happens to a patient besides, second by second."""

    shunt: NDArray[np.float64]
    noise_pct: NDArray[np.float64]
    """Of the reading."""
    is_rounded: bool
    """Whether the oximeter shows whole per cents."""

    @staticmethod
    def none(seconds: int) -> "Disturbances":
        """Nothing."""
        return Disturbances(np.zeros(seconds), np.zeros(seconds), False)


def disturbances(seed: int, seconds: int) -> Disturbances:
    """Slow noise, episodes of desaturation, and the noise of a reading."""
    rng = np.random.default_rng(seed)
    decay, slow, shunt = np.exp(-1 / 120), 0.0, np.zeros(seconds)
    for at in range(seconds):
        slow = decay * slow + 0.03 * np.sqrt(1 - decay * decay) * rng.standard_normal()
        shunt[at] = slow
    at_s = rng.exponential(600)
    while at_s < seconds:
        lasts_s = int(rng.uniform(20, 60))
        shunt[int(at_s) : int(at_s) + lasts_s] += rng.uniform(0.04, 0.10)
        at_s += rng.exponential(600)
    return Disturbances(shunt, rng.normal(0, 0.5, seconds), True)


class OxygenPatient:
    """One patient, a second at a time.

    Parameters
    ----------
    shunt : in the beginning.
    """

    def __init__(self, shunt: float, also: Disturbances) -> None:
        self._also = also
        self._fraction = AIR
        self._line = [saturation_pct(AIR, shunt)] * _LAG_S
        self._shown = self._line[0]
        self._at = 0

    def step(self, flow_l_min: float, shunt: float) -> tuple[float, float]:
        """The true saturation and what the oximeter shows, %."""
        self._fraction += (AIR + _PER_LITRE * flow_l_min - self._fraction) * (1 - np.exp(-1 / _WASH_S))
        shunt = min(max(shunt + float(self._also.shunt[self._at]), _SHUNTS[0]), _SHUNTS[1])
        saturation = saturation_pct(float(self._fraction), shunt)
        self._line = [*self._line[1:], saturation]
        self._shown += (self._line[0] - self._shown) * (1 - np.exp(-1 / _AVERAGED_S))
        reading = self._shown + float(self._also.noise_pct[self._at])
        if self._also.is_rounded:
            reading = round(reading)
        self._at += 1
        return saturation, float(np.clip(reading, 0, 100))


class ControllerState(msgspec.Struct, frozen=True):
    """What a controller must hand over to the one that follows."""

    summed: float = 0.0
    flow_l_min: float = 0.0


def dosed(before: ControllerState, mean_pct: float) -> ControllerState:
    """A controller's next decision: proportional and integral, bounded, and slow enough for a valve.

    Parameters
    ----------
    mean_pct : of the last fifteen readings.
    """
    error = _GOAL_PCT - mean_pct
    wanted = _GAIN * error + before.summed
    if error > _FAST_PCT:
        wanted = max(wanted, before.flow_l_min + 0.2)
    bounded = min(max(wanted, 0.0), _FLOW_MAX)
    summed = before.summed
    if bounded == wanted or (error > 0) != (wanted > bounded):  # else it would wind up
        summed = min(max(summed + _GAIN / _RESET_S * error, 0.0), _FLOW_MAX)
    moved = min(max(bounded - before.flow_l_min, _SLEW_DOWN), _SLEW_UP)
    return ControllerState(summed, before.flow_l_min + moved)
