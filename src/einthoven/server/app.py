"""The service's HTTP: the hot route in front, the framework behind it, one document for both."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

import msgspec
from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme

from einthoven.errors import DefectError
from einthoven.notice import NOTICE
from einthoven.server import (
    alert_routes,
    audit_routes,
    consent_routes,
    events,
    fhir_routes,
    figure_routes,
    grant_routes,
    health_routes,
    ingest_document,
    ledger_routes,
    payload_routes,
    people_routes,
    problems,
    recording_routes,
    region_routes,
    report_routes,
    session_routes,
    stream_routes,
    strip_routes,
    token_routes,
    upload_document,
    view_routes,
    ward_routes,
)
from einthoven.server.documenting import describe, document
from einthoven.server.events import EVENTS_PATH, Feed, events_route
from einthoven.server.ingest import RETRY_AFTER_S, IngestRoute, Receive, Scope, Send
from einthoven.server.logs import place_of
from einthoven.server.page_files import page_routes
from einthoven.server.passwords import PasswordCost
from einthoven.server.printing import forget_left_behind
from einthoven.server.reception import Reception, Service
from einthoven.server.requests import (
    StrictRequest,
    asked_span,
    let_in,
    party_behind,
    person_of,
    reception_of,
    sight_behind,
)
from einthoven.server.uploads import UPLOADS_PATH, UploadsRoute
from einthoven.version import __version__

__all__ = ["App", "Service", "build_app"]

AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_LOG: Final = logging.getLogger("einthoven.server")
_BODY_MAX: Final = 64 * 1024
"""Largest request but those with segments, bytes."""
_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
_RETRY: Final = (b"retry-after", str(RETRY_AFTER_S).encode())
_OF_STATUS: Final = {401: ((b"www-authenticate", b"Bearer"),), 429: (_RETRY,), 503: (_RETRY,)}
"""What an answer of such a status carries too."""


class App:
    """An ASGI application: routes named here first, everything else by the framework."""

    def __init__(
        self,
        framework: Litestar,
        front: Mapping[tuple[str, str], AsgiApp],
        feed: Feed,
        below: Mapping[str, AsgiApp],
    ) -> None:
        self.framework = framework
        self._below = below
        self.feed = feed
        self.document = document(framework)
        """The OpenAPI document."""
        self._behind: Any = framework
        self._front: dict[tuple[str, str], AsgiApp] = {
            ("GET", "/schema/openapi.json"): _Page(self.document),
            **front,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "websocket" and ("WEBSOCKET", scope["path"]) in self._front:
            await self._front["WEBSOCKET", scope["path"]](scope, receive, send)
            return
        if scope["type"] != "http":
            await self._behind(scope, receive, send)
            return
        app = self._front.get((scope["method"], scope["path"])) or self._app_below(scope["path"])
        if app is None:
            await self._behind(scope, receive, _Guarded(send))
            return
        guarded = _Guarded(send)
        try:
            await app(scope, receive, guarded)
        except Exception as error:
            if guarded.has_begun:
                raise
            _LOG.error("a request failed", extra=place_of(error))
            await _defect(guarded)

    def _app_below(self, path: str) -> AsgiApp | None:
        """Who serves a path and all that is below it."""
        return next(
            (app for top, app in self._below.items() if path == top or path.startswith(f"{top}/")), None
        )


class _Page:
    """The document, as it lies ready."""

    def __init__(self, content: dict[str, Any]) -> None:
        self._content = msgspec.json.encode(content)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's
        await _respond(send, 200, self._content)


class _Guarded:
    """Adds the headers that every answer carries."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_begun = False

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            given = list(message.get("headers", ()))
            named = {name.lower() for name, _ in given}
            also = (*_HEADERS, *_OF_STATUS.get(message["status"], ()))
            message["headers"] = [*given, *(one for one in also if one[0] not in named)]
        await self._send(message)


async def _defect(send: Send) -> None:
    error = DefectError("something went wrong in the service.", where="service", remedy="Please report it.")
    await _respond(send, 500, msgspec.json.encode(error.as_dict()))


async def _respond(send: Send, status: int, content: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content, "more_body": False})


def build_app(
    service: Service,
    *,
    cost: PasswordCost = PasswordCost(),  # noqa: B008 - frozen
    front: Mapping[tuple[str, str], AsgiApp] = {},
) -> App:
    """The application of one worker.

    Parameters
    ----------
    cost : what a password costs whoever guesses it.
    front : more ASGI applications by method and path, served before the framework: metrics.
    """
    reception = Reception(service, cost)
    ingest = IngestRoute(
        service.intake,
        service.identities.sender,
        service.clock,
        unseal=reception.payloads.open,
        is_plain_taken=service.settings.sealed == "accepted",
        body_max_bytes=service.settings.body_max_bytes,
        spans=service.spans,
    )

    feed = Feed(service.database, service.clock)
    listening = events_route(feed, service.identities)

    async def close() -> None:
        await feed.close()
        reception.close()

    async def tidy() -> None:
        await asyncio.to_thread(forget_left_behind, service.settings.reports_cache)

    framework = Litestar(
        route_handlers=[
            *ingest_document.HANDLERS,
            *alert_routes.HANDLERS,
            *events.HANDLERS,
            *people_routes.HANDLERS,
            *session_routes.HANDLERS,
            *grant_routes.HANDLERS,
            *audit_routes.HANDLERS,
            *token_routes.HANDLERS,
            *ward_routes.HANDLERS,
            *stream_routes.HANDLERS,
            *payload_routes.HANDLERS,
            *strip_routes.HANDLERS,
            *view_routes.HANDLERS,
            *consent_routes.HANDLERS,
            *fhir_routes.HANDLERS,
            *upload_document.HANDLERS,
            *recording_routes.HANDLERS,
            *report_routes.HANDLERS,
            *region_routes.HANDLERS,
            *ledger_routes.HANDLERS,
            *figure_routes.HANDLERS,
            *health_routes.HANDLERS,
        ],
        dependencies={
            "reception": Provide(reception_of, sync_to_thread=False),
            "person": Provide(person_of, sync_to_thread=False),
            "party": Provide(party_behind, sync_to_thread=False),
            "sight": Provide(sight_behind, sync_to_thread=False),
            "span": Provide(asked_span, sync_to_thread=False),
        },
        state=State({"reception": reception}),
        guards=[let_in],
        exception_handlers=problems.HANDLERS,
        request_class=StrictRequest,
        request_max_body_size=_BODY_MAX,
        openapi_config=OpenAPIConfig(
            title="Einthoven",
            version=__version__,
            description=NOTICE,
            path="/schema",
            render_plugins=[JsonRenderPlugin()],
            components=Components(security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer")}),
            use_handler_docstrings=True,
        ),
        on_app_init=[describe],
        on_startup=[tidy],
        on_shutdown=[close],
        logging_config=None,
        debug=False,
    )
    return App(
        framework,
        {
            ("POST", "/v1/segments"): ingest,
            ("GET", EVENTS_PATH): listening,
            ("WEBSOCKET", EVENTS_PATH): listening,
            **page_routes(),
            **front,
        },
        feed,
        {UPLOADS_PATH: UploadsRoute(reception.uploads, service.identities)},
    )
