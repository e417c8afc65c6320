"""What is asked and what there is: requests, their options, and the resources that the options share.

A request has *options*: places where it may run, each with the path of resources it needs to get there
(radio, links, processor). It holds a share ``x`` of each resource on the path; a phase of ``work`` takes
``work / x`` seconds. What is left of the deadline when fixed delays are off is the option's *slack*. The
*demand* of a phase is ``a = work / slack`` and has the unit of the resource, so the deadline is met if and
only if ``sum(a / x) <= 1``.

Paths are kept as a matrix of options by places on a path; a place with demand 0 is not there. So a million
options over hundreds of resources need tens of megabytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from einthoven.errors import InputInvalid

__all__ = ["KINDS", "FloatArray", "Instance", "IntArray", "Kind", "prepare", "prepare_dense"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Kind = Literal["local", "edge", "neighbour", "core"]
"""Where an option runs: with the patient, at its cell's edge, at the edge of another, in the core."""
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_REMEDY: Final = "See docs/offloading.md for what an instance is made of."


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Instance:
    """One problem: N requests, K options over at most L resources each, J resources.

    Made by `prepare`; every option in it is feasible when it is alone. Options of one request lie together.
    """

    capacities: FloatArray
    """Of each resource (J): Hz, bit/s, cycle/s."""
    paths: IntArray
    """Resources of each option (K, L); where the demand is 0, nothing is meant."""
    demands: FloatArray
    """Of each option at each place of its path (K, L), in the resource's unit."""
    owners: IntArray
    """The request of each option (K), ascending."""
    values: FloatArray
    """What accepting each request is worth (N); 1 unless there are priorities."""
    kinds: NDArray[np.uint8]
    """Where each option runs (K), as a place in `KINDS`."""
    caps: FloatArray | None = None
    """The largest share each option may hold at each place (K, L); infinite where there is no limit."""
    gains_hz: FloatArray | None = None
    """Of phases sent with a fixed power (K, L): ``P g / N0``; 0 where the time is ``a / x``.

    Such a phase takes ``a / (x log2(1 + gain / x))`` of the slack, ``a`` being bit/s and ``x`` Hz.
    """
    slacks_s: FloatArray
    """Time each option has for its phases (K)."""
    alone: FloatArray
    """Of each request the least part of its slack that an option, also one that was dropped, takes when it
    has everything to itself (N). Above 1 it can never be accepted; infinite: fixed delays alone are longer
    than the deadline; NaN: there never was an option."""
    given: IntArray
    """The number under which each option was given (K)."""
    resources: tuple[str, ...]
    units: tuple[str, ...]
    requests: tuple[str, ...]
    sites: tuple[str, ...]
    """Where each option runs, by name (K)."""
    loads: FloatArray = field(init=False)
    """Demands as parts of capacities (K, L)."""
    roots: FloatArray = field(init=False)
    """Their square roots: ``v`` of the spectral test (K, L)."""
    cap_parts: FloatArray | None = field(init=False)
    gain_parts: FloatArray | None = field(init=False)
    """Caps and gains as parts of capacities (K, L)."""
    starts: IntArray = field(init=False)
    """Options of request i are ``starts[i]`` up to ``starts[i + 1]`` (N + 1)."""

    def __post_init__(self) -> None:
        capacity = self.capacities[self.paths]
        loads = self.demands / capacity
        made = {
            "loads": loads,
            "roots": np.sqrt(loads),
            "cap_parts": None if self.caps is None else self.caps / capacity,
            "gain_parts": None if self.gains_hz is None else self.gains_hz / capacity,
            "starts": np.searchsorted(self.owners, np.arange(len(self.values) + 1)),
        }
        for name, array in made.items():
            object.__setattr__(self, name, array)
        for name in self.__slots__:
            array = getattr(self, name)
            if isinstance(array, np.ndarray):
                array.flags.writeable = False

    @property
    def count(self) -> int:
        """Requests."""
        return len(self.values)

    @property
    def is_additive(self) -> bool:
        """Whether the spectral test holds: every phase takes ``a / x``, and no share is limited."""
        return self.caps is None and self.gains_hz is None

    @property
    def has_values(self) -> bool:
        """Whether some request is worth more than another."""
        return bool(np.any(self.values != 1.0))

    def options_of(self, request: int) -> range:
        """The numbers of a request's options."""
        return range(int(self.starts[request]), int(self.starts[request + 1]))

    def summed(self, options: IntArray, amounts: FloatArray) -> FloatArray:
        """What options have at the places of their paths (n, L), added up by resource (J)."""
        path = self.paths[options].ravel()
        return np.bincount(path, weights=amounts.ravel(), minlength=len(self.capacities)).astype(np.float64)

    def dense_roots(self, options: ArrayLike | None = None) -> FloatArray:
        """``v`` of options over all resources (K, J); only for what is small."""
        some = np.arange(len(self.owners)) if options is None else np.asarray(options, dtype=np.int64)
        dense = np.zeros((len(some), len(self.capacities)))
        np.add.at(dense, (np.arange(len(some))[:, None], self.paths[some]), self.loads[some])
        return np.sqrt(dense)


def prepare(
    *,
    capacities: ArrayLike,
    paths: ArrayLike,
    works: ArrayLike,
    owners: ArrayLike,
    slacks_s: ArrayLike | None = None,
    count: int | None = None,
    values: ArrayLike | None = None,
    kinds: Sequence[Kind] | NDArray[np.uint8] | None = None,
    caps: ArrayLike | None = None,
    gains_hz: ArrayLike | None = None,
    resources: Sequence[str] = (),
    units: Sequence[str] = (),
    requests: Sequence[str] = (),
    sites: Sequence[str] = (),
) -> Instance:
    """Check a problem, and drop options that would miss their deadline even if they were alone.

    Parameters
    ----------
    capacities : (J), above 0.
    paths : (K, L), resources of each option, each at most once; anything where the work is 0.
    works : (K, L), Hz·s, bit or cycles; 0 where the path is shorter than L.
    owners : (K), the request of each option, in any order.
    slacks_s : (K), deadline minus fixed delays; 1 by default, so that works are already demands. An option
        with 0 or less is dropped.
    count : requests; by default what owners or values say.
    values : (N), above 0; 1 by default.
    kinds : (K); edge by default.
    caps, gains_hz : see `Instance`.
    resources, units, requests, sites : names; by default they are numbered.

    Raises
    ------
    InputInvalid : an array of another shape, a number out of its range, or a resource twice on a path.
    """
    c = _floats("capacities", capacities, (None,))
    path = _ints("paths", paths, (None, None))
    work = _floats("works", works, path.shape)
    owner = _ints("owners", owners, path.shape[:1])
    slack_s = np.ones(len(path)) if slacks_s is None else _floats("slacks_s", slacks_s, path.shape[:1])
    cap = None if caps is None else _floats("caps", caps, path.shape, may_be_infinite=True)
    gain = None if gains_hz is None else _floats("gains_hz", gains_hz, path.shape)
    value = None if values is None else _floats("values", values, (None,))
    total = (
        count if count is not None else len(value) if value is not None else int(owner.max(initial=-1)) + 1
    )
    value = np.ones(total) if value is None else value
    kind = _kinds(kinds, len(path))
    _require(len(value) == total, "values", f"{len(value)} values for {total} requests")
    _require(len(c) > 0, "capacities", "there is no resource")
    _require(bool(np.all(c > 0)), "capacities", "a capacity is 0 or less")
    _require(bool(np.all(value > 0)), "values", "a value is 0 or less")
    _require(bool(np.all(work >= 0)), "works", "a work is less than 0")
    _require(bool(np.all((owner >= 0) & (owner < total))), "owners", f"not a request of 0 to {total - 1}")
    _require(
        bool(np.all((path >= 0) & (path < len(c)) | (work == 0))), "paths", f"not one of {len(c)} resources"
    )
    _require(bool(np.all(np.any(work > 0, axis=1))), "works", "an option needs nothing at all")
    _require(cap is None or bool(np.all((cap > 0) | (work == 0))), "caps", "a cap is 0 or less")
    _require(gain is None or bool(np.all(gain >= 0)), "gains_hz", "a gain is less than 0")
    path = np.where(work > 0, path, 0)
    _require(not _repeats(path, work), "paths", "a resource is twice on one path")
    alone = _alone(c[path], work, slack_s, cap, gain)
    least = np.full(total, np.inf)
    np.minimum.at(least, owner, alone)
    least[np.bincount(owner, minlength=total) == 0] = np.nan
    kept = np.flatnonzero(alone <= 1.0)
    kept = kept[np.argsort(owner[kept], kind="stable")]
    site = _names("sites", sites, len(path), "site")
    return Instance(
        capacities=c,
        paths=path[kept],
        demands=work[kept] / slack_s[kept, None],
        owners=owner[kept],
        values=value,
        kinds=kind[kept],
        caps=None if cap is None else cap[kept],
        gains_hz=None if gain is None else gain[kept],
        slacks_s=slack_s[kept],
        alone=least,
        given=kept,
        resources=_names("resources", resources, len(c), "resource"),
        units=_names("units", units, len(c), "") if units else ("",) * len(c),
        requests=_names("requests", requests, total, "request"),
        sites=tuple([site[one] for one in kept]),
    )


def prepare_dense(*, capacities: ArrayLike, demands: ArrayLike, owners: ArrayLike, **others: Any) -> Instance:
    """As `prepare`, of demands over all resources (K, J), 0 off the path; for tests and what is small."""
    dense = _floats("demands", demands, (None, None))
    width = max(1, int((dense > 0).sum(axis=1).max(initial=1)))
    order = np.argsort(dense == 0, axis=1, kind="stable")[:, :width]
    works = np.take_along_axis(dense, order, axis=1)
    return prepare(capacities=capacities, paths=order, works=works, owners=owners, **others)


def _alone(
    capacities: FloatArray,
    works: FloatArray,
    slacks_s: FloatArray,
    caps: FloatArray | None,
    gains_hz: FloatArray | None,
) -> FloatArray:
    """Parts of the slack that options take when each has everything to itself; infinite without any slack."""
    most = capacities if caps is None else np.minimum(capacities, caps)
    rates = most if gains_hz is None else np.where(gains_hz > 0, most * np.log2(1 + gains_hz / most), most)
    with np.errstate(divide="ignore", invalid="ignore"):
        taken = np.where(works > 0, works / rates, 0.0).sum(axis=1)
        return np.where(slacks_s > 0, taken / slacks_s, np.inf)


def _repeats(paths: IntArray, works: FloatArray) -> bool:
    """Whether a resource with work is twice on a path."""
    distinct = np.where(works > 0, paths, -1 - np.arange(paths.shape[1]))
    return bool(np.any(np.diff(np.sort(distinct, axis=1), axis=1) == 0))


def _kinds(given: Sequence[Kind] | NDArray[np.uint8] | None, count: int) -> NDArray[np.uint8]:
    if given is None:
        return np.full(count, KINDS.index("edge"), dtype=np.uint8)
    if isinstance(given, np.ndarray):
        codes = given.astype(np.uint8)
    else:
        unknown = sorted(set(given) - set(KINDS))
        _require(not unknown, "kinds", f"{', '.join(unknown)}: nobody knows this kind")
        codes = np.array([KINDS.index(one) for one in given], dtype=np.uint8)
    _require(len(codes) == count, "kinds", f"{len(codes)} kinds for {count} options")
    _require(bool(np.all(codes < len(KINDS))), "kinds", "a code that stands for no kind")
    return codes


def _names(where: str, given: Sequence[str], count: int, word: str) -> tuple[str, ...]:
    names = tuple(given) or tuple(f"{word}-{number}" for number in range(count))
    _require(len(names) == count, where, f"{len(names)} names for {count}")
    return names


def _floats(
    where: str, given: ArrayLike, shape: tuple[int | None, ...], *, may_be_infinite: bool = False
) -> FloatArray:
    """A copy of its own, of a shape (None: any length), finite."""
    try:
        array = np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputInvalid("numbers are wanted.", where=where, remedy=_REMEDY) from None
    _shaped(where, array, shape)
    fine = ~np.isnan(array) if may_be_infinite else np.isfinite(array)
    _require(bool(np.all(fine)), where, "a number is missing or infinite")
    return array


def _ints(where: str, given: ArrayLike, shape: tuple[int | None, ...]) -> IntArray:
    array = np.array(given)
    _require(array.size == 0 or np.issubdtype(array.dtype, np.integer), where, "whole numbers are wanted")
    _shaped(where, array, shape)
    return array.astype(np.int64)


def _shaped(where: str, array: NDArray[Any], shape: tuple[int | None, ...]) -> None:
    fits = array.ndim == len(shape) and all(
        wanted is None or got == wanted for got, wanted in zip(array.shape, shape, strict=True)
    )
    wanted = " by ".join("any" if one is None else str(one) for one in shape)
    _require(
        fits, where, f"the shape is {' by '.join(map(str, array.shape)) or 'one number'}; {wanted} is wanted"
    )


def _require(holds: bool, where: str, what: str) -> None:
    if not holds:
        raise InputInvalid(f"{what}.", where=where, remedy=_REMEDY)
