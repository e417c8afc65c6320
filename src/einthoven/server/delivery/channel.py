"""A way to reach somebody: the seam between the dispatcher and the world."""

from typing import Protocol

from einthoven.alerts import Notification, Receipt

__all__ = ["Channel"]


class Channel(Protocol):
    """Hands a notification to whoever its address names."""

    async def send(self, notification: Notification) -> Receipt:
        """Deliver, and say what the receiver said. The same notification may be sent again: same id.

        Raises
        ------
        DeliveryFailed : it was not taken; whether and when to try again.
        """
        ...

    async def close(self) -> None:
        """Let go of connections; a later `send` opens them again."""
        ...
