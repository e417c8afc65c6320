"""What a region runs: the functions by name, from bytes to bytes.

Inputs and outputs are those of the workflows (`einthoven.runtime.ecg_functions`) and may have a ``state``
besides: the patient's, packed, for segments that follow each other. ``analysis`` is the four functions fused;
it answers with the findings alone. ``analyses`` is that for segments of many patients
(`einthoven.runtime.segment_analysis`), and ``interpretations`` the last two functions for segments of which
no sample is sent. ``federated-round`` is there where the records of a site are
(`einthoven.runtime.federated_sites`).
"""

import inspect
import math
import time
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from einthoven.errors import EinthovenError, InputInvalid
from einthoven.functions import (
    INTERPRETING,
    PIPELINE,
    Ecg,
    PatientState,
    analyse,
    contract_of,
    count_hours,
    decode_state,
    encode,
    encode_state,
    join,
    split,
)
from einthoven.functions.chunks import CHUNK_S
from einthoven.functions.codec import decode_as
from einthoven.runtime.conducting import FunctionUnknown, InvocationBroke, called_together
from einthoven.runtime.ecg_functions import STAGES, Reading, ecg_functions, holding, told
from einthoven.runtime.federated_sites import FEDERATED_ROUND, answer_at
from einthoven.runtime.invocation import fetch, findings_alone, invoke
from einthoven.runtime.region_port import Answer, Call, HostedFunction
from einthoven.runtime.segment_analysis import AnalysesAsked, analyse_asked, interpret_asked
from einthoven.signal.federated import PROTOCOL
from einthoven.signal.federated import Asked as LearningAsked
from einthoven.storage import open_store
from einthoven.workflow import Stage

__all__ = [
    "ANALYSES",
    "ANALYSIS",
    "FUSED",
    "INTERPRETATIONS",
    "Asked",
    "Fused",
    "Gave",
    "Hosted",
    "a_call_for_nothing",
    "perform",
]

ANALYSES: Final = "analyses"
ANALYSIS: Final = "analysis"
INTERPRETATIONS: Final = "interpretations"
FUSED: Final = "+"
"""Between the names of functions that are one call."""
_BY_REFERENCE: Final = {"countHours": count_hours, "split": split, "join": join}
"""Functions that only work with a store."""


_LEARNING: Final = HostedFunction(
    name=FEDERATED_ROUND, version=str(PROTOCOL), memory_mb=2048, timeout_s=300.0
)


class Hosted(msgspec.Struct, frozen=True):
    """Which functions are to be had, as it is sent to whoever performs them."""

    store: str | None = None
    """Address of the object store of what goes by reference; None: everything goes by value."""
    reading: Reading = Reading()
    chunk_s: float = CHUNK_S
    """The length of an "hour" of a recording."""
    learns_from: str = ""
    """Folder of annotated records from which ``federated-round`` learns; empty: there is no such function."""

    @property
    def functions(self) -> tuple[HostedFunction, ...]:
        """All of them, by name."""
        made_of: dict[str, tuple[Any, ...]] = {name: (call,) for name, call in STAGES.items()}
        made_of[ANALYSIS] = made_of[ANALYSES] = PIPELINE
        made_of[INTERPRETATIONS] = INTERPRETING
        if self.store is not None:
            made_of |= {name: (call,) for name, call in _BY_REFERENCE.items()}
        found = [_LEARNING] if self.learns_from else []
        for name, calls in sorted(made_of.items()):
            contracts = [contract_of(call) for call in calls]
            found.append(
                HostedFunction(
                    name=name,
                    version="+".join(one.version for one in contracts),
                    memory_mb=max(one.memory_mb for one in contracts),
                    timeout_s=sum(one.timeout_s for one in contracts),
                )
            )
        return tuple(sorted(found, key=lambda one: one.name))

    def limit_s(self, call: Call, longest_s: float = math.inf) -> float:
        """After how long a call's function is taken to hang.

        Whoever asks for more time than the function says that it takes, gives it; who asks for less is not
        waited for, but may come again under the same key.
        """
        return min(longest_s, max(call.timeout_s, _usual_s(self, call.function)))


@lru_cache(maxsize=512)
def _usual_s(hosted: Hosted, function: str) -> float:
    """How long functions say that they take at most, also of several as one; 0 of those that are unknown."""
    known = {one.name: one.timeout_s for one in hosted.functions}
    return sum(known.get(name, 0.0) for name in function.split(FUSED))


class Asked(msgspec.Struct, frozen=True, eq=False, forbid_unknown_fields=True):
    """What the functions of the pipeline are given: exactly one of ``ecg`` and ``ecgDataFilePath``."""

    ecg: Ecg | None = None
    ecgDataFilePath: str | None = None  # noqa: N815 - the workflow's name
    state: bytes | None = None
    """Packed; base64 in JSON. None: nothing came before."""


def a_call_for_nothing(key: str) -> Call:
    """One that loads the functions, and changes nothing."""
    return Call(function=ANALYSIS, content=_nothing(), encoding="json", key=key, timeout_s=120.0)


@lru_cache(maxsize=1)
def _nothing() -> bytes:
    return encode(Asked(ecg=Ecg(samples=np.zeros(1250, np.int32))), "json")


class Gave(msgspec.Struct, frozen=True, eq=False, omit_defaults=True):
    """What they give."""

    ecg: Ecg | None
    ecgDataFilePath: str | None  # noqa: N815 - the workflow's name
    state: bytes | None = None
    """Where the input had one, or the object says that more follows."""
    summary: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET
    alert: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET
    """Of finalization."""


class Fused(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Functions of a workflow that are one call; it is named by their names, `FUSED` between them."""

    stages: tuple[Stage, ...]
    inputs: dict[str, Any]
    """By ``stage/port``, as the answer is."""


def perform(hosted: Hosted, call: Call) -> Answer:
    """Call a function, in this process.

    Raises
    ------
    InvocationBroke : there is no answer; no text holds a value.
    """
    began_s = time.perf_counter()
    try:
        content = _performed(hosted, call)
    except InvocationBroke:
        raise
    except EinthovenError as error:
        kind: Any = {"caller": "refused", "peer": "server", "ours": "function"}[error.fault]
        # Where it is may say whose it is.
        raise InvocationBroke(kind, error.what) from None
    except Exception as error:  # noqa: BLE001 - its text may hold values
        raise InvocationBroke("function", f"the function broke: {type(error).__name__}") from None
    return Answer(content=content, busy_s=time.perf_counter() - began_s)


def _performed(hosted: Hosted, call: Call) -> bytes:
    if call.function == ANALYSIS or call.function in STAGES:
        asked = decode_as(call.content, call.encoding, Asked)
        return encode(_staged(hosted, call.function, asked), call.encoding)
    if call.function == ANALYSES:
        return encode(analyse_asked(decode_as(call.content, call.encoding, AnalysesAsked)), call.encoding)
    if call.function == INTERPRETATIONS:
        return encode(interpret_asked(decode_as(call.content, call.encoding, AnalysesAsked)), call.encoding)
    if call.function == FEDERATED_ROUND and hosted.learns_from:
        question: Any = decode_as(call.content, call.encoding, LearningAsked)  # type: ignore[arg-type]
        answered = answer_at(Path(hosted.learns_from), question)
        return msgspec.json.encode(answered) if call.encoding == "json" else msgspec.msgpack.encode(answered)
    if FUSED in call.function:
        fused = decode_as(call.content, call.encoding, Fused)
        return _encoded(_called_fused(hosted, fused), call)
    if call.function not in _BY_REFERENCE or hosted.store is None:
        raise FunctionUnknown(f"nobody here knows the function {call.function[:64]!r}")
    inputs = decode_as(call.content, call.encoding, dict[str, Any])
    function = _by_reference(hosted)[call.function]
    try:
        inspect.signature(function).bind(**inputs)
    except TypeError:
        raise InputInvalid("the inputs are not those of the function.", where=call.function) from None
    return _encoded(function(**inputs), call)


def _encoded(given: dict[str, Any], call: Call) -> bytes:
    return msgspec.json.encode(given) if call.encoding == "json" else msgspec.msgpack.encode(given)


def _called_fused(hosted: Hosted, fused: Fused) -> dict[str, Any]:
    """What only the stages read is never written; without a store there is nothing to pass on."""
    functions = {} if hosted.store is None else _by_reference(hosted)
    for stage in fused.stages:
        if stage.type not in functions:
            raise FunctionUnknown(f"nobody here knows the function {stage.type[:64]!r}")
    calls = tuple(functions[stage.type] for stage in fused.stages)
    try:
        return called_together(fused.stages, calls, holding(hosted.store or ""), fused.inputs)
    except (TypeError, LookupError) as error:
        raise InputInvalid("the inputs are not those of the stages.", where="inputs") from error


@lru_cache(maxsize=8)
def _by_reference(hosted: Hosted) -> dict[str, Any]:
    return ecg_functions(hosted.store or "", hosted.chunk_s, hosted.reading)


def _staged(hosted: Hosted, function: str, asked: Asked) -> Gave:
    if (asked.ecg is None) == (asked.ecgDataFilePath is None):
        raise InputInvalid("either ecg or ecgDataFilePath is wanted, and the other null.", where=function)
    ecg = asked.ecg or Ecg(ecg_data_file_path=asked.ecgDataFilePath)
    before = PatientState() if asked.state is None else decode_state(asked.state)
    store = None if hosted.store is None else open_store(hosted.store)
    if function == ANALYSIS:
        if asked.ecg is None:
            raise InputInvalid("analysis goes by value.", where="ecgDataFilePath")
        result, after = analyse(ecg, before)
        result = findings_alone(result)
    else:
        result, after = invoke(STAGES[function], ecg, before, store)
    goes_on = asked.state is not None or not ecg.is_last
    more: dict[str, Any] = {}
    if function in ("finalization", ANALYSIS):
        path = result.ecg_data_file_path
        more = told(result if path is None or store is None else fetch(path, store))
    return Gave(
        ecg=None if result.ecg_data_file_path is not None else result,
        ecgDataFilePath=result.ecg_data_file_path,
        state=encode_state(after) if goes_on else None,
        **more,
    )
