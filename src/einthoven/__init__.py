"""Einthoven: ECG telemetry for the local-edge-cloud continuum.

Not a medical device; see the notice printed by ``einthoven --version``. The names below are loaded when they
are first used, so that importing the package costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

from einthoven.version import __version__

if TYPE_CHECKING:
    from einthoven.errors import EinthovenError
    from einthoven.functions import Ecg, PatientState, analyse, decode_state, encode_state
    from einthoven.records import (
        Annotations,
        open_recording,
        read_annotations,
        write_annotations,
        write_edf,
        write_recording,
    )
    from einthoven.runtime.batch import analyse_source
    from einthoven.runtime.online import OnlinePath
    from einthoven.signal.findings import Beats, Episode, Findings
    from einthoven.signal.recording import Recording, RecordingInfo, Segment, recording_from_mv
    from einthoven.simulation import SCENES, VirtualPatient

__all__ = [
    "SCENES",
    "Annotations",
    "Beats",
    "Ecg",
    "EinthovenError",
    "Episode",
    "Findings",
    "OnlinePath",
    "PatientState",
    "Recording",
    "RecordingInfo",
    "Segment",
    "VirtualPatient",
    "__version__",
    "analyse",
    "analyse_source",
    "decode_state",
    "encode_state",
    "open_recording",
    "read_annotations",
    "recording_from_mv",
    "write_annotations",
    "write_edf",
    "write_recording",
]

_HOMES = {
    "EinthovenError": "einthoven.errors",
    **dict.fromkeys(
        ("Ecg", "PatientState", "analyse", "decode_state", "encode_state"), "einthoven.functions"
    ),
    **dict.fromkeys(
        (
            "Annotations",
            "open_recording",
            "read_annotations",
            "write_annotations",
            "write_edf",
            "write_recording",
        ),
        "einthoven.records",
    ),
    "analyse_source": "einthoven.runtime.batch",
    "OnlinePath": "einthoven.runtime.online",
    **dict.fromkeys(("Beats", "Episode", "Findings"), "einthoven.signal.findings"),
    **dict.fromkeys(
        ("Recording", "RecordingInfo", "Segment", "recording_from_mv"), "einthoven.signal.recording"
    ),
    **dict.fromkeys(("SCENES", "VirtualPatient"), "einthoven.simulation"),
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'einthoven' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
