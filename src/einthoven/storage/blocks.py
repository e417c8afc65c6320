"""One segment as bytes that say by themselves what they are and whether they are whole."""

from hashlib import blake2b
from struct import Struct
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from einthoven.errors import EinthovenError, InputInvalid
from einthoven.names import is_organisation, is_pseudonym
from einthoven.signal.packing import pack, unpack
from einthoven.signal.recording import MAX_FS, SEGMENT_MAX_S, Lead, RecordingInfo

__all__ = ["MARK", "Head", "KeptSegment", "block_of", "block_sum", "head_of", "segment_of"]

MARK: Final = b"\xe5SEG"
_FRONT: Final = Struct("<4sII")
"""Mark, bytes of the head, bytes of the packed samples."""
_SUM_BYTES: Final = 8
_MOST_SAMPLES: Final = int(SEGMENT_MAX_S * MAX_FS)
_MOST_HEAD_BYTES: Final = 2**12
_MOST_PACKED_BYTES: Final = 2**20
_MOST_LEAD: Final = 16
_INT64: Final = 2**63
_TYPES: Final[dict[int, np.dtype[Any]]] = {2: np.dtype(np.int16), 4: np.dtype(np.int32)}


class Head(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a segment says of itself; in this order, as a MessagePack array."""

    org: str
    patient: str
    """Pseudonym."""
    device: str
    lead: str
    sequence: int
    start_ns: int
    """UTC of the first sample, ns since the epoch."""
    fs: float
    """Hz."""
    gain: float
    """Counts per mV."""
    baseline: int
    """Counts at 0 mV."""
    width: int
    """Bytes of a sample before packing, 2 or 4."""
    count: int
    """Samples."""

    def __post_init__(self) -> None:
        if not is_organisation(self.org):
            raise InputInvalid("the organisation is not 1 to 40 of a-z, 0-9 and '-'.", where="org")
        for where, name in (("patient", self.patient), ("device", self.device)):
            if not is_pseudonym(name):
                raise InputInvalid("the name is not 1 to 64 of A-Z, a-z, 0-9, '.', '_', '-'.", where=where)
        if len(self.lead) > _MOST_LEAD:
            raise InputInvalid(f"the lead's name has more than {_MOST_LEAD} characters.", where="lead")
        if not 0 <= self.sequence < _INT64 or not -_INT64 <= self.start_ns < _INT64:
            raise InputInvalid("a number does not fit in 64 bits.", where="sequence or start")
        RecordingInfo("segment", self.fs, (Lead("segment", self.gain, self.baseline),), self.count)
        if self.width not in _TYPES or not 0 <= self.count <= min(_MOST_SAMPLES, SEGMENT_MAX_S * self.fs):
            raise InputInvalid("more than a minute of samples, or not 16 or 32 bits each.", where="samples")


class KeptSegment(msgspec.Struct, frozen=True, eq=False):
    """A segment as it was received, with all that is needed to read it again."""

    org: str
    patient: str
    """Pseudonym."""
    device: str
    lead: str
    sequence: int
    start_ns: int
    """UTC of the first sample, ns since the epoch."""
    fs: float
    """Hz."""
    gain: float
    """Counts per mV."""
    baseline: int
    """Counts at 0 mV."""
    samples: NDArray[np.int16] | NDArray[np.int32]
    """Counts, shape (samples,); the smallest of the type is a missing sample."""

    @property
    def head(self) -> Head:
        """What it says of itself.

        Raises
        ------
        InputInvalid : a name, number or array that is not kept.
        """
        if self.samples.ndim != 1 or self.samples.dtype not in _TYPES.values():
            raise InputInvalid("the samples are not one lead of 16- or 32-bit counts.", where="samples")
        return Head(
            self.org,
            self.patient,
            self.device,
            self.lead,
            self.sequence,
            self.start_ns,
            float(self.fs),
            float(self.gain),
            self.baseline,
            self.samples.itemsize,
            self.samples.size,
        )


def block_of(head: Head, segment: KeptSegment) -> bytes:
    """The segment's bytes: front, head, packed samples, checksum."""
    says = msgspec.msgpack.encode(head)
    packed = pack(segment.samples)
    whole = _FRONT.pack(MARK, len(says), len(packed)) + says + packed
    return whole + block_sum(whole)


def head_of(block: bytes) -> Head:
    """What a whole block says of itself; its samples are not looked at.

    Raises
    ------
    InputInvalid : it is not whole.
    """
    if len(block) < _FRONT.size:
        raise InputInvalid("the segment is cut off.")
    mark, says, packed = _FRONT.unpack_from(block)
    end = _FRONT.size + says + packed
    if mark != MARK or len(block) != end + _SUM_BYTES or block[end:] != block_sum(block[:end]):
        raise InputInvalid("the segment's checksum is wrong.")
    try:
        return msgspec.msgpack.decode(block[_FRONT.size : _FRONT.size + says], type=Head)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise InputInvalid("the segment's content is not what it should be.") from None


def segment_of(content: bytes, at: int = 0) -> tuple[Head, KeptSegment, int]:
    """The segment that begins at ``at``, and how many bytes it takes.

    Raises
    ------
    InputInvalid : no whole segment begins there.
    """
    if len(content) < at + _FRONT.size:
        raise InputInvalid("the segment is cut off.")
    mark, says, packed = _FRONT.unpack_from(content, at)
    end = at + _FRONT.size + says + packed
    if mark != MARK or says > _MOST_HEAD_BYTES or packed > _MOST_PACKED_BYTES:
        raise InputInvalid("no segment begins here.")
    if content[end : end + _SUM_BYTES] != block_sum(content[at:end]):
        raise InputInvalid("the segment's checksum is wrong.")
    front = at + _FRONT.size
    try:
        head = msgspec.msgpack.decode(content[front : front + says], type=Head)
        samples = unpack(content[front + says : end], _TYPES[head.width], head.count)
    except (msgspec.MsgspecError, UnicodeDecodeError, EinthovenError):
        raise InputInvalid("the segment's content is not what it should be.") from None
    if samples.size != head.count:
        raise InputInvalid("the segment has not as many samples as it says.")
    samples.flags.writeable = False
    named = msgspec.structs.asdict(head)
    del named["width"], named["count"]
    return head, KeptSegment(**named, samples=samples), end + _SUM_BYTES - at


def block_sum(content: bytes) -> bytes:
    """BLAKE2b, 8 bytes: in the standard library, and no damage passes but for one chance in 2^64."""
    return blake2b(content, digest_size=_SUM_BYTES).digest()
