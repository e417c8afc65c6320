"""The functions: preprocessing, bdc, postprocessing, finalization, and count_hours, split, join.

Plain callables behind one contract. Nothing here does I/O.
"""

from collections.abc import Callable, Sequence
from typing import Final

from einthoven.errors import EinthovenError
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
    "finalization",
    "function",
    "in_sequence",
    "join",
    "joined",
    "own_part",
    "postprocessing",
    "preprocessing",
    "split",
]

PIPELINE: Final = (preprocessing, bdc, postprocessing, finalization)
"""The four functions, in the order in which both paths run them."""


def analyse(ecg: Ecg, state: PatientState | None = None) -> tuple[Ecg, PatientState]:
    """The four functions fused: one after the other in this process, arrays handed over in memory."""
    after = state or PatientState()
    for call in PIPELINE:
        ecg, after = call(ecg, after)
    return ecg, after


def analyse_batch(
    ecgs: Sequence[Ecg], states: Sequence[PatientState | None]
) -> list[tuple[Ecg, PatientState] | EinthovenError]:
    """Segments of many patients at once: for each what `analyse` answers, bit for bit, or its error.

    One function goes over all patients before the next begins, so that its code and its weights stay in the
    processor's caches. What is wrong with one patient's segment is that patient's error alone.
    """
    answers: list[tuple[Ecg, PatientState] | EinthovenError] = [
        (ecg, state or PatientState()) for ecg, state in zip(ecgs, states, strict=True)
    ]
    for stage in (_each(preprocessing), bdc_batch, _each(postprocessing), _each(finalization)):
        going_on = [(k, one) for k, one in enumerate(answers) if not isinstance(one, EinthovenError)]
        for (k, _), answer in zip(going_on, stage([one for _, one in going_on]), strict=True):
            answers[k] = answer
    return answers


def _each(
    call: Callable[[Ecg, PatientState], tuple[Ecg, PatientState]],
) -> Callable[[list[tuple[Ecg, PatientState]]], list[tuple[Ecg, PatientState] | EinthovenError]]:
    """A function over one patient after the other."""

    def stage(pairs: list[tuple[Ecg, PatientState]]) -> list[tuple[Ecg, PatientState] | EinthovenError]:
        answers: list[tuple[Ecg, PatientState] | EinthovenError] = []
        for ecg, state in pairs:
            try:
                answers.append(call(ecg, state))
            except EinthovenError as error:
                answers.append(error)
        return answers

    return stage
