"""How often, how long apart and how long a delivery is tried; what came of it."""

import hashlib
from typing import Final

import msgspec

from einthoven.alerts.sightings import NS
from einthoven.errors import InputInvalid

__all__ = ["DeliveryPolicy", "Failure", "Receipt", "next_attempt_ns"]

_MOST_TEXT: Final = 200


class Receipt(msgspec.Struct, frozen=True):
    """A receiver took a notification. Kept."""

    notification_id: str
    at_ns: int
    reference: str
    """What the receiver said: a status, a queue number, a sequence."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "reference", plain(self.reference))


class Failure(msgspec.Struct, frozen=True):
    """A receiver did not take it, this time."""

    notification_id: str
    at_ns: int
    reason: str
    retry_after_s: float | None = None
    """What the receiver asked for."""
    is_permanent: bool = False
    """It will never take it."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "reason", plain(self.reason))


def plain(text: str) -> str:
    """A receiver's words, cut short and without what would hurt a terminal or a log."""
    return "".join(one if one.isprintable() else " " for one in text)[:_MOST_TEXT]


class DeliveryPolicy(msgspec.Struct, frozen=True):
    """Exponential back-off with jitter, and when to give up.

    With the defaults: after 1, 2, 4, … 300 s, each up to a quarter shorter, for a day.
    """

    first_s: float = 1.0
    factor: float = 2.0
    most_s: float = 300.0
    jitter: float = 0.25
    """Share by which a wait may be shorter."""
    give_up_s: float = 86_400.0
    """After the notification was made; then it is a dead letter."""
    seed: int = 0

    def __post_init__(self) -> None:
        sound = 0 < self.first_s <= self.most_s and self.factor >= 1 and 0 <= self.jitter < 1
        if not (sound and self.give_up_s > 0):
            raise InputInvalid(
                "a delivery policy has 0 < first_s <= most_s, factor >= 1, 0 <= jitter < 1, give_up_s > 0.",
                where="delivery",
                remedy="Change the value that breaks this.",
            )


def next_attempt_ns(
    policy: DeliveryPolicy, failure: Failure, *, attempts: int, created_ns: int
) -> int | None:
    """When to try again after so many attempts, UTC; None: never, it is a dead letter.

    The same failure gives the same time: the jitter is drawn from the seed, the notification and the attempt.
    """
    if failure.is_permanent:
        return None
    exponent = min(attempts - 1, 64)
    wait_s = min(policy.first_s * policy.factor**exponent, policy.most_s)
    drawn = hashlib.sha256(f"{policy.seed}/{failure.notification_id}/{attempts}".encode()).digest()
    wait_s *= 1 - policy.jitter * int.from_bytes(drawn[:8]) / 2**64
    if failure.retry_after_s is not None:
        wait_s = max(wait_s, min(failure.retry_after_s, policy.most_s))
    again_ns = failure.at_ns + round(wait_s * NS)
    return again_ns if again_ns <= created_ns + round(policy.give_up_s * NS) else None
