"""What the OpenAPI document says of every route: who may call it, and how it fails."""

from typing import Final

from litestar.config.app import AppConfig
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec

from einthoven.server.problems import Problem
from einthoven.server.roles import ROUTES

__all__ = ["describe"]

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
        if isinstance(handler, HTTPRouteHandler) and not handler.responses:
            method = next(iter(handler.http_methods))
            path = next(iter(handler.paths)).replace(":str}", "}").replace(":int}", "}")
            callers = sorted(ROUTES.get((method, path), ()))
            handler.responses = {
                status: ResponseSpec(Problem, generate_examples=False, description=words)
                for status, words in _FAILURES.items()
            }
            if "anyone" not in callers:
                handler.security = [{"bearer": []}]
    return config
