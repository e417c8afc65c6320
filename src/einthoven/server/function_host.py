"""The functions of a region over HTTP, as a lean ASGI application; docs/reference/function-host.md.

``POST /functions/{name}`` takes the inputs as JSON or MessagePack and answers in the same encoding. Whatever
is no answer is a problem (RFC 9457) with a status that says so: never a 200 with an error in it.
"""

import asyncio
import hmac
import logging
import math
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from functools import lru_cache, partial
from hashlib import blake2b
from http import HTTPStatus
from multiprocessing import parent_process
from signal import SIG_IGN, SIGINT, signal
from typing import Any, Final, NamedTuple

import msgspec

from einthoven.clock import Clock
from einthoven.errors import Conflict, InputInvalid, Overloaded
from einthoven.functions.codec import MAX_BYTES
from einthoven.runtime.conducting import FunctionRefused, FunctionUnknown, InvocationBroke
from einthoven.runtime.hosted import FUSED, Hosted, perform
from einthoven.runtime.region_port import Answer, Call, CallEncoding, Probed
from einthoven.runtime.worker_pool import WorkerDied, WorkerEnded, WorkerPool
from einthoven.server.answer_memory import AnswerMemory
from einthoven.server.function_document import function_document
from einthoven.server.function_metrics import CONTENT_TYPE, FunctionMetrics
from einthoven.server.slots import Slots

__all__ = [
    "FunctionHost",
    "FunctionProblem",
    "HostLimits",
    "Receive",
    "Scope",
    "Send",
    "in_workers",
    "mind_only_the_host",
    "performed",
]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_LOG: Final = logging.getLogger("einthoven.functions")
_FUNCTIONS: Final = "/functions/"
_GET_TYPES: Final = {"/metrics": CONTENT_TYPE.encode()}
_FUSED_LABEL: Final = "fused"
_UNKNOWN_LABEL: Final = "unknown"
_KEY_MAX: Final = 512
_RETRY_AFTER: Final = (b"retry-after", b"1")
_PROBLEM: Final = b"application/problem+json"
_TYPES: Final[dict[bytes, CallEncoding]] = {
    b"application/json": "json",
    b"application/msgpack": "msgpack",
    b"application/x-msgpack": "msgpack",
    b"application/vnd.msgpack": "msgpack",
}
_SAME_TYPE: Final = {"json": b"application/json", "msgpack": b"application/msgpack"}
_STATUS: Final = {
    "refused": 422,
    "payload": 413,
    "throttled": 429,
    "timeout": 504,
    "server": 502,
    "transport": 502,
}
"""HTTP's word for why a call broke; 500 for all others: they are the function's."""
_OTHER_KINDS: Final = {429: "throttled", 503: "throttled", 504: "timeout", 413: "payload"}


class HostLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a host takes at most."""

    slots: int = 1
    """Calls at once."""
    wait_s: float = 2.0
    """How long a call waits for a slot before it is sent away."""
    waiting_max: int = 256
    """Calls that wait for a slot."""
    body_max_bytes: int = MAX_BYTES
    bodies_max_bytes: int = 2 * MAX_BYTES
    """Of all calls that are under way."""
    body_s: float = 120.0
    """How long a body may take to come."""
    timeout_max_s: float = 3600.0
    """What a caller may ask for at most, and what a function may take."""
    remembered_s: float = 600.0
    """How long an answer to an idempotency key is kept."""
    remembered_max_bytes: int = 64 * 2**20
    """All of these answers together."""


class FunctionProblem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why there is no answer: a problem of RFC 9457."""

    title: str
    status: int
    detail: str
    kind: str
    """As `einthoven.workflow.Break` has it: what a caller should think of it."""
    remedy: str = ""
    type: str = "about:blank"


class _Problem(Exception):
    """What is answered instead."""

    def __init__(
        self, status: int, detail: str, *, remedy: str = "", headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.remedy = remedy
        self.kind = _OTHER_KINDS.get(status, "refused" if status < 500 else "function")
        self.headers = headers


class _Unreadable(FunctionRefused):
    """The content is not of its encoding."""


def performed(hosted: Hosted, call: Call) -> Answer:
    """Call a function in this process, which may be a worker; raises as `perform` does."""
    mind_only_the_host()
    try:
        return perform(hosted, call)
    except InvocationBroke as broke:
        if broke.kind == "refused" and not _is_readable(call):
            raise _Unreadable(broke.message) from None
        raise


@lru_cache(maxsize=1)
def mind_only_the_host() -> None:
    """For a worker: Ctrl-C reaches it too, and the host lets it finish."""
    if parent_process() is not None:
        signal(SIGINT, SIG_IGN)


def _is_readable(call: Call) -> bool:
    try:
        if call.encoding == "json":
            msgspec.json.decode(call.content)
        else:
            msgspec.msgpack.decode(call.content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def in_workers(
    hosted: Hosted, workers: WorkerPool, longest_s: float = math.inf
) -> Callable[[Call], Awaitable[Answer]]:
    """How calls are performed by the workers of a pool.

    Parameters
    ----------
    longest_s : no function may take longer; see `Hosted.limit_s`.
    """

    async def perform_there(call: Call) -> Answer:
        try:
            limit_s = hosted.limit_s(call, longest_s)
            answer: Answer = await workers.call(partial(performed, hosted, call), limit_s)
        except WorkerEnded:
            said = "the function took longer than it may, and was ended"
            raise InvocationBroke("timeout", said) from None
        except WorkerDied:
            raise InvocationBroke("server", "a worker died") from None
        return answer

    return perform_there


class _Headers(NamedTuple):
    encoding: CallEncoding | None
    length: int | None
    key: str
    timeout_s: float | None


class FunctionHost:
    """An ASGI application.

    Parameters
    ----------
    performing : how a call is performed; see `in_workers`.
    tokens : one of these must be given as bearer token; none: everybody may call.
    hangs : whether it can serve nobody any more because a function does not end; then it is not alive.
    only : the one function that it has, which is at ``/`` too, for platforms that give each a URL; None: all.

    Raises
    ------
    InputInvalid : there is no function ``only``.
    """

    def __init__(
        self,
        hosted: Hosted,
        performing: Callable[[Call], Awaitable[Answer]],
        clock: Clock,
        *,
        limits: HostLimits = HostLimits(),  # noqa: B008 - frozen
        tokens: Sequence[str] = (),
        only: str | None = None,
        hangs: Callable[[], bool] = lambda: False,
    ) -> None:
        self._hangs = hangs
        self._performing = performing
        self._clock = clock
        self._limits = limits
        self._tokens = tuple(_digest(token.encode()) for token in tokens)
        self._functions = {one.name: one for one in hosted.functions if only in (None, one.name)}
        if not self._functions:
            raise InputInvalid(f"there is no function {only!r}.", where="only", remedy="`functions list`")
        self._only = only
        self._slots = Slots(limits.slots, limits.waiting_max)
        self._memory = AnswerMemory(clock, max_bytes=limits.remembered_max_bytes, keep_s=limits.remembered_s)
        self._metrics = FunctionMetrics(limits.slots)
        self._tasks: set[asyncio.Task[Answer]] = set()
        self._bodies_bytes = 0
        self._under_way = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._is_ready = True
        self._is_draining = False
        self._document = msgspec.json.encode(
            function_document(tuple(self._functions.values()), has_tokens=bool(tokens))
        )
        self._gets: dict[str, Callable[[], tuple[int, bytes]]] = {
            "/functions": lambda: (200, msgspec.json.encode(self.probed)),
            "/healthz": self._health,
            "/readyz": self._readiness,
            "/openapi.json": lambda: (200, self._document),
            "/metrics": lambda: (200, self._metrics.exposition()),
        }

    @property
    def probed(self) -> Probed:
        """What it says of itself."""
        return Probed(
            functions=tuple(self._functions.values()),
            slots=self._limits.slots,
            is_draining=self._is_draining,
            encodings=tuple(_SAME_TYPE),
        )

    async def warm_up(self, warming: Awaitable[object]) -> None:
        """Tell that it is not ready until this is done."""
        self._is_ready = False
        await warming
        self._is_ready = True

    def drain(self) -> None:
        """Take nothing new."""
        self._is_draining = True

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        await self._is_idle.wait()
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        self._under_way += 1
        self._is_idle.clear()
        try:
            await self._serve(scope, receive, send)
        except _Problem as problem:
            await _tell(send, problem)
        except Exception as error:  # noqa: BLE001 - its text may hold values
            _LOG.error("a request failed", extra={"kind": type(error).__name__})
            await _tell(send, _Problem(500, f"the host broke: {type(error).__name__}"))
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._is_idle.set()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path.startswith(_FUNCTIONS) and len(path) > len(_FUNCTIONS):
            if scope["method"] != "POST":
                raise _Problem(405, "functions are called with POST.", headers=((b"allow", b"POST"),))
            await self._call(path[len(_FUNCTIONS) :], scope, receive, send)
            return
        if path == "/" and self._only is not None:
            if scope["method"] == "POST":
                await self._call(self._only, scope, receive, send)
                return
            path = "/functions"
        get = self._gets.get(path)
        if get is None:
            raise _Problem(404, "there is nothing at this path.", remedy="See /openapi.json.")
        if scope["method"] != "GET":
            raise _Problem(405, "this path has no such method.", headers=((b"allow", b"GET"),))
        if path == "/functions":
            self._identify(scope)
        status, content = get()
        await _send(send, status, content, _GET_TYPES.get(path, b"application/json"))

    def _health(self) -> tuple[int, bytes]:
        if self._hangs():
            raise _Problem(
                503, "a function does not end, and cannot be ended.", remedy="Start the host anew."
            )
        return 200, b'{"status":"alive"}'

    def _readiness(self) -> tuple[int, bytes]:
        if self._is_draining:
            raise _Problem(503, "this host finishes what it has.", headers=(_RETRY_AFTER,))
        self._health()
        if not self._is_ready:
            raise _Problem(503, "this host is starting.", headers=(_RETRY_AFTER,))
        return 200, b'{"status":"ready"}'

    def _identify(self, scope: Scope) -> None:
        if not self._tokens:
            return
        given = b""
        for name, value in scope["headers"]:
            if name == b"authorization" and value[:7].lower() == b"bearer ":
                given = value[7:].strip()
        digest = _digest(given)
        if not any([hmac.compare_digest(digest, token) for token in self._tokens]):  # noqa: C419 - all of them
            raise _Problem(
                401,
                "the bearer token is missing or unknown.",
                remedy="Send the header Authorization: Bearer TOKEN.",
                headers=((b"www-authenticate", b"Bearer"),),
            )

    async def _call(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        label = name if name in self._functions else _FUSED_LABEL if FUSED in name else _UNKNOWN_LABEL
        try:
            busy_s, is_known = await self._called(name, scope, receive, send)
        except _Problem as problem:
            self._metrics.called(label, problem.kind)
            raise
        self._metrics.called(label, "replayed" if is_known else "answered")
        if not is_known:
            self._metrics.took(label, busy_s)

    async def _called(self, name: str, scope: Scope, receive: Receive, send: Send) -> tuple[float, bool]:
        """How long the function took, and whether the answer was there before."""
        self._identify(scope)
        if self._is_draining:
            raise _Problem(
                503, "this host finishes what it has, and takes nothing new.", headers=(_RETRY_AFTER,)
            )
        fused = [self._functions.get(one) for one in name.split(FUSED)]
        functions = [one for one in fused if one is not None]
        if len(functions) < len(fused):
            raise _Problem(404, "there is no such function here.", remedy="GET /functions lists them.")
        asked = _headers(scope)
        if asked.encoding is None:
            raise _Problem(
                415,
                "the type is not one of those that are read.",
                remedy="Send application/json or application/msgpack, not compressed.",
            )
        content, held = await self._body(receive, asked.length)
        try:
            usual_s = sum(one.timeout_s for one in functions)
            timeout_s = usual_s if asked.timeout_s is None else asked.timeout_s
            call = Call(
                function=name,
                content=content,
                encoding=asked.encoding,
                key=asked.key,
                timeout_s=min(timeout_s, self._limits.timeout_max_s),
            )
            answer, is_known = await self._answered(call)
        finally:
            self._bodies_bytes -= held
        headers = [(b"server-timing", b"busy;dur=%.3f" % (1e3 * answer.busy_s))]
        if is_known:
            headers.append((b"idempotent-replayed", b"true"))
        await _send(send, 200, answer.content, _SAME_TYPE[call.encoding], headers)
        return answer.busy_s, is_known

    # ---------------------------------------------------------------- performing

    async def _answered(self, call: Call) -> tuple[Answer, bool]:
        """The answer, and whether it was there before."""
        try:
            found = self._memory.find(call) if call.key else None
        except Conflict as error:
            raise _Problem(422, error.what, remedy=error.remedy) from None
        if isinstance(found, Answer):
            return found, True
        task = found
        if task is None:
            task = asyncio.ensure_future(self._performed(call))
            self._tasks.add(task)
            task.add_done_callback(self._ended)
            if call.key:
                self._memory.keep(call, task)
        done, _ = await asyncio.wait((task,), timeout=call.timeout_s)
        if not done:
            raise _Problem(
                504,
                "the function took longer than it may.",
                remedy="Ask for more time with X-Timeout-S, and with the same Idempotency-Key.",
            )
        try:
            return task.result(), found is not None
        except Overloaded as error:
            raise _Problem(429, error.what, remedy=error.remedy, headers=(_RETRY_AFTER,)) from None
        except _Unreadable as broke:
            raise _Problem(400, broke.message) from None
        except FunctionUnknown as broke:
            raise _Problem(404, broke.message) from None
        except InvocationBroke as broke:
            problem = _Problem(_STATUS.get(broke.kind, 500), broke.message)
            problem.kind = broke.kind
            raise problem from None

    async def _performed(self, call: Call) -> Answer:
        """In its slot until the function ends, even if nobody waits any more."""
        await self._slots.take(min(self._limits.wait_s, call.timeout_s))
        self._metrics.busy += 1
        try:
            return await self._performing(call)
        except InvocationBroke as broke:
            if broke.kind not in ("refused", "payload"):
                _LOG.error("a call broke", extra={"kind": broke.kind})
            raise
        finally:
            self._metrics.busy -= 1
            self._slots.give()

    def _ended(self, task: "asyncio.Task[Answer]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits is told; nobody may wait any more

    # ---------------------------------------------------------------- bodies

    async def _body(self, receive: Receive, length: int | None) -> tuple[bytes, int]:
        """The body, and what is counted for it until the call ends."""
        most = self._limits.body_max_bytes
        if length is not None and length > most:
            raise _too_large(most)
        held = 0
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(self._limits.body_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Problem(400, "the request ended before its body.")
                    part: bytes = message.get("body", b"")
                    if held + len(part) > most:
                        raise _too_large(most)
                    if self._bodies_bytes + len(part) > self._limits.bodies_max_bytes:
                        raise _Problem(
                            429, "the calls under way hold as much as may be held.", headers=(_RETRY_AFTER,)
                        )
                    held += len(part)
                    self._bodies_bytes += len(part)
                    parts.append(part)
                    if not message.get("more_body", False):
                        return parts[0] if len(parts) == 1 else b"".join(parts), held
        except TimeoutError:
            self._bodies_bytes -= held
            raise _Problem(408, "the body took too long to come.") from None
        except BaseException:
            self._bodies_bytes -= held
            raise


def _digest(token: bytes) -> bytes:
    """All of one length, so that comparing them tells nothing."""
    return blake2b(token, digest_size=32).digest()


def _headers(scope: Scope) -> _Headers:
    encoding: CallEncoding | None = None
    length: int | None = None
    key, timeout_s = "", None
    is_plain = True
    for name, value in scope["headers"]:
        if name == b"content-type":
            encoding = _TYPES.get(value) or _TYPES.get(value.split(b";")[0].strip().lower())
        elif name == b"content-length":
            length = int(value) if value.isdigit() else None
        elif name == b"idempotency-key":
            key = value.decode("latin-1")
            if not 0 < len(key) <= _KEY_MAX:
                raise _Problem(400, f"Idempotency-Key must have 1 to {_KEY_MAX} characters.")
        elif name == b"x-timeout-s":
            timeout_s = _seconds(value)
        elif name == b"content-encoding":
            is_plain = value.lower() == b"identity"
    return _Headers(encoding if is_plain else None, length, key, timeout_s)


def _seconds(value: bytes) -> float:
    try:
        found = float(value)
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise _Problem(400, "X-Timeout-S is no number of seconds above 0.")
    return found


def _too_large(most: int) -> _Problem:
    return _Problem(
        413, f"the body has more than {most} bytes.", remedy="Pass it by reference: ecgDataFilePath."
    )


async def _tell(send: Send, problem: _Problem) -> None:
    content = msgspec.json.encode(
        FunctionProblem(
            title=HTTPStatus(problem.status).phrase,
            status=problem.status,
            detail=problem.detail,
            kind=problem.kind,
            remedy=problem.remedy,
        )
    )
    await _send(send, problem.status, content, _PROBLEM, problem.headers)


async def _send(
    send: Send, status: int, content: bytes, type_: bytes, more: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    headers = [
        (b"content-type", type_),
        (b"content-length", str(len(content)).encode()),
        (b"cache-control", b"no-store"),
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
