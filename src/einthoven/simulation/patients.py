"""A virtual patient: an endless ECG and the truth about it, any span of it at any time."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import InputInvalid
from einthoven.signal.recording import MAX_FS, MIN_FS, Counts, Lead, RecordingInfo, missing
from einthoven.simulation.morphology import REACH_AFTER_S, REACH_BEFORE_S, draw_morphology
from einthoven.simulation.noise import electrode_hiss, noise_mv
from einthoven.simulation.rhythms import (
    Period,
    Rhythm,
    Schedule,
    atrial_activity,
    schedule,
    ventricular_activity,
)
from einthoven.simulation.scenes import Scene

__all__ = ["Truth", "TruthBeats", "VirtualPatient"]

_RAILS: Final = (-2047, 2047)
"""A 12-bit converter."""
_RESPIRATION_HZ: Final = 0.25
_LONGEST_BLOCK_S: Final = 600.0
"""Long periods are scheduled in pieces, so that the first minute of a day costs no more than a minute."""


class TruthBeats(msgspec.Struct, frozen=True, eq=False):
    """The beats that really are there."""

    positions: NDArray[np.int64]
    """Sample of the fiducial: the R of a normal beat, the first peak of a ventricular one."""
    classes: NDArray[np.str_]
    """AAMI: N, S, V or F."""


class Truth(msgspec.Struct, frozen=True, eq=False):
    """What really happens in a span."""

    beats: TruthBeats
    episodes: tuple[tuple[Rhythm, float, float], ...]
    """Rhythm, onset and end, s; clipped to the span."""


class _Piece(msgspec.Struct, frozen=True, eq=False):
    """One period, or a part of a long one, and its beats."""

    number: int
    period: Period
    begin_s: float
    end_s: float
    beats: Schedule


class VirtualPatient:
    """The ECG of one patient; it is a `RecordingSource`, so that it can be analysed like a file.

    Everything follows from the seed and the scene. Any span can be read, in any order, and costs the span.

    Parameters
    ----------
    seed : not negative; another seed is another patient.
    scene : what happens.
    fs : Hz.
    gain, baseline : ADC counts per mV, and at 0 mV.
    duration_s : how long the recording claims to be; reading beyond it gives nothing.
    """

    def __init__(
        self,
        seed: int,
        scene: Scene,
        *,
        fs: float = 125.0,
        gain: float = 200.0,
        baseline: int = 0,
        duration_s: float = 86_400.0,
    ) -> None:
        if seed < 0:
            raise InputInvalid("the seed is negative.", where="seed", remedy="Give 0 or more.")
        if not MIN_FS <= fs <= MAX_FS:
            raise InputInvalid(f"the sampling rate is {fs:g} Hz.", where="fs", remedy="Give 50 to 1000 Hz.")
        if not duration_s >= 0:
            raise InputInvalid("the duration is negative.", where="duration_s")
        self._seed = seed
        self.scene: Final = scene
        lead = Lead("MLII", gain, baseline)
        self.info: Final = RecordingInfo(f"{scene.name}-{seed}", fs, (lead,), round(duration_s * fs))
        self._morphology = draw_morphology(np.random.default_rng((seed, 3)))
        self._pieces: list[_Piece] = []

    def read(self, start: int, stop: int, lead: int | None = None) -> Counts:  # noqa: ARG002 - one lead
        """Counts of samples ``start`` to ``stop``, shape (1, samples); see `RecordingSource`."""
        start = min(max(0, start), self.info.samples)
        stop = min(max(start, stop), self.info.samples)
        if stop == start:
            return np.empty((1, 0), np.int16)
        described = self.info.leads[0]
        counts = np.rint(self._signal_mv(start, stop) * described.gain) + described.baseline
        counts = np.clip(counts, *_RAILS).astype(np.int16)
        t_s = np.arange(start, stop) / self.info.fs
        for noise in self.scene.noises:
            inside = (t_s >= noise.start_s) & (t_s < noise.end_s)
            if noise.kind == "lead_off":
                counts[inside] = described.baseline
            elif noise.kind == "saturation":
                counts[inside] = _RAILS[1]
            elif noise.kind == "gap":
                counts[inside] = missing(np.dtype(np.int16))
        one_lead: Counts = counts[None, :]
        return one_lead

    def truth(self, start_s: float, end_s: float) -> Truth:
        """What happens from ``start_s`` to ``end_s``."""
        positions: list[NDArray[np.int64]] = []
        classes: list[NDArray[np.str_]] = []
        episodes: list[tuple[Rhythm, float, float]] = []
        for piece in self._between(start_s, end_s):
            inside = (piece.beats.times_s >= start_s) & (piece.beats.times_s < end_s)
            if self.scene.has_heart:
                positions.append(np.rint(piece.beats.times_s[inside] * self.info.fs).astype(np.int64))
                classes.append(piece.beats.kinds[inside])
            onset_s, stop_s = max(piece.begin_s, start_s), min(piece.end_s, end_s)
            if episodes and episodes[-1][0] == piece.period.rhythm and episodes[-1][2] == onset_s:
                onset_s = episodes.pop()[1]
            episodes.append((piece.period.rhythm, onset_s, stop_s))
        beats = TruthBeats(
            np.concatenate([np.empty(0, np.int64), *positions]),
            np.concatenate([np.empty(0, "U1"), *classes]),
        )
        return Truth(beats, tuple(episodes) if self.scene.has_heart else ())

    def _signal_mv(self, start: int, stop: int) -> NDArray[np.float64]:
        fs = self.info.fs
        t_s = np.arange(start, stop) / fs
        out = electrode_hiss(self._seed, start, stop)
        for number, noise in enumerate(self.scene.noises):
            out += noise_mv(noise, (self._seed, 100 + number), start, stop, fs)
        if not self.scene.has_heart:
            return out
        breath = np.sin(2 * np.pi * _RESPIRATION_HZ * t_s + self._seed % 7)
        out += 0.03 * breath
        for piece in self._between(t_s[0] - REACH_AFTER_S, t_s[-1] + REACH_BEFORE_S + 1 / fs):
            self._add_beats(out, piece.beats, start, breath)
            a = int(np.searchsorted(t_s, piece.begin_s))
            b = int(np.searchsorted(t_s, piece.end_s))
            if b > a:
                rng = np.random.default_rng((self._seed, 5, piece.number))
                out[a:b] += atrial_activity(piece.period, t_s[a:b], rng)
                out[a:b] += ventricular_activity(piece.period, t_s[a:b], rng)
        return out

    def _add_beats(
        self, out: NDArray[np.float64], beats: Schedule, start: int, breath: NDArray[np.float64]
    ) -> None:
        fs = self.info.fs
        first_s, last_s = start / fs, (start + out.size) / fs

        def add(times_s: NDArray[np.float64], wave: Callable[[int, NDArray[np.float64]], Any]) -> None:
            near = (times_s > first_s - REACH_AFTER_S) & (times_s < last_s + REACH_BEFORE_S)
            for k in np.flatnonzero(near).tolist():
                at_s = float(times_s[k])
                a = max(0, int(np.ceil((at_s - REACH_BEFORE_S) * fs)) - start)
                b = min(out.size, int((at_s + REACH_AFTER_S) * fs) + 1 - start)
                if b > a:
                    x_s = (np.arange(a, b) + start) / fs - at_s
                    out[a:b] += wave(k, x_s) * (1 + 0.04 * breath[a:b])

        def p_wave(k: int, x_s: NDArray[np.float64]) -> NDArray[np.float64]:
            p, is_ectopic = beats.p_waves, bool(beats.p_waves.is_ectopic[k])
            rr_s, scale = float(p.rr_s[k]), float(p.scales[k])
            return self._morphology.p_wave(x_s, rr_s, is_ectopic=is_ectopic, scale=scale)

        def beat(k: int, x_s: NDArray[np.float64]) -> NDArray[np.float64]:
            rr_s, scale = float(beats.rr_s[k]), float(beats.scales[k])
            return self._morphology.beat(x_s, str(beats.kinds[k]), rr_s, scale=scale)

        add(beats.p_waves.times_s, p_wave)
        add(beats.times_s, beat)

    def _between(self, start_s: float, end_s: float) -> list[_Piece]:
        """The pieces that overlap a span, scheduled now if they were not before."""
        while not self._pieces or self._pieces[-1].end_s < end_s:
            self._pieces.append(self._next())
        return [piece for piece in self._pieces if piece.end_s > start_s and piece.begin_s < end_s]

    def _next(self) -> _Piece:
        number = len(self._pieces)
        begin_s = self._pieces[-1].end_s if self._pieces else 0.0
        into_s = begin_s % self.scene.duration_s
        if self.scene.duration_s - into_s < 1e-6:
            into_s = 0.0
        for period in self.scene.periods:
            if into_s < period.duration_s - 1e-6:
                break
            into_s -= period.duration_s
        length_s = min(period.duration_s - max(into_s, 0.0), _LONGEST_BLOCK_S)
        part = msgspec.structs.replace(period, duration_s=length_s)
        rng = np.random.default_rng((self._seed, 4, number))
        return _Piece(number, period, begin_s, begin_s + length_s, schedule(part, begin_s, rng))
