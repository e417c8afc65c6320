"""How both sides of a region over NATS connect; what the extra brings is loaded here only."""

from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from einthoven.errors import InputInvalid
from einthoven.runtime.nats_link import NatsLink

if TYPE_CHECKING:
    from einthoven.runtime.nats_connection import NatsConnection

__all__ = ["check_installed", "connected"]


async def connected(
    link: NatsLink, *, name: str, lost: Callable[[], None], closed: Callable[[], Awaitable[None]]
) -> "NatsConnection":
    """Connect, however long it takes; cancel it to give up.

    Parameters
    ----------
    lost : called when the connection breaks; it comes back by itself.
    closed : called when it does not: the servers refuse it.

    Raises
    ------
    InputInvalid : what is needed for it is not installed, or one of the files cannot be used.
    """
    check_installed(link)
    from einthoven.runtime.nats_connection import NatsConnection  # noqa: PLC0415 - an extra

    return await NatsConnection.opened(link, name=name, lost=lost, closed=closed)


def check_installed(link: NatsLink) -> None:
    """Raise InputInvalid if what is needed for it is not there."""
    wanted = ("nats", "nkeys") if link.credentials is not None else ("nats",)
    for name in wanted:
        if find_spec(name) is None:
            raise InputInvalid(
                f"regions over NATS need {name}, which is not installed.",
                where="nats",
                remedy="Run: pip install 'einthoven[nats]'.",
            )
