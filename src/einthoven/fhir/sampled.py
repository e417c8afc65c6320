"""Samples as SampledData, and back: a decoded value is origin + factor x datum, in mV.

Data are counts from the lead's baseline, so that the origin is 0 and a datum the converter's own step.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from einthoven.errors import InputInvalid
from einthoven.fhir.codes import UCUM
from einthoven.signal.recording import SEGMENT_MAX_S, Counts, Lead, missing

__all__ = ["read_sampled_data", "sampled_data"]

_SPECIAL: Final = {"E": np.nan, "U": np.inf, "L": -np.inf}
_PER_MV: Final = {"mV": 1.0, "uV": 1e3, "V": 1e-3}


def sampled_data(counts: Counts, lead: Lead, fs: float) -> dict[str, Any]:
    """One lead's samples, shape (samples,); ``E`` where one is missing.

    Raises
    ------
    InputInvalid : more than 60 s, which do not belong in a resource.
    """
    if counts.ndim != 1 or counts.size > SEGMENT_MAX_S * fs:
        raise InputInvalid(
            f"only one lead of at most {SEGMENT_MAX_S:g} s goes into a resource.",
            where=f"lead {lead.name}",
            remedy="Cut a strip; give the whole as EDF or WFDB.",
        )
    lost = missing(counts.dtype)
    steps = counts.astype(np.int64) - lead.baseline
    data = " ".join(
        "E" if count == lost else str(step)
        for count, step in zip(counts.tolist(), steps.tolist(), strict=True)
    )
    return {
        "origin": {"value": 0, "unit": "mV", "system": UCUM, "code": "mV"},
        "period": 1000 / fs,
        "factor": 1 / lead.gain,
        "dimensions": 1,
        "data": data,
    }


def read_sampled_data(content: dict[str, Any]) -> tuple[NDArray[np.float64], float]:
    """Samples in mV and their rate in Hz; NaN where one is missing, infinite where one was clipped.

    Raises
    ------
    InputInvalid : several dimensions, a unit that is no voltage, or data that are no numbers.
    """
    try:
        origin = content["origin"]
        unit = origin.get("code") if origin.get("system", UCUM) == UCUM else None
        if content["dimensions"] != 1 or unit not in _PER_MV:
            raise ValueError
        factor, zero = float(content.get("factor", 1)), float(origin["value"])
        fs = 1000 / float(content["period"])
        words = str(content["data"]).split()
        data = np.array([_SPECIAL[word] if word in _SPECIAL else float(word) for word in words], np.float64)
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError):
        raise InputInvalid(
            "this is no SampledData of one voltage.",
            where="SampledData",
            remedy="It needs an origin in mV, uV or V of UCUM, a period in ms, dimensions 1 and decimals.",
        ) from None
    return (zero + factor * data) / _PER_MV[unit], fs
