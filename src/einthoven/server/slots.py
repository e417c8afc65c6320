"""How many do something at once; the others wait in turn, not for ever and not too many."""

import asyncio
from collections import deque

from einthoven.errors import Overloaded

__all__ = ["Slots"]


class Slots:
    """A number of places.

    Parameters
    ----------
    count : at once.
    waiting_max : others that may wait.
    """

    def __init__(self, count: int, waiting_max: int) -> None:
        self._free = count
        self._waiting_max = waiting_max
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self, wait_s: float) -> None:
        """Have a place; it must be given back.

        Raises
        ------
        Overloaded : there was none in that time, or too many wait.
        """
        if self._free:
            self._free -= 1
            return
        if len(self._waiting) >= self._waiting_max:
            raise _full()
        loop = asyncio.get_running_loop()
        place: asyncio.Future[None] = loop.create_future()
        self._waiting.append(place)
        alarm = loop.call_later(wait_s, self._send_away, place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.give()
            elif place in self._waiting:
                self._waiting.remove(place)
            raise
        finally:
            alarm.cancel()

    def give(self) -> None:
        """Give a place back: to who waits longest."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1

    def _send_away(self, place: "asyncio.Future[None]") -> None:
        if not place.done():
            self._waiting.remove(place)
            place.set_exception(_full())


def _full() -> Overloaded:
    return Overloaded(
        "as many calls as may are under way.", remedy="Come back after the time in Retry-After."
    )
