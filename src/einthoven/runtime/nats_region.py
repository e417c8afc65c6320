"""A region behind NATS: any number of function hosts in one queue group, on any number of machines.

A call is sent to the group, and one member has it. It is sent again under its key, inside its time, when it
is known that no answer comes, or when nothing was heard for a while: a member that works on a call says so.
Of several answers the first counts.
"""

import asyncio
import itertools
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Literal, get_args
from urllib.parse import quote, unquote

import msgspec

from einthoven.errors import EinthovenError
from einthoven.runtime.conducting import FunctionRefused, FunctionUnknown, InvocationBroke
from einthoven.runtime.hosted import FUSED
from einthoven.runtime.nats_link import (
    BUSY,
    ENCODING,
    ERROR,
    ERROR_TEXT,
    FUNCTION,
    HEADERS_MAX_BYTES,
    KEY,
    RETRY_AFTER,
    TIMEOUT,
    UNKNOWN,
    WORKING,
    Member,
    NatsLink,
    Unreached,
    is_token,
    number_in,
    subject_of_function,
    subject_of_info,
)
from einthoven.runtime.nats_opening import check_installed, connected
from einthoven.runtime.region_port import Answer, Call, HostedFunction, Probed
from einthoven.workflow import Break

if TYPE_CHECKING:
    from einthoven.runtime.nats_connection import Msg, NatsConnection

__all__ = ["NatsRegion"]

_KINDS: Final = frozenset(get_args(Break))
_PAUSES_S: Final[dict[str, tuple[float, ...]]] = {
    "nobody": (0.05, 0.2),
    "throttled": (0.02, 0.05, 0.1, 0.2, 0.4),
    "transport": (0.0, 0.1),
    "silent": (0.0, 0.0, 0.0, 0.0),
}
"""How often a call is sent again after each of these, and how long before."""
_LATE_S: Final = 0.05
_NAMES_MAX: Final = 1024
"""Of fused functions, all their names."""
_NOBODY: Final = "503"


class _Again(msgspec.Struct, frozen=True):
    """No answer comes of what was sent, but one may if it is sent again."""

    why: Literal["nobody", "throttled", "transport", "silent"]
    broke: InvocationBroke


_Said = Answer | InvocationBroke | _Again


class _Asked:
    """A call that waits for its answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, patience_s: float) -> None:
        self._loop = loop
        self._patience_s = patience_s
        self._heard_s = 0.0
        self._turn: asyncio.Future[_Said] = loop.create_future()
        self._last: Answer | InvocationBroke | None = None
        self._look: asyncio.TimerHandle | None = None

    def heard(self) -> None:
        """Somebody works on it."""
        self._heard_s = self._loop.time()

    def tell(self, said: _Said) -> None:
        """What came of it; an answer counts whichever sending it is to, and only the first."""
        if not isinstance(said, _Again):
            self._last = self._last or said
        if not self._turn.done():
            self._turn.set_result(said)

    def begin(self) -> None:
        """It is about to be sent; of what was sent before only an answer counts any more."""
        self._turn = self._loop.create_future()

    async def wait(self) -> _Said:
        """What comes of what was just sent."""
        if self._last is not None:
            return self._last
        self.heard()
        self._look_in(self._patience_s)
        try:
            return await self._turn
        finally:
            if self._look is not None:
                self._look.cancel()

    def _look_in(self, pause_s: float) -> None:
        self._look = self._loop.call_later(pause_s, self._look_at, self._loop.time() + pause_s)

    def _look_at(self, due_s: float) -> None:
        now_s = self._loop.time()
        left_s = self._heard_s + self._patience_s - now_s
        if now_s - due_s > _LATE_S:
            # Something else held this thread; what came meanwhile has not been looked at.
            self._look_in(_LATE_S)
        elif left_s > 0:
            self._look_in(left_s)
        else:
            self.tell(_Again("silent", InvocationBroke("transport", "nothing was heard of the call")))


class NatsRegion:
    """See `einthoven.runtime.region_port.RegionPort`.

    It connects with the first call, and again whenever the connection breaks.

    Parameters
    ----------
    region : the name under which the members host.
    patience_s : how long a silence, or the servers' absence, is put up with.
    gather_s : how long members are waited for who say what they have.
    """

    def __init__(
        self, region: str, link: NatsLink, *, patience_s: float = 1.0, gather_s: float = 0.2
    ) -> None:
        check_installed(link)
        self._region = region
        self._info = subject_of_info(region)
        self._link = link
        self._patience_s = patience_s
        self._gather_s = gather_s
        self._opening: asyncio.Task[NatsConnection] | None = None
        self._inbox = ""
        self._numbers = itertools.count()
        self._asked: dict[str, _Asked] = {}
        self._gathering: dict[str, asyncio.Queue[Member | None]] = {}
        self._is_closed = False

    async def invoke(self, call: Call) -> Answer:
        """See `RegionPort`."""
        if self._is_closed:
            raise _closed()
        if len(call.function) > _NAMES_MAX or not all(map(is_token, call.function.split(FUSED))):
            raise _unknown(call.function)
        loop = asyncio.get_running_loop()
        asked = _Asked(loop, self._patience_s)
        number = str(next(self._numbers))
        self._asked[number] = asked
        try:
            async with asyncio.timeout(call.timeout_s):
                return await self._answer(call, asked, number, loop.time() + call.timeout_s)
        except TimeoutError:
            raise InvocationBroke("timeout", f"no answer within {call.timeout_s:g} s") from None
        finally:
            del self._asked[number]

    async def probe(self) -> Probed:
        """See `RegionPort`; of all members together."""
        members: list[Member] = []
        for pause_s in (*_PAUSES_S["nobody"], None):
            members = await self._members()
            if members or pause_s is None:
                break
            await asyncio.sleep(pause_s)
        if not members:
            raise _nobody()
        working = [one for one in members if not one.is_draining] or members
        functions: set[HostedFunction] = set()
        for one in working:
            functions.update(one.functions)
        return Probed(
            functions=tuple(sorted(functions, key=lambda one: (one.name, one.version))),
            slots=sum(one.slots for one in working),
            is_draining=all(one.is_draining for one in members),
        )

    async def close(self) -> None:
        """See `RegionPort`."""
        self._is_closed = True
        for asked in self._asked.values():
            asked.tell(_closed())
        for heard in self._gathering.values():
            heard.put_nowait(None)
        opening, self._opening = self._opening, None
        if opening is None:
            return
        opening.cancel()
        (opened,) = await asyncio.gather(opening, return_exceptions=True)
        if not isinstance(opened, BaseException):
            await opened.close()

    # ---------------------------------------------------------------- calls

    async def _answer(self, call: Call, asked: _Asked, number: str, until_s: float) -> Answer:
        left = {why: iter(pauses) for why, pauses in _PAUSES_S.items()}
        while True:
            said = await self._sent(call, asked, number, until_s)
            if isinstance(said, Answer):
                return said
            if isinstance(said, InvocationBroke):
                raise said
            if said.why == "nobody":
                await self._refuse_unknown(call.function.split(FUSED)[0])
            pause_s = next(left[said.why], None)
            if pause_s is None:
                raise said.broke
            if pause_s:
                # Those who were sent away together do not come back together.
                await asyncio.sleep(pause_s * (0.5 + hash(number) % 1024 / 1024))

    async def _sent(self, call: Call, asked: _Asked, number: str, until_s: float) -> _Said:
        connection = await self._connection()
        if len(call.content) > connection.message_max_bytes - HEADERS_MAX_BYTES:
            raise InvocationBroke(
                "payload",
                f"the content has {len(call.content)} bytes, and the NATS server takes "
                f"{connection.message_max_bytes} at most with headers: pass it by reference",
            )
        key = quote(call.key)
        if len(key) > HEADERS_MAX_BYTES // 2:
            raise FunctionRefused("the key is too long")
        left_s = until_s - asyncio.get_running_loop().time()
        headers = {KEY: key, ENCODING: call.encoding, TIMEOUT: str(max(1, round(1000 * left_s)))}
        first, *others = call.function.split(FUSED)
        if others:
            headers[FUNCTION] = call.function
        subject = subject_of_function(self._region, first)
        asked.begin()
        try:
            await connection.publish(subject, call.content, headers, reply=f"{self._inbox}.{number}")
        except Unreached as error:
            return _Again("transport", InvocationBroke("transport", str(error)))
        return await asked.wait()

    async def _refuse_unknown(self, function: str) -> None:
        """Nobody listens: because nobody is there, or because nobody has it."""
        members = await self._members()
        if members and not any(one.name == function for member in members for one in member.functions):
            raise _unknown(function)

    async def _members(self) -> list[Member]:
        """All who say within a little time what they have."""
        if self._is_closed:
            raise _closed()
        connection = await self._connection()
        number = f"i{next(self._numbers)}"
        heard = self._gathering[number] = asyncio.Queue()
        found: list[Member] = []
        try:
            await connection.publish(self._info, b"", {}, reply=f"{self._inbox}.{number}")
            async with asyncio.timeout(self._patience_s) as waiting:
                while (one := await heard.get()) is not None:
                    if not found:
                        waiting.reschedule(asyncio.get_running_loop().time() + self._gather_s)
                    found.append(one)
        except Unreached as error:
            raise InvocationBroke("transport", str(error)) from None
        except TimeoutError:
            pass
        finally:
            del self._gathering[number]
        if self._is_closed:
            raise _closed()
        return found

    async def _heard(self, message: "Msg") -> None:
        number = message.subject.rpartition(".")[2]
        headers = message.headers or {}
        gathering = self._gathering.get(number)
        if gathering is not None:
            if headers.get("Status") == _NOBODY:
                gathering.put_nowait(None)
            with suppress(msgspec.DecodeError):
                gathering.put_nowait(msgspec.json.decode(message.data, type=Member))
            return
        asked = self._asked.get(number)
        if asked is None:
            return
        if WORKING in headers:
            asked.heard()
        else:
            asked.tell(_said(message, headers))

    # ---------------------------------------------------------------- the connection

    async def _connection(self) -> "NatsConnection":
        """One that is up.

        Raises
        ------
        InvocationBroke : for a while there is none.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._patience_s
        while True:
            if self._is_closed:
                raise _closed()
            opening, self._opening = self._opening, None
            if opening is None or (opening.done() and _has_ended(opening)):
                opening = asyncio.ensure_future(self._opened())
            self._opening = opening
            left_s = max(0.0, until_s - loop.time())
            if not opening.done():
                await asyncio.wait((opening,), timeout=left_s)
            elif (connection := opening.result()).is_up:
                return connection
            else:
                await asyncio.sleep(0.01)
            if left_s <= 0:
                raise InvocationBroke("transport", f"no NATS server can be reached at {self._link.places}")

    async def _opened(self) -> "NatsConnection":
        connection = await connected(
            self._link, name=f"einthoven-region-{self._region}", lost=self._lost, closed=_nothing
        )
        try:
            self._inbox = connection.new_inbox()
            await connection.subscribe(f"{self._inbox}.*", self._heard)
        except BaseException:
            await connection.close()
            raise
        return connection

    def _lost(self) -> None:
        """Answers to what was sent may never come."""
        broke = InvocationBroke("transport", "the connection to the NATS server broke")
        for asked in self._asked.values():
            asked.tell(_Again("silent", broke))


def _has_ended(opening: "asyncio.Task[NatsConnection]") -> bool:
    """Whether it is of no use any more; raises InvocationBroke if it came to nothing."""
    if opening.cancelled():
        return True
    error = opening.exception()
    if error is None:
        return opening.result().is_closed
    said = error.what if isinstance(error, EinthovenError) else f"it cannot be used ({type(error).__name__})"
    raise InvocationBroke("transport", f"NATS: {said}")


async def _nothing() -> None:
    """The next call opens another."""


def _said(message: "Msg", headers: dict[str, str]) -> _Said:
    if headers.get("Status") == _NOBODY:
        return _Again("nobody", _nobody())
    error = headers.get(ERROR)
    if error is None:
        busy_us = number_in(headers, BUSY)
        return Answer(content=message.data, busy_s=math.nan if busy_us is None else busy_us / 1e6)
    if error not in _KINDS:
        return InvocationBroke("reply", "a member answered with an error that is unknown here")
    if UNKNOWN in headers:
        return FunctionUnknown(unquote(headers.get(ERROR_TEXT, ""))[:500] or error)
    after_ms = number_in(headers, RETRY_AFTER)
    kind: Break = error  # type: ignore[assignment] # one of them
    text = unquote(headers.get(ERROR_TEXT, ""))[:500] or kind
    broke = InvocationBroke(kind, text, None if after_ms is None else after_ms / 1e3)
    return _Again(kind, broke) if kind in ("throttled", "transport") else broke


def _closed() -> InvocationBroke:
    return InvocationBroke("transport", "the region is closed")


def _nobody() -> InvocationBroke:
    return InvocationBroke("transport", "no member of the region is there")


def _unknown(function: str) -> FunctionUnknown:
    return FunctionUnknown(f"nobody here knows the function {function[:64]!r}")
