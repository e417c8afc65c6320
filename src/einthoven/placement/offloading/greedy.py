"""Ways to choose that are fast: in an order, by what is left, by prices; and to improve what was chosen.

A choice is a dictionary from accepted requests to the option each has.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import numpy as np

from einthoven.placement.offloading.admission import Admission
from einthoven.placement.offloading.feasibility import EXCESS, SlackInverse, is_feasible, worst_of
from einthoven.placement.offloading.instance import FloatArray, Instance, IntArray
from einthoven.placement.offloading.sharing import costs_at
from einthoven.signal.kernel import kernel

__all__ = [
    "Choice",
    "accept_in_order",
    "by_log_det",
    "by_prices",
    "cheapest_first",
    "improve_count",
    "improve_value",
    "worth",
]

Choice = dict[int, int]
_ROUNDS: Final = 4
_BLEND: Final = 1e-3
_REASSIGNMENTS: Final = 30
_SWAPS: Final = 60
_LESS: Final = 1e-9
_FULL: Final = 1.0 - 1e-9


def worth(instance: Instance, choice: Iterable[int]) -> float:
    """The value of accepted requests."""
    return float(instance.values[np.fromiter(choice, dtype=np.int64)].sum())


def accept_in_order(instance: Instance, order: Iterable[int], scores: FloatArray) -> Choice:
    """Accept requests in an order, each at the option of the least score that still fits.

    All that were accepted before may get other shares, so what counts is the set.
    """
    load, choice = Admission(instance), {}
    for request in order:
        options = np.arange(*_bounds(instance, int(request)))
        for option in options[np.argsort(scores[options], kind="stable")]:
            if load.fits(int(option)):
                load.add(int(option))
                choice[int(request)] = int(option)
                break
    return choice


def cheapest_first(instance: Instance, scores: FloatArray) -> IntArray:
    """Requests by the least score among their options; those without options last."""
    least = np.full(instance.count, np.inf)
    np.minimum.at(least, instance.owners, scores)
    return np.argsort(least, kind="stable")


def by_prices(instance: Instance) -> Choice:
    """Spectral greedy (SPG): cheapest first at prices that follow what was accepted; the best of four."""
    size = len(instance.capacities)
    vector, best = np.full(size, 1.0 / math.sqrt(size)), Choice()
    everything = np.arange(len(instance.owners))
    for _ in range(_ROUNDS):
        scores = costs_at(instance, everything, vector**2)
        order = cheapest_first(instance, scores / instance.values[instance.owners])
        choice = accept_in_order(instance, order, scores)
        if worth(instance, choice) > worth(instance, best):
            best = choice
        chosen = np.fromiter(choice.values(), dtype=np.int64)
        vector = 0.5 * vector + 0.5 * np.sqrt(worst_of(instance, chosen)[1]) + _BLEND
        vector /= np.linalg.norm(vector)
    return best


def by_log_det(instance: Instance) -> Choice:
    """Log-det greedy (LDG): again and again the option with the most value for what it takes of what is left.

    What an option takes only grows as others are accepted, so a value that was computed earlier is a bound,
    and the best need only be looked for among those whose bounds are better (lazy evaluation, Minoux 1978):
    the same choice as looking at all, and a thousand times less to look at with a million options.
    """
    if not instance.is_additive:
        return _by_falling_worth(instance)
    slack = SlackInverse(len(instance.capacities))
    worths = instance.values[instance.owners]
    takes = instance.loads.sum(axis=1)
    heap = np.argsort(-worths / np.maximum(takes, 1e-15), kind="stable")
    # A sorted array is a heap.
    keys = (worths / np.maximum(takes, 1e-15))[heap]
    state = np.array([len(heap), 0])
    chosen = np.full(instance.count, -1, dtype=np.int64)
    stamps = np.zeros(len(heap), dtype=np.int64)
    while _accept_lazily(
        slack.matrix,
        slack.inverse,
        instance.paths,
        instance.roots,
        instance.owners,
        worths,
        keys,
        heap,
        stamps,
        state,
        chosen,
    ):
        slack.rebuild()
    return {int(one): int(chosen[one]) for one in np.flatnonzero(chosen >= 0)}


@kernel
def _accept_lazily(  # type: ignore[no-untyped-def]
    matrix, inverse, paths, roots, owners, worths, keys, heap, stamps, state, chosen
):
    """Go on until the heap is empty (False), or the inverse must be computed anew (True)."""
    size, version = state[0], state[1]
    places = paths.shape[1]
    count = matrix.shape[0]
    g = np.empty(count)
    again = False
    while size > 0 and not again:
        option = heap[0]
        key = -1.0
        if chosen[owners[option]] < 0:
            take = 0.0
            for a in range(places):
                for b in range(places):
                    take += roots[option, a] * inverse[paths[option, a], paths[option, b]] * roots[option, b]
            if take <= 1.0 - 1e-9:
                key = worths[option] / max(take, 1e-15)
                if stamps[option] == version:
                    chosen[owners[option]] = option
                    version += 1
                    for j in range(count):
                        total = 0.0
                        for a in range(places):
                            total += inverse[j, paths[option, a]] * roots[option, a]
                        g[j] = total
                    for a in range(places):
                        for b in range(places):
                            matrix[paths[option, a], paths[option, b]] += roots[option, a] * roots[option, b]
                    room = 1.0 - take
                    if room > 1e-4 and version % 1000:
                        for j in range(count):
                            scaled = g[j] / room
                            for k in range(count):
                                inverse[j, k] += scaled * g[k]
                    else:
                        again = True
                    key = -1.0
        if key < 0:
            size -= 1
            heap[0], keys[0] = heap[size], keys[size]
        else:
            stamps[option] = version
            keys[0] = key
        at = 0
        item, held = heap[0], keys[0]
        while True:
            child = 2 * at + 1
            if child >= size:
                break
            other = child + 1
            if other < size and (
                keys[other] > keys[child] or (keys[other] == keys[child] and heap[other] < heap[child])
            ):
                child = other
            if held > keys[child] or (held == keys[child] and item < heap[child]):
                break
            heap[at], keys[at] = heap[child], keys[child]
            at = child
        heap[at], keys[at] = item, held
    state[0], state[1] = size, version
    return again


def _by_falling_worth(instance: Instance) -> Choice:
    """The same by prices, where what an option takes has no closed form; bounds are then only guesses."""
    load, choice = Admission(instance), Choice()
    worths = instance.values[instance.owners]
    alive = np.ones(len(instance.owners), dtype=bool)
    while alive.any():
        some = np.flatnonzero(alive)
        option = int(some[np.argmax(worths[some] / load.takes(some))])
        owner = int(instance.owners[option])
        if load.fits(option):
            load.add(option)
            choice[owner] = option
            alive[slice(*_bounds(instance, owner))] = False
        else:
            alive[option] = False
    return choice


def improve_count(
    instance: Instance,
    choice: Mapping[int, int],
    *,
    rounds: int,
    enough: float = math.inf,
    is_over: Callable[[], bool] = lambda: False,
) -> Choice:
    """Local search (LS): move a request to another option, let in another, exchange one for one.

    A move must lower the utilisation that is needed, or raise the count. Moves are tried in the order in
    which the present prices promise something of them.

    Parameters
    ----------
    rounds : of moves.
    enough : a count above which there is no better, from a bound.
    """
    search = _Search(instance, choice)
    left = rounds
    improved = True
    while improved and left > 0 and len(search.choice) < enough and not is_over():
        improved, moved = False, True
        while moved and left > 0 and len(search.choice) < enough and not is_over():
            moved = search.reassign()
            improved |= search.let_in()
            left -= 1
        if len(search.choice) < enough and search.exchange():
            search.let_in()
            improved = True
    return search.choice


class _Search:
    """A choice under improvement."""

    def __init__(self, instance: Instance, choice: Mapping[int, int]) -> None:
        self.instance = instance
        self.choice = dict(choice)
        self._all = np.arange(len(instance.owners))

    def _worst(self, *, without: int, plus: int) -> float:
        kept = [option for option in self.choice.values() if option != without]
        return worst_of(self.instance, np.array([*kept, plus], dtype=np.int64))[0]

    def _priced(self) -> tuple[float, FloatArray, FloatArray]:
        """The utilisation, each option's cost at its prices, and by request that of the option it has."""
        chosen = np.array(list(self.choice.values()), dtype=np.int64)
        worst, prices = worst_of(self.instance, chosen)
        scores = costs_at(self.instance, self._all, prices)
        held = np.full(self.instance.count, np.nan)
        held[self.instance.owners[chosen]] = scores[chosen]
        return worst, scores, held

    def _rejected(self) -> IntArray:
        """Options of those that are not accepted."""
        accepted = np.zeros(self.instance.count, dtype=bool)
        accepted[list(self.choice)] = True
        return np.flatnonzero(~accepted[self.instance.owners])

    def reassign(self) -> bool:
        """Move one request to an option by which less is needed."""
        worst, scores, held = self._priced()
        gains = scores - held[self.instance.owners]
        better = np.flatnonzero(gains < -_LESS)
        for option in better[np.argsort(gains[better], kind="stable")][:_REASSIGNMENTS]:
            owner = int(self.instance.owners[option])
            if self._worst(without=self.choice[owner], plus=int(option)) < worst - _LESS:
                self.choice[owner] = int(option)
                return True
        return False

    def let_in(self) -> bool:
        """Let in whoever fits, cheapest first."""
        _, scores, _ = self._priced()
        rejected = self._rejected()
        load = Admission(self.instance, self.choice.values())
        some = rejected
        if self.instance.is_additive:
            # What does not fit now does not fit beside more.
            some = rejected[load.takes(rejected) <= 1 + 1e-6]
        least = np.full(self.instance.count, np.inf)
        np.minimum.at(least, self.instance.owners[rejected], scores[rejected])
        order = np.lexsort((scores[some], self.instance.owners[some], least[self.instance.owners[some]]))
        before = len(self.choice)
        for option in some[order]:
            owner = int(self.instance.owners[option])
            if owner not in self.choice and load.fits(int(option)):
                load.add(int(option))
                self.choice[owner] = int(option)
        return len(self.choice) > before

    def exchange(self) -> bool:
        """One out and one in, if less is needed then."""
        worst, scores, held = self._priced()
        rejected = self._rejected()
        entering = rejected[np.argsort(scores[rejected], kind="stable")][:_SWAPS]
        accepted = np.array(sorted(self.choice, key=lambda one: -held[one])[:_SWAPS], dtype=np.int64)
        gains = scores[entering][None, :] - held[accepted][:, None]
        for flat in np.argsort(gains, axis=None, kind="stable")[:_SWAPS]:
            leaving, option = accepted[flat // len(entering)], int(entering[flat % len(entering)])
            if gains.flat[flat] >= -_LESS:
                return False
            if self._worst(without=self.choice[int(leaving)], plus=option) < worst - _LESS:
                del self.choice[int(leaving)]
                self.choice[int(self.instance.owners[option])] = option
                return True
        return False


def improve_value(
    instance: Instance,
    choice: Mapping[int, int],
    *,
    rounds: int,
    is_over: Callable[[], bool] = lambda: False,
) -> Choice:
    """Local search by value (LS-value): push one in, push out the least valuable, fill up again.

    At its end nobody is rejected while one of less value is accepted in a place that would do for it.
    """
    best = _filled(instance, choice)
    for _ in range(rounds):
        better = None if is_over() else _pushed(instance, best) or _exchanged(instance, best)
        if better is None:
            break
        best = better
    return best


def _pushed(instance: Instance, choice: Choice) -> Choice | None:
    """A choice of more value, or none."""
    value = worth(instance, choice)
    for request in _by_falling_value(instance, choice):
        for option in instance.options_of(request):
            tried = {**choice, request: option}
            worst, prices = worst_of(instance, _options(tried))
            while worst > 1.0 + EXCESS and len(tried) > 1:
                others = np.array([one for one in tried if one != request])
                costs = costs_at(instance, np.array([tried[one] for one in others.tolist()]), prices)
                del tried[int(others[np.argmax(costs / instance.values[others])])]
                worst, prices = worst_of(instance, _options(tried))
            tried = _filled(instance, tried)
            if worth(instance, tried) > value + _LESS:
                return tried
    return None


def _exchanged(instance: Instance, choice: Choice) -> Choice | None:
    """One of less value out, one of more in, if that is feasible."""
    for request in _by_falling_value(instance, choice):
        less = [one for one in choice if instance.values[one] < instance.values[request]]
        for option in instance.options_of(request):
            for leaving in sorted(less, key=lambda one: instance.values[one]):
                tried = {one: held for one, held in choice.items() if one != leaving} | {request: option}
                if is_feasible(instance, _options(tried)):
                    return _filled(instance, tried)
    return None


def _filled(instance: Instance, choice: Mapping[int, int]) -> Choice:
    """Whoever fits besides, by falling value."""
    filled, load = dict(choice), Admission(instance, choice.values())
    for request in _by_falling_value(instance, filled):
        options = np.arange(*_bounds(instance, request))
        takes = load.takes(options)
        option = int(options[np.argmin(takes)])
        if takes.min() <= _FULL and load.fits(option):
            load.add(option)
            filled[request] = option
    return filled


def _by_falling_value(instance: Instance, choice: Mapping[int, int]) -> list[int]:
    """Requests with options that are not accepted."""
    asks = np.flatnonzero(np.diff(instance.starts) > 0)
    return [
        one for one in asks[np.argsort(-instance.values[asks], kind="stable")].tolist() if one not in choice
    ]


def _options(choice: Mapping[int, int]) -> IntArray:
    return np.fromiter(choice.values(), dtype=np.int64, count=len(choice))


def _bounds(instance: Instance, request: int) -> tuple[int, int]:
    return int(instance.starts[request]), int(instance.starts[request + 1])
