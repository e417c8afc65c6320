"""Where notifications wait: written with the change that made them, taken out when they are delivered.

The laws, which `einthoven.testing.outbox.check_outbox` checks of any implementation:

1. A notification is known by its id; added again it changes nothing.
2. What is claimed is nobody else's until its lease is over; then anybody's. (So a dispatcher may die.)
3. Of a lane (recipient and alert) only the first that is neither done nor dead is ever due.
4. Due are those whose time has come, the most urgent first, then the oldest.
5. What failed is due again at the given time, with one attempt more; without a time it is a dead letter,
   visible until it is revived.
6. What is done stays done, with its first receipt, even if the lease was over when the receipt came. A
   failure told by a claim that is over changes nothing.
"""

from collections.abc import Collection, Iterable
from typing import Protocol

import msgspec

from einthoven.alerts import Failure, Notification, Receipt
from einthoven.alerts.notifications import Recipient

__all__ = ["DeadLetter", "Due", "Outbox"]


class Due(msgspec.Struct, frozen=True):
    """A notification that its claimant may deliver now."""

    notification: Notification
    attempts: int
    """Failures so far."""
    claim: str
    """Tells this claim from earlier and later ones."""


class DeadLetter(msgspec.Struct, frozen=True):
    """A notification that was given up."""

    notification: Notification
    attempts: int
    failure: Failure
    """The last."""


class Outbox(Protocol):
    """See the module for its laws; it raises `StoreUnavailable` when its store does not answer."""

    async def add(self, notifications: Iterable[Notification]) -> None:
        """Put in what no change carries, such as heart-beats; those of a change go in its transaction."""
        ...

    async def claim(
        self, at_ns: int, *, lease_s: float, limit: int, most_each: int, full: Collection[Recipient]
    ) -> list[Due]:
        """Take up to ``limit`` that are due, ``most_each`` at most a recipient, none of those in ``full``."""
        ...

    async def done(self, due: Due, receipt: Receipt) -> None:
        """Keep the receipt, and in the same transaction tell the alert (`einthoven.alerts.delivered`)."""
        ...

    async def failed(self, due: Due, failure: Failure, again_ns: int | None) -> None:
        """Keep the failure; due again then, or never."""
        ...

    async def next_due_ns(self) -> int | None:
        """When something may be due, leases that end included; too early is allowed, too late is not."""
        ...

    async def dead_letters(self, org: str) -> list[DeadLetter]:
        """What was given up, oldest first."""
        ...

    async def revive(self, notification_id: str, at_ns: int) -> bool:
        """Try a dead letter anew, as if it had just been made; False: there is no such dead letter."""
        ...
