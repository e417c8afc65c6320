"""Answers by their idempotency key, so that a call made again is not performed again."""

import asyncio
from typing import NamedTuple

from einthoven.clock import Clock
from einthoven.errors import Conflict
from einthoven.runtime.kept_answers import KeptAnswers
from einthoven.runtime.region_port import Answer, Call

__all__ = ["AnswerMemory"]


class _Key(NamedTuple):
    function: str
    encoding: str
    key: str


class _Asked(NamedTuple):
    """What a key stands for; the same key with other content is a mistake."""

    length: int
    digest: int

    @staticmethod
    def by(call: Call) -> "_Asked":
        return _Asked(len(call.content), hash(call.content))


class AnswerMemory:
    """What was answered, for a while, and what is under way; what failed is done again.

    Parameters
    ----------
    max_bytes : all answers together; the oldest go first.
    keep_s : how long an answer is kept.
    """

    def __init__(self, clock: Clock, *, max_bytes: int, keep_s: float) -> None:
        self._kept: KeptAnswers[_Key, tuple[_Asked, Answer]] = KeptAnswers(
            clock, max_bytes=max_bytes, keep_s=keep_s
        )
        self._going: dict[_Key, tuple[_Asked, asyncio.Task[Answer]]] = {}

    def find(self, call: Call) -> "Answer | asyncio.Task[Answer] | None":
        """The answer to the call's key, or its performance that goes on; None: it is new.

        Raises
        ------
        Conflict : the key came before with other content.
        """
        key = _Key(call.function, call.encoding, call.key)
        known = self._going.get(key) or self._kept.get(key)
        if known is None:
            return None
        if known[0] != _Asked.by(call):
            raise Conflict(
                "this key came before with other content.",
                where="Idempotency-Key",
                remedy="Give each invocation a key of its own.",
            )
        return known[1]

    def keep(self, call: Call, task: "asyncio.Task[Answer]") -> None:
        """Remember a performance that begins, and its answer when there is one."""
        key, asked = _Key(call.function, call.encoding, call.key), _Asked.by(call)
        self._going[key] = asked, task

        def ended(task: "asyncio.Task[Answer]") -> None:
            del self._going[key]
            if not task.cancelled() and task.exception() is None:
                answer = task.result()
                self._kept.put(key, (asked, answer), len(answer.content) + len(key.key))

        task.add_done_callback(ended)
