"""The ECG functions as workflows call them: by value as JSON, or by reference through an object store.

Source: the two workflows of Ristov et al., IEEE Computer 2023, doi 10.1109/MC.2023.3281873. A stage gets
``ecg`` or ``ecgDataFilePath``, one of them null, and gives the same two. Two things are added: ``countHours``
says their number too, since a loop needs one, and ``join`` makes of all hours what the whole recording would
have given, a day at a time. What ``finalization`` keeps of an hour are the findings alone: the samples lie in
the recording, and nothing after it has any need of the other sections.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

import msgspec

from einthoven.errors import InputInvalid
from einthoven.functions import (
    PIPELINE,
    Chunk,
    Ecg,
    PatientState,
    count_hours,
    decode,
    encode,
    own_part,
    split,
)
from einthoven.functions.chunks import CHUNK_S
from einthoven.records import OpenRecording, open_recording
from einthoven.runtime.conducting import Holding
from einthoven.runtime.invocation import Call, digest_of, fetch, kept_of, named
from einthoven.runtime.joined_findings import SPAN_S, JoinedKeeping, most_urgent
from einthoven.signal.findings import Condition
from einthoven.storage import ObjectStore, open_store
from einthoven.workflow import FunctionType

__all__ = [
    "AHEAD",
    "CUT",
    "ECG_FUNCTION_TYPES",
    "STAGES",
    "Reading",
    "ahead_functions",
    "cutting_of",
    "ecg_functions",
    "holding",
    "told",
]

CUT: Final = ("countHours", "split", "join")
"""Types of the functions that read and cut a recording."""
STAGES: Final[dict[str, Call]] = {
    "preprocessing": PIPELINE[0],
    "beatDetectionClassification": PIPELINE[1],
    "postprocessing": PIPELINE[2],
    "finalization": PIPELINE[3],
}
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
    span_s: float = SPAN_S,
    folder: str = "",
) -> dict[str, Callable[..., dict[str, Any]]]:
    """The functions by their type; each can be sent to another process.

    Parameters
    ----------
    store : address of the object store where what is passed by reference lies.
    chunk_s : the length of an "hour", s.
    span_s : of how much of a recording the findings lie together in one object, s.
    folder : of the store, in which all objects of a run lie; they are named from the store's top.
    """
    prefix = f"{folder}/" if folder else ""
    stages = {name: partial(_stage, name, store) for name in STAGES}
    return {
        "countHours": partial(_count_hours, reading, chunk_s),
        "split": partial(_split, reading, store, chunk_s, prefix),
        **stages,
        "join": partial(_join, reading, store, chunk_s, span_s, prefix),
    }


AHEAD: Final[Mapping[str, str]] = {"join": "results"}
"""Functions that take a list one element after the other, and their port for it."""


def ahead_functions(
    store: str,
    chunk_s: float = CHUNK_S,
    reading: Reading = Reading(),  # noqa: B008 - frozen
    span_s: float = SPAN_S,
    folder: str = "",
) -> dict[str, Callable[..., None]]:
    """What goes ahead of `AHEAD`, with the same parameters as `ecg_functions`."""
    prefix = f"{folder}/" if folder else ""
    return {"join": partial(_join_ahead, reading, store, chunk_s, span_s, prefix)}


@lru_cache(maxsize=8)
def _store(address: str) -> ObjectStore:
    """One for each process: opening a remote one takes long."""
    return open_store(address)


_HELD: ContextVar[dict[str, Ecg] | None] = ContextVar("held", default=None)
_UNNAMED: Final = re.compile(r"~\d+")
"""In names of what is held, which may never need one; no name in a store has it."""


@contextmanager
def _hold(store: str) -> Iterator[Callable[[dict[str, Any]], dict[str, Any]]]:
    held: dict[str, Ecg] = {}
    token = _HELD.set(held)

    def kept(value: Any) -> Any:
        if not isinstance(value, str) or value not in held:
            return value
        content = encode(held[value], "msgpack")
        name = _UNNAMED.sub(digest_of(content), value)
        _store(store).put(name, content)
        return name

    def keep(leaving: dict[str, Any]) -> dict[str, Any]:
        return {port: kept(value) for port, value in leaving.items()}

    try:
        yield keep
    finally:
        _HELD.reset(token)


def holding(store: str) -> Holding:
    """Around a fused invocation: ECG objects that only its own stages read are never written."""
    return partial(_hold, store)


def _put(store: str, called: Callable[[str], str], ecg: Ecg) -> str:
    """Keep an ECG object; ``called`` gives its name, of what says what is in it."""
    held = _HELD.get()
    if held is not None:
        name = called(f"~{len(held)}")
        held[name] = ecg
        return name
    content = encode(ecg, "msgpack")
    name = called(digest_of(content))
    _store(store).put(name, content)
    return name


def _get(store: str, name: str) -> Ecg:
    held = _HELD.get()
    if held is not None and name in held:
        return held[name]
    return fetch(name, _store(store))


class _Cutting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a recording is read and cut, where whoever calls says it: all hours must be cut alike."""

    chunk_s: float
    reading: Reading = Reading()
    """But for the folder, which is the host's own."""


def cutting_of(reading: Reading, chunk_s: float) -> dict[str, Any]:
    """How a recording is read and cut, as `countHours`, `split` and `join` take it."""
    said: dict[str, Any] = msgspec.to_builtins(_Cutting(chunk_s, msgspec.structs.replace(reading, folder="")))
    return said


def _cut(cutting: dict[str, Any] | None, reading: Reading, chunk_s: float) -> tuple[Reading, float]:
    if cutting is None:
        return reading, chunk_s
    try:
        said = msgspec.convert(cutting, _Cutting)
    except msgspec.ValidationError as error:
        raise InputInvalid(f"{str(error).split(' - at ')[0]}.", where="cutting") from None
    return msgspec.structs.replace(said.reading, folder=reading.folder), said.chunk_s


def _count_hours(
    reading: Reading,
    chunk_s: float,
    ecgDataFilePath: str,  # noqa: N803 - the workflow's name
    cutting: dict[str, Any] | None = None,
) -> dict[str, Any]:
    reading, chunk_s = _cut(cutting, reading, chunk_s)
    with reading.opened(ecgDataFilePath) as source:
        count = len(count_hours(source.info, chunk_s))
    return {"hours": list(range(count)), "hoursCount": count}


def _split(
    reading: Reading,
    store: str,
    chunk_s: float,
    prefix: str,
    ecgDataFilePath: str,  # noqa: N803 - the workflow's name
    hour: int,
    cutting: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """One hour with what it must read around it."""
    reading, chunk_s = _cut(cutting, reading, chunk_s)
    with reading.opened(ecgDataFilePath) as source:
        chunks = count_hours(source.info, chunk_s)
        if not 0 <= hour < len(chunks):
            raise InputInvalid(f"there is no hour {hour}; the recording has {len(chunks)}.", where="hour")
        chunk = chunks[int(hour)]
        ecg = split(source, chunk, reading.lead)
    return {"ecgDataFilePath": _put(store, lambda content: f"{prefix}hours/{content}", ecg)}


def _stage(
    name: str,
    store: str,
    ecg: dict[str, Any] | None = None,
    ecgDataFilePath: str | None = None,  # noqa: N803 - the workflow's name
) -> dict[str, Any]:
    if (ecg is None) == (ecgDataFilePath is None):
        raise InputInvalid("either ecg or ecgDataFilePath is wanted, and the other null.", where=name)
    call = STAGES[name]
    if ecgDataFilePath is not None:
        result, _ = call(_get(store, ecgDataFilePath), PatientState())
        where = _put(store, partial(named, ecgDataFilePath, call), kept_of(result))
        answer: dict[str, Any] = {"ecg": None, "ecgDataFilePath": where}
        return answer | told(result) if name == "finalization" else answer
    result, _ = call(decode(json.dumps(ecg).encode(), "json"), PatientState())
    answer = {"ecg": json.loads(encode(result, "json")), "ecgDataFilePath": None}
    return answer | told(result) if name == "finalization" else answer


def told(ecg: Ecg) -> dict[str, Any]:
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
    return {"summary": summary, "alert": _alert(findings.conditions)}


def _alert(conditions: Iterable[Condition]) -> dict[str, Any] | None:
    first = most_urgent(conditions)
    return None if first is None else {"condition": first.condition, "priority": first.priority}


def _join(
    reading: Reading,
    store: str,
    chunk_s: float,
    span_s: float,
    prefix: str,
    ecgDataFilePath: str,  # noqa: N803 - the workflow's name
    results: list[str],
    cutting: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """An ECG object that names those with the findings of the whole recording, from those of its hours."""
    reading, chunk_s = _cut(cutting, reading, chunk_s)
    with reading.opened(ecgDataFilePath) as source:
        info = source.info
    chunks = count_hours(info, chunk_s)
    if len(chunks) != len(results):
        raise InputInvalid(f"there are {len(results)} results of {len(chunks)} hours.", where="results")
    if not chunks:
        return {"ecgDataFilePath": None, "summary": None, "alert": None}
    place = _store(store)
    joining = _AHEAD.pop((reading, store, chunk_s, span_s, prefix, ecgDataFilePath), None)
    if joining is None or joining.chunks != chunks or joining.names != results[: len(joining.names)]:
        joining = _Joining(store, prefix, span_s, chunks)
    for one in results[len(joining.names) :]:
        joining.add(place, one)
    name, whole, urgent = joining.keeping.end()
    summary = {
        "beats": sum(whole.beats.values()),
        "heartRate": whole.heart_rate.mean,
        "episodes": whole.episodes,
        "versions": whole.versions,
    }
    return {"ecgDataFilePath": name, "summary": summary, "alert": _alert(urgent)}


class _Joining:
    """Hours of a recording that are being joined, in order."""

    def __init__(self, store: str, prefix: str, span_s: float, chunks: tuple[Chunk, ...]) -> None:
        self.chunks = chunks
        self.names: list[str] = []
        """Results of the hours that are joined."""
        self.keeping = JoinedKeeping(_store(store), span_s, f"{prefix}findings")

    def add(self, store: ObjectStore, name: str) -> None:
        """Join the next hour."""
        chunk = self.chunks[len(self.names)]
        found = fetch(name, store).findings
        if found is None:
            raise InputInvalid("an hour has not been analysed.", where=f"results/{chunk.number}")
        if found.first != chunk.read_start or found.until > chunk.read_stop:
            raise InputInvalid("an hour was cut otherwise.", where=f"results/{chunk.number}")
        self.names.append(name)
        self.keeping.add(own_part(found, chunk))


_AHEAD: Final[dict[tuple[Any, ...], _Joining]] = {}
"""What was joined in this process before all hours were there."""
_AHEAD_MAX: Final = 4


def _join_ahead(
    reading: Reading,
    store: str,
    chunk_s: float,
    span_s: float,
    prefix: str,
    first: int,
    results: tuple[str, ...],
    inputs: dict[str, Any],
) -> None:
    """Join hours that follow those that were joined here before; `_join` goes on with it in this process."""
    reading, chunk_s = _cut(inputs.get("cutting"), reading, chunk_s)
    path = inputs["ecgDataFilePath"]
    about = (reading, store, chunk_s, span_s, prefix, path)
    joining = _AHEAD.pop(about, None)
    if first == 0:
        with reading.opened(path) as source:
            joining = _Joining(store, prefix, span_s, count_hours(source.info, chunk_s))
    if joining is None or len(joining.names) != first:
        return
    for name in results:
        joining.add(_store(store), name)
    while len(_AHEAD) >= _AHEAD_MAX:
        _AHEAD.pop(next(iter(_AHEAD)))
    _AHEAD[about] = joining
