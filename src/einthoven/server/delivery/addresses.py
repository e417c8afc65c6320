"""Where webhooks may go: nobody who can write a URL makes the service speak to its own network.

A name is resolved once, and what was checked is what is connected to, so that a name cannot point elsewhere
between the two (DNS rebinding). Redirects are not followed, proxies of the environment are not used.
"""

import ipaddress
import socket
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult

from einthoven.errors import DeliveryFailed, InputInvalid

__all__ = ["AddressGuard", "GuardedResolver"]

_LOOPBACK: Final = ("127.0.0.0/8", "::1/128")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


class AddressGuard:
    """Says which URLs and addresses are allowed: HTTPS to public addresses, and what is named here.

    Parameters
    ----------
    networks : further networks, such as ``10.1.0.0/16`` for a hospital's own receivers
    allows_http : unencrypted as well; loopback is always allowed it when its network is named

    Raises
    ------
    InputInvalid : something that is no network.
    """

    def __init__(self, networks: Iterable[str] = (), *, allows_http: bool = False) -> None:
        try:
            self._networks = tuple(map(ipaddress.ip_network, networks))
        except ValueError:
            raise InputInvalid(
                "this is no network.", where="networks", remedy="Write them like 10.1.0.0/16."
            ) from None
        self._allows_http = allows_http

    @staticmethod
    def of_this_machine() -> "AddressGuard":
        """For tests and trials: loopback, unencrypted."""
        return AddressGuard(_LOOPBACK, allows_http=True)

    def check_url(self, url: str) -> None:
        """Refuse what is no URL of a receiver.

        Raises
        ------
        DeliveryFailed : scheme, user name, or an address that is not allowed; for good.
        """
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
            has_user = parts.username is not None or parts.password is not None
            _ = parts.port
        except ValueError:
            raise _refused("the address is no URL") from None
        allowed = ("https", "http") if self._allows_http else ("https",)
        if parts.scheme not in allowed or not host or has_user:
            raise _refused(f"the address must be {' or '.join(allowed)}, with a host and without a user name")
        literal = _literal(host)
        if literal is not None and not self.allows(literal):
            raise _refused("the address lies in a network that is not allowed")

    def allows(self, address: str) -> bool:
        """Whether this address may be connected to."""
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(ip, ipaddress.IPv6Address):
            ip = ip.ipv4_mapped or ip.sixtofour or _behind_nat64(ip) or ip
        if any(ip.version == network.version and ip in network for network in self._networks):
            return True
        return ip.is_global and not ip.is_multicast


class GuardedResolver(AbstractResolver):
    """Resolves names, and keeps what is allowed."""

    def __init__(self, guard: AddressGuard) -> None:
        self._guard = guard
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """See `AbstractResolver`; a name without an allowed address does not resolve."""
        found = await self._resolver.resolve(host, port, family)
        allowed = [one for one in found if self._guard.allows(one["host"])]
        if not allowed:
            raise OSError(None, "the name leads to a network that is not allowed")
        return allowed

    async def close(self) -> None:
        """See `AbstractResolver`."""
        await self._resolver.close()


def _behind_nat64(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    return ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF) if ip in _NAT64 else None


def _literal(host: str) -> str | None:
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return None


def _refused(what: str) -> DeliveryFailed:
    return DeliveryFailed(
        what + ".",
        where="webhook",
        remedy="Correct the contact's address, or allow the network in the configuration.",
        is_permanent=True,
    )
