"""Answers are believed by their bodies, never by their status codes alone.

In 50 of the article's 120 supercomputer runs an error text with status 200 was probably counted as success.
So each body is decoded: it must hold one item for each segment sent, with the right sequence and a status
that such a delivery can have. Of a sample, all findings are looked at too.
"""

import itertools
from typing import Any, Final

import msgspec

from einthoven.runtime.load.deliveries import Delivery, WireEncoding

__all__ = ["Answer", "Brief", "Verdict", "judge", "oddity", "read_answers", "read_full", "read_problem"]

_CLASSES: Final = frozenset("NSVFQ")


class Problem(msgspec.Struct, frozen=True, gc=False):
    """Why something was refused."""

    code: str = "unknown"
    fault: str = "caller"


class Brief(msgspec.Struct, frozen=True, gc=False):
    """The part of an answer that is always looked at."""

    sequence: int
    status: str
    error: Problem | None = None


class FoundBeats(msgspec.Struct, frozen=True):
    """Beats of an answer."""

    positions: list[int]
    classes: str


class FoundRate(msgspec.Struct, frozen=True):
    """Heart rate of an answer, beats/min."""

    mean: float | None
    min: float | None
    max: float | None


class FoundEpisode(msgspec.Struct, frozen=True):
    """An episode of an answer."""

    kind: str
    onset: int
    end: int | None
    priority: str


class FoundQuality(msgspec.Struct, frozen=True):
    """Quality of an answer."""

    grades: list[int]


class Answer(msgspec.Struct, frozen=True, rename="camel"):
    """All of an analysed segment's answer."""

    sequence: int
    status: str
    first: int
    until: int
    fs: float
    beats: FoundBeats
    heart_rate: FoundRate
    episodes: list[FoundEpisode]
    conditions: list[Any]
    quality: FoundQuality


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What one item of an answer means for its delivery."""

    outcome: str
    """``analysed``, ``accepted``, ``duplicate``, ``late``, ``refused``, ``again`` or ``wrong``."""
    error: str = ""
    """Kind of error; empty when there is none."""


_JSON_ONE: Final = msgspec.json.Decoder(Brief)
_JSON_MANY: Final = msgspec.json.Decoder(list[Brief])
_PACK_ONE: Final = msgspec.msgpack.Decoder(Brief)
_PACK_MANY: Final = msgspec.msgpack.Decoder(list[Brief])
_GOOD: Final = {status: Verdict(status) for status in ("analysed", "accepted", "duplicate", "late")}
_UNEXPECTED: Final = {
    status: Verdict(status, f"unexpected-{status}") for status in ("accepted", "duplicate", "late")
}
_WRONG_STATUS: Final = Verdict("wrong", "wrong-status")
_WRONG_SEQUENCE: Final = Verdict("wrong", "wrong-sequence")
_TWICE: Final = Verdict("wrong", "analysed-twice")


def read_answers(body: bytes, encoding: WireEncoding, count: int) -> list[Brief] | None:
    """One item for each of ``count`` segments; None when the body is anything else."""
    try:
        if count == 1:
            one = _PACK_ONE.decode(body) if encoding == "msgpack" else _JSON_ONE.decode(body)
            return [one]
        many = _PACK_MANY.decode(body) if encoding == "msgpack" else _JSON_MANY.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return many if len(many) == count else None


def read_problem(body: bytes, encoding: WireEncoding) -> Problem:
    """The reason in the body of a refusal; ``unknown`` when it gives none."""
    try:
        if encoding == "msgpack" and body[:1] != b"{":
            return msgspec.msgpack.decode(body, type=Problem)
        return msgspec.json.decode(body, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Problem()


def judge(item: Brief, delivery: Delivery, sequence: int, *, is_resent: bool, may_accept: bool) -> Verdict:
    """What an item means.

    ``is_resent``: an earlier attempt may have arrived. ``may_accept``: the service was asked to answer
    before the analysis.
    """
    if item.sequence != sequence:
        return _WRONG_SEQUENCE
    status, kind = item.status, delivery.kind
    if status == "analysed":
        return _TWICE if kind == "repeat" and not is_resent else _GOOD[status]
    if status == "refused":
        error = item.error or Problem()
        return Verdict("refused" if error.fault == "caller" else "again", f"refused-{error.code}")
    if status == "duplicate":
        return (_GOOD if kind == "repeat" or is_resent else _UNEXPECTED)[status]
    if status == "late":
        return (_GOOD if kind in ("late", "repeat") else _UNEXPECTED)[status]
    if status == "accepted":
        return (_GOOD if may_accept or kind in ("late", "repeat") else _UNEXPECTED)[status]
    return _WRONG_STATUS


def read_full(body: bytes, encoding: WireEncoding, count: int) -> list[Any] | None:
    """The same body with everything in it: an `Answer` where a segment was analysed, else None.

    None instead of the list when an analysed item lacks a field or has one of another type.
    """
    decode: Any = msgspec.msgpack.decode if encoding == "msgpack" else msgspec.json.decode
    try:
        plain = decode(body)
        items = [plain] if count == 1 else plain
        return [msgspec.convert(item, Answer) if item.get("status") == "analysed" else None for item in items]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, AttributeError, TypeError):
        return None


def oddity(answer: Answer) -> str:
    """What cannot be in findings; empty when all is sane."""
    positions = answer.beats.positions
    if not (answer.first <= answer.until and answer.fs > 0):
        return "span"
    if len(positions) != len(answer.beats.classes) or not set(answer.beats.classes) <= _CLASSES:
        return "classes"
    if any(b <= a for a, b in itertools.pairwise(positions)):
        return "order"
    if positions and (positions[0] < 0 or positions[-1] >= answer.until):
        return "positions"
    rate = answer.heart_rate
    if any(value is not None and not 5 <= value <= 600 for value in (rate.mean, rate.min, rate.max)):
        return "rate"
    if any(one.end is not None and one.end < one.onset for one in answer.episodes):
        return "episodes"
    if len(answer.quality.grades) != 3 or min(answer.quality.grades) < 0:
        return "quality"
    return ""
