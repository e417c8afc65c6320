"""The ECG functions as workflows call them: by value as JSON, or by reference through an object store.

Source: the two workflows of Ristov et al., IEEE Computer 2023, doi 10.1109/MC.2023.3281873. A stage gets
``ecg`` or ``ecgDataFilePath``, one of them null, and gives the same two. Two things are added: ``countHours``
says their number too, since a loop needs one, and ``join`` makes of all hours what the whole recording would
have given.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
import numpy as np

from einthoven.errors import InputInvalid
from einthoven.functions import (
    PIPELINE,
    Ecg,
    PatientState,
    count_hours,
    decode,
    encode,
    join,
    own_part,
    split,
)
from einthoven.functions.chunks import CHUNK_S
from einthoven.records import OpenRecording, open_recording
from einthoven.runtime.conducting import Holding
from einthoven.runtime.invocation import Call, fetch, name_behind
from einthoven.signal.rules import Priority
from einthoven.storage import ObjectStore, open_store
from einthoven.workflow import FunctionType

__all__ = ["ECG_FUNCTION_TYPES", "Reading", "ecg_functions", "holding"]

_STAGES: Final[dict[str, Call]] = {
    "preprocessing": PIPELINE[0],
    "beatDetectionClassification": PIPELINE[1],
    "postprocessing": PIPELINE[2],
    "finalization": PIPELINE[3],
}
_URGENCY: Final[tuple[Priority, ...]] = get_args(Priority)
"""The most urgent first."""
_BOTH: Final = {"ecg": "object", "ecgDataFilePath": "string"}
_RESULT: Final = {"ecgDataFilePath": "string", "summary": "object", "alert": "object"}

ECG_FUNCTION_TYPES: Final[Mapping[str, FunctionType]] = {
    one.name: one
    for one in (
        FunctionType(
            "countHours", {"ecgDataFilePath": "string"}, {"hours": "collection", "hoursCount": "number"}
        ),
        FunctionType("split", {"ecgDataFilePath": "string", "hour": "number"}, {"ecgDataFilePath": "string"}),
        FunctionType("preprocessing", _BOTH, _BOTH, frozenset(_BOTH)),
        FunctionType("beatDetectionClassification", _BOTH, _BOTH, frozenset(_BOTH)),
        FunctionType("postprocessing", _BOTH, _BOTH, frozenset(_BOTH)),
        FunctionType("finalization", _BOTH, {"ecg": "object", **_RESULT}, frozenset(_BOTH)),
        FunctionType("join", {"ecgDataFilePath": "string", "results": "collection"}, _RESULT),
    )
}
"""What the functions of the two workflows take and give."""


class Reading(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the files of recordings are read."""

    folder: str = ""
    """Where those lie that are named by a relative path; empty for the working folder."""
    lead: int = 0
    """Which one is analysed."""
    fs: float | None = None
    """This and the next two for files that do not describe themselves; see `open_recording`."""
    gain: float | None = None
    baseline: int | None = None

    def opened(self, path: str) -> OpenRecording:
        """A recording, open; raises as `open_recording` does."""
        return open_recording(Path(self.folder) / path, fs=self.fs, gain=self.gain, baseline=self.baseline)


def ecg_functions(
    store: str,
    chunk_s: float = CHUNK_S,
    reading: Reading = Reading(),  # noqa: B008 - frozen
) -> dict[str, Callable[..., dict[str, Any]]]:
    """The functions by their type; each can be sent to another process.

    Parameters
    ----------
    store : address of the object store where what is passed by reference lies.
    chunk_s : the length of an "hour", s.
    """
    stages = {name: partial(_stage, name, store) for name in _STAGES}
    return {
        "countHours": partial(_count_hours, reading, chunk_s),
        "split": partial(_split, reading, store, chunk_s),
        **stages,
        "join": partial(_join, reading, store, chunk_s),
    }


@lru_cache(maxsize=8)
def _store(address: str) -> ObjectStore:
    """One for each process: opening a remote one takes long."""
    return open_store(address)


_HELD: ContextVar[dict[str, Ecg] | None] = ContextVar("held", default=None)


@contextmanager
def _hold(store: str) -> Iterator[Callable[[dict[str, Any]], None]]:
    held: dict[str, Ecg] = {}
    token = _HELD.set(held)

    def keep(leaving: dict[str, Any]) -> None:
        for value in leaving.values():
            if isinstance(value, str) and value in held:
                _store(store).put(value, encode(held[value], "msgpack"))

    try:
        yield keep
    finally:
        _HELD.reset(token)


def holding(store: str) -> Holding:
    """Around a fused invocation: ECG objects that only its own stages read are never written."""
    return partial(_hold, store)


def _put(store: str, name: str, ecg: Ecg) -> None:
    held = _HELD.get()
    if held is None:
        _store(store).put(name, encode(ecg, "msgpack"))
    else:
        held[name] = ecg


def _get(store: str, name: str) -> Ecg:
    held = _HELD.get()
    if held is not None and name in held:
        return held[name]
    return fetch(name, _store(store))


def _count_hours(reading: Reading, chunk_s: float, ecgDataFilePath: str) -> dict[str, Any]:  # noqa: N803 - the workflow's
    with reading.opened(ecgDataFilePath) as source:
        count = len(count_hours(source.info, chunk_s))
    return {"hours": list(range(count)), "hoursCount": count}


def _split(
    reading: Reading,
    store: str,
    chunk_s: float,
    ecgDataFilePath: str,  # noqa: N803 - the workflow's name
    hour: int,
) -> dict[str, Any]:
    """One hour with what it must read around it, under a name that says what is in it."""
    with reading.opened(ecgDataFilePath) as source:
        chunks = count_hours(source.info, chunk_s)
        if not 0 <= hour < len(chunks):
            raise InputInvalid(f"there is no hour {hour}; the recording has {len(chunks)}.", where="hour")
        chunk = chunks[int(hour)]
        ecg = split(source, chunk, reading.lead)
    digest = hashlib.sha256(f"{ecg.fs} {ecg.gain} {ecg.baseline} {ecg.lead} {chunk}".encode())
    digest.update(np.ascontiguousarray(ecg.samples).tobytes())
    name = f"hours/{digest.hexdigest()[:32]}"
    _put(store, name, ecg)
    return {"ecgDataFilePath": name}


def _stage(
    name: str,
    store: str,
    ecg: dict[str, Any] | None = None,
    ecgDataFilePath: str | None = None,  # noqa: N803 - the workflow's name
) -> dict[str, Any]:
    if (ecg is None) == (ecgDataFilePath is None):
        raise InputInvalid("either ecg or ecgDataFilePath is wanted, and the other null.", where=name)
    call = _STAGES[name]
    if ecgDataFilePath is not None:
        result, _ = call(_get(store, ecgDataFilePath), PatientState())
        where = name_behind(ecgDataFilePath, call)
        _put(store, where, result)
        answer: dict[str, Any] = {"ecg": None, "ecgDataFilePath": where}
        return answer | _told(result) if name == "finalization" else answer
    result, _ = call(decode(json.dumps(ecg).encode(), "json"), PatientState())
    answer = {"ecg": json.loads(encode(result, "json")), "ecgDataFilePath": None}
    return answer | _told(result) if name == "finalization" else answer


def _told(ecg: Ecg) -> dict[str, Any]:
    """What finalization says beside the ECG object: a summary, and the most urgent condition, or null."""
    findings = ecg.findings
    if findings is None:
        return {"summary": None, "alert": None}
    summary = {
        "beats": len(findings.beats),
        "heartRate": findings.heart_rate.mean,
        "episodes": len(findings.episodes),
        "versions": findings.versions,
    }
    told = [one for one in findings.conditions if one.action == "alert"]
    first = min(told, key=lambda one: _URGENCY.index(one.priority), default=None)
    alert = None if first is None else {"condition": first.condition, "priority": first.priority}
    return {"summary": summary, "alert": alert}


def _join(
    reading: Reading,
    store: str,
    chunk_s: float,
    ecgDataFilePath: str,  # noqa: N803 - the workflow's name
    results: list[str],
) -> dict[str, Any]:
    """The ECG object with the findings of the whole recording, from those of its hours, in order."""
    with reading.opened(ecgDataFilePath) as source:
        info = source.info
    chunks = count_hours(info, chunk_s)
    if len(chunks) != len(results):
        raise InputInvalid(f"there are {len(results)} results of {len(chunks)} hours.", where="results")
    if not chunks:
        return {"ecgDataFilePath": None, "summary": None, "alert": None}
    parts = []
    for chunk, name in zip(chunks, results, strict=True):
        found = fetch(name, _store(store)).findings
        if found is None:
            raise InputInvalid("an hour has not been analysed.", where=f"results/{chunk.number}")
        parts.append(own_part(found, chunk))
    whole = Ecg(fs=info.fs, findings=join(parts))
    content = encode(whole, "msgpack")
    name = f"findings/{hashlib.sha256(content).hexdigest()[:32]}"
    _store(store).put(name, content)
    return {"ecgDataFilePath": name, **_told(whole)}
