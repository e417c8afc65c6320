"""Which sequence numbers of a device were taken: each once, in any order, as far back as the window reaches.

The window of RFC 4303 (section 3.4.3), wide enough for a day and a half of half-minutes that a device sends
late. What is older cannot be told from a replay, and is refused.
"""

from typing import Final

import msgspec

from einthoven.errors import EnvelopeReplayed, InputInvalid

__all__ = ["WINDOW", "ReplayWindow"]

WINDOW: Final = 4096
"""Numbers that are remembered, the highest with."""
_BYTES_MOST: Final = WINDOW // 8
_MASK: Final = (1 << WINDOW) - 1


class ReplayWindow(msgspec.Struct, frozen=True):
    """One device's; a value that whoever opens its envelopes keeps with what it opened."""

    highest: int = -1
    """The highest number that was taken."""
    seen: bytes = b""
    """Little-endian; bit n is the number ``highest - n``."""

    def __post_init__(self) -> None:
        if self.highest < -1 or len(self.seen) > _BYTES_MOST:
            raise InputInvalid(f"a window has a number and at most {_BYTES_MOST} bytes.", where="window")

    def after(self, sequence: int) -> "ReplayWindow":
        """The window when this number is taken.

        Raises
        ------
        EnvelopeReplayed : it was taken, or it is older than the window reaches.
        """
        seen = int.from_bytes(self.seen, "little")
        ahead = sequence - self.highest
        if ahead > 0:
            seen = (seen << ahead | 1) & _MASK if ahead < WINDOW else 1
            highest = sequence
        else:
            if sequence < 0 or -ahead >= WINDOW or seen >> -ahead & 1:
                raise EnvelopeReplayed(
                    "this sequence number was taken before, or is too old to tell.",
                    where="sequence",
                    remedy="If it is a repetition for want of an answer, the first one was taken.",
                )
            seen |= 1 << -ahead
            highest = self.highest
        return ReplayWindow(highest, seen.to_bytes((seen.bit_length() + 7) // 8, "little"))
