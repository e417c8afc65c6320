"""What a host of functions serves, as an OpenAPI document."""

from collections.abc import Sequence
from typing import Any, Final

from einthoven.runtime.federated_sites import FEDERATED_ROUND
from einthoven.runtime.hosted import ANALYSES, ANALYSIS, INTERPRETATIONS
from einthoven.runtime.region_port import HostedFunction
from einthoven.version import __version__

__all__ = ["function_document"]

_BY_REFERENCE: Final[dict[str, dict[str, Any]]] = {
    "countHours": {"ecgDataFilePath": {"type": "string"}},
    "split": {"ecgDataFilePath": {"type": "string"}, "hour": {"type": "integer", "minimum": 0}},
    "join": {
        "ecgDataFilePath": {"type": "string"},
        "results": {"type": "array", "items": {"type": "string"}},
    },
}
_PROBLEMS: Final = {
    400: "The body is not of its encoding, or a header is wrong",
    401: "No bearer token, or one that is unknown",
    404: "There is no such function here",
    408: "The body took too long to come",
    413: "The body is larger than is read",
    415: "Neither JSON nor MessagePack, or compressed",
    422: "The function refuses its inputs, or the key came with other content",
    429: "As many calls as may are under way; see Retry-After",
    500: "The function broke",
    502: "Something that the function needs did not answer",
    503: "The host finishes what it has, and takes nothing new; see Retry-After",
    504: "The function took longer than it may",
}
_STRING: Final = {"type": "string"}
_ECG: Final = {
    "type": ["object", "null"],
    "description": "The ECG object: docs/reference/functions.md.",
    "properties": {"samples": {"type": ["array", "null"], "items": {"type": "integer"}}},
}


def function_document(functions: Sequence[HostedFunction], *, has_tokens: bool) -> dict[str, Any]:
    """OpenAPI 3.1 of a host with these functions."""
    security: dict[str, Any] = {"security": [{"bearer": []}]} if has_tokens else {}
    paths: dict[str, Any] = {
        "/functions": {"get": {"summary": "What this host has", **security, **_gives("Host")}},
        "/healthz": {"get": {"summary": "Whether it is alive", **_gives("Said")}},
        "/metrics": {
            "get": {
                "summary": "What it counts, for Prometheus",
                "responses": {"200": {"description": "As it is", "content": {"text/plain": {}}}},
            }
        },
        "/readyz": {"get": {"summary": "Whether it takes calls", **_gives("Said", {503: _PROBLEMS[503]})}},
    }
    for one in functions:
        paths[f"/functions/{one.name}"] = {"post": {**_operation(one), **security}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Einthoven functions", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}} if has_tokens else {},
        },
    }


def _operation(one: HostedFunction) -> dict[str, Any]:
    inputs = _inputs(one.name)
    outputs = {"schema": {"type": "object"}}
    gives = _gives(None, _PROBLEMS)
    gives["responses"]["200"] = {
        "description": "What the function gave, in the encoding of the question",
        "headers": {"Server-Timing": {"description": "busy;dur=milliseconds", "schema": _STRING}},
        "content": {"application/json": outputs, "application/msgpack": outputs},
    }
    return {
        "operationId": one.name,
        "summary": f"{one.name} {one.version}; {one.memory_mb} MB, {one.timeout_s:g} s",
        "parameters": [
            _header(
                "Idempotency-Key", "The same in each attempt at one invocation", {**_STRING, "minLength": 1}
            ),
            _header("X-Timeout-S", "Seconds", {"type": "number", "exclusiveMinimum": 0}),
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": inputs}, "application/msgpack": {"schema": inputs}},
        },
        **gives,
    }


def _inputs(name: str) -> dict[str, Any]:
    if name in _BY_REFERENCE:
        properties = _BY_REFERENCE[name]
        return {"type": "object", "properties": properties, "required": list(properties)}
    if name == FEDERATED_ROUND:
        return _object(type={"enum": ["count", "measure", "learn"]}, version={"type": "integer"})
    if name in (ANALYSES, INTERPRETATIONS):
        return _object(streams={"type": "array", "minItems": 1, "items": _STREAM})
    properties = {"ecg": _ECG, "state": _STATE}
    if name != ANALYSIS:
        properties["ecgDataFilePath"] = {"type": ["string", "null"]}
    return {"type": "object", "properties": properties}


_STATE: Final = {"type": ["string", "null"], "contentEncoding": "base64"}
_STREAM: Final = {
    "type": "object",
    "properties": {
        "segments": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {
                    "pieces": {"type": "array", "minItems": 1, "items": _ECG},
                    "isBegin": {"type": "boolean"},
                },
                "required": ["pieces"],
            },
        },
        "state": _STATE,
    },
    "required": ["segments"],
}
"""What follows in one stream; see docs/reference/function-host.md."""


def _header(name: str, said: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": said, "schema": schema}


def _gives(schema: str | None, problems: dict[int, str] = {}) -> dict[str, Any]:  # noqa: B006 - only read
    responses: dict[str, Any] = {}
    if schema is not None:
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
        responses["200"] = {"description": "As it is", "content": content}
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for status, said in problems.items():
        responses[str(status)] = {"description": said, "content": problem}
    return {"responses": responses}


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


_SCHEMAS: Final = {
    "Host": _object(
        functions={
            "type": "array",
            "items": _object(
                name=_STRING, version=_STRING, memory_mb={"type": "integer"}, timeout_s={"type": "number"}
            ),
        },
        slots={"type": "integer", "minimum": 1},
        is_draining={"type": "boolean"},
        encodings={"type": "array", "items": _STRING},
    ),
    "Said": _object(status=_STRING),
    "Problem": {
        "type": "object",
        "properties": {
            "type": _STRING,
            "title": _STRING,
            "status": {"type": "integer"},
            "detail": _STRING,
            "kind": _STRING,
            "remedy": _STRING,
        },
        "required": ["title", "status", "detail"],
    },
}
