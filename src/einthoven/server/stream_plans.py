"""What is to be written of streams, made before the transaction that writes it."""

from collections.abc import Iterator, Sequence

import msgspec

from einthoven.runtime.online import Placed, Stream
from einthoven.runtime.segment_analysis import CarriedState
from einthoven.server.data_gate import Patient
from einthoven.server.kept_segments import pack_segment
from einthoven.server.wire import Answer, Arrival, encode_answer
from einthoven.signal.findings import Findings
from einthoven.trust.replay import ReplayWindow

__all__ = ["Entry", "Known", "Plan", "Recorded", "pack_plan", "patient_of", "recorded_in", "resumed"]


class Known(msgspec.Struct, eq=False):
    """One stream as an engine last saw it committed."""

    id: int
    patient: str
    version: int
    waiting: int
    """Segments that were accepted and not analysed."""
    stream: Stream
    state: CarriedState
    region: str | None = ""
    """See `einthoven.runtime.segment_analysis.Following`."""
    window: ReplayWindow = ReplayWindow()
    """Numbers of the device's envelopes that were taken."""


class Recorded(msgspec.Struct, frozen=True, eq=False):
    """What one segment found, for whoever takes part in the transaction."""

    org: str
    patient: str
    stream: int
    findings: Findings
    start_ns: int
    received_ns: int
    is_last: bool = False
    """The stream ends here."""
    is_anew: bool = False
    """It began anew with this segment: what was before goes on no more."""


class Entry(msgspec.Struct, eq=False):
    """One segment to be written."""

    index: int | None
    """Its place among the arrivals; None for one that was waiting."""
    arrival: Arrival
    digest: int
    answer: Answer
    start_ns: int
    is_new: bool
    """Whether its samples are not in the journal yet."""
    placed: Placed | None = None
    """None where it is not to be analysed now."""
    findings: Findings | None = None
    block: bytes = b""
    """Its samples as the journal keeps them."""
    kept: bytes | None = None
    """Its answer as it is kept."""


class Plan(msgspec.Struct, eq=False):
    """What is to be written of one stream, if nobody else was faster."""

    key: tuple[str, str]
    known: Known | None
    after: Stream
    state: CarriedState
    waiting: int
    entries: list[Entry]
    indices: list[int]
    """Arrivals that are done again where somebody was."""
    skew_ns: int | None = None
    """How much later the newest segment arrived than its last sample was taken, by the device's clock."""
    window: ReplayWindow = ReplayWindow()
    envelopes: dict[int, bytes] = {}
    """Those of which something is written here, number and tag."""


def resumed(key: tuple[str, str], known: Known) -> Plan:
    """Nothing yet of a stream as it is known."""
    return Plan(key, known, known.stream, known.state, known.waiting, [], [], window=known.window)


def patient_of(plan: Plan) -> Patient:
    """Whose segments these are."""
    return plan.key[0], plan.entries[0].arrival.segment.patient


def pack_plan(plan: Plan) -> None:
    """Make the bytes before the transaction: while it lasts nobody else writes."""
    plan.state.pack()
    for entry in plan.entries:
        if entry.findings is not None:
            entry.kept = encode_answer(entry.answer, entry.findings, entry.start_ns)
        if entry.is_new:
            entry.block = pack_segment(entry.arrival.org, entry.arrival.segment)


def recorded_in(written: Sequence[tuple[Plan, int]]) -> Iterator[Recorded]:
    """What was found, for whoever takes part in the transaction."""
    for plan, id_ in written:
        for number, entry in enumerate(plan.entries):
            if entry.findings is not None and entry.placed is not None:
                arrival = entry.arrival
                yield Recorded(
                    arrival.org,
                    arrival.segment.patient,
                    id_,
                    entry.findings,
                    entry.start_ns,
                    arrival.received_ns,
                    is_last=arrival.is_last,
                    is_anew=entry.placed.is_begin and (plan.known is not None or number > 0),
                )
