"""Segments of many streams analysed as one call, here or in a region.

A call carries what is to be analysed and the packed state of each stream, and gives the findings and the
packed state after: whoever performs it keeps nothing, so each batch of a stream may go to another region. No
patient, device or time is in it. `analyse_here` is the same without bytes.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from einthoven.continuum import Region, Spot
from einthoven.errors import CallerError, DefectError, EinthovenError, InputInvalid, StateUnreadable
from einthoven.functions import (
    INTERPRETING,
    PIPELINE,
    Ecg,
    PatientState,
    analyse_batch,
    contract_of,
    decode_state,
    encode_state,
    interpret_batch,
)
from einthoven.runtime.online import Advanced, Batch, Placed, Sensed, advance_all
from einthoven.signal.findings import Findings

__all__ = [
    "INTERPRETING_VERSION",
    "MOST_SEGMENTS",
    "VERSION",
    "Analysed",
    "AnalysesAsked",
    "AnalysesGave",
    "Analyst",
    "CarriedState",
    "Following",
    "SegmentAsked",
    "StreamAsked",
    "StreamGave",
    "Streams",
    "analyse_asked",
    "analyse_here",
    "asked_of",
    "interpret_asked",
    "interpret_here",
    "interpretable",
    "interpretation_asked",
    "interpreted",
]

MOST_SEGMENTS: Final = 1024
"""In one call."""
VERSION: Final = "+".join(contract_of(one).version for one in PIPELINE)
"""Of the four functions as they are here."""
INTERPRETING_VERSION: Final = "+".join(contract_of(one).version for one in INTERPRETING)
"""Of the two that need no sample."""


class CarriedState:
    """A patient's state between two segments: as a value, as bytes, or both; each is made when it is needed.

    Whoever sends it on needs no value, and whoever analyses here no bytes.
    """

    __slots__ = ("_packed", "_value")

    def __init__(self, value: PatientState | None = None, packed: bytes | None = None) -> None:
        if value is None and packed is None:
            raise DefectError("a state is carried in one form at least.")
        self._value = value
        self._packed = packed

    @property
    def value(self) -> PatientState:
        """Raises StateUnreadable."""
        if self._value is None:
            self._value = decode_state(self._packed or b"")
        return self._value

    def pack(self) -> bytes:
        """The bytes, as `einthoven.functions.encode_state` makes them."""
        if self._packed is None:
            self._packed = encode_state(self.value)
        return self._packed


class Analysed(msgspec.Struct, frozen=True, eq=False):
    """One stream after its segments."""

    findings: tuple[Findings, ...]
    """Of each segment."""
    state: CarriedState


def _nobody_asks(_region: Region, _content_bytes: int) -> None:
    """Where it went is of no interest."""


class Following(NamedTuple):
    """What follows in one stream."""

    segments: Sequence[Placed]
    state: CarriedState
    region: str | None = ""
    """Where it is to be analysed; empty: anywhere. None: in this process."""
    admits: frozenset[Spot] | None = None
    """The only regions that may be given it; None: all, none of them: this process."""
    features: frozenset[Spot] = frozenset()
    """Where none may have its samples: regions that may be given its features."""
    sent: Callable[[Region, int], None] = _nobody_asks
    """Told of each region that it is sent to, with how many bytes of it."""


Streams = Sequence[Following]


class Analyst(Protocol):
    """Whoever analyses the segments of a batch."""

    def __call__(self, streams: Streams) -> list[Analysed | EinthovenError]:
        """Each stream with its segments in order; what is wrong with one stream is that stream's error."""
        ...


def analyse_here(streams: Streams) -> list[Analysed | EinthovenError]:
    """In this process; see `Analyst`."""
    values = [_value_of(one.state) for one in streams]
    sound = [
        (one.segments, value)
        for one, value in zip(streams, values, strict=True)
        if isinstance(value, PatientState)
    ]
    results = iter(advance_all(sound))
    return [_carried(next(results)) if isinstance(one, PatientState) else one for one in values]


def _value_of(state: CarriedState) -> PatientState | StateUnreadable:
    try:
        return state.value
    except StateUnreadable as error:
        return error


def _carried(result: Advanced | EinthovenError) -> Analysed | EinthovenError:
    if isinstance(result, EinthovenError):
        return result
    return Analysed(result.findings, CarriedState(result.state))


# -------------------------------------------------------------------- as bytes


class SegmentAsked(msgspec.Struct, frozen=True, eq=False, rename="camel", forbid_unknown_fields=True):
    """A segment at its place in its stream."""

    pieces: tuple[Ecg, ...]
    """Missing samples for what was lost before it, then its own."""
    is_begin: bool = False
    """Whether the stream begins here: the analysis starts from nothing."""


class StreamAsked(msgspec.Struct, frozen=True, eq=False, forbid_unknown_fields=True):
    """What follows in one stream."""

    segments: tuple[SegmentAsked, ...]
    state: bytes | None = None
    """Packed; base64 in JSON. None: nothing came before."""


class AnalysesAsked(msgspec.Struct, frozen=True, eq=False, forbid_unknown_fields=True):
    """What the functions ``analyses`` and ``interpretations`` are given; the latter without samples."""

    streams: tuple[StreamAsked, ...]


class StreamGave(msgspec.Struct, frozen=True, eq=False):
    """What was found in one stream."""

    findings: tuple[Findings, ...]
    """Of each segment."""
    state: bytes


class AnalysesGave(msgspec.Struct, frozen=True, eq=False):
    """What it gives."""

    version: str
    """Of the four functions. Another one would leave other findings, and states that nobody else reads."""
    streams: tuple[StreamGave | None, ...]
    """In the order of the call; None where something is wrong with the segments themselves."""


def asked_of(streams: Streams) -> AnalysesAsked:
    """A call for these streams."""
    return AnalysesAsked(
        tuple(
            StreamAsked(
                tuple(SegmentAsked(its.pieces, its.is_begin) for its in one.segments),
                None if one.segments[0].is_begin else one.state.pack(),
            )
            for one in streams
        )
    )


def interpretable(one: Following) -> bool:
    """Whether the functions that need no sample may be performed somewhere else."""
    goes_on = not any(piece.is_last for its in one.segments for piece in its.pieces)
    return one.admits == frozenset() and bool(one.features) and goes_on


def interpretation_asked(streams: Sequence[tuple[Following, Sensed]]) -> AnalysesAsked:
    """A call for these streams that has no sample of them, in its states neither."""
    return AnalysesAsked(
        tuple(
            StreamAsked(
                tuple(
                    SegmentAsked(pieces, its.is_begin)
                    for pieces, its in zip(sensed.segments, one.segments, strict=True)
                ),
                None if one.segments[0].is_begin else encode_state(_without_samples(one.state.value)),
            )
            for one, sensed in streams
        )
    )


def _without_samples(state: PatientState) -> PatientState:
    return PatientState(rhythm=state.rhythm, final=state.final)


def interpreted(sensed: Sensed, findings: tuple[Findings, ...], after: PatientState) -> Analysed:
    """A stream whose samples were seen here, and whose rhythm was found somewhere else."""
    state = PatientState(
        cleaning=sensed.state.cleaning, beats=sensed.state.beats, rhythm=after.rhythm, final=after.final
    )
    return Analysed(findings, CarriedState(state))


def interpret_here(streams: Sequence[tuple[Following, Sensed]]) -> list[Analysed | EinthovenError]:
    """The same in this process."""
    asked = interpretation_asked(streams)
    results = advance_all(
        [
            (its.segments, _without_samples(one.state.value))
            for its, (one, _) in zip(asked.streams, streams, strict=True)
        ],
        interpret_batch,
    )
    return [
        result if isinstance(result, EinthovenError) else interpreted(sensed, result.findings, result.state)
        for result, (_, sensed) in zip(results, streams, strict=True)
    ]


def interpret_asked(asked: AnalysesAsked) -> AnalysesGave:
    """Perform a call of ``interpretations``; raises as `analyse_asked` does."""
    return AnalysesGave(INTERPRETING_VERSION, _advanced(asked, interpret_batch))


def analyse_asked(asked: AnalysesAsked) -> AnalysesGave:
    """Perform a call of ``analyses``.

    Raises
    ------
    InputInvalid : nothing is asked, or more than is analysed in one call.
    StateUnreadable : a state is of another version.
    """
    return AnalysesGave(VERSION, _advanced(asked, analyse_batch))


def _advanced(asked: AnalysesAsked, by: Batch) -> tuple[StreamGave | None, ...]:
    count = sum(len(one.segments) for one in asked.streams)
    has_all = all(one.segments and all(its.pieces for its in one.segments) for one in asked.streams)
    if not (has_all and 1 <= count <= MOST_SEGMENTS):
        raise InputInvalid(
            f"{count} segments are asked for; 1 to {MOST_SEGMENTS} are analysed in one call, and each stream "
            "has one, and each segment samples.",
            where="streams",
        )
    results = advance_all(
        [
            (one.segments, PatientState() if one.state is None else decode_state(one.state))
            for one in asked.streams
        ],
        by,
    )
    return tuple(map(_gave, results))


def _gave(result: Advanced | EinthovenError) -> StreamGave | None:
    if isinstance(result, CallerError):
        return None
    if isinstance(result, EinthovenError):
        raise result
    return StreamGave(result.findings, encode_state(result.state))
