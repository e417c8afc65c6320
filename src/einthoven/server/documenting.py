"""The OpenAPI document: what every route takes and gives, who may call it, and how it fails.

The framework writes it from the handlers. The schemas of our own values are then written by msgspec, which
reads the values, so that the document says exactly what is checked.
"""

from typing import Any, Final, get_args

import msgspec
from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.routes import HTTPRoute

from einthoven.server.ingest_document import complete
from einthoven.server.problems import Problem
from einthoven.server.roles import ROUTES
from einthoven.server.upload_document import complete_uploads

__all__ = ["describe", "document"]

_FAILURES: Final[dict[int, str]] = {
    400: "A value breaks its contract",
    401: "No token, or one that is unknown, expired or revoked",
    403: "The role may not do this",
    404: "Nothing of that name",
    409: "It is there already, or something stands against it",
    413: "The request is too large",
    429: "Too many tries. See Retry-After",
    500: "A defect of the service",
    503: "The database does not answer. See Retry-After",
}


def describe(config: AppConfig) -> AppConfig:
    """Give each handler its failures and the roles that it is open to."""
    for handler in config.route_handlers:
        if isinstance(handler, HTTPRouteHandler) and 429 not in (handler.responses or {}):
            method = next(iter(handler.http_methods))
            path = next(iter(handler.paths)).replace(":str}", "}").replace(":int}", "}")
            callers = ROUTES.get((method, path), frozenset())
            handler.responses = {
                status: ResponseSpec(Problem, generate_examples=False, description=words)
                for status, words in _FAILURES.items()
            } | dict(handler.responses or {})
            if "anyone" not in callers:
                handler.security = [{"bearer": []}]
    return config


def document(framework: Litestar) -> dict[str, Any]:
    """The whole document."""
    described: dict[str, Any] = framework.openapi_schema.to_schema()
    schemas = described["components"]["schemas"]
    exact = msgspec.json.schema_components(_values(framework), ref_template="#/components/schemas/{name}")[1]
    schemas.update({name: schema for name, schema in exact.items() if name in schemas})
    for path, item in described["paths"].items():
        for method, operation in item.items():
            callers = ROUTES.get((method.upper(), path))
            if callers and isinstance(operation, dict):
                operation["x-roles"] = sorted(callers)
                for parameter in operation.get("parameters", ()):
                    parameter["schema"] = _without_null(parameter["schema"])
    return complete_uploads(complete(described))


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """What may be left out; an address has no way to say null."""
    kinds = [kind for kind in schema.get("oneOf", ()) if kind.get("type") != "null"]
    if len(kinds) != 1:
        return schema
    return {**{name: value for name, value in schema.items() if name != "oneOf"}, **kinds[0]}


def _values(framework: Litestar) -> list[type[msgspec.Struct]]:
    """Every value that a route takes or gives."""
    found: dict[type[msgspec.Struct], None] = {Problem: None}
    for route in framework.routes:
        for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
            signature = handler.parsed_fn_signature
            kinds = [signature.return_type.annotation]
            if "data" in signature.parameters:
                kinds.append(signature.parameters["data"].annotation)
            while kinds:
                kind = kinds.pop()
                kinds += get_args(kind)
                if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
                    found[kind] = None
    return list(found)
