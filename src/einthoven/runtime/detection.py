"""From annotated recordings and noise to the beat detector's two networks.

Training reads DS1 of the MIT-BIH records, both leads, each as it is and in renderings that a patient might
bring: with noise of many kinds at changing levels, another gain, an electrode upside down, a faster or slower
heart, no heart. The noise is the second channel of NSTDB's ``ma`` and ``bw`` (their first channel
and ``em`` are left for measuring), the former also stretched two to five times, which resembles electrode
motion, and made bumps, jumps and hiss.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from einthoven.errors import DefectError, RecordingUnreadable
from einthoven.evaluation.stress import gain_for, noise_power_mv2, signal_power_mv2
from einthoven.functions import Ecg, PatientState, preprocessing
from einthoven.records import open_recording, read_annotations
from einthoven.runtime.training import DS1, class_of
from einthoven.signal.beats import DOUBT, Judges, judge_at_first_sight
from einthoven.signal.filters import ENVELOPE_REACH, envelope
from einthoven.signal.perceptron import Recipe, fit
from einthoven.signal.resampling import FS

__all__ = ["RENDERINGS", "Noises", "Rendering", "Sight", "noises_of", "sights_of", "train_judges"]

_FS: Final = 360.0
_SEGMENT_S: Final = 30.0
_COUNTS_PER_MV: Final = 1000.0
_WINDOW: Final = 0.15 * FS
"""Samples on the grid between an annotation and its candidate, at most."""
_AROUND: Final = 60
"""Samples on the grid around what teaches nothing."""
_FIRST: Final = Recipe(hidden=(48, 24), epochs=6, batch=512, keep=0.9)
_SECOND: Final = Recipe(hidden=(48, 24), epochs=6, batch=256, keep=0.85)
_CLEAN_WEIGHT: Final = 2.0
"""How much a row of an unspoilt record counts."""
_SILENCED: Final = 0.06
"""Share of stretches in which the heart is muted: noise alone is no beat."""
_FADE: Final = 36
"""Samples (0.1 s) in which it is faded."""
_TURNED: Final = 0.1
"""Share of renderings with the electrode upside down: rare, but it happens."""


class Rendering(NamedTuple):
    """How a lead is spoilt."""

    seed: int
    noisy: float = 0.0
    """Share of stretches with noise."""
    worst_db: float = -3.0
    tempo: tuple[float, float] = (1.0, 1.0)
    """Least and most by which the heart is faster."""
    is_cut: bool = False
    """Read in segments of 30 s that know nothing of each other."""


RENDERINGS: Final = (
    Rendering(0),
    Rendering(1, is_cut=True),
    *(Rendering(seed, noisy=0.85) for seed in (2, 3, 4, 5, 6)),
    *(Rendering(seed, noisy=0.2, worst_db=3.0, tempo=(0.8, 1.6)) for seed in (7, 8)),
    Rendering(9, noisy=0.85, tempo=(0.8, 1.6)),
)
"""Each lead once as it is, then spoilt."""


class Noises(NamedTuple):
    """Recorded noise, mV at 360 Hz."""

    muscle_mv: NDArray[np.float64]
    wander_mv: NDArray[np.float64]


class Sight(NamedTuple):
    """One rendering as the detector sees it, and where the beats are."""

    cleaned: NDArray[np.int16]
    beats: NDArray[np.float64]
    """Annotated beats on the grid."""
    unscored: NDArray[np.float64]
    """Begin and end of each stretch that teaches nothing, on the grid; shape (n, 2)."""
    is_spoilt: bool


def noises_of(data: Path) -> Noises:
    """The noise that training adds.

    Raises
    ------
    RecordingNotFound, RecordingUnreadable : see `einthoven.records`.
    """
    found = []
    for name in ("ma", "bw"):
        with open_recording(data / "nstdb" / name) as source:
            lead = source.info.leads[1]
            counts = source.read(0, source.info.samples, 1)[0].astype(np.float64)
            found.append((counts - lead.baseline) / lead.gain)
    return Noises(*found)


def sights_of(
    data: Path, name: str, noises: Noises, renderings: tuple[Rendering, ...] = RENDERINGS
) -> Iterator[Sight]:
    """Both leads of one record in every rendering.

    Raises
    ------
    RecordingNotFound, RecordingUnreadable : see `einthoven.records`.
    """
    path = data / "mitdb" / name
    marks = read_annotations(path.with_name(f"{name}.atr"))
    kinds = [class_of(symbol) for symbol in marks.symbols]
    is_beat = np.array([kind is not None for kind in kinds])
    beats = marks.samples[is_beat]
    normal = marks.samples[np.array([kind == "N" for kind in kinds])]
    opened = [s for s, symbol in zip(marks.samples.tolist(), marks.symbols, strict=True) if symbol == "["]
    closed = [s for s, symbol in zip(marks.samples.tolist(), marks.symbols, strict=True) if symbol == "]"]
    with open_recording(path) as source:
        for number, lead in enumerate(source.info.leads):
            counts = source.read(0, source.info.samples, number)[0].astype(np.float64)
            ecg_mv = (counts - lead.baseline) / lead.gain
            ecg_mv -= np.median(ecg_mv)
            power = signal_power_mv2(ecg_mv, normal, source.info.fs)
            for rendering in renderings:
                rng = np.random.default_rng((int(name), number, rendering.seed))
                spoilt, fs, silenced = _render(ecg_mv, power, rendering, noises, rng)
                scale = FS / fs
                beating = np.ones(beats.size, np.bool_)
                for begin, end in silenced:
                    beating &= ~((beats >= begin) & (beats < end))
                edges = [(edge - _FADE, edge + _FADE) for span in silenced for edge in span]
                fibrillating = zip(opened, closed, strict=False)
                unscored = np.array([*edges, *fibrillating], np.float64).reshape(-1, 2)
                size = round(_SEGMENT_S * fs) if rendering.is_cut else spoilt.size
                for begin in range(0, spoilt.size, size):
                    piece = spoilt[begin : begin + size]
                    inside = beating & (beats >= begin) & (beats < begin + piece.size)
                    yield Sight(
                        _cleaned(piece, fs),
                        (beats[inside] - begin) * scale,
                        (unscored - begin) * scale,
                        rendering.noisy > 0,
                    )


def train_judges(
    data: Path,
    version: str,
    names: Iterable[str] = DS1,
    renderings: tuple[Rendering, ...] = RENDERINGS,
    seed: int = 1,
) -> Judges:
    """The detector's networks from the raw records ``names``; an iterator over them may show progress.

    Raises
    ------
    RecordingNotFound, RecordingUnreadable : see `einthoven.records`.
    """
    noises = noises_of(data)
    sights = [sight for name in names for sight in sights_of(data, name, noises, renderings)]
    rows, labels, weights = [], [], []
    for sight in sights:
        fiducials, inputs, _, _ = judge_at_first_sight(*_seen(sight), None)
        is_beat, counts = _label(fiducials, sight)
        rows.append(inputs[counts])
        labels.append(is_beat[counts])
        weights.append(_weights(sight, int(counts.sum())))
    first = fit(np.concatenate(rows), np.concatenate(labels), np.concatenate(weights), _FIRST, seed)
    rows, labels, weights = [], [], []
    for sight in sights:
        fiducials, _, compared, scores = judge_at_first_sight(*_seen(sight), first)
        is_beat, counts = _label(fiducials, sight)
        counts &= np.abs(scores.astype(np.int32)) < DOUBT
        rows.append(compared[counts])
        labels.append(is_beat[counts])
        weights.append(_weights(sight, int(counts.sum())))
    doubtful, is_beat, counted = np.concatenate(rows), np.concatenate(labels), np.concatenate(weights)
    a, b, c = (fit(doubtful, is_beat, counted, _SECOND, seed + more) for more in range(3))
    return Judges(version, first, (a, b, c))


def _seen(sight: Sight) -> tuple[NDArray[np.int32], NDArray[np.int16]]:
    return envelope(np.pad(sight.cleaned, ENVELOPE_REACH, mode="edge")), sight.cleaned


def _weights(sight: Sight, count: int) -> NDArray[np.float32]:
    return np.full(count, 1.0 if sight.is_spoilt else _CLEAN_WEIGHT, np.float32)


def _label(fiducials: NDArray[np.int64], sight: Sight) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which candidates are beats (the nearest to each annotation), and which count at all."""
    is_beat = np.zeros(fiducials.size, np.bool_)
    if fiducials.size:
        right = np.clip(np.searchsorted(fiducials, sight.beats), 1, fiducials.size - 1)
        nearer = np.where(
            sight.beats - fiducials[right - 1] <= fiducials[right] - sight.beats, right - 1, right
        )
        near = np.abs(fiducials[nearer] - sight.beats) <= _WINDOW
        is_beat[nearer[near]] = True
    counts = np.ones(fiducials.size, np.bool_)
    for begin, end in sight.unscored:
        counts &= ~((fiducials >= begin - _AROUND) & (fiducials <= end + _AROUND))
    return is_beat, counts


def _cleaned(ecg_mv: NDArray[np.float64], fs: float) -> NDArray[np.int16]:
    counts = np.rint(np.clip(ecg_mv, -1000, 1000) * _COUNTS_PER_MV).astype(np.int32)
    prepared, _ = preprocessing(Ecg(fs=fs, gain=_COUNTS_PER_MV, samples=counts), PatientState())
    if prepared.cleaned is None:
        raise DefectError("preprocessing left no clean signal.")
    return prepared.cleaned.samples


def _render(
    ecg_mv: NDArray[np.float64], power_mv2: float, how: Rendering, noises: Noises, rng: np.random.Generator
) -> tuple[NDArray[np.float64], float, list[tuple[int, int]]]:
    """A spoilt copy, the rate at which it is to be read, and where the heart was muted.

    A faster heart is a record read faster.
    """
    silenced: list[tuple[int, int]] = []
    if not how.noisy:
        return ecg_mv, _FS, silenced
    fs = float(round(_FS * np.exp(rng.uniform(*np.log(how.tempo))) / 12) * 12)
    out = ecg_mv if rng.random() >= _TURNED else -ecg_mv
    if rng.random() < 0.6:  # The gain wanders, as it does when a patient turns.
        knots = int(ecg_mv.size / _FS / rng.uniform(4, 40)) + 2
        gain = np.exp(rng.uniform(0.2, 0.6) * rng.standard_normal(knots))
        out = out * np.interp(np.linspace(0, knots - 1, out.size), np.arange(knots), gain)
    out = out.copy()
    begin = 0
    least = int(2 * _FS)
    while begin + least < out.size:
        size = min(int(rng.uniform(10, 60) * _FS), out.size - begin)
        if rng.random() < _SILENCED and size > 4 * least:
            size = int(rng.uniform(least, 4 * least))
            ramp = np.minimum(np.arange(size), np.arange(size)[::-1]) / _FADE
            out[begin : begin + size] *= 1 - np.minimum(ramp, 1)
            silenced.append((begin, begin + size))
        if rng.random() < how.noisy and size >= least:
            noise = _noise(noises, rng, size)
            loudness = gain_for(power_mv2, noise_power_mv2(noise, _FS), rng.uniform(how.worst_db, 16))
            out[begin : begin + size] += loudness * noise
        begin += size
    return out * np.exp(rng.uniform(-0.7, 0.7)), fs, silenced


def _noise(noises: Noises, rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """A stretch of one kind of noise, of any loudness but not silent."""
    kind = rng.choice(6, p=[0.2, 0.3, 0.35, 0.05, 0.05, 0.05])
    if kind == 0:
        noise = _piece(noises.muscle_mv, rng, size)
    elif kind == 1:
        slower = int(rng.integers(2, 6))
        fast = _piece(noises.muscle_mv, rng, size // slower + 2)
        noise = np.interp(np.arange(size) / slower, np.arange(fast.size), fast)
    elif kind == 2:
        noise = _motion(rng, size)
    elif kind == 3:
        noise = _piece(noises.wander_mv, rng, size)
    elif kind == 4:
        noise = rng.standard_normal(size)
    else:
        muscle, wander = _piece(noises.muscle_mv, rng, size), _piece(noises.wander_mv, rng, size)
        noise = muscle / muscle.std() + wander / wander.std() * rng.uniform(0.3, 2)
    if rng.random() < 0.3:
        phase = 2 * np.pi * rng.uniform(0.02, 0.2) * np.arange(size) / _FS + rng.uniform(0, 6)
        noise = noise * (1 + 0.5 * np.sin(phase))
    return noise + 1e-3 * rng.standard_normal(size)


def _piece(noise_mv: NDArray[np.float64], rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    if noise_mv.size <= size:
        raise RecordingUnreadable(
            f"a noise record has {noise_mv.size} samples; training needs {size} in a row.",
            where="nstdb",
            remedy="Use the records as they were published.",
        )
    begin = int(rng.integers(0, noise_mv.size - size))
    piece = noise_mv[begin : begin + size]
    return np.asarray(piece - piece.mean())


def _motion(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Bumps, jumps that decay, and waves that swing both ways, with a hiss."""
    out = np.zeros(size)
    for _ in range(int(rng.poisson(rng.uniform(0.5, 4) * size / _FS)) + 1):
        width = np.exp(rng.uniform(np.log(0.012), np.log(0.35))) * _FS
        at = rng.uniform(0, size)
        height = rng.standard_normal() * (width / 20) ** rng.uniform(0, 0.7)
        low, high = int(max(0, at - 4 * width)), int(min(size, at + 8 * width))
        x = (np.arange(low, high) - at) / width
        bell = np.exp(-0.5 * x**2)
        match rng.integers(3):
            case 0:
                wave = bell
            case 1:
                wave = np.where(x >= 0, np.exp(-np.maximum(x, 0) / 2), np.exp(-18 * x**2))
            case _:
                wave = x * bell
        out[low:high] += height * wave
    return np.asarray(out + 0.1 * out.std() * rng.standard_normal(size))
