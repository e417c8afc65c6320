"""Who a token belongs to, for every request.

A device's or gateway's token is looked up once and then known; what could make it bad before its time is one
number in the database, the epoch, which is read every two seconds. Nobody is let in on an epoch older than
`STALE_S`. A person's token is looked up again every two seconds. Tokens are found by their SHA-256, so that
nothing that takes time depends on a secret; unknown ones are remembered for a minute, so that guessing costs
the database little.
"""

import asyncio
import contextlib
import hmac
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from typing import Final, TypeVar

import msgspec

from einthoven.clock import Clock
from einthoven.errors import AccessDenied, DefectError, EinthovenError, Overloaded, RateExceeded, TokenInvalid
from einthoven.server import accounts
from einthoven.server.accounts import Bearer, Role
from einthoven.server.connections import Connections
from einthoven.server.tokens import PREFIXES
from einthoven.server.wire import BATCH_MAX, Sender
from einthoven.storage.database import Database, Statements

__all__ = ["STALE_S", "Identities", "Person", "Rates"]

V = TypeVar("V")

STALE_S: Final = 4.5
"""No token is trusted on what was read longer ago."""
_DUE_S: Final = 2.0
"""How often the epoch is read while somebody sends, and how long a person's token is trusted."""
_KNOWN_S: Final = 600.0
"""A device's token is read again after this, whatever the epoch says."""
_BURST_S: Final = 10.0
_KNOWN_MAX: Final = 50_000
_UNKNOWN_S: Final = 60.0
_UNKNOWN_MAX: Final = 20_000
_PENDING_MAX: Final = 20_000
_TOGETHER: Final = 200
"""Tokens in one question to the database."""
_MARK_S: Final = 60.0
"""How often tokens in use are noted."""
_MARK_AGAIN_S: Final = 3600.0
"""A token's last use is right to this."""
_LENGTH: Final = 47
_RETRY_S: Final = 0.5
_FOR_SENDER: Final = b"s"
_FOR_PERSON: Final = b"p"
_TOKEN_PREFIXES: Final = tuple(sorted(set(PREFIXES.values())))


class Rates(msgspec.Struct, frozen=True):
    """How much one token may send through one worker, segments per second; 0 for no limit.

    A batch may always be sent at once, and what was not used of ten seconds.
    """

    device_per_s: float = 20.0
    gateway_per_s: float = 5000.0


class Person(msgspec.Struct, frozen=True):
    """A user who asks."""

    org: str
    user: str
    role: Role
    token: int
    is_session: bool
    """Whether a password stood at the beginning, and not a token that a program keeps."""
    patient: str | None
    """Of the role patient: whose data."""


class _Known(msgspec.Struct, eq=False, gc=False):
    """A token that may send, as it was last read."""

    sender: Sender
    until_s: float
    """It is read again then."""
    rate_per_s: float
    most: float
    left: float
    """Segments that may be sent at once."""
    at_s: float
    mark_s: float
    """Its use is noted again then."""
    is_used: bool = False


class Identities:
    """What the routes ask; for one event loop."""

    def __init__(self, database: Database, clock: Clock, rates: Rates = Rates()) -> None:  # noqa: B008
        self._clock = clock
        self._rates = rates
        self._reading = Connections(database, 1, "identities")
        self._writing = Connections(database, 1, "token-use")
        self._senders: OrderedDict[bytes, _Known] = OrderedDict()
        self._people: OrderedDict[bytes, tuple[Person, float]] = OrderedDict()
        self._refused: OrderedDict[bytes, float] = OrderedDict()
        self._pending: dict[bytes, asyncio.Future[Bearer | EinthovenError | None]] = {}
        self._epoch = -1
        self._failure: EinthovenError | None = None
        self._due_s = float("-inf")
        self._stale_s = float("-inf")
        self._mark_s = clock.now_s() + _MARK_S
        self._tasks: set[asyncio.Task[None]] = set()
        self._refreshing: asyncio.Task[None] | None = None
        self._resolving: asyncio.Task[None] | None = None

    async def sender(self, token: str, segments: int) -> Sender:
        """Who may send with this token, if it may send so many segments more now.

        Raises
        ------
        TokenInvalid : none, unknown, expired or revoked. AccessDenied : not a device's or gateway's.
        RateExceeded : more than this token may. DatabaseUnavailable, Overloaded : nobody knows at the moment.
        """
        digest = sha256(token.encode()).digest()
        now_s = self._clock.now_s()
        known = self._senders.get(digest)
        if known is None or now_s >= self._due_s or now_s >= known.until_s:
            known = await self._sender(token, digest, now_s)
        if known.rate_per_s:
            left = known.left + (now_s - known.at_s) * known.rate_per_s
            left = min(left, known.most)
            if left < segments:
                raise RateExceeded(
                    "this token sends more than it may.",
                    where="service",
                    remedy="Send it again a little later; gather segments in batches.",
                )
            known.left = left - segments
            known.at_s = now_s
        known.is_used = True
        return known.sender

    async def person(self, token: str) -> Person:
        """The user who asks with this token.

        Raises
        ------
        TokenInvalid : none, unknown, expired or revoked. AccessDenied : a device's or gateway's.
        DatabaseUnavailable, Overloaded : nobody knows at the moment.
        """
        digest = sha256(token.encode()).digest()
        now_s = self._clock.now_s()
        known = self._people.get(digest)
        if known is not None and now_s < known[1]:
            return known[0]
        bearer = await self._bearer(token, digest, now_s, _FOR_PERSON)
        if bearer.kind not in ("user", "session") or bearer.user is None or bearer.role is None:
            raise self._refuse(_FOR_PERSON + digest, now_s, AccessDenied)
        person = Person(
            bearer.org, bearer.user, bearer.role, bearer.token, bearer.kind == "session", bearer.user_patient
        )
        until_s = min(now_s + _DUE_S, self._end_s(bearer, now_s))
        _keep(self._people, digest, (person, until_s), _KNOWN_MAX)
        if self._age_s(bearer) >= _MARK_AGAIN_S:
            self._write_used([bearer.token])
        return person

    def forget(self, token: str) -> None:
        """Look a person's token up again with the next request; here it was just revoked."""
        self._people.pop(sha256(token.encode()).digest(), None)

    async def close(self) -> None:
        """Finish what was begun."""
        for task in (self._refreshing, self._resolving, *self._tasks):
            if task is not None and not task.done():
                await asyncio.wait([task])
        self._reading.close()
        self._writing.close()

    # ---------------------------------------------------------------- devices and gateways

    async def _sender(self, token: str, digest: bytes, now_s: float) -> _Known:
        """A token that is not known well enough."""
        if now_s >= self._due_s and (self._refreshing is None or self._refreshing.done()):
            self._refreshing = asyncio.create_task(self._refresh())
        if now_s >= self._stale_s:
            if self._refreshing is not None:
                await asyncio.shield(self._refreshing)
            now_s = self._clock.now_s()
            if now_s >= self._stale_s and self._failure is not None:
                raise _again(self._failure)
        known = self._senders.get(digest)
        if known is not None and now_s < known.until_s:
            return known
        bearer = await self._bearer(token, digest, now_s, _FOR_SENDER)
        if bearer.kind not in ("device", "gateway"):
            raise self._refuse(_FOR_SENDER + digest, now_s, AccessDenied)
        before = self._senders.get(digest)
        if before is not None and now_s < before.until_s:
            return before
        rate_per_s = self._rates.device_per_s if bearer.kind == "device" else self._rates.gateway_per_s
        most = max(float(BATCH_MAX), _BURST_S * rate_per_s)
        known = _Known(
            sender=Sender(bearer.org, bearer.token, bearer.patient, bearer.device),
            until_s=min(now_s + _KNOWN_S, self._end_s(bearer, now_s)),
            rate_per_s=rate_per_s,
            most=most,
            left=before.left if before else most,
            at_s=before.at_s if before else now_s,
            mark_s=before.mark_s if before else now_s + _MARK_AGAIN_S - self._age_s(bearer),
        )
        _keep(self._senders, digest, known, _KNOWN_MAX)
        return known

    async def _refresh(self) -> None:
        """Read the epoch; if it is another one, every token is read again."""
        began_s = self._clock.now_s()
        try:
            epoch = await self._reading.read(accounts.epoch)
        except EinthovenError as error:
            self._failure = error
            self._due_s = began_s + _RETRY_S
            return
        self._learn(epoch)
        self._due_s = began_s + _DUE_S
        self._stale_s = began_s + STALE_S
        if began_s >= self._mark_s:
            self._mark_s = began_s + _MARK_S
            self._write_used(self._in_use(began_s))

    def _learn(self, epoch: int) -> None:
        if epoch != self._epoch:
            for known in self._senders.values():
                known.until_s = float("-inf")
            self._epoch = epoch

    def _in_use(self, now_s: float) -> list[int]:
        """Tokens whose use is to be noted: each once an hour."""
        ids = []
        for known in self._senders.values():
            if known.is_used and now_s >= known.mark_s:
                known.mark_s = now_s + _MARK_AGAIN_S
                ids.append(known.sender.token)
            known.is_used = False
        return ids

    # ---------------------------------------------------------------- look-ups

    async def _bearer(self, token: str, digest: bytes, now_s: float, purpose: bytes) -> Bearer:
        for key, kind in ((digest, TokenInvalid), (purpose + digest, AccessDenied)):
            if now_s < self._refused.get(key, now_s):
                raise _refusal(kind)
        if len(token) != _LENGTH or not token.startswith(_TOKEN_PREFIXES):
            raise _refusal(TokenInvalid, is_missing=not token)
        future = self._pending.get(digest)
        if future is None:
            if len(self._pending) >= _PENDING_MAX:
                raise Overloaded(
                    "too many new tokens at once.", where="service", remedy="Send it again in a moment."
                )
            future = self._pending[digest] = asyncio.get_running_loop().create_future()
            if self._resolving is None or self._resolving.done():
                self._resolving = asyncio.create_task(self._resolve())
        bearer = await asyncio.shield(future)
        if isinstance(bearer, EinthovenError):
            raise _again(bearer)
        if (
            bearer is None
            or not hmac.compare_digest(bearer.digest, digest)
            or bearer.revoked_ns is not None
            or (bearer.expires_ns is not None and bearer.expires_ns <= self._clock.utc_ns())
        ):
            raise self._refuse(digest, now_s, TokenInvalid)
        return bearer

    async def _resolve(self) -> None:
        """Ask for all that wait together, until none does."""
        while self._pending:
            digests = list(self._pending)[:_TOGETHER]
            found: dict[bytes, Bearer] = {}
            failure: EinthovenError | None = None
            try:
                epoch, bearers = await self._reading.read(partial(_question, digests))
            except EinthovenError as error:
                failure = error
            except Exception:  # noqa: BLE001 - whoever waits gets the news
                failure = DefectError("a token could not be looked up.", where="service")
            else:
                self._learn(epoch)
                found = {bearer.digest: bearer for bearer in bearers}
            for digest in digests:
                self._pending.pop(digest).set_result(failure or found.get(digest))

    def _refuse(self, key: bytes, now_s: float, kind: type[EinthovenError]) -> EinthovenError:
        """The error for a token that is no good, remembered for a while."""
        _keep(self._refused, key, now_s + _UNKNOWN_S, _UNKNOWN_MAX)
        return _refusal(kind)

    def _end_s(self, bearer: Bearer, now_s: float) -> float:
        if bearer.expires_ns is None:
            return float("inf")
        return now_s + (bearer.expires_ns - self._clock.utc_ns()) / 1e9

    # ---------------------------------------------------------------- last use

    def _age_s(self, bearer: Bearer) -> float:
        """How long ago its use was noted."""
        return (self._clock.utc_ns() - bearer.used_ns) / 1e9 if bearer.used_ns else _MARK_AGAIN_S

    def _write_used(self, ids: Sequence[int]) -> None:
        if ids:
            task = asyncio.create_task(self._written(ids, self._clock.utc_ns()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _written(self, ids: Sequence[int], now_ns: int) -> None:
        with contextlib.suppress(EinthovenError):  # a convenience; it is written again in an hour
            await self._writing.write(lambda statements: accounts.mark_used(statements, ids, now_ns))


def _question(digests: Sequence[bytes], statements: Statements) -> tuple[int, list[Bearer]]:
    return accounts.epoch(statements), accounts.bearers(statements, digests)


def _keep(cache: OrderedDict[bytes, V], key: bytes, value: V, most: int) -> None:
    """Remember, and forget what was remembered first if it is too much."""
    cache[key] = value
    cache.move_to_end(key)
    while len(cache) > most:
        cache.popitem(last=False)


def _again(error: EinthovenError) -> EinthovenError:
    """The same for another one who waits."""
    return type(error)(error.what, where=error.where, remedy=error.remedy)


def _refusal(kind: type[EinthovenError], *, is_missing: bool = False) -> EinthovenError:
    if kind is AccessDenied:
        return AccessDenied(
            "the token is of another kind than this needs.",
            where="Authorization",
            remedy="Devices and gateways send segments; people ask for everything else.",
        )
    return TokenInvalid(
        "there is no token." if is_missing else "the token is unknown, expired or revoked.",
        where="Authorization",
        remedy="Send 'Authorization: Bearer TOKEN' with a token that an administrator issued.",
    )
