"""The route of a strip: samples as they were received, for whoever wants to see the ECG itself."""

import base64
from typing import Annotated, Final

import msgspec
from litestar import get
from litestar.params import Parameter
from litestar.types import ControllerRouterHandler

from einthoven.errors import InputInvalid
from einthoven.names import PSEUDONYM
from einthoven.server.requests import (
    Asker,
    Parts,
    PseudonymInPath,
    instant_ns,
    instant_parameter,
)
from einthoven.server.strips import Stretch, read_stretches

__all__ = ["HANDLERS"]

_SPAN_MAX_S: Final = 600
_SPAN_S: Final = 10
_NS: Final = 10**9


class StretchSeen(msgspec.Struct, frozen=True, rename="camel"):
    """Samples of one device without a gap between them."""

    device: str
    lead: str
    start_ms: float
    """Of the first sample, ms since 1970, UTC, to the microsecond."""
    fs: float
    samples_base64: str
    """16-bit integers, little-endian, in µV; -32768 is a missing sample."""


class Strip(msgspec.Struct, frozen=True):
    """What was received of a span, by device and time; between the stretches nothing was."""

    items: list[StretchSeen]


@get("/v1/patients/{patient:str}/ecg")
async def patient_ecg(
    reception: Parts,
    person: Asker,
    patient: PseudonymInPath,
    from_: Annotated[
        str | None, instant_parameter("from", "Where the span begins; ten seconds before its end.")
    ] = None,
    until: Annotated[str | None, instant_parameter("until", "Where it ends; now.")] = None,
    device: Annotated[
        str | None, Parameter(pattern=PSEUDONYM, description="What one device sent only.")
    ] = None,
) -> Strip:
    """Samples of a span of at most ten minutes, as devices sent them in segments."""
    until_ns = instant_ns("until", until, reception.clock.utc_ns())
    from_ns = instant_ns("from", from_, until_ns - _SPAN_S * _NS)
    if not 0 <= until_ns - from_ns <= _SPAN_MAX_S * _NS:
        raise InputInvalid(
            "the span ends before it begins, or is longer than ten minutes.",
            where="until",
            remedy="Ask for a shorter one.",
        )
    found = await reception.views.read(
        lambda s: read_stretches(s, reception.store, person.org, patient, from_ns, until_ns, device=device)
    )
    return Strip(list(map(_seen, found)))


HANDLERS: Final[tuple[ControllerRouterHandler, ...]] = (patient_ecg,)


def _seen(one: Stretch) -> StretchSeen:
    packed = base64.b64encode(one.microvolts.astype("<i2").tobytes()).decode()
    return StretchSeen(one.device, one.lead, one.start_ns // 1000 / 1000, one.fs, packed)
