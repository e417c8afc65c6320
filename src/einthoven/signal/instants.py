"""Instants as calendars have them; whoever writes a start somewhere asks here."""

from datetime import UTC, datetime, timedelta
from typing import Final

from einthoven.errors import InputInvalid

__all__ = ["in_calendar"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def in_calendar(at_ns: int, where: str) -> datetime:
    """An instant in UTC, to the microsecond.

    Raises
    ------
    InputInvalid : no calendar has it.
    """
    try:
        return _EPOCH + timedelta(microseconds=at_ns // 1000)
    except OverflowError:
        raise InputInvalid(
            "this is no instant of the years 1 to 9999.", where=where, remedy="Give ns since 1970."
        ) from None
