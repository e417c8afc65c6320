"""Passwords: Argon2id, in one thread that steps back for everything else."""

import asyncio
import contextlib
import os
import secrets
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import argon2
import msgspec

from einthoven.errors import InputInvalid, Overloaded

__all__ = ["PASSWORD_MAX", "PASSWORD_MIN", "PasswordCost", "Passwords", "check_password", "hash_password"]

PASSWORD_MIN: Final = 12
PASSWORD_MAX: Final = 256
"""Characters."""
_WAITING_MAX: Final = 8
"""More logins than this wait for nobody; each takes about a tenth of a second."""


class PasswordCost(msgspec.Struct, frozen=True):
    """What one try costs whoever guesses; the default is RFC 9106's second choice, on one lane."""

    passes: int = 3
    memory_kib: int = 65536


def check_password(password: str) -> None:
    """Only length counts; rules about characters make worse passwords.

    Raises
    ------
    InputInvalid : too short or too long.
    """
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        raise InputInvalid(
            f"the password has not {PASSWORD_MIN} to {PASSWORD_MAX} characters.",
            where="password",
            remedy="Choose a longer one; some words in a row will do.",
        )


def hash_password(password: str, cost: PasswordCost = PasswordCost()) -> str:  # noqa: B008 - frozen
    """A password as it is kept; takes its time.

    Raises
    ------
    InputInvalid : too short or too long.
    """
    check_password(password)
    return _hasher(cost).hash(password)


class Passwords:
    """Hashes and compares, one password at a time, so that logins cannot starve what devices send."""

    def __init__(self, cost: PasswordCost = PasswordCost()) -> None:  # noqa: B008 - frozen
        self._cost = cost
        self._hasher = _hasher(cost)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="passwords", initializer=_step_back)
        self._nobody = self._pool.submit(self._hasher.hash, secrets.token_urlsafe())
        """Compared where there is no such user, so that it takes as long."""
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """A password as it is kept.

        Raises
        ------
        InputInvalid : too short or too long. Overloaded : too many wait.
        """
        check_password(password)
        self._enter()
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._pool, hash_password, password, self._cost
            )
        finally:
            self._waiting -= 1

    async def matches(self, kept: str | None, password: str) -> bool:
        """Whether it is the password; takes as long where there is none (``kept`` is None).

        Raises
        ------
        Overloaded : too many wait.
        """
        self._enter()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._verify, kept, password)
        finally:
            self._waiting -= 1

    def is_outdated(self, kept: str) -> bool:
        """Whether it was hashed at another cost, and should be hashed again."""
        return self._hasher.check_needs_rehash(kept)

    def close(self) -> None:
        """Finish what was begun."""
        self._pool.shutdown()

    def _enter(self) -> None:
        if self._waiting >= _WAITING_MAX:
            raise Overloaded("too many log in at once.", where="service", remedy="Try again in some seconds.")
        self._waiting += 1

    def _verify(self, kept: str | None, password: str) -> bool:
        try:
            return self._hasher.verify(self._nobody.result() if kept is None else kept, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False


def _hasher(cost: PasswordCost) -> argon2.PasswordHasher:
    return argon2.PasswordHasher(
        time_cost=cost.passes, memory_cost=cost.memory_kib, parallelism=1, type=argon2.Type.ID
    )


def _step_back() -> None:
    """Let the scheduler prefer every other thread (Linux counts niceness by thread)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
