"""How a person begins: the first administrator with a setup token, everybody with a password."""

import contextlib
import hashlib
from functools import partial
from typing import Final

import msgspec

from einthoven.clock import Clock
from einthoven.errors import NotFound, RateExceeded, TokenInvalid
from einthoven.server import accounts
from einthoven.server.accounts import ROLES, Token, User
from einthoven.server.auditing import LOGIN_FAILED, failures_since, record
from einthoven.server.connections import Connections
from einthoven.server.identities import Person
from einthoven.server.passwords import Passwords
from einthoven.server.tokens import digest_of_token
from einthoven.storage.database import Statements

__all__ = ["Begun", "Logins"]

_FAILURES_MAX: Final = 10
_FAILURES_S: Final = 900.0
"""So many wrong passwords for one name in so long; then nobody is let in under it for a while."""
_TRIES_MAX: Final = 30.0
_TRIES_PER_S: Final = 0.5
"""Tries from one address, right or wrong, through one worker."""
_ADDRESSES_MAX: Final = 10_000


class Begun(msgspec.Struct, frozen=True):
    """A session that has begun."""

    user: User
    token: Token
    secret: str


class Logins:
    """What the routes for logging in ask."""

    def __init__(
        self, connections: Connections, passwords: Passwords, clock: Clock, session_s: float
    ) -> None:
        self._connections = connections
        self._passwords = passwords
        self._clock = clock
        self._session_s = session_s
        self._tries: dict[str, tuple[float, float]] = {}
        self._under_way: set[str] = set()

    async def log_in(self, org: str, name: str, password: str, address: str) -> Begun:
        """A session for whoever knows the password.

        Raises
        ------
        TokenInvalid : wrong organisation, name or password; which, is not said.
        RateExceeded : too many tries. Overloaded : too many log in at once.
        """
        self._count(address)
        user = await self.is_right(org, name, password)
        if user is None:
            raise TokenInvalid(
                "organisation, name or password are wrong.", where="login", remedy="Try again, slowly."
            )
        hash_ = await self._passwords.hash(password) if self._passwords.is_outdated(user.hash) else None

        def change(statements: Statements) -> Begun:
            found = accounts.read_user(statements, org, name)
            if found.hash != user.hash:
                raise TokenInvalid("the password was just changed.", where="login", remedy="Try again.")
            if hash_ is not None:
                found = accounts.change_user(statements, found, hash_=hash_)
            return self._begin(statements, found, self._clock.utc_ns())

        return await self._connections.write(change)

    async def set_up(self, secret: str, name: str, password: str, address: str) -> Begun:
        """The first administrator of an organisation, and a session for them; the setup token is used up.

        Raises
        ------
        TokenInvalid : not a setup token that is good now. InputInvalid : a name or password that is none.
        """
        self._count(address)
        await self._connections.read(partial(self._setup_org, digest_of_token(secret)))
        hash_ = await self._passwords.hash(password)

        def change(statements: Statements) -> Begun:
            now_ns = self._clock.utc_ns()
            org = self._setup_org(digest_of_token(secret), statements)
            used = statements.run(
                "UPDATE tokens SET revoked_ns = ? WHERE digest = ? AND revoked_ns IS NULL",
                (now_ns, digest_of_token(secret)),
            )
            if used != 1 or accounts.has_users(statements, org):
                raise _no_setup()
            user = accounts.add_user(
                statements, org, name, ROLES[0], patient=None, hash_=hash_, now_ns=now_ns
            )
            record(statements, org, now_ns, "setup", "user.added", f"user:{name}", ROLES[0])
            return self._begin(statements, user, now_ns)

        return await self._connections.write(change)

    async def log_out(self, person: Person) -> None:
        """Revoke the token that a person came with."""
        now_ns = self._clock.utc_ns()

        def change(statements: Statements) -> None:
            accounts.revoke(statements, person.org, person.token, now_ns)
            record(statements, person.org, now_ns, person.user, "logout", f"token:{person.token}")

        await self._connections.write(change)

    async def is_right(self, org: str, name: str, password: str) -> User | None:
        """The user whose password this is; None, and a row in the audit, if it is nobody's.

        Raises
        ------
        RateExceeded : too many wrong ones. Overloaded : too many log in at once.
        """
        subject = _subject(name)
        key = f"{org}/{subject}"
        if key in self._under_way:
            raise _too_often()
        self._under_way.add(key)
        try:
            return await self._is_right(org, name, password, subject)
        finally:
            self._under_way.discard(key)

    async def _is_right(self, org: str, name: str, password: str, subject: str) -> User | None:
        now_ns = self._clock.utc_ns()

        def question(statements: Statements) -> tuple[User | None, int]:
            user = None
            with contextlib.suppress(NotFound):
                user = accounts.read_user(statements, org, name)
            return user, failures_since(statements, org, subject, now_ns - round(_FAILURES_S * 1e9))

        user, failures = await self._connections.read(question)
        if failures >= _FAILURES_MAX:
            raise _too_often()
        if await self._passwords.matches(user.hash if user else None, password):
            return user
        await self._connections.write(
            lambda statements: record(statements, org, now_ns, "", LOGIN_FAILED, subject)
        )
        return None

    def _begin(self, statements: Statements, user: User, now_ns: int) -> Begun:
        accounts.drop_ended_sessions(statements, user, now_ns)
        token, secret = accounts.issue(
            statements,
            user.org,
            "session",
            now_ns=now_ns,
            user=user,
            label="session",
            lifetime_s=self._session_s,
        )
        record(statements, user.org, now_ns, user.name, "login", f"token:{token.id}")
        return Begun(user, token, secret)

    def _setup_org(self, digest: bytes, statements: Statements) -> str:
        found = accounts.bearers(statements, [digest])
        now_ns = self._clock.utc_ns()
        if (
            not found
            or found[0].kind != "setup"
            or found[0].revoked_ns is not None
            or (found[0].expires_ns or 0) <= now_ns
        ):
            raise _no_setup()
        return found[0].org

    def _count(self, address: str) -> None:
        now_s = self._clock.now_s()
        left, at_s = self._tries.get(address, (_TRIES_MAX, now_s))
        left = min(_TRIES_MAX, left + (now_s - at_s) * _TRIES_PER_S)
        if left < 1.0:
            raise _too_often()
        self._tries[address] = (left - 1.0, now_s)
        if len(self._tries) > _ADDRESSES_MAX:
            self._tries.pop(next(iter(self._tries)))


def _subject(name: str) -> str:
    """Whom a failed login was for. A digest, because people type passwords where names belong."""
    return f"name:{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:16]}"


def _too_often() -> RateExceeded:
    return RateExceeded("too many tries.", where="login", remedy="Wait some minutes.")


def _no_setup() -> TokenInvalid:
    return TokenInvalid(
        "this setup token is unknown, used or expired.",
        where="setup",
        remedy="Start the service without users again; it prints a new one.",
    )
