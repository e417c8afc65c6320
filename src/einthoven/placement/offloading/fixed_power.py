"""A radio that sends with a fixed power, whatever its bandwidth: more bandwidth spreads the power thinner.

Its rate is ``r(x) = x log2(1 + g / x)``, increasing, concave, never above ``g / ln 2``. A phase's time ``a /
r(x)`` is convex in its share, so all duality holds; closed forms do not. With the multiplier ``m`` of the
deadline each phase solves ``price r(x)² / r'(x) = m a``, whose left side is nearly the square of ``x``:
Newton's method on logarithms takes a few steps. ``m`` itself is found the same way, between bounds.
"""

import math

import numpy as np

from einthoven.placement.offloading.instance import FloatArray
from einthoven.signal.kernel import inlined, kernel

__all__ = ["powered_shares", "rates", "slopes"]

_LN2 = math.log(2.0)


def rates(shares: FloatArray, gains: FloatArray) -> FloatArray:
    """Of shares; the share itself where the gain is 0."""
    powered = (gains > 0) & (shares > 0)
    ratio = np.divide(gains, shares, out=np.zeros_like(shares), where=powered)
    return np.where(powered, shares * np.log1p(ratio) / _LN2, shares)


def slopes(shares: FloatArray, gains: FloatArray) -> tuple[FloatArray, FloatArray]:
    """First and second derivative of the rate; 1 and 0 where the gain is 0."""
    powered = (gains > 0) & (shares > 0)
    u = np.divide(gains, shares, out=np.zeros_like(shares), where=powered)
    first = np.where(u < 1e-4, u * u * (0.5 - 2 * u / 3), np.log1p(u) - u / (1 + u)) / _LN2
    x = np.where(powered, shares, 1.0)
    second = -(u * u) / (x * (1 + u) ** 2) / _LN2
    return np.where(powered, first, 1.0), np.where(powered, second, 0.0)


def powered_shares(
    loads: FloatArray, prices: FloatArray, gains: FloatArray, caps: FloatArray | None
) -> FloatArray:
    """The cheapest shares of each row (n, L) that meet the deadline; NaN where none do."""
    limit = np.full(loads.shape, np.inf) if caps is None else caps
    shares = np.zeros_like(loads)
    prices = np.ascontiguousarray(np.broadcast_to(prices, loads.shape))
    _solve(
        np.ascontiguousarray(loads), prices, np.ascontiguousarray(gains), np.ascontiguousarray(limit), shares
    )
    return shares


@inlined
def _first(u):  # type: ignore[no-untyped-def]
    """The rate's slope, of gain over share."""
    return (u * u * (0.5 - 2 * u / 3) if u < 1e-4 else math.log1p(u) - u / (1 + u)) / 0.6931471805599453


@inlined
def _share(load, price, gain, multiplier):  # type: ignore[no-untyped-def]
    """Where ``price r² / r' = multiplier load``."""
    x = math.sqrt(multiplier * load / price)
    if gain == 0.0:
        return x
    target = math.log(multiplier * load / price)
    for _ in range(60):
        u = gain / x
        rate = x * math.log1p(u) / 0.6931471805599453
        first = _first(u)
        second = -(u * u) / (x * (1 + u) ** 2) / 0.6931471805599453
        off = 2 * math.log(rate) - math.log(first) - target
        step = off / (x * (2 * first / rate - second / first))
        x *= math.exp(-min(max(step, -5.0), 5.0))
        if abs(step) < 1e-14:
            break
    return x


@kernel
def _solve(loads, prices, gains, caps, shares):  # type: ignore[no-untyped-def]
    rows, places = loads.shape
    for row in range(rows):
        guess = 0.0
        least = 0.0
        for k in range(places):
            if loads[row, k] > 0:
                guess += math.sqrt(prices[row, k] * loads[row, k])
                if caps[row, k] < np.inf:
                    x = caps[row, k]
                    g = gains[row, k]
                    least += loads[row, k] / (x * math.log1p(g / x) / 0.6931471805599453 if g > 0 else x)
                elif gains[row, k] > 0:
                    least += loads[row, k] * 0.6931471805599453 / gains[row, k]
        if least > 1.0 + 1e-12:
            shares[row, :] = np.nan
            continue
        at = 2 * math.log(guess)
        low, high = -np.inf, np.inf
        for _ in range(200):
            multiplier = math.exp(at)
            taken, slope, is_free = 0.0, 0.0, False
            for k in range(places):
                if loads[row, k] <= 0:
                    continue
                g = gains[row, k]
                x = _share(loads[row, k], prices[row, k], g, multiplier)
                if x >= caps[row, k]:
                    x = caps[row, k]
                else:
                    is_free = True
                shares[row, k] = x
                u = g / x
                rate = x * math.log1p(u) / 0.6931471805599453 if g > 0 else x
                time = loads[row, k] / rate
                taken += time
                if x < caps[row, k]:
                    first = _first(u) if g > 0 else 1.0
                    second = -(u * u) / (x * (1 + u) ** 2) / 0.6931471805599453 if g > 0 else 0.0
                    # time' and time'' by the share; the time falls by time'² / time'' with the log of m
                    d1 = time * first / rate
                    d2 = time * (2 * first * first / (rate * rate) - second / rate)
                    slope += d1 * d1 / d2
            if not is_free and taken <= 1.0 + 1e-12:
                high = at
            elif taken > 1.0:
                low = at
            else:
                high = at
            if abs(taken - 1.0) < 1e-14 or high - low < 1e-15 * max(1.0, abs(at)):
                break
            step = math.log(taken) * taken / slope if slope > 0 else -1.0
            nearer = at + min(max(step, -3.0), 3.0)
            if not low < nearer < high:
                nearer = 0.5 * (low + high)
            if nearer == at:
                break
            at = nearer
