"""What running sessions use, and where each has its place: the spectral test beside frozen shares."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from einthoven.errors import InputInvalid
from einthoven.placement.offloading.feasibility import SlackInverse
from einthoven.placement.offloading.instance import FloatArray, Instance, IntArray

__all__ = ["FITS", "Load", "Offers", "Session", "alone", "offers_of", "placed"]

FITS: Final = 1.0 - 1e-9
"""A newcomer may take this much of what is left."""
_NEAR: Final = 1e-6
_TOLERANCE: Final = 1e-12
_BORDER: Final = 1e-10


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Offers:
    """The options of one request: paths and demands as in an `Instance` (k, L)."""

    paths: IntArray
    demands: FloatArray
    sites: tuple[str, ...]
    """Where each option runs."""


def offers_of(instance: Instance, request: int) -> Offers:
    """The options that a request has in an instance; limits on its shares are not among them.

    Raises
    ------
    InputInvalid : a phase is sent with a fixed power: its rate is no multiple of its share.
    """
    if instance.gains_hz is not None:
        raise InputInvalid(
            "sessions know no fixed power.", where="cells", remedy='Declare `power = "density"`.'
        )
    some = instance.options_of(request)
    span = slice(some.start, some.stop)
    return Offers(paths=instance.paths[span], demands=instance.demands[span], sites=instance.sites[span])


@dataclass(slots=True, eq=False)
class Session:
    """One that runs."""

    name: str
    offers: Offers
    value: float
    option: int
    number: int
    is_frozen: bool
    shares: FloatArray | None = None
    """Its own, in units; None: those that follow from the prices."""

    @property
    def path(self) -> IntArray:
        """The resources that it uses."""
        return np.asarray(self.offers.paths[self.option])

    @property
    def demand(self) -> FloatArray:
        """What it needs of each."""
        return np.asarray(self.offers.demands[self.option])


class Load:
    """What sessions use: frozen shares, and the rest by the spectral test on what remains."""

    def __init__(self, capacities: FloatArray) -> None:
        self.capacities = capacities
        self.frozen = np.zeros_like(capacities)
        self.slack = SlackInverse(len(capacities))
        self.links = np.zeros((len(capacities), len(capacities)), dtype=np.int64)
        """How many sessions, that are not frozen, use two resources both (J, J)."""
        self._scales = self._scale()

    @property
    def room(self) -> FloatArray:
        """What is not frozen (J)."""
        return np.maximum(0.0, self.capacities - self.frozen)

    def _scale(self) -> FloatArray:
        return np.where(self.room > 0, self.room, 1.0)

    def alone(self, offers: Offers) -> FloatArray:
        """What each option would take of its slack with all that is not frozen (k)."""
        return alone(offers, self.room)

    def roots(self, paths: IntArray, demands: FloatArray) -> FloatArray:
        """``v`` over what is not frozen."""
        return np.asarray(np.sqrt(demands / self._scales[paths]))

    def takes(self, paths: IntArray, demands: FloatArray) -> FloatArray:
        """Of what is left (n); infinite where nothing remains."""
        dead = np.any((demands > 0) & (self.room[paths] <= 0), axis=1)
        return np.where(dead, np.inf, self.slack.takes(paths, self.roots(paths, demands)))

    def fits(self, path: IntArray, demand: FloatArray) -> bool:
        """Whether one more does."""
        dead = bool(np.any((demand > 0) & (self.room[path] <= 0)))
        return not dead and self.slack.fits(path, self.roots(path, demand))

    def add(self, path: IntArray, demand: FloatArray) -> None:
        """Take one in whose shares may change."""
        self.slack.add(path, self.roots(path, demand))
        used = path[demand > 0]
        self.links[np.ix_(used, used)] += 1

    def remove(self, path: IntArray, demand: FloatArray) -> None:
        """Let it go."""
        used = path[demand > 0]
        self.links[np.ix_(used, used)] -= 1
        self.slack.remove(path, self.roots(path, demand))
        # What nobody uses is nothing, and not what rounding left of it.
        self.slack.matrix[self.links == 0] = 0.0

    def freeze(self, path: IntArray, shares: FloatArray) -> bool:
        """Set shares aside, if those of the others can do without them."""
        before, scales = self.frozen.copy(), self._scales
        np.add.at(self.frozen, path, shares)
        over = bool(np.any(self.frozen > self.capacities * (1 + _TOLERANCE)))
        if not over and self._rescale(scales):
            return True
        self.frozen, self._scales = before, scales
        return False

    def thaw(self, path: IntArray, shares: FloatArray) -> None:
        """Give shares back."""
        np.subtract.at(self.frozen, path, shares)
        self.frozen[np.abs(self.frozen) <= _TOLERANCE * self.capacities] = 0.0
        self._rescale(self._scales)

    def _rescale(self, before: FloatArray) -> bool:
        """Let the spectral test follow what is not frozen; whether all still fit there."""
        used = self.links.diagonal() > 0
        if np.any(used & (self.room <= 0)):
            return False
        scales = self._scale()
        ratio = np.sqrt(before / scales)
        matrix = self.slack.matrix * np.outer(ratio, ratio)
        if np.linalg.eigvalsh(matrix)[-1] > 1 + _BORDER:
            return False
        self._scales = scales
        self.slack = SlackInverse(len(scales), matrix)
        return True


def alone(offers: Offers, room: FloatArray) -> FloatArray:
    """What each option would take of its slack with some room to itself (k); infinite where there is none."""
    there, asked = room[offers.paths], offers.demands > 0
    parts = np.divide(offers.demands, there, out=np.where(asked, np.inf, 0.0), where=asked & (there > 0))
    return np.asarray(parts.sum(axis=1))


def placed(
    capacities: FloatArray, sessions: Iterable[Session], moves: int, *, fixed: str = ""
) -> tuple[Load, dict[str, int]]:
    """Sessions by falling value, where they are if they fit there, then elsewhere; others have no place.

    Among those of one value: frozen ones, then where they are by what they take, then elsewhere; and at last
    the one that is ``fixed`` to its option, which so displaces none of its own value.
    """
    load, options = Load(capacities.copy()), dict[str, int]()
    running = sorted(sessions, key=lambda one: (-one.value, one.number))
    for value in dict.fromkeys(one.value for one in running):
        group = [one for one in running if one.value == value and one.name != fixed]
        for one in group:
            if one.is_frozen and one.shares is not None and load.freeze(one.path, one.shares):
                options[one.name] = one.option
        elastic = [one for one in group if not one.is_frozen]
        _fill(load, [(one, one.option) for one in elastic], options, len(elastic))
        rest = [one for one in elastic if one.name not in options]
        ways = [(one, way) for one in rest for way in range(len(one.offers.sites)) if way != one.option]
        moves -= _fill(load, ways, options, moves)
        _fill(
            load,
            [(one, one.option) for one in running if one.name == fixed and one.value == value],
            options,
            1,
        )
    return load, {one.name: options[one.name] for one in running if one.name in options}


def _fill(load: Load, ways: list[tuple[Session, int]], options: dict[str, int], most: int) -> int:
    """Again and again the way that takes least of what is left; gives how many fitted."""
    if not ways or most <= 0:
        return 0
    paths = np.array([one.offers.paths[way] for one, way in ways])
    demands = np.array([one.offers.demands[way] for one, way in ways])
    open_ = np.ones(len(ways), dtype=bool)
    taken = 0
    while taken < most:
        takes = np.where(open_, load.takes(paths, demands), np.inf)
        at = int(np.argmin(takes))
        if takes[at] > 1 + _NEAR:
            break
        if not load.fits(paths[at], demands[at]):
            open_[at] = False
            continue
        session, way = ways[at]
        load.add(paths[at], demands[at])
        options[session.name] = way
        open_ &= np.array([one.name != session.name for one, _ in ways])
        taken += 1
    return taken
