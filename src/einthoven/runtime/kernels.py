"""The compiled kernels: whether this machine has them already, and making it so."""

from pathlib import Path
from typing import Any, Final

import numpy as np

from einthoven.functions import Ecg, analyse, decode_state, encode_state
from einthoven.signal import rhythm

__all__ = ["kernels_are_cached", "warm_kernels"]

_BEAT: Final = np.array([0, 10, 25, 10, 0, -20, 180, 300, 120, -60, -10, 0, 5, 20, 40, 30, 10, 0], np.int32)


def kernels_are_cached() -> bool:
    """Whether the last kernel of the chain lies in numba's cache, so that loading takes a moment only."""
    fold: Any = rhythm._fold
    folder = Path(fold.stats.cache_path)
    return any(folder.glob("rhythm._fold-*.nbi"))


def warm_kernels() -> None:
    """Load every kernel, compiling what is not in the cache: ten seconds the first time on a machine."""
    for fs, gain in ((125.0, 200.0), (250.0, 200.0)):
        count = round(30 * fs)
        samples = np.zeros(count, np.int32)
        for start in range(int(fs), count - 40, int(0.8 * fs)):
            samples[start : start + _BEAT.size] = _BEAT
        _, state = analyse(Ecg(fs=fs, gain=gain, samples=samples))
        decode_state(encode_state(state))
