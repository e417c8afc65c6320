"""Routes of a browser's session: begun with a password, told to the page, ended."""

from typing import Any, Final

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.datastructures import State
from litestar.params import JSONBody
from litestar.types import ControllerRouterHandler

from einthoven.errors import AccessDenied
from einthoven.server.accounts import Role
from einthoven.server.people_routes import Login
from einthoven.server.requests import Asker, Parts, address_of, bearer_of
from einthoven.server.sessions import cookie_for, csrf_token, is_from_elsewhere, without_cookie

__all__ = ["HANDLERS"]


class SessionSeen(msgspec.Struct, frozen=True, rename="camel"):
    """Who a browser acts for; its token is in a cookie that no script reads."""

    organisation: str
    user: str
    role: Role
    patient: str | None
    csrf_token: str
    """To be sent as X-CSRF-Token with whatever changes something."""


class SessionEnded(msgspec.Struct, frozen=True):
    """Whose session it was."""

    user: str


@post("/v1/session", status_code=201)
async def begin_session(
    reception: Parts, data: JSONBody[Login], request: Request[Any, Any, State]
) -> Response[SessionSeen]:
    """Begin a session of a browser: the token comes as a cookie. As guarded as `POST /v1/login`."""
    if is_from_elsewhere(request.scope):  # type: ignore[arg-type]
        raise AccessDenied(
            "another site began this.", where="Sec-Fetch-Site", remedy="Sign in on the service's own page."
        )
    begun = await reception.logins.log_in(data.organisation, data.name, data.password, address_of(request))
    user = begun.user
    lifetime_s = ((begun.token.expires_ns or 0) - begun.token.created_ns) / 1e9
    return Response(
        SessionSeen(user.org, user.name, user.role, user.patient, csrf_token(begun.secret)),
        headers={"Set-Cookie": cookie_for(begun.secret, lifetime_s, request.scope["scheme"])},
    )


@get("/v1/session")
async def session(person: Asker, request: Request[Any, Any, State]) -> SessionSeen:
    """Whose session this is, and the CSRF token of its pages."""
    token = csrf_token(bearer_of(request))
    return SessionSeen(person.org, person.user, person.role, person.patient, token)


@delete("/v1/session", status_code=200)
async def end_session(
    reception: Parts, person: Asker, request: Request[Any, Any, State]
) -> Response[SessionEnded]:
    """End the session, and have the browser forget its cookie."""
    await reception.logins.log_out(person)
    reception.identities.forget(bearer_of(request))
    return Response(
        SessionEnded(person.user), headers={"Set-Cookie": without_cookie(request.scope["scheme"])}
    )


HANDLERS: Final[tuple[ControllerRouterHandler, ...]] = (begin_session, session, end_session)
