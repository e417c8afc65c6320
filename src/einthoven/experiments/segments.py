"""Segments of a virtual patient, as regions are asked to analyse them."""

import numpy as np

from einthoven.functions import Ecg, encode
from einthoven.runtime.hosted import Asked
from einthoven.runtime.region_port import CallEncoding
from einthoven.simulation import SCENES, VirtualPatient

__all__ = ["segment_contents"]

_SAMPLES = 3750


def segment_contents(count: int = 1, encoding: CallEncoding = "msgpack") -> list[bytes]:
    """Inputs of ``analysis``: each 30 s of ECG at 125 Hz, one after the other, each a stream of its own."""
    patient = VirtualPatient(7, SCENES["healthy"], fs=125.0, duration_s=30.0 * count)
    starts = range(0, count * _SAMPLES, _SAMPLES)
    pieces = (patient.read(start, start + _SAMPLES, 0)[0].astype(np.int32) for start in starts)
    return [encode(Asked(ecg=Ecg(samples=samples)), encoding) for samples in pieces]
