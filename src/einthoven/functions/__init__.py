"""The functions: preprocessing, bdc, postprocessing, finalization, and count_hours, split, join.

Plain callables behind one contract. Nothing here does I/O.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np

from einthoven.errors import EinthovenError, InputInvalid
from einthoven.functions.bdc import bdc, bdc_batch
from einthoven.functions.chunks import Chunk, count_hours, in_sequence, own_part, split
from einthoven.functions.codec import decode, encode
from einthoven.functions.contract import Contract, contract_of, function
from einthoven.functions.ecg import Ecg, Joined, PatientState
from einthoven.functions.finalization import finalization
from einthoven.functions.joining import Joining, join, joined
from einthoven.functions.packed_state import check_state, decode_state, encode_state
from einthoven.functions.postprocessing import postprocessing
from einthoven.functions.preprocessing import preprocessing

__all__ = [
    "INTERPRETING",
    "PIPELINE",
    "Chunk",
    "Contract",
    "Ecg",
    "Joined",
    "Joining",
    "PatientState",
    "analyse",
    "analyse_batch",
    "bdc",
    "check_state",
    "contract_of",
    "count_hours",
    "decode",
    "decode_state",
    "encode",
    "encode_state",
    "features_of",
    "finalization",
    "function",
    "in_sequence",
    "interpret_batch",
    "join",
    "joined",
    "own_part",
    "postprocessing",
    "preprocessing",
    "sense_batch",
    "split",
]

PIPELINE: Final = (preprocessing, bdc, postprocessing, finalization)
"""The four functions, in the order in which both paths run them."""
INTERPRETING: Final = (postprocessing, finalization)
"""Those that need no sample, only what the two before them saw."""


_Answer = tuple[Ecg, PatientState] | EinthovenError
_Stage = Callable[[list[tuple[Ecg, PatientState]]], list[_Answer]]


def analyse(ecg: Ecg, state: PatientState | None = None) -> tuple[Ecg, PatientState]:
    """The four functions fused: one after the other in this process, arrays handed over in memory."""
    after = state or PatientState()
    for call in PIPELINE:
        ecg, after = call(ecg, after)
    return ecg, after


def analyse_batch(ecgs: Sequence[Ecg], states: Sequence[PatientState | None]) -> list[_Answer]:
    """Segments of many patients at once: for each what `analyse` answers, bit for bit, or its error.

    One function goes over all patients before the next begins, so that its code and its weights stay in the
    processor's caches. What is wrong with one patient's segment is that patient's error alone.
    """
    return _through((*_SENSING, *_INTERPRETING), ecgs, states)


def sense_batch(ecgs: Sequence[Ecg], states: Sequence[PatientState | None]) -> list[_Answer]:
    """The first two functions alone, which see the samples; `interpret_batch` goes on from there."""
    return _through(_SENSING, ecgs, states)


def interpret_batch(ecgs: Sequence[Ecg], states: Sequence[PatientState | None]) -> list[_Answer]:
    """The last two, of ECG objects with samples or of their `features_of`: both give the same findings."""
    return _through(_INTERPRETING, ecgs, states)


def features_of(ecg: Ecg) -> Ecg:
    """What of a sensed ECG object the functions after it need: beats with their features, quality by seconds.

    Raises
    ------
    InputInvalid : it was not sensed, or nothing follows it: where it ends is known by its samples alone.
    """
    if ecg.cleaned is None or ecg.beats is None or ecg.is_last:
        raise InputInvalid(
            "the ECG object has no features, or is the last of its stream.", where="beats", remedy="Run bdc."
        )
    cleaned = msgspec.structs.replace(ecg.cleaned, samples=np.empty(0, np.int16))
    return msgspec.structs.replace(ecg, samples=None, cleaned=cleaned)


def _through(
    stages: Sequence[_Stage], ecgs: Sequence[Ecg], states: Sequence[PatientState | None]
) -> list[_Answer]:
    answers: list[_Answer] = [(ecg, state or PatientState()) for ecg, state in zip(ecgs, states, strict=True)]
    for stage in stages:
        going_on = [(k, one) for k, one in enumerate(answers) if not isinstance(one, EinthovenError)]
        for (k, _), answer in zip(going_on, stage([one for _, one in going_on]), strict=True):
            answers[k] = answer
    return answers


def _each(call: Callable[[Ecg, PatientState], tuple[Ecg, PatientState]]) -> _Stage:
    """A function over one patient after the other."""

    def stage(pairs: list[tuple[Ecg, PatientState]]) -> list[_Answer]:
        answers: list[_Answer] = []
        for ecg, state in pairs:
            try:
                answers.append(call(ecg, state))
            except EinthovenError as error:
                answers.append(error)
        return answers

    return stage


_SENSING: Final[tuple[_Stage, ...]] = (_each(preprocessing), bdc_batch)
_INTERPRETING: Final[tuple[_Stage, ...]] = (_each(postprocessing), _each(finalization))
