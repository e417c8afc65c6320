"""Identity tokens (OIDC): fetched when they are needed, kept while they are good, fetched anew."""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Final

import aiohttp
import msgspec

from einthoven.clock import Clock

__all__ = ["METADATA", "IdentityTokens", "TokenSource", "metadata_tokens"]

TokenSource = Callable[[], Awaitable[str]]
"""Fetches a token."""
METADATA: Final = (
    "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/identity"
)
"""Where a machine of Google Cloud gets tokens of its own service account."""
_EARLY_S: Final = 60.0
"""A token is fetched anew so long before it ends."""
_UNKNOWN_S: Final = 300.0
"""How long a token is kept that does not say when it ends."""
_METADATA_S: Final = 10.0


class _Claims(msgspec.Struct, frozen=True):
    exp: float


class IdentityTokens:
    """Keeps the token of a source until shortly before it ends, as a JWT says in ``exp``."""

    def __init__(self, fetch: TokenSource, clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._token = ""
        self._until_s = 0.0
        self._one_fetches = asyncio.Lock()

    async def __call__(self) -> str:
        """A token that is good; raises what the source raises."""
        async with self._one_fetches:
            now_s = self._clock.utc_ns() / 1e9
            if not self._token or self._until_s <= now_s:
                self._token = await self._fetch()
                self._until_s = (_end_of(self._token) or now_s + _UNKNOWN_S + _EARLY_S) - _EARLY_S
            return self._token

    def forget(self, token: str) -> None:
        """Fetch another one next time, because this was refused."""
        if token == self._token:
            self._token = ""


def metadata_tokens(audience: str, address: str = METADATA) -> TokenSource:
    """Tokens for a service (``audience``: its URL) from the metadata server of the machine."""

    async def fetch() -> str:
        timeout = aiohttp.ClientTimeout(total=_METADATA_S)
        async with (
            aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session,
            session.get(
                address,
                params={"audience": audience, "format": "full"},
                headers={"Metadata-Flavor": "Google"},
                allow_redirects=False,
            ) as answer,
        ):
            return (await answer.text()).strip()

    return fetch


def _end_of(token: str) -> float | None:
    """When a JWT ends, s since the epoch; None where it does not say."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return msgspec.json.decode(claims, type=_Claims).exp
    except (binascii.Error, msgspec.DecodeError, ValueError):
        return None
