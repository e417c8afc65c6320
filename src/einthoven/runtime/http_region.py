"""A region behind HTTP: any host that keeps docs/reference/function-host.md, in whatever language.

What it answers is judged here, and nothing of what it says of an error is repeated: it may hold values. A
host that does not read MessagePack is sent JSON, and its answers come back in MessagePack.
"""

import asyncio
import math
import re
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec
from msgspec import UNSET, Raw, UnsetType

from einthoven.clock import Clock, SystemClock
from einthoven.continuum import FUNCTION
from einthoven.errors import InputInvalid
from einthoven.runtime.conducting import FunctionUnknown, InvocationBroke
from einthoven.runtime.identity_tokens import IdentityTokens, TokenSource
from einthoven.runtime.reencoding import reencoded_answer, reencoded_call
from einthoven.runtime.region_port import Answer, Call, CallEncoding, Probed
from einthoven.workflow import Break

__all__ = ["ANSWER_MAX_BYTES", "HttpRegion", "trusting"]

ANSWER_MAX_BYTES: Final = 256 * 2**20
"""A longer answer is not read."""
_PROBLEM_MAX_BYTES: Final = 64 * 2**10
_PIECE_BYTES: Final = 256 * 2**10
_PROBE_S: Final = 30.0
"""A host that sleeps may take as long to wake."""
_CONTENT_TYPE: Final = {"json": "application/json", "msgpack": "application/msgpack"}
_KIND_OF_STATUS: Final[dict[int, Break]] = {408: "timeout", 413: "payload", 429: "throttled", 504: "timeout"}
_BUSY: Final = re.compile(r"(?:^|,)\s*busy\s*;\s*dur\s*=\s*\"?([0-9.]+)")
_UNKNOWN: Final = Probed(functions=(), slots=1)


class _Looked(msgspec.Struct):
    """What an answer is looked through for; all else is skipped, and is known to be of the encoding."""

    error: Raw | UnsetType = UNSET
    status: Any = UNSET
    title: Raw | UnsetType = UNSET
    detail: Raw | UnsetType = UNSET


class _Kind(msgspec.Struct):
    kind: str = ""


_LOOK: Final[dict[CallEncoding, Any]] = {
    "json": msgspec.json.Decoder(_Looked),
    "msgpack": msgspec.msgpack.Decoder(_Looked),
}
_NOTHING: Final = {"json": b"null", "msgpack": b"\xc0"}


class HttpRegion:
    """See `einthoven.runtime.region_port.RegionPort`.

    Parameters
    ----------
    address : URL of the host; its functions are at ``{address}/functions/{name}``. Or it has `FUNCTION` where
        the name of a function stands.
    is_one_function : the address is that of the one function in ``functions``.
    functions : those that there are, where each has a URL of its own.
    ca_file : certificates that the host's is checked with; None: those of this machine.
    token : the bearer token, or who fetches identity tokens, which are kept while they are good.
    assumed : what is taken for granted of a host that does not list its functions.
    connect_s : how long a connection may take to be made.

    Raises
    ------
    InputInvalid : the address is none, or the certificates cannot be read.
    """

    def __init__(
        self,
        address: str,
        *,
        token: str | TokenSource | None = None,
        assumed: Probed = _UNKNOWN,
        connect_s: float = 10.0,
        clock: Clock | None = None,
        is_one_function: bool = False,
        functions: tuple[str, ...] = (),
        ca_file: str | None = None,
    ) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise InputInvalid(
                "this is no address of a host of functions.",
                where="address",
                remedy="Give it as https://HOST or http://HOST:PORT.",
            )
        if (is_one_function or FUNCTION in address) and not functions:
            raise InputInvalid("nothing lists the functions of such an address.", where="functions")
        self._address = address if is_one_function else address.rstrip("/")
        self._functions = functions
        self._has_urls = is_one_function or FUNCTION in address
        """One of its own for each function."""
        self._host = parts.hostname
        self._clock = clock or SystemClock()
        self._tokens = IdentityTokens(token, self._clock) if callable(token) else token
        self._assumed = assumed
        self._connect_s = connect_s
        self._tls = trusting(ca_file) if parts.scheme == "https" else None
        self._session: aiohttp.ClientSession | None = None
        self._reads_json_only = False
        self._is_closed = False

    async def close(self) -> None:
        """Close the connections; what is under way breaks."""
        self._is_closed = True
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def invoke(self, call: Call) -> Answer:
        """See `RegionPort`."""
        if call.encoding == "json":
            return await self._called(call)
        until_s = self._clock.now_s() + call.timeout_s
        if not self._reads_json_only:
            try:
                return await self._called(call)
            except _Answered as broke:
                if broke.status != 415:
                    raise
            self._reads_json_only = True
        return await self._in_json(call, until_s)

    async def _in_json(self, call: Call, until_s: float) -> Answer:
        content = await _rewritten(reencoded_call, call.function, call.content, "msgpack", "json", "refused")
        left_s = until_s - self._clock.now_s()
        if left_s <= 0:
            raise InvocationBroke("timeout", f"{self._host} took longer than {call.timeout_s:g} s")
        asked = msgspec.structs.replace(call, content=content, encoding="json", timeout_s=left_s)
        answer = await self._called(asked)
        content = await _rewritten(
            reencoded_answer, call.function, answer.content, "json", "msgpack", "reply"
        )
        return Answer(content=content, busy_s=answer.busy_s)

    async def _called(self, call: Call) -> Answer:
        headers = {"Content-Type": _CONTENT_TYPE[call.encoding], "X-Timeout-S": f"{call.timeout_s:.6g}"}
        if call.key:
            headers["Idempotency-Key"] = quote(call.key, safe="/:;,.!*+=@$&()[] ")
        try:
            address = self._url_of(call.function)
            answer, content = await self._asked("POST", address, call.timeout_s, headers, call.content)
        except _Answered as broke:
            if broke.status == 404:
                raise FunctionUnknown(f"{self._host} does not have the function (404)") from None
            raise
        _refuse_errors(content, call.encoding, answer.content_type, self._host)
        return Answer(content=content, busy_s=_busy_s(answer.headers.get("Server-Timing", "")))

    async def probe(self) -> Probed:
        """See `RegionPort`; a host that does not list its functions is only asked whether it is ready."""
        if self._has_urls:
            return await self._probed_function()
        try:
            _, content = await self._asked("GET", f"{self._address}/functions", _PROBE_S)
        except _Answered as broke:
            if broke.status not in (404, 405, 501):
                raise
            return await self._readiness()
        try:
            return self._told(content)
        except msgspec.DecodeError:
            raise InvocationBroke("reply", f"{self._host} does not list functions") from None

    def _url_of(self, function: str) -> str:
        if not self._has_urls:
            return f"{self._address}/functions/{quote(function, safe='')}"
        if function not in self._functions:
            raise FunctionUnknown(f"{self._host} does not have the function")
        return self._address.replace(FUNCTION, quote(function, safe=""))

    async def _probed_function(self) -> Probed:
        """Whatever it answers to what is no call: it is there, unless it lets nobody in or breaks."""
        try:
            _, content = await self._asked("GET", self._url_of(self._functions[0]), _PROBE_S)
            return msgspec.structs.replace(self._told(content), functions=self._assumed.functions)
        except _Answered as broke:
            if broke.status in (401, 403, 429) or broke.status >= 500:
                raise
        except msgspec.DecodeError:
            pass  # a page for people
        return self._assumed

    def _told(self, content: bytes) -> Probed:
        probed = msgspec.json.decode(content, type=Probed)
        if probed.encodings:
            self._reads_json_only = "msgpack" not in probed.encodings
        return probed

    async def _readiness(self) -> Probed:
        try:
            await self._asked("GET", f"{self._address}/readyz", _PROBE_S)
        except _Answered as broke:
            if broke.status == 503:
                return msgspec.structs.replace(self._assumed, is_draining=True)
            raise
        return self._assumed

    # ---------------------------------------------------------------- one request

    async def _asked(
        self,
        method: str,
        address: str,
        timeout_s: float,
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        try:
            async with asyncio.timeout(timeout_s) as limit:
                return await self._with_token(method, address, headers or {}, content)
        except InvocationBroke:
            raise
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if limit.expired():
                raise InvocationBroke("timeout", f"{self._host} took longer than {timeout_s:g} s") from None
            self._reads_json_only = False  # it may be another one that comes back
            raise InvocationBroke(
                "transport", f"{self._host} cannot be reached ({type(error).__name__})"
            ) from None

    async def _with_token(
        self, method: str, address: str, headers: dict[str, str], content: bytes | None
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        if not isinstance(self._tokens, IdentityTokens):
            if self._tokens is not None:
                headers["Authorization"] = f"Bearer {self._tokens}"
            return await self._exchanged(method, address, headers, content)
        token = await self._token(self._tokens)
        try:
            return await self._exchanged(
                method, address, {**headers, "Authorization": f"Bearer {token}"}, content
            )
        except _Answered as broke:
            if broke.status != 401:
                raise
        self._tokens.forget(token)
        headers["Authorization"] = f"Bearer {await self._token(self._tokens)}"
        return await self._exchanged(method, address, headers, content)

    async def _token(self, tokens: IdentityTokens) -> str:
        try:
            return await tokens()
        except Exception as error:  # noqa: BLE001 - a source may raise anything
            said = f"no identity token for {self._host} can be had ({type(error).__name__})"
            raise InvocationBroke("transport", said) from None

    async def _exchanged(
        self, method: str, address: str, headers: dict[str, str], content: bytes | None
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        body: bytes | AsyncIterator[bytes] | None = content
        if content is not None and len(content) > _PIECE_BYTES:
            headers["Content-Length"] = str(len(content))
            body = _in_pieces(content)
        async with self._opened().request(
            method, address, data=body, headers=headers, allow_redirects=False
        ) as answer:
            if answer.status == 200:
                return answer, await self._read(answer)
            raise await self._broken(answer)

    def _opened(self) -> aiohttp.ClientSession:
        if self._is_closed:
            raise InvocationBroke("transport", f"the way to {self._host} is closed")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_s),
                connector=aiohttp.TCPConnector(limit=0, ssl=self._tls or True),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        length = answer.content_length
        if length is not None and length <= _PIECE_BYTES:
            return await answer.read()
        content = bytearray()
        async for piece in answer.content.iter_any():
            content += piece
            if len(content) > ANSWER_MAX_BYTES:
                raise InvocationBroke(
                    "reply", f"{self._host} answered with more than {ANSWER_MAX_BYTES} bytes"
                )
        return bytes(content)

    async def _broken(self, answer: aiohttp.ClientResponse) -> "_Answered":
        status = answer.status
        after_s = self._seconds(answer.headers.get("Retry-After", ""))
        kind: Break = "server" if status >= 500 else "refused"
        kind = _KIND_OF_STATUS.get(status, kind)
        if status == 503 and after_s is not None:
            kind = "throttled"
        if status == 500 and await _said_kind(answer) == "function":
            kind = "function"
        return _Answered(kind, f"{self._host} answered {status}", after_s, status)

    def _seconds(self, said: str) -> float | None:
        """Retry-After: seconds, or a date."""
        if said.strip().isdecimal():
            return float(said)
        try:
            date = parsedate_to_datetime(said)
        except ValueError:
            return None
        return max(0.0, date.replace(tzinfo=date.tzinfo or UTC).timestamp() - self._clock.utc_ns() / 1e9)


def trusting(ca_file: str | None) -> ssl.SSLContext:
    """How a host's certificate is checked; raises InputInvalid."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise InputInvalid(
            f"the certificates cannot be read ({type(error).__name__}).",
            where="ca_file",
            remedy="Name a file of certificates (PEM).",
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class _Answered(InvocationBroke):
    """Broken by a status."""

    def __init__(self, kind: Break, message: str, retry_after_s: float | None, status: int) -> None:
        super().__init__(kind, message, retry_after_s)
        self.status = status

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return InvocationBroke, (self.kind, self.message, self.retry_after_s)


async def _rewritten(
    rewrite: Callable[[str, bytes, CallEncoding, CallEncoding], bytes],
    function: str,
    content: bytes,
    encoding: CallEncoding,
    wanted: CallEncoding,
    kind: Break,
) -> bytes:
    """In the other encoding; what is large is rewritten beside the loop."""
    try:
        if len(content) > _PIECE_BYTES:
            return await asyncio.to_thread(rewrite, function, content, encoding, wanted)
        return rewrite(function, content, encoding, wanted)
    except InputInvalid as error:
        raise InvocationBroke(kind, error.what) from None


async def _said_kind(answer: aiohttp.ClientResponse) -> str:
    """The kind in a problem; empty where it does not say."""
    content = await answer.content.read(_PROBLEM_MAX_BYTES)
    try:
        return msgspec.json.decode(content, type=_Kind).kind
    except msgspec.DecodeError:
        return ""


def _refuse_errors(content: bytes, encoding: CallEncoding, content_type: str, host: str) -> None:
    """An answer that holds an error is none."""
    try:
        looked: _Looked = _LOOK[encoding].decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvocationBroke("reply", f"{host} did not answer with a {encoding} object") from None
    is_problem = content_type == "application/problem+json" or (
        type(looked.status) is int and looked.status >= 400 and UNSET not in (looked.title, looked.detail)
    )
    has_error = looked.error is not UNSET and bytes(looked.error) != _NOTHING[encoding]
    if is_problem or has_error:
        raise InvocationBroke("function", f"{host} answered 200 with an error")


def _busy_s(server_timing: str) -> float:
    found = _BUSY.search(server_timing)
    try:
        return float(found.group(1)) / 1e3 if found else math.nan
    except ValueError:
        return math.nan


async def _in_pieces(content: bytes) -> AsyncIterator[bytes]:
    """A large body does not hold up whatever else goes on."""
    for start in range(0, len(content), _PIECE_BYTES):
        yield content[start : start + _PIECE_BYTES]
