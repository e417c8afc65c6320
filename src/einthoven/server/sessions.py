"""Sessions of browsers: the token in a cookie that no script reads, and what stands against forged requests.

A cookie travels with every request to the service, whoever made the browser send it. So it counts for a
request that changes something only if the page also says a word that it was told when the session began and
that other sites cannot read: the CSRF token, made from the session's own token, so that nothing more is kept.
"""

import hmac
from http.cookies import CookieError, SimpleCookie
from typing import Final

from einthoven.errors import AccessDenied
from einthoven.server.ingest import Scope, token_in

__all__ = ["CSRF_HEADER", "cookie_for", "csrf_token", "is_from_elsewhere", "token_behind", "without_cookie"]

CSRF_HEADER: Final = "X-CSRF-Token"
_CSRF: Final = CSRF_HEADER.lower().encode()
_NAME: Final = "einthoven_session"
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OURS: Final = frozenset({b"", b"same-origin", b"none"})


def csrf_token(token: str) -> str:
    """The word that a page must say beside the cookie."""
    return hmac.digest(token.encode(), b"einthoven csrf", "sha256").hex()


def cookie_for(token: str, lifetime_s: float, scheme: str) -> str:
    """A Set-Cookie header: no script reads it, other sites never have it sent; over TLS, only over TLS."""
    return f"{_name(scheme)}={token}; Max-Age={round(lifetime_s)}; {_terms(scheme)}"


def without_cookie(scheme: str) -> str:
    """A Set-Cookie header that ends it."""
    return f"{_name(scheme)}=; Max-Age=0; {_terms(scheme)}"


def token_behind(scope: Scope) -> str:
    """The token of a request: in its Authorization header, else in the cookie; empty where there is none.

    Raises
    ------
    AccessDenied : a request that changes something comes with the cookie and without the CSRF token.
    """
    headers = dict(scope["headers"])
    given = headers.get(b"authorization")
    if given is not None:
        return token_in(given)
    token = _cookie_in(headers.get(b"cookie", b""), scope.get("scheme", "http"))
    if not token or scope["type"] == "websocket":  # other sites may open one, and no header stands against it
        return ""
    said = headers.get(_CSRF, b"")
    if scope["method"] not in _SAFE and not hmac.compare_digest(said, csrf_token(token).encode()):
        raise AccessDenied(
            "a session of a browser changes nothing without its CSRF token.",
            where=CSRF_HEADER,
            remedy="Send the csrfToken that GET /v1/session gives.",
        )
    return token


def is_from_elsewhere(scope: Scope) -> bool:
    """Whether a browser says that another site made it send this."""
    return dict(scope["headers"]).get(b"sec-fetch-site", b"") not in _OURS


def _name(scheme: str) -> str:
    """Over TLS with a prefix that lets neither other hosts of the domain nor plain HTTP write it."""
    return f"__Host-{_NAME}" if scheme == "https" else _NAME


def _terms(scheme: str) -> str:
    return "Path=/; HttpOnly; SameSite=Strict" + ("; Secure" if scheme == "https" else "")


def _cookie_in(header: bytes, scheme: str) -> str:
    if not header:
        return ""
    try:
        found = SimpleCookie(header.decode("latin-1")).get(_name(scheme))
    except CookieError:
        return ""
    return found.value if found is not None else ""
