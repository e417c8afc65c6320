"""``POST /v1/segments`` for the OpenAPI document.

The route itself is `einthoven.server.ingest`, which stands in front of the framework; a test holds the two
together.
"""

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from litestar import post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from litestar.types import ControllerRouterHandler
from msgspec import UNSET, Meta, UnsetType

from einthoven.errors import DefectError
from einthoven.names import PSEUDONYM
from einthoven.server.problems import Problem
from einthoven.server.wire import BATCH_MAX, Answer

__all__ = ["HANDLERS", "SegmentSent", "complete"]

Count = Annotated[int, Meta(ge=-32768, le=32767)]


class SegmentSent(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A stretch of one lead, at most 60 s. Exactly one of samples and samplesBase64 is set."""

    sequence: Annotated[
        int, Meta(ge=0, lt=2**53, description="One more from each segment of a device to the next.")
    ]
    start_time: Annotated[
        Annotated[datetime, Meta(tz=True)] | Annotated[int, Meta(ge=0, lt=2**62)],
        Meta(description="First sample, UTC: RFC 3339, or ns since 1970."),
    ]
    samples: (
        Annotated[
            list[Count],
            Meta(
                max_length=60_000,
                description="ADC counts; -32768 is missing. MessagePack: bytes, 16-bit little-endian.",
            ),
        ]
        | UnsetType
    ) = UNSET
    samples_base64: (
        Annotated[str, Meta(description="JSON only: base64 of 16-bit integers, little-endian.")] | UnsetType
    ) = UNSET
    patient_id: (
        Annotated[str, Meta(description="Pseudonym; needed with a gateway's token.", pattern=PSEUDONYM)]
        | UnsetType
    ) = UNSET
    device_id: (
        Annotated[str, Meta(description="Needed with a gateway's token.", pattern=PSEUDONYM)] | UnsetType
    ) = UNSET
    fs: Annotated[float, Meta(ge=50, le=1000, description="Sampling frequency, Hz.")] = 125.0
    gain: Annotated[float, Meta(ge=1e-3, le=1e7, description="Counts per mV.")] = 200.0
    baseline: Annotated[int, Meta(gt=-(2**31), lt=2**31, description="Count at 0 mV.")] = 0
    lead: Annotated[str, Meta(min_length=1, max_length=16)] = "ECG"
    is_last: Annotated[bool, Meta(description="The stream ends here: the newest edge is analysed too.")] = (
        False
    )


Batch = Annotated[list[SegmentSent], Meta(min_length=1, max_length=BATCH_MAX)]

_EXAMPLES: Final[dict[str, Any]] = {
    "integers": {
        "summary": "A device's token: samples as integers",
        "value": {"sequence": 12, "startTime": "2026-11-26T08:00:00Z", "samples": [0, 3, 9, 120, -4]},
    },
    "base64": {
        "summary": "A gateway's token: the same as base64",
        "value": {
            "patientId": "p-17",
            "deviceId": "chest-17",
            "sequence": 12,
            "startTime": 1795680000000000000,
            "samplesBase64": "AAADAAkAeAD8/w==",
        },
    },
}
_STATUSES: Final[dict[int, str]] = {
    400: "Not segments, a value that breaks its contract, or an envelope that opens nobody here; nothing was "
    "accepted",
    401: "No token, or one that is unknown, expired or revoked",
    403: "The token is for another patient or device, or a person's",
    409: "The sequence number came before with other content",
    413: "Larger than is read",
    415: "None of the types that are read; or plain where only sealed segments are",
    429: "This token sends more than it may; nothing was accepted. See Retry-After",
    500: "A defect of the service",
    503: "Overload, or the service stops; nothing was accepted. See Retry-After",
}


def complete(described: dict[str, Any]) -> dict[str, Any]:
    """What the framework cannot say of the route: batches, MessagePack beside JSON, a header, examples."""
    operation = described["paths"]["/v1/segments"]["post"]
    sent = described["components"]["schemas"]["SegmentSent"]
    sent["oneOf"] = [{"required": ["samples"]}, {"required": ["samplesBase64"]}]
    one = {"$ref": "#/components/schemas/SegmentSent"}
    many = {"type": "array", "items": one, "minItems": 1, "maxItems": BATCH_MAX}
    operation["requestBody"]["content"] = {
        "application/json": {"schema": {"anyOf": [one, many]}, "examples": _EXAMPLES},
        "application/msgpack": {
            "schema": {"description": "The same names; samples are bytes: 16-bit integers, little-endian."}
        },
        "application/vnd.einthoven.sealed": {
            "schema": {
                "type": "string",
                "format": "binary",
                "description": "One envelope; in it the byte 1 and JSON, or the byte 2 and MessagePack.",
            }
        },
    }
    operation["parameters"] = [
        {
            "name": "Prefer",
            "in": "header",
            "required": False,
            "description": "Do not wait for findings.",
            "schema": {"type": "string", "enum": ["respond-async"]},
        }
    ]
    for response in operation["responses"].values():
        response["content"]["application/msgpack"] = {"schema": {"description": "The same in MessagePack."}}
    return described


@post(
    "/v1/segments",
    status_code=200,
    security=[{"bearer": []}],
    response_description="Findings, when all is on disk",
    responses={
        202: ResponseSpec(
            Answer | list[Answer],  # type: ignore[arg-type, unused-ignore]
            generate_examples=False,
            description="On disk; analysed a moment later",
        ),
        207: ResponseSpec(
            list[Answer], generate_examples=False, description="Some were refused; each answer says which"
        ),
        **{
            status: ResponseSpec(Problem, generate_examples=False, description=words)
            for status, words in _STATUSES.items()
        },
    },
)
async def send_segments(data: JSONBody[SegmentSent | Batch]) -> Answer | list[Answer]:  # noqa: ARG001 - documented
    """Send one segment, or up to 256; the answer has the encoding of the request.

    An answer other than an error means that the segment is on disk. The same segment sent again gets the same
    answer.
    """
    raise DefectError("the route of segments is not in front.", where="service")


HANDLERS: Final[tuple[ControllerRouterHandler, ...]] = (send_segments,)
