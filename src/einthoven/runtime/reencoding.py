"""Calls and answers in the other encoding, for hosts that read only one; docs/reference/function-host.md.

What the functions of the pipeline take and give is known, so nothing is lost. Of other functions no bytes can
be told from texts in JSON; what holds some is not rewritten.
"""

import math
from typing import Any, Final

import msgspec

from einthoven.errors import InputInvalid
from einthoven.functions import encode
from einthoven.functions.codec import decode_as
from einthoven.runtime.ecg_functions import STAGES
from einthoven.runtime.hosted import ANALYSES, ANALYSIS, INTERPRETATIONS, Asked, Gave
from einthoven.runtime.region_port import CallEncoding
from einthoven.runtime.segment_analysis import AnalysesAsked, AnalysesGave

__all__ = ["reencoded_answer", "reencoded_call"]


def reencoded_call(function: str, content: bytes, encoding: CallEncoding, wanted: CallEncoding) -> bytes:
    """The inputs of a call as they are in the other encoding.

    Raises
    ------
    InputInvalid : they are not those of the function, not of their encoding, or cannot be said in the other.
    """
    return _reencoded(_KINDS.get(function, (None, None))[0], content, encoding, wanted)


def reencoded_answer(function: str, content: bytes, encoding: CallEncoding, wanted: CallEncoding) -> bytes:
    """The outputs of a call as they are in the other encoding; raises as `reencoded_call` does."""
    return _reencoded(_KINDS.get(function, (None, None))[1], content, encoding, wanted)


_KINDS: Final[dict[str, tuple[type[msgspec.Struct], type[msgspec.Struct]]]] = {
    **dict.fromkeys((*STAGES, ANALYSIS), (Asked, Gave)),
    ANALYSES: (AnalysesAsked, AnalysesGave),
    INTERPRETATIONS: (AnalysesAsked, AnalysesGave),
}
"""What functions take and give."""


def _reencoded(
    kind: type[msgspec.Struct] | None, content: bytes, encoding: CallEncoding, wanted: CallEncoding
) -> bytes:
    if kind is not None:
        return encode(decode_as(content, encoding, kind), wanted)
    value = decode_as(content, encoding, dict[str, Any])
    if not _is_plain(value):
        raise InputInvalid(f"the inputs hold what {wanted} cannot say.", remedy="Send them in JSON.")
    return msgspec.json.encode(value) if wanted == "json" else msgspec.msgpack.encode(value)


def _is_plain(value: Any) -> bool:
    """Whether a value is the same in both encodings."""
    match value:
        case dict():
            return all(isinstance(key, str) and _is_plain(one) for key, one in value.items())
        case list():
            return all(map(_is_plain, value))
        case float():
            return math.isfinite(value)
        case int():
            return -(2**63) <= value < 2**64
        case _:
            return value is None or isinstance(value, str)
