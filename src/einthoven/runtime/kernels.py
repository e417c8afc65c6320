"""The compiled kernels: whether this machine has them already, and making it so."""

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np

from einthoven.functions import Ecg, PatientState, analyse, bdc, decode_state, encode_state, preprocessing
from einthoven.functions.ecg import Cleaned
from einthoven.signal import rhythm
from einthoven.signal.atrial import P_SHAPE
from einthoven.signal.classes import classify, load_model
from einthoven.signal.morphology import FEATURES
from einthoven.signal.quality import CELL
from einthoven.signal.rhythm import BeatColumns, RhythmState, fold
from einthoven.signal.rules import Criteria
from einthoven.signal.variability import add_intervals, heart_rate, rr_intervals, variability

__all__ = ["compile_around_beats", "kernels_are_cached", "warm_kernels"]

_RATES: Final = (125.0, 250.0)
_BEAT: Final = np.array([0, 10, 25, 10, 0, -20, 180, 300, 120, -60, -10, 0, 5, 20, 40, 30, 10, 0], np.int32)


def kernels_are_cached() -> bool:
    """Whether the last kernel of the chain lies in numba's cache, so that loading takes a moment only."""
    last: Any = rhythm._fold
    folder = Path(last.stats.cache_path)
    return any(folder.glob("rhythm._fold-*.nbi")) and any(folder.glob("beats._judge-*.nbi"))


def warm_kernels() -> None:
    """Load every kernel, compiling what is not in the cache: some 20 s the first time.

    Compiling holds one processor, so what comes before and after bdc is compiled by a second one meanwhile.
    """
    if not kernels_are_cached():
        apart = subprocess.Popen(  # noqa: S603 - this interpreter
            [sys.executable, "-c", f"from {__name__} import compile_around_beats as do; do()"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            samples = _some_ecg(125.0).samples
            if samples is not None:
                cleaned = Cleaned(0, 0, 0, samples.astype(np.int16), 0, np.ones(27, np.uint16))
                bdc(Ecg(cleaned=cleaned), PatientState())
        finally:
            apart.wait()
    for fs in _RATES:
        _, state = analyse(_some_ecg(fs))
        decode_state(encode_state(state))


def compile_around_beats() -> None:
    """Compile the kernels of the other functions into the cache, and first the one that bdc needs last."""
    classify(np.zeros((1, len(FEATURES)), np.float32), load_model())
    for fs in _RATES:
        preprocessing(_some_ecg(fs), PatientState())
    grid = np.arange(40, dtype=np.int64) * 100
    few = np.zeros(grid.size, np.uint8)
    cells = np.ones(grid[-1] // CELL, np.uint16)
    beats = BeatColumns(
        grid, few, few, few + 90, few.astype(np.int8), np.zeros((grid.size, P_SHAPE), np.int8)
    )
    fold(RhythmState.at(0), beats, cells, int(grid[-1]), Criteria())
    sums = add_intervals(rr_intervals(grid, few, 0, cells))
    heart_rate(sums)
    variability(sums)
    decode_state(encode_state(PatientState()))


def _some_ecg(fs: float) -> Ecg:
    samples = np.zeros(round(30 * fs), np.int32)
    for start in range(int(fs), samples.size - 40, int(0.8 * fs)):
        samples[start : start + _BEAT.size] = _BEAT
    return Ecg(fs=fs, gain=200.0, samples=samples)
