"""How a process says that it is ready and lives: the datagrams of sd_notify(3), to whoever started it.

``READY=1`` when it takes calls, then ``WATCHDOG=1`` as often as ``WATCHDOG_USEC`` asks, to ``NOTIFY_SOCKET``;
where the environment has none, nothing is said. So systemd, podman and the agent of a node are told alike.
"""

import asyncio
import os
import socket
from collections.abc import Mapping
from contextlib import suppress

__all__ = ["keep_telling"]


async def keep_telling(environment: Mapping[str, str] = os.environ) -> None:
    """Say that this process is ready, and from then on that it lives; ends by being cancelled."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address:
        return
    address = "\0" + address[1:] if address.startswith("@") else address
    asked_us = environment.get("WATCHDOG_USEC", "")
    _tell(address, b"READY=1")
    if not asked_us.isdecimal() or not int(asked_us):
        return
    while True:
        await asyncio.sleep(int(asked_us) / 2e6)
        _tell(address, b"WATCHDOG=1")


def _tell(address: str, what: bytes) -> None:
    """Whoever listened may be gone for a while."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one, suppress(OSError):
        one.setblocking(False)
        one.sendto(what, address)
