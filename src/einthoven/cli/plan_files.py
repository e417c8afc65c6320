"""What the commands of ``einthoven plan`` share: reading a file, and planning by the name of a method."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from einthoven.continuum import Continuum
from einthoven.errors import NotFound
from einthoven.placement.offloading.instance import Instance
from einthoven.placement.offloading.lazy_caps import planned_lazily
from einthoven.placement.offloading.methods import METHODS, plan
from einthoven.placement.offloading.plans import Allocation, Limits, Plan
from einthoven.runtime.continuum_file import ContinuumFile

__all__ = ["finite", "read_file", "solved"]

_LEAST_S: Final = 0.01


def read_file(file: Path) -> Continuum:
    """What a file declares.

    Raises
    ------
    NotFound, InputInvalid : no such file; it cannot be read, or something in it is wrong.
    """
    try:
        return ContinuumFile(file).read()
    except NotFound as error:
        raise NotFound(
            error.what, where=error.where, remedy="Begin one with `einthoven plan new FILE`."
        ) from None


def solved(
    instance: Instance,
    method: str,
    *,
    allocation: Allocation = "balanced",
    seconds: float | None = None,
    arrival: Sequence[int] | NDArray[np.int64] | None = None,
) -> Plan:
    """A plan; methods that settle shares as requests come are left their own."""
    if METHODS[method].is_frozen:
        return plan(instance, method=method, arrival=arrival)
    until_s = math.inf if seconds is None else time.monotonic() + seconds

    def planner(of: Instance, shares: Allocation) -> Plan:
        limits = Limits(seconds=max(_LEAST_S, until_s - time.monotonic()))
        return plan(
            of, method=method, allocation=shares, arrival=arrival, limits=limits, clock=time.monotonic
        )

    return planned_lazily(instance, planner, allocation)


def finite(value: Any) -> Any:
    """The same with null for what JSON has no number for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    return [finite(one) for one in value] if isinstance(value, list | tuple) else value
