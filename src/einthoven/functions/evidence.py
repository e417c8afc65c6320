"""Why a beat has its class: the features and votes that beat detection and classification had of it.

Nothing is computed in another way here: the features are those of `describe_beats`, the votes those that
`classify` counts. What each feature did is told by asking the same classifier again with some features as the
patient's beats usually have them (Shapley values by sampling: Štrumbelj and Kononenko, JMLR 11, 2010).
"""

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import InputInvalid
from einthoven.functions.bdc import DescribedBeats, describe_beats
from einthoven.functions.ecg import Ecg, PatientState
from einthoven.functions.preprocessing import preprocessing
from einthoven.signal.classes import CLASSES, load_model, vote
from einthoven.signal.morphology import (
    AFTER,
    BEFORE,
    CONTEXT_MEMORY,
    FEATURES,
    MINUTE,
    MINUTES,
    MinuteBeat,
    PatientContext,
    describe,
    turn,
)
from einthoven.signal.resampling import UNITS_PER_MV, ratio_of, source_position

__all__ = ["Evidence", "FeatureEvidence", "evidence"]

_NORMAL: Final = CLASSES.index("N")
_LEAST_USUAL: Final = 5
"""Beats of class N without which nothing is called usual."""
_RANGE: Final = (10, 50, 90)
_ORDERS: Final = 100


class FeatureEvidence(msgspec.Struct, frozen=True):
    """One feature of a beat beside the patient's usual."""

    name: str
    value: float
    usual: float | None
    """Median of the patient's beats of class N in the minutes before; None when there are too few."""
    usual_low: float | None
    """Their 10th percentile."""
    usual_high: float | None
    """Their 90th percentile."""
    weight: float | None
    """What it adds to the logarithm of the odds of the beat's class, from the patient's usual beat to this
    one: above 0 it speaks for the class. The weights of all features sum to the whole difference."""


class Evidence(msgspec.Struct, frozen=True, eq=False):
    """What the class of one beat was told from."""

    grid: int
    position: int
    """Sample of the recording."""
    votes: dict[str, float]
    """Share of votes of each class."""
    features: tuple[FeatureEvidence, ...]
    usual_beats: int
    """Beats of class N that were called usual."""
    shape_mv: NDArray[np.float32]
    """The clean beat, `BEFORE` samples before its fiducial to `AFTER` after it, about its median."""
    template_mv: NDArray[np.float32]
    """The patient's mean calm beat as it was known then; empty when nothing was."""
    template_beats: int

    @property
    def kind(self) -> str:
        """The class with most votes."""
        return max(self.votes, key=lambda name: self.votes[name])


def evidence(ecg: Ecg, sample: int) -> Evidence | None:
    """The evidence on the beat nearest to a sample of the recording; None when the span has no beat.

    ``ecg`` carries the samples of a span; twice as much before the beat as a chunk reads makes the evidence
    that of the whole recording.

    Raises
    ------
    InputInvalid : the samples are not here.
    """
    prepared, _ = preprocessing(ecg, PatientState())
    if prepared.cleaned is None:
        raise InputInvalid("there is no clean signal.", where="samples", remedy="Give samples.")
    found, _ = describe_beats(prepared.cleaned, None, is_last=ecg.is_last)
    if not found.grid.size:
        return None
    ratio = ratio_of(ecg.fs)
    positions = [source_position(int(at), ratio) for at in found.grid]
    k = int(np.argmin(np.abs(np.array(positions) - sample)))
    shares = vote(found.features, load_model())
    template, template_beats = _template(found, k)
    usual = _usual(found, shares, k)
    at = int(found.grid[k]) - found.first
    return Evidence(
        grid=int(found.grid[k]),
        position=positions[k],
        votes={name: float(share) for name, share in zip(CLASSES, shares[k], strict=True)},
        features=_features(found.features[k], shares[k], usual),
        usual_beats=len(usual),
        shape_mv=_about_median(_window(found.samples, at)),
        template_mv=template,
        template_beats=template_beats,
    )


def _window(samples: NDArray[np.int16], at: int) -> NDArray[np.float32]:
    window = np.zeros(BEFORE + AFTER + 1, np.float32)
    low, high = max(0, at - BEFORE), min(samples.size, at + AFTER + 1)
    window[low - at + BEFORE : high - at + BEFORE] = samples[low:high] / UNITS_PER_MV
    return window


def _about_median(shape: NDArray[np.float32]) -> NDArray[np.float32]:
    return shape - np.float32(np.median(shape))


def _usual(found: DescribedBeats, shares: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """Features of the beats of class N in the memory of beat ``k``; none when they are too few."""
    near = (found.grid < found.grid[k]) & (found.grid >= found.grid[k] - CONTEXT_MEMORY)
    rows: NDArray[np.float32] = found.features[near & (shares.argmax(axis=1) == _NORMAL)]
    return rows if len(rows) >= _LEAST_USUAL else rows[:0]


def _features(
    values: NDArray[np.float32], shares: NDArray[np.float32], usual: NDArray[np.float32]
) -> tuple[FeatureEvidence, ...]:
    if not len(usual):
        return tuple(
            FeatureEvidence(name, float(value), None, None, None, None)
            for name, value in zip(FEATURES, values, strict=True)
        )
    low, middle, high = np.percentile(usual, _RANGE, axis=0).astype(np.float32)
    weights = _weights(values, middle, int(shares.argmax()))
    return tuple(
        FeatureEvidence(name, *map(float, row))
        for name, row in zip(FEATURES, np.stack((values, middle, low, high, weights), axis=1), strict=True)
    )


def _weights(values: NDArray[np.float32], usual: NDArray[np.float32], own: int) -> NDArray[np.float64]:
    """Shapley value of each feature: its mean effect where features turn from usual to own one by one.

    Over `_ORDERS` orders, always the same ones.
    """
    rng = np.random.default_rng(_ORDERS)
    orders = rng.permuted(np.tile(np.arange(values.size), (_ORDERS, 1)), axis=1)
    turned_at = np.argsort(orders, axis=1)
    steps = np.arange(values.size + 1)
    is_own = steps[None, :, None] > turned_at[:, None, :]
    asked = np.where(is_own, values, usual).reshape(-1, values.size).astype(np.float32)
    odds = _log_odds(vote(asked, load_model())[:, own]).reshape(_ORDERS, -1)
    effects = np.diff(odds, axis=1)
    return np.asarray(np.take_along_axis(effects, turned_at, axis=1).mean(axis=0))


def _log_odds(share: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of a share of votes, which float32 cannot tell from 0 or 1 beyond a millionth."""
    bounded = np.clip(share.astype(np.float64), 1e-6, 1 - 1e-6)
    return np.asarray(np.log(bounded / (1 - bounded)))


def _template(found: DescribedBeats, k: int) -> tuple[NDArray[np.float32], int]:
    """The mean calm beat of the minutes before beat ``k``, mV, and how many beats it is the mean of."""
    context = PatientContext.empty()
    minutes: list[MinuteBeat] = []
    known = int(found.known)
    stop = known + k
    minute = found.since // MINUTE
    while True:
        ends = min(int(np.searchsorted(found.fiducials, (minute + 1) * MINUTE)), stop)
        _, _, context = describe(found.samples, found.first, found.fiducials, known, ends - known, context)
        known = ends
        mean, turned = turn(context)
        minutes.append(mean)
        if int(found.fiducials[stop]) < (minute + 1) * MINUTE:
            break
        context = turned
        minute += 1
    recent = minutes[-(MINUTES + 1) :]
    calm = sum(mean.calm for mean in recent)
    if not calm:
        return np.empty(0, np.float32), 0
    total = sum((mean.calm * mean.shape for mean in recent), np.zeros(BEFORE + AFTER + 1, np.float32))
    return _about_median((total / calm / UNITS_PER_MV).astype(np.float32)), calm
