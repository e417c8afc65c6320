"""Errors as they go out: what, where and what to do, as JSON; never a value, never a traceback."""

import logging
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap

from einthoven.errors import DefectError, EinthovenError, InputInvalid
from einthoven.server.ingest import status_of
from einthoven.server.logs import place_of

__all__ = ["HANDLERS", "Problem"]

_LOG: Final = logging.getLogger("einthoven.server")


class Problem(msgspec.Struct, frozen=True):
    """What is wrong, where, and what to do."""

    code: str
    fault: str
    what: str
    where: str
    remedy: str


_WORDS: Final[dict[int, tuple[str, str]]] = {
    400: ("the request is not one that can be read.", "See /schema/openapi.json."),
    404: ("there is nothing at this path.", "See /schema/openapi.json."),
    405: ("this path has no such method.", "See the header Allow."),
    413: ("the request is too large.", "Send less."),
    415: ("the type is not one of those that are read.", "Send application/json."),
}
_CODES: Final[dict[int, str]] = {404: "not-found"}


def _of_ours(_: Request[Any, Any, Any], error: EinthovenError) -> Response[Problem]:
    return _response(status_of(error), Problem(**error.as_dict()))


def _of_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    status = error.status_code
    if isinstance(error, ValidationException):
        invalid = InputInvalid(
            "a value is missing or breaks its contract.",
            where=_places(error),
            remedy="See /schema/openapi.json.",
        )
        return _response(400, Problem(**invalid.as_dict()))
    if status >= 500:
        return _of_defect(request, error)
    what, remedy = _WORDS.get(status, _WORDS[400])
    problem = Problem(_CODES.get(status, "input-invalid"), "caller", what, "request", remedy)
    allow = {name: value for name, value in (error.headers or {}).items() if name.lower() == "allow"}
    return _response(status, problem, allow)


def _of_defect(_: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """Only the kind of what happened and its place go into the log; its text may hold anything."""
    _LOG.error("a request failed", extra=place_of(error))
    defect = DefectError("something went wrong in the service.", where="service", remedy="Please report it.")
    return _response(500, Problem(**defect.as_dict()))


HANDLERS: Final[ExceptionHandlersMap] = {
    EinthovenError: _of_ours,
    HTTPException: _of_http,
    Exception: _of_defect,
}


def _places(error: ValidationException) -> str:
    """Names of the parameters that are wrong."""
    extra = error.extra if isinstance(error.extra, list) else []
    names = [str(item.get("key", "")) for item in extra if isinstance(item, dict)]
    return ", ".join(name for name in names if name and len(name) <= 40)[:120] or "request"


def _response(status: int, problem: Problem, headers: dict[str, str] | None = None) -> Response[Problem]:
    return Response(problem, status_code=status, headers=headers, media_type="application/json")
