"""Segments as they come over the wire, and the answers that go back.

JSON (integers, or base64 of 16-bit integers) and MessagePack (16-bit integers as they lie in memory) carry
the same names; docs/reference/http-api.md is the page for device makers.
"""

import zlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from einthoven.errors import AccessDenied, CallerError, EinthovenError, InputInvalid
from einthoven.names import is_pseudonym
from einthoven.records.integers import parse_integers
from einthoven.signal.findings import BEAT_CLASSES, Condition, Episode, Findings, HeartRate, MinuteIntervals
from einthoven.signal.recording import Lead, Recording, RecordingInfo, Segment
from einthoven.signal.resampling import FS

__all__ = [
    "BATCH_MAX",
    "SEALED_AS",
    "Answer",
    "Arrival",
    "Encoding",
    "Envelope",
    "KeptAnswer",
    "Mode",
    "Sender",
    "answer_of",
    "decode_answer",
    "decode_kept",
    "decode_segments",
    "digest_of",
    "encode_answer",
    "encode_answers",
    "instant_of",
    "refusal",
    "utc_text",
    "version_name",
]

Encoding = Literal["json", "msgpack"]
Mode = Literal["answer", "accept"]

SEALED_AS: Final[dict[Encoding, int]] = {"json": 1, "msgpack": 2}
"""First byte of a sealed payload: the encoding of what follows."""
BATCH_MAX: Final = 256
"""Most segments in one request."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_NS: Final = 2**62
_SEQUENCE_MAX: Final = 2**53


class Sender(msgspec.Struct, frozen=True):
    """Who may send what: the meaning of a device's or gateway's token."""

    org: str
    token: int
    """Number of the token."""
    patient: str | None
    """The only patient; None for a gateway, which sends for all of its organisation."""
    device: str | None


class Envelope(msgspec.Struct, frozen=True):
    """In what a segment came, where it came sealed."""

    sequence: int
    """The envelope's number, which is taken once."""
    tag: bytes
    """The end of the envelope, by which it is told from another one of this number."""


class Arrival(msgspec.Struct, frozen=True, eq=False):
    """One segment as it arrived."""

    org: str
    segment: Segment
    is_last: bool
    received_ns: int
    mode: Mode = "answer"
    envelope: Envelope | None = None


class Grades(msgspec.Struct, frozen=True):
    """Seconds of each grade."""

    grades: tuple[int, int, int]


class AnsweredBeats(msgspec.Struct, frozen=True):
    """Beats of the span, by position in the stream."""

    positions: list[int]
    classes: str
    confidences: list[int]


class Answer(msgspec.Struct, frozen=True, rename="camel"):
    """What became of one segment; findings only where it was analysed."""

    sequence: int
    status: Literal["analysed", "duplicate", "late", "accepted", "refused"]
    start_time: str | UnsetType = UNSET
    """UTC of position 0 of the stream."""
    fs: float | UnsetType = UNSET
    first: int | UnsetType = UNSET
    """Position at which the span begins that these findings are about."""
    until: int | UnsetType = UNSET
    beats: AnsweredBeats | UnsetType = UNSET
    heart_rate: HeartRate | UnsetType = UNSET
    episodes: tuple[Episode, ...] | UnsetType = UNSET
    conditions: tuple[Condition, ...] | UnsetType = UNSET
    quality: Grades | UnsetType = UNSET
    error: dict[str, str] | UnsetType = UNSET


class KeptAnswer(Answer, frozen=True, rename="camel", kw_only=True):
    """An answer as it is kept: with what the real-time views need beside it."""

    origin_ns: int = 0
    """The same as ``start_time``, to the nanosecond."""
    grid: bytes | UnsetType = UNSET
    """Beats on the analysis grid, 64 bits each, where that is not the positions."""
    first_cell: int = 0
    cells: bytes = b""
    """Quality by second, 16 bits each; see `einthoven.signal.quality`."""
    intervals: tuple[MinuteIntervals, ...] = ()
    made_by: str = ""
    """Name of the versions of the functions; see `version_name`."""


class _Body(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    sequence: int
    start_time: Annotated[datetime, msgspec.Meta(tz=True)] | int
    samples: msgspec.Raw = msgspec.Raw(b"")
    samples_base64: bytes | None = None
    patient_id: str | None = None
    device_id: str | None = None
    fs: float = 125.0
    gain: float = 200.0
    baseline: int = 0
    lead: str = "ECG"
    is_last: bool = False


class _Packed(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    sequence: int
    start_time: Annotated[datetime, msgspec.Meta(tz=True)] | int
    samples: bytes
    patient_id: str | None = None
    device_id: str | None = None
    fs: float = 125.0
    gain: float = 200.0
    baseline: int = 0
    lead: str = "ECG"
    is_last: bool = False


_JSON_ONE: Final = msgspec.json.Decoder(_Body)
_JSON_MANY: Final = msgspec.json.Decoder(list[_Body])
_PACKED_ONE: Final = msgspec.msgpack.Decoder(_Packed)
_PACKED_MANY: Final = msgspec.msgpack.Decoder(list[_Packed])
_ANSWER: Final = msgspec.msgpack.Decoder(Answer)
_KEPT: Final = msgspec.msgpack.Decoder(KeptAnswer)
_TO_JSON: Final = msgspec.json.Encoder()
_TO_PACKED: Final = msgspec.msgpack.Encoder()


def decode_segments(
    content: bytes,
    encoding: Encoding,
    sender: Sender,
    received_ns: int,
    mode: Mode = "answer",
    envelope: Envelope | None = None,
) -> tuple[list[Arrival | CallerError], bool]:
    """The segments of one request, or what is wrong with each; and whether it was a list.

    Raises
    ------
    InputInvalid : not the encoding, or not segments at all; nothing of the request can be used.
    """
    bodies, is_list = _bodies(content, encoding)
    if not 1 <= len(bodies) <= BATCH_MAX:
        raise InputInvalid(
            f"the request holds {len(bodies)} segments; 1 to {BATCH_MAX} are accepted.",
            where="segments",
            remedy="Split it into several requests.",
        )
    arrivals: list[Arrival | CallerError] = []
    for body in bodies:
        try:
            segment = _segment(body, sender)
        except CallerError as error:
            arrivals.append(error)
        else:
            arrivals.append(Arrival(sender.org, segment, body.is_last, received_ns, mode, envelope))
    return arrivals, is_list


def _bodies(content: bytes, encoding: Encoding) -> tuple[list[_Body] | list[_Packed], bool]:
    try:
        if encoding == "json":
            if content.lstrip(b" \t\r\n")[:1] == b"[":
                return _JSON_MANY.decode(content), True
            return [_JSON_ONE.decode(content)], False
        if content and (content[0] & 0xF0 == 0x90 or content[0] in (0xDC, 0xDD)):
            return _PACKED_MANY.decode(content), True
        return [_PACKED_ONE.decode(content)], False
    except msgspec.ValidationError as error:
        what = str(error)
        if "unknown field" in what:  # its name is the sender's, and may be anything
            what = "there is a field that is none of a segment's"
        raise InputInvalid(f"{what}.", where="segment", remedy="See docs/reference/http-api.md.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InputInvalid(
            f"the request is not valid {encoding}.",
            where="request",
            remedy="Send one whole object or list; name its encoding in Content-Type.",
        ) from None


def _segment(body: _Body | _Packed, sender: Sender) -> Segment:
    if not 0 <= body.sequence < _SEQUENCE_MAX:
        raise InputInvalid("the sequence number is out of range.", where="sequence")
    samples = _samples(body)
    lead = Lead(_lead_name(body.lead), body.gain, body.baseline)
    info = RecordingInfo("segment", body.fs, (lead,), samples.size)
    return Segment(
        patient=_own("patientId", body.patient_id, sender.patient),
        device=_own("deviceId", body.device_id, sender.device),
        sequence=body.sequence,
        start_ns=instant_of(body.start_time),
        recording=Recording(info, samples[None, :]),
    )


def _samples(body: _Body | _Packed) -> NDArray[np.int16]:
    if isinstance(body, _Packed):
        content = body.samples
    elif body.samples_base64 is not None:
        if bytes(body.samples):
            raise InputInvalid("both samples and samplesBase64 are set.", where="samples", remedy="Send one.")
        content = body.samples_base64
    else:
        if not bytes(body.samples):
            raise InputInvalid("there are no samples.", where="samples", remedy="Send samples.")
        return parse_integers(bytes(body.samples), "samples")
    if len(content) % 2:
        raise InputInvalid(
            "the samples have an odd number of bytes.",
            where="samples",
            remedy="Send 16-bit integers, little-endian.",
        )
    return np.frombuffer(content, "<i2")


def _lead_name(name: str) -> str:
    if not 1 <= len(name) <= 16 or not name.isprintable():
        raise InputInvalid("the lead's name is not 1 to 16 printable characters.", where="lead")
    return name


def _own(field: str, given: str | None, allowed: str | None) -> str:
    name = given if given is not None else allowed
    if name is None:
        raise InputInvalid(
            "it is needed where one token sends for many.", where=field, remedy=f"Add {field}."
        )
    if allowed is not None and name != allowed:
        raise AccessDenied(
            "the token is for another one.", where=field, remedy="Use the token made for this device."
        )
    if allowed is None and not is_pseudonym(name):
        raise InputInvalid(
            "this is not a pseudonym.",
            where=field,
            remedy="Use 1 to 64 of letters, digits, '.', '_', '-', a letter or digit first.",
        )
    return name


def instant_of(start: datetime | int) -> int:
    """When a segment or a recording begins, ns since 1970.

    Raises
    ------
    InputInvalid : it is out of range.
    """
    start_ns = (start - _EPOCH) // timedelta(microseconds=1) * 1000 if isinstance(start, datetime) else start
    if not 0 <= start_ns < _LATEST_NS:
        raise InputInvalid(
            "it is before 1970 or after 2116.",
            where="startTime",
            remedy="Send RFC 3339 in UTC, or ns since 1970.",
        )
    return start_ns


def utc_text(instant_ns: int) -> str:
    """An instant as RFC 3339 in UTC, to the microsecond."""
    moment = _EPOCH + timedelta(microseconds=instant_ns // 1000)
    return moment.isoformat().replace("+00:00", "Z")


def digest_of(segment: Segment) -> int:
    """32 bits of what a segment says; the same segment sent again has the same."""
    recording = segment.recording
    lead = recording.info.leads[0]
    about = (segment.patient, segment.start_ns, recording.info.fs, lead.name, lead.gain, lead.baseline)
    return zlib.crc32(recording.counts.data, zlib.crc32(_TO_PACKED.encode(about)))


def answer_of(sequence: int, findings: Findings, start_ns: int) -> Answer:
    """Findings as they go back to the device."""
    beats = findings.beats
    return Answer(
        sequence=sequence,
        status="analysed",
        start_time=utc_text(start_ns),
        fs=findings.fs,
        first=findings.first,
        until=findings.until,
        beats=AnsweredBeats(
            beats.positions.tolist(),
            "".join(BEAT_CLASSES[code] for code in beats.classes.tolist()),
            beats.confidences.tolist(),
        ),
        heart_rate=findings.heart_rate,
        episodes=findings.episodes,
        conditions=findings.conditions,
        quality=Grades(tuple(np.bincount(findings.quality.cells & 3, minlength=4)[1:4].tolist())),
    )


def refusal(sequence: int, error: EinthovenError) -> Answer:
    """Why one segment of several was not taken."""
    return Answer(sequence, "refused", error=error.as_dict())


def encode_answer(answer: Answer, findings: Findings, origin_ns: int) -> bytes:
    """An answer as it is kept; `KeptAnswer` says what for."""
    beats, quality = findings.beats, findings.quality
    return _TO_PACKED.encode(
        KeptAnswer(
            *msgspec.structs.astuple(answer),
            origin_ns=origin_ns,
            grid=UNSET if findings.fs == FS else beats.grid.tobytes(),
            first_cell=quality.first_cell,
            cells=quality.cells.tobytes(),
            intervals=findings.intervals,
            made_by=version_name(findings.versions),
        )
    )


def decode_answer(content: bytes) -> Answer:
    """What was answered."""
    return _ANSWER.decode(content)


def decode_kept(content: bytes) -> KeptAnswer:
    """An answer with what is kept beside it."""
    return _KEPT.decode(content)


def version_name(versions: Mapping[str, str]) -> str:
    """A short name of the versions of all functions together."""
    return _version_name(tuple(versions.items()))


@lru_cache(maxsize=64)
def _version_name(versions: tuple[tuple[str, str], ...]) -> str:
    return blake2b(_TO_PACKED.encode(sorted(versions)), digest_size=4).hexdigest()


def encode_answers(answers: Any, encoding: Encoding) -> bytes:
    """One answer or a list of them, for the wire."""
    return _TO_JSON.encode(answers) if encoding == "json" else _TO_PACKED.encode(answers)
