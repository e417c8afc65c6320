"""Instances, plans and duals as values that can be written to a file and read again, bit for bit."""

import math
from dataclasses import fields
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import InputInvalid
from einthoven.placement.offloading.instance import FloatArray, Instance, prepare
from einthoven.placement.offloading.plans import Allocation, Dual, Plan

__all__ = [
    "Number",
    "SavedDual",
    "SavedInstance",
    "SavedPlan",
    "as_number",
    "restored_instance",
    "restored_plan",
    "saved_dual",
    "saved_instance",
    "saved_plan",
]

Number = float | Literal["inf", "nan"]
"""JSON has no infinity."""


class SavedInstance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An `Instance`; what is (K, L) there is a row after the other here."""

    width: int
    capacities: tuple[float, ...]
    paths: tuple[int, ...]
    demands: tuple[float, ...]
    owners: tuple[int, ...]
    values: tuple[float, ...]
    kinds: tuple[int, ...]
    caps: tuple[Number, ...] | None
    gains_hz: tuple[float, ...] | None
    slacks_s: tuple[float, ...]
    alone: tuple[Number, ...]
    given: tuple[int, ...]
    resources: tuple[str, ...]
    units: tuple[str, ...]
    requests: tuple[str, ...]
    sites: tuple[str, ...]


class SavedPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `Plan` without its dual."""

    method: str
    allocation: Allocation
    offered: int
    accepted: tuple[int, ...]
    options: tuple[int, ...]
    shares: tuple[float, ...]
    prices: tuple[float, ...]
    utilisations: tuple[float, ...]
    least_utilisation: float
    value: float
    cost: float
    bound: Number
    is_proven: bool


class SavedDual(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `Dual`."""

    vectors: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]


def as_number(value: float) -> Number:
    """As it can be written."""
    return value if math.isfinite(value) else "nan" if math.isnan(value) else "inf"


def _numbers(array: FloatArray | None) -> tuple[Number, ...] | None:
    return None if array is None else tuple([as_number(one) for one in array.ravel().tolist()])


def saved_instance(instance: Instance) -> SavedInstance:
    """To be written."""
    flat = {
        name: tuple(getattr(instance, name).ravel().tolist())
        for name in ("capacities", "paths", "demands", "owners", "values", "kinds", "slacks_s", "given")
    }
    gains = instance.gains_hz
    return SavedInstance(
        width=instance.paths.shape[1],
        caps=_numbers(instance.caps),
        gains_hz=None if gains is None else tuple(gains.ravel().tolist()),
        alone=_numbers(instance.alone) or (),
        resources=instance.resources,
        units=instance.units,
        requests=instance.requests,
        sites=instance.sites,
        **flat,
    )


def saved_plan(plan: Plan) -> SavedPlan:
    """To be written."""
    flat: dict[str, Any] = {}
    for one in fields(Plan):
        value = getattr(plan, one.name)
        if one.name != "dual":
            flat[one.name] = tuple(value.ravel().tolist()) if isinstance(value, np.ndarray) else value
    return SavedPlan(**{**flat, "bound": as_number(plan.bound)})


def restored_instance(saved: SavedInstance) -> Instance:
    """The instance that was saved; raises InputInvalid or ValueError where it is none."""
    count = len(saved.owners)
    paths = np.array(saved.paths, dtype=np.int64).reshape(count, saved.width)
    checked = prepare(
        capacities=saved.capacities,
        paths=paths,
        works=np.array(saved.demands).reshape(count, saved.width),
        owners=np.array(saved.owners, dtype=np.int64),
        values=saved.values,
        kinds=np.array(saved.kinds, dtype=np.uint8),
        caps=_matrix(saved.caps, count, saved.width),
        gains_hz=_matrix(saved.gains_hz, count, saved.width),
        resources=saved.resources,
        units=saved.units,
        requests=saved.requests,
        sites=saved.sites,
    )
    if len(checked.owners) != count or not len(saved.slacks_s) == len(saved.given) == count:
        raise InputInvalid("an option in it is infeasible alone, or has no slack.", where="instance")
    if len(saved.alone) != checked.count:
        raise InputInvalid("a request has no least time.", where="instance.alone")
    kept: dict[str, Any] = {one.name: getattr(checked, one.name) for one in fields(Instance) if one.init}
    kept["slacks_s"] = np.array(saved.slacks_s)
    kept["given"] = np.array(saved.given, dtype=np.int64)
    kept["alone"] = np.array([float(one) for one in saved.alone])
    return Instance(**kept)


def restored_plan(plan: SavedPlan, dual: SavedDual | None, instance: Instance) -> Plan:
    """The plan that was saved for an instance; raises ValueError where it is none."""
    size = len(instance.capacities)
    kept: dict[str, Any] = {one.name: getattr(plan, one.name) for one in fields(Plan) if one.name != "dual"}
    for name in ("accepted", "options"):
        kept[name] = np.array(kept[name], dtype=np.int64)
    for name in ("shares", "prices", "utilisations"):
        kept[name] = np.array(kept[name], dtype=np.float64)
    kept["shares"] = kept["shares"].reshape(len(plan.options), instance.paths.shape[1])
    kept["bound"] = float(plan.bound)
    if dual is not None:
        weights = np.array(dual.weights, dtype=np.float64)
        vectors = np.array(dual.vectors, dtype=np.float64).reshape(len(weights), size)
        kept["dual"] = Dual(vectors=vectors, weights=weights)
    return Plan(**kept)


def saved_dual(dual: Dual | None) -> SavedDual | None:
    """To be written."""
    if dual is None:
        return None
    rows = tuple(tuple(row) for row in dual.vectors.tolist())
    return SavedDual(vectors=rows, weights=tuple(dual.weights.tolist()))


def _matrix(values: tuple[Number, ...] | None, count: int, width: int) -> NDArray[np.float64] | None:
    return None if values is None else np.array([float(one) for one in values]).reshape(count, width)
