"""The pages: files that come with the program, served as they are. No build, and nothing from elsewhere.

They hold no data; what they show they ask of the API, as whoever signed in. Nothing runs in them but the
service's own files, and texts become nothing but text: the browser refuses the rest.
"""

import hashlib
from collections.abc import Awaitable, Callable
from html import escape
from importlib import resources
from typing import Final

import msgspec

from einthoven.notice import NOTICE, SHORT_NOTICE
from einthoven.server.ingest import Receive, Scope, Send
from einthoven.version import __version__

__all__ = ["POLICY", "PageFile", "page_files", "page_routes"]

PAGES: Final = {
    "/": "ward.html",
    "/patient": "patient.html",
    "/operator": "operator.html",
    "/sign-in": "sign-in.html",
}
"""Which file is which page."""
FILES_PATH: Final = "/pages"
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""What a browser lets a page do."""
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class PageFile(msgspec.Struct, frozen=True):
    """One file."""

    content: bytes
    kind: str
    tag: bytes
    """What changes with its content."""


def page_files() -> dict[str, PageFile]:
    """All files by name; every page ends with the notice."""
    folder = resources.files("einthoven.server").joinpath("pages")
    texts = {
        one.name: one.read_text(encoding="utf-8") for one in folder.iterdir() if _ending(one.name) in _TYPES
    }
    footer = texts.pop("footer.html").replace("{{version}}", __version__)
    footer = footer.replace("{{short}}", escape(SHORT_NOTICE)).replace("{{notice}}", escape(NOTICE))
    return {name: _file(name, text.replace("{{footer}}", footer)) for name, text in texts.items()}


def page_routes() -> dict[tuple[str, str], Callable[[Scope, Receive, Send], Awaitable[None]]]:
    """ASGI applications by method and path; the page of the virtual patients is served by these alone."""
    files = page_files()
    paths = {f"{FILES_PATH}/{name}": one for name, one in files.items() if not name.startswith("load.")}
    paths |= {path: files[name] for path, name in PAGES.items() if name in files}
    return {("GET", path): _Served(one) for path, one in paths.items()}


class _Served:
    """One file at its path."""

    def __init__(self, file: PageFile) -> None:
        self._file = file
        self._headers = [
            (b"content-type", file.kind.encode()),
            (b"content-security-policy", POLICY.encode()),
            (b"cross-origin-opener-policy", b"same-origin"),
            (b"cross-origin-resource-policy", b"same-origin"),
            (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
            (b"cache-control", b"no-cache"),
            (b"etag", file.tag),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's
        is_known = dict(scope["headers"]).get(b"if-none-match") == self._file.tag
        content = b"" if is_known else self._file.content
        length = [] if is_known else [(b"content-length", str(len(content)).encode())]
        status = 304 if is_known else 200
        await send({"type": "http.response.start", "status": status, "headers": [*self._headers, *length]})
        await send({"type": "http.response.body", "body": content})


def _file(name: str, text: str) -> PageFile:
    content = text.encode()
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'.encode()
    return PageFile(content, _TYPES[_ending(name)], tag)


def _ending(name: str) -> str:
    return name[name.rfind(".") :] if "." in name else ""
