"""``/v1/uploads`` for the OpenAPI document; the routes themselves are `einthoven.server.uploads`."""

from typing import Annotated, Any, Final

from litestar import delete, head, patch, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter, PathParameter
from litestar.types import ControllerRouterHandler

from einthoven.errors import DefectError
from einthoven.server.problems import Problem
from einthoven.server.uploads import BODY_TYPE, UPLOAD_NAME

__all__ = ["HANDLERS", "complete_uploads"]

_WORDS: Final[dict[int, str]] = {
    400: "A header is missing or breaks its contract",
    401: "No token, or one that is unknown, expired or revoked",
    403: "The role may not do this",
    404: "Nothing of that name, or it has expired",
    409: "The offset is another one, or the file is kept",
    410: "The file was not what its SHA-256 says; the upload cannot be used",
    412: "Another version of the protocol",
    413: "Larger than is taken, or than was announced",
    415: "Not application/offset+octet-stream",
    422: "All bytes came, and they are not what the SHA-256 of the file says",
    429: "This token sends more than it may. See Retry-After",
    460: "The body is not what its checksum says; none of it counts",
    500: "A defect of the service",
    503: "Overload. See Retry-After",
}
_RESPONSES: Final = {
    status: ResponseSpec(Problem, generate_examples=False, description=words)
    for status, words in _WORDS.items()
}
UploadInPath = Annotated[str, PathParameter(pattern=UPLOAD_NAME, description="An upload's id.")]
Length = Annotated[
    int, HeaderParameter(name="Upload-Length", ge=1, lt=10**15, description="Size of the file, bytes.")
]
Offset = Annotated[
    int, HeaderParameter(name="Upload-Offset", ge=0, lt=10**15, description="Where the body begins.")
]
Metadata = Annotated[
    str,
    HeaderParameter(
        name="Upload-Metadata",
        description="filename and sha256 (hexadecimal), each with its value in base64.",
    ),
]
Checksum = Annotated[
    str | None,
    HeaderParameter(
        name="Upload-Checksum",
        pattern="^sha256 [A-Za-z0-9+/]{43}=$",
        description="sha256 and the digest of the body in base64.",
    ),
]
_SECURITY: Final[list[dict[str, list[str]]]] = [{"bearer": []}]


def complete_uploads(described: dict[str, Any]) -> dict[str, Any]:
    """What the framework cannot say of the routes: a body that is bytes, and the headers of answers."""
    path = described["paths"]["/v1/uploads/{upload}"]
    path["patch"]["requestBody"] = {
        "required": True,
        "content": {BODY_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    }
    offset = {"description": "Bytes from the start that are safe.", "schema": {"type": "integer"}}
    begun = described["paths"]["/v1/uploads"]["post"]["responses"]
    for response in (begun["200"], begun["201"], path["patch"]["responses"]["204"]):
        response["headers"] = {**response.get("headers", {}), "Upload-Offset": offset}
    return described


def _defect() -> DefectError:
    return DefectError("the route of uploads is not in front.", where="service")


@post(
    "/v1/uploads",
    status_code=201,
    security=_SECURITY,
    response_description="A new upload; Location and Upload-Offset say which and how far",
    responses={
        200: ResponseSpec(None, description="The sender began it before; Upload-Offset says how far"),
        **_RESPONSES,
    },
)
async def begin_upload(upload_length: Length, upload_metadata: Metadata) -> None:  # noqa: ARG001 - documented
    """Begin to send a file (tus 1.0.0, extension creation), or find where it was left."""
    raise _defect()


@head("/v1/uploads/{upload:str}", security=_SECURITY, responses=_RESPONSES)
async def ask_upload(upload: UploadInPath) -> None:  # noqa: ARG001
    """How much of a file is safe: Upload-Offset."""
    raise _defect()


@patch(
    "/v1/uploads/{upload:str}",
    status_code=204,
    security=_SECURITY,
    response_description="It is safe; Upload-Offset says how far",
    responses=_RESPONSES,
)
async def send_piece(
    upload: UploadInPath,  # noqa: ARG001
    upload_offset: Offset,  # noqa: ARG001
    upload_checksum: Checksum = None,  # noqa: ARG001
) -> None:
    """Send a piece of a file from an offset on, as application/offset+octet-stream."""
    raise _defect()


@delete("/v1/uploads/{upload:str}", security=_SECURITY, responses=_RESPONSES)
async def give_up_upload(upload: UploadInPath) -> None:  # noqa: ARG001
    """Forget an upload that is not complete."""
    raise _defect()


HANDLERS: Final[tuple[ControllerRouterHandler, ...]] = (begin_upload, ask_upload, send_piece, give_up_upload)
