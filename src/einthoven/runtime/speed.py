"""How long one segment takes, ours and others', in one interleaved run on identical segments."""

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import DefectError, EinthovenError
from einthoven.evaluation import CLASS_MAPS, Labels, labels_of, pair_beats
from einthoven.evaluation.beats import inside
from einthoven.functions import Ecg, PatientState, analyse, analyse_batch
from einthoven.records import open_recording, read_annotations
from einthoven.signal.resampling import FS, UNITS_PER_MV, fill, grid_length, ratio_of, resample

__all__ = [
    "BATCH",
    "PEERS",
    "Sample",
    "Timing",
    "batch_us",
    "kernel_times_s",
    "samples_of",
    "stream_us",
    "time_all",
]

SEGMENT: Final = 30 * FS
BATCH: Final = 16
"""Patients of a batch."""
WINDOW: Final = 18
"""150 ms at 125 Hz, in whole samples."""
Floats = NDArray[np.float64]


class Sample(msgspec.Struct, frozen=True, eq=False):
    """One 30-s segment at 125 Hz and the beats in it."""

    counts: NDArray[np.int32]
    """200 counts per mV."""
    beats: NDArray[np.int64]


class Timing(msgspec.Struct, frozen=True):
    """One program on all segments."""

    name: str
    version: str | None
    ms_per_segment: float | None
    se: float | None
    ppv: float | None
    failed: int = 0
    """Segments on which it raised; they count as no beats found."""
    reason: str | None = None
    """Why it could not be timed."""


def samples_of(folder: Path, names: Sequence[str], each: int) -> list[Sample]:
    """Segments of the first lead of each record, evenly spread after five minutes, none with flutter."""
    found = []
    for name in names:
        with open_recording(folder / name) as source:
            info = source.info
            counts = source.read(0, info.samples, 0)[0]
        ratio = ratio_of(info.fs)
        fine = np.pad(fill(counts, info.leads[0], 0, 0, 1)[0], ratio.half, mode="edge")
        grid = resample(fine, -ratio.half, 0, grid_length(info.samples, ratio), ratio).astype(np.int32)
        labels = labels_of(read_annotations(folder / f"{name}.atr"), info.samples, CLASS_MAPS["bxb"])
        starts = np.linspace(300 * FS, grid.size - SEGMENT, each).astype(int)
        for start in starts.tolist():
            sample = _sample(grid, labels, start, ratio.up / ratio.down)
            if sample is not None:
                found.append(sample)
    return found


def _sample(grid: NDArray[np.int32], labels: Labels, start: int, scale: float) -> Sample | None:
    beats = np.rint(labels.beats * scale).astype(np.int64)
    spans = np.rint(labels.fibrillation * scale).astype(np.int64)
    ends = np.array([start, start + SEGMENT], np.int64)
    if spans.size and (inside(ends, spans).any() or inside(spans[:, 0], ends[None, :]).any()):
        return None
    here = beats[(beats >= start) & (beats < start + SEGMENT)] - start
    return Sample(grid[start : start + SEGMENT].copy(), here)


def ours(counts: NDArray[np.int32]) -> NDArray[np.int64]:
    """All four functions over one segment that knows nothing before or after it."""
    findings = analyse(Ecg(samples=counts))[0].findings
    if findings is None:
        raise DefectError("the pipeline left no findings.")
    return findings.beats.positions


def _neurokit_process(ecg_mv: Floats) -> Any:
    import neurokit2  # noqa: PLC0415 - an optional peer

    _, info = neurokit2.ecg_process(ecg_mv, sampling_rate=FS)
    return info["ECG_R_Peaks"]


def _neurokit_peaks(ecg_mv: Floats) -> Any:
    import neurokit2  # noqa: PLC0415

    return neurokit2.ecg_findpeaks(neurokit2.ecg_clean(ecg_mv, FS), FS)["ECG_R_Peaks"]


def _biosppy(ecg_mv: Floats) -> Any:
    from biosppy.signals import ecg  # noqa: PLC0415

    return ecg.ecg(ecg_mv, sampling_rate=FS, show=False)["rpeaks"]


def _xqrs(ecg_mv: Floats) -> Any:
    from wfdb import processing  # noqa: PLC0415

    return processing.xqrs_detect(ecg_mv, FS, verbose=False)


def _gqrs(ecg_mv: Floats) -> Any:
    from wfdb import processing  # noqa: PLC0415

    return processing.gqrs_detect(ecg_mv, fs=FS)


def _sleepecg(ecg_mv: Floats) -> Any:
    import sleepecg  # noqa: PLC0415

    return sleepecg.detect_heartbeats(ecg_mv, FS, backend="c")


PEERS: Final[dict[str, tuple[str, Callable[[Floats], Any]]]] = {
    "neurokit2.ecg_process": ("neurokit2", _neurokit_process),
    "neurokit2 clean + peaks": ("neurokit2", _neurokit_peaks),
    "biosppy ecg": ("biosppy", _biosppy),
    "wfdb xqrs": ("wfdb", _xqrs),
    "wfdb gqrs": ("wfdb", _gqrs),
    "sleepecg C": ("sleepecg", _sleepecg),
}
"""Name, distribution and call of each peer; all get the segment in mV at 125 Hz, on default settings."""


def time_all(samples: list[Sample], *, with_peers: bool, rounds: int) -> list[Timing]:
    """Ours first, then each peer; in every round every segment visits every program in random order."""
    calls: dict[str, Callable[[Sample], Any]] = {"einthoven": lambda sample: ours(sample.counts)}
    absent: list[Timing] = []
    if with_peers:
        for name, (distribution, call) in PEERS.items():
            version = _version(distribution)
            if version is None:
                absent.append(Timing(name, None, None, None, None, reason=f"{distribution} is not installed"))
            else:
                calls[name] = _in_millivolts(call)
    for name in list(calls):  # imports and caches are warm before anybody is timed
        try:
            _attempt(calls[name], samples[0])
        except ImportError as error:
            del calls[name]
            absent.append(Timing(name, None, None, None, None, reason=f"it lacks {error.name}"))
    spent: dict[str, list[float]] = {name: [] for name in calls}
    scores = {name: np.zeros(4, np.int64) for name in calls}
    order = [(name, sample) for name in calls for sample in samples]
    shuffle = random.Random(1905)  # noqa: S311 - an order, not a secret
    for number in range(rounds):
        shuffle.shuffle(order)
        for name, sample in order:
            began_s = time.perf_counter()
            beats = _attempt(calls[name], sample)
            spent[name].append(time.perf_counter() - began_s)
            if number == 0:
                scores[name] += _score(sample, beats)
    timings = []
    for name in calls:
        found, missed, extra, failed = scores[name].tolist()
        timings.append(
            Timing(
                name=name,
                version=_version(PEERS[name][0] if name in PEERS else "einthoven"),
                ms_per_segment=1000 * float(np.median(spent[name])),
                se=100 * found / (found + missed) if found + missed else None,
                ppv=100 * found / (found + extra) if found + extra else None,
                failed=failed,
            )
        )
    return timings + absent


def _in_millivolts(call: Callable[[Floats], Any]) -> Callable[[Sample], Any]:
    return lambda sample: call(sample.counts / float(UNITS_PER_MV))


def _attempt(call: Callable[[Sample], Any], sample: Sample) -> NDArray[np.int64] | None:
    """The beats, or None where the program raised: a peer may raise anything."""
    try:
        found = np.asarray(call(sample), np.float64)
    except ImportError:
        raise
    except Exception:  # noqa: BLE001
        return None
    return np.unique(found[np.isfinite(found)]).astype(np.int64)


def _score(sample: Sample, beats: NDArray[np.int64] | None) -> NDArray[np.int64]:
    if beats is None:
        return np.array([0, sample.beats.size, 0, 1])
    found = len(pair_beats(sample.beats, beats, WINDOW))
    return np.array([found, sample.beats.size - found, beats.size - found, 0])


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


_START: Final = """
import time
began_s = time.perf_counter()
from einthoven.runtime.kernels import warm_kernels
warm_kernels()
print(time.perf_counter() - began_s)
"""


def kernel_times_s() -> tuple[float, float]:
    """Seconds from a new interpreter to warm kernels: compiled anew, then from the cache."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        times = [
            float(
                subprocess.run(  # noqa: S603 - this interpreter
                    [sys.executable, "-c", _START],
                    env=environment,
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout
            )
            for _ in range(2)
        ]
    return times[0], times[1]


def stream_us(samples: list[Sample]) -> float:
    """Median time of one segment in a running stream, all four functions, µs."""
    state: PatientState | None = None
    spent = []
    for number, sample in enumerate(samples):
        ecg = Ecg(first=SEGMENT * number, is_last=False, samples=sample.counts)
        began_s = time.perf_counter()
        _, state = analyse(ecg, state)
        spent.append(time.perf_counter() - began_s)
    return 1e6 * float(np.median(spent))


def batch_us(samples: list[Sample], turns: int) -> float:
    """Median time of one segment in batches of `BATCH` running streams, each with its own state, µs."""
    states: list[PatientState | None] = [None] * BATCH
    spent = []
    for turn in range(turns):
        chosen = [samples[(BATCH * turn + patient) % len(samples)] for patient in range(BATCH)]
        ecgs = [Ecg(first=SEGMENT * turn, is_last=False, samples=sample.counts) for sample in chosen]
        began_s = time.perf_counter()
        answers = analyse_batch(ecgs, states)
        spent.append(time.perf_counter() - began_s)
        for patient, answer in enumerate(answers):
            if isinstance(answer, EinthovenError):
                raise answer
            states[patient] = answer[1]
    return 1e6 * float(np.median(spent)) / BATCH
