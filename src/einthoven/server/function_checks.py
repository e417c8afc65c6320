"""Whether a host of functions keeps docs/reference/function-host.md, in whatever language it is written.

Each check is an async function that takes a `HostUnderTest` and raises `CheckFailed`; the first line of its
docstring is what it promises, the rest what to do where it does not hold. Only functions that the host lists
are called.
"""

import asyncio
import json
import secrets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import msgspec
import numpy as np

from einthoven.errors import DestinationUnavailable, InputInvalid
from einthoven.functions import Ecg, encode
from einthoven.functions.codec import decode_as
from einthoven.runtime.conducting import InvocationBroke
from einthoven.runtime.ecg_functions import STAGES
from einthoven.runtime.hosted import ANALYSIS, Asked, Hosted, perform
from einthoven.runtime.http_region import trusting
from einthoven.runtime.region_port import Call, CallEncoding
from einthoven.simulation import SCENES, VirtualPatient

__all__ = [
    "HOST_CHECKS",
    "CheckFailed",
    "CheckSkipped",
    "Checked",
    "HostCheck",
    "HostUnderTest",
    "checked_host",
    "host_under_test",
    "promise_of",
]

_ADDS: Final = {
    "preprocessing": "cleaned",
    "beatDetectionClassification": "beats",
    "postprocessing": "rhythm",
    "finalization": "findings",
}
_OWN: Final = Hosted()
_AT_ONCE: Final = 16
_TOO_LARGE: Final = 2**40
_MISSING: Final = -(2**31)
_TYPES: Final = {"json": "application/json", "msgpack": "application/msgpack"}
_REQUEST_S: Final = 60.0
_ANSWERS_TOO_LARGE_S: Final = 15.0
_STARTS_S: Final = 60


class CheckFailed(AssertionError):
    """A promise is not kept; says how. No value is in the text."""


class CheckSkipped(Exception):
    """There is nothing to check here; says why."""


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a check."""

    name: str
    promise: str
    outcome: Literal["passed", "failed", "skipped"]
    detail: str = ""
    remedy: str = ""


class Reply(NamedTuple):
    """What a host answered."""

    status: int
    type: str
    headers: Mapping[str, str]
    content: bytes


class HostUnderTest:
    """A host that is checked: asked things, and listened to."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        address: str,
        token: str | None,
        listed: tuple[str, ...],
        encodings: tuple[str, ...] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.tls = tls
        self.address = address.rstrip("/")
        self.token = token
        self.listed = listed
        """What the host says that it has; empty where it does not say."""
        self.encodings = encodings
        """Those that it says it reads; empty where it does not say."""
        self.known = tuple(name for name in (*STAGES, ANALYSIS) if name in listed)
        """Those of them that are known here."""
        self.lies: list[str] = []
        """Answers so far that said 200 with an error, or an error without saying why."""
        self._session = session
        self._inputs: dict[tuple[str, str], dict[str, Any]] = {}

    async def get(self, path: str) -> Reply:
        """Ask for something."""
        return await self._ask("GET", path, None, {})

    async def call(
        self,
        function: str,
        inputs: Any,
        encoding: CallEncoding = "json",
        *,
        has_token: bool = True,
        headers: Mapping[str, str] = {},
    ) -> Reply:
        """Call a function; ``inputs`` are an object, or a body as it is."""
        content = inputs if isinstance(inputs, bytes) else _encoded(inputs, encoding)
        sent = {"Content-Type": _TYPES[encoding], **headers}
        return await self._ask("POST", f"/functions/{function}", content, sent, has_token=has_token)

    async def answer(self, function: str, inputs: Any, key: str = "") -> dict[str, Any]:
        """What a call must give: an object."""
        reply = await self.call(function, inputs, headers={"Idempotency-Key": key} if key else {})
        if reply.status != 200:
            raise CheckFailed(f"{function} answered {reply.status}.")
        found = _decoded(reply.content, "json")
        if not isinstance(found, dict):
            raise CheckFailed(f"{function} did not answer with a JSON object.")
        return found

    def input_of(self, function: str, kind: str = "healthy") -> dict[str, Any]:
        """What a function is given: an ECG of this kind, with what the functions before it added."""
        key = (function, kind)
        if key not in self._inputs:
            self._inputs[key] = _input_of(function, _samples(kind))
        return self._inputs[key]

    async def _ask(
        self,
        method: str,
        path: str,
        content: bytes | None,
        headers: dict[str, str],
        *,
        has_token: bool = True,
    ) -> Reply:
        if self.token is not None and has_token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            async with self._session.request(
                method, f"{self.address}{path}", data=content, headers=headers, allow_redirects=False
            ) as answer:
                reply = Reply(answer.status, answer.content_type, answer.headers, await answer.read())
        except TimeoutError:
            raise CheckFailed(f"{method} {path} was not answered within {_REQUEST_S:g} s.") from None
        except (aiohttp.ClientError, OSError) as error:
            raise CheckFailed(f"{method} {path}: the connection broke ({type(error).__name__}).") from None
        lie = _lie_in(reply)
        if lie:
            self.lies.append(f"{method} {path}: {lie}")
        return reply


HostCheck = Callable[[HostUnderTest], Awaitable[None]]


@asynccontextmanager
async def host_under_test(
    address: str, token: str | None = None, ca: str | None = None
) -> AsyncIterator[HostUnderTest]:
    """A host to be checked; it is asked what it has.

    Parameters
    ----------
    ca : file of the certificates that its own is checked with; None: those of this machine.

    Raises
    ------
    DestinationUnavailable : nobody takes connections there.
    InputInvalid : this is no address.
    """
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputInvalid("this is no address.", where="URL", remedy="Give it as http://HOST:PORT.")
    timeout = aiohttp.ClientTimeout(total=_REQUEST_S)
    tls = trusting(ca)
    async with aiohttp.ClientSession(
        timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), connector=aiohttp.TCPConnector(ssl=tls)
    ) as session:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            async with session.get(f"{address.rstrip('/')}/functions", headers=headers) as answer:
                said = await answer.read() if answer.status == 200 else b""
        except aiohttp.ClientSSLError:
            raise DestinationUnavailable(
                "its certificate is not trusted, or it does not speak TLS.",
                where=parts.netloc,
                remedy="Name the certificates that are trusted with --ca.",
            ) from None
        except (aiohttp.ClientConnectionError, TimeoutError):
            raise DestinationUnavailable(
                "nobody takes connections there.",
                where=parts.netloc,
                remedy="Start the host, or check the URL.",
            ) from None
        yield HostUnderTest(session, address, token, _listed(said), _encodings_in(said), tls)


async def checked_host(
    address: str,
    token: str | None = None,
    *,
    ca: str | None = None,
    checks: Sequence[HostCheck] | None = None,
    told: Callable[[Checked], None] = lambda _: None,
) -> tuple[tuple[str, ...], list[Checked]]:
    """All checks of a host, one after the other: the functions that it lists, and what came of each check.

    Raises
    ------
    DestinationUnavailable : nobody takes connections there.
    """
    found = []
    async with host_under_test(address, token, ca) as host:
        for check in HOST_CHECKS if checks is None else checks:
            one = await _checked(check, host)
            told(one)
            found.append(one)
        return host.listed, found


async def _checked(check: HostCheck, host: HostUnderTest) -> Checked:
    promise, remedy = promise_of(check)
    name = getattr(check, "__name__", "check")
    try:
        await check(host)
    except CheckSkipped as why:
        return Checked(name=name, promise=promise, outcome="skipped", detail=str(why))
    except CheckFailed as why:
        return Checked(name=name, promise=promise, outcome="failed", detail=str(why), remedy=remedy)
    return Checked(name=name, promise=promise, outcome="passed")


def promise_of(check: HostCheck) -> tuple[str, str]:
    """What a check promises, and what to do where it does not hold."""
    promise, _, remedy = (check.__doc__ or "").partition("\n\n")
    return promise.strip(), " ".join(remedy.split())


# -------------------------------------------------------------------- the checks


async def it_lists_what_it_has(host: HostUnderTest) -> None:
    """It lists what it has.

    Answer GET /functions with {"functions": [{"name", "version", "memory_mb", "timeout_s"}, ...], "slots"}.
    """
    if not host.listed:
        raise CheckFailed("GET /functions is not answered with a list of functions.")
    unknown = [name for name in host.listed if name not in host.known]
    if not host.known:
        raise CheckSkipped(f"none of {', '.join(unknown)[:200]} is known here; their answers are not checked")


async def it_says_whether_it_is_ready(host: HostUnderTest) -> None:
    """It says that it is alive and ready.

    Answer GET /healthz and GET /readyz with 200; 503 with Retry-After while the host starts or ends.
    """
    for path in ("/healthz", "/readyz"):
        reply = await host.get(path)
        for _ in range(_STARTS_S if path == "/readyz" else 0):
            if reply.status != 503 or "Retry-After" not in reply.headers:
                break
            await asyncio.sleep(1.0)
            reply = await host.get(path)
        if reply.status != 200:
            raise CheckFailed(f"GET {path} is answered with {reply.status}.")


async def it_answers_in_the_encoding_of_the_question(host: HostUnderTest) -> None:
    """It answers in the encoding of the question.

    Answer application/json with application/json. Do the same for application/msgpack, or refuse it with 415;
    where GET /functions lists encodings, list the one that you read.
    """
    for function in _known(host):
        encodings: tuple[CallEncoding, ...] = ("json", "msgpack")
        for encoding in encodings:
            reply = await host.call(function, host.input_of(function), encoding)
            if encoding == "msgpack" and reply.status == 415:
                if encoding in host.encodings:
                    raise CheckFailed(f"{function} refused {encoding}, which is listed.")
                continue
            if host.encodings and encoding not in host.encodings:
                raise CheckFailed(f"{function} answered {reply.status} to {encoding}, which is not listed.")
            if reply.status != 200:
                raise CheckFailed(f"{function} answered {reply.status} to {encoding}.")
            if reply.type != _TYPES[encoding]:
                raise CheckFailed(f"{function} answered {encoding} with the type {reply.type[:60]}.")
            if not isinstance(_decoded(reply.content, encoding), dict):
                raise CheckFailed(f"{function} answered {encoding} with something else.")


async def it_gives_the_same_answer_to_the_same_question(host: HostUnderTest) -> None:
    """It gives the same answer to the same question.

    Compute from the inputs alone: no time, no random numbers, nothing remembered of earlier calls.
    """
    for function in _known(host):
        given = host.input_of(function)
        first = await host.answer(function, given)
        await host.answer(function, host.input_of(function, "flat"))
        if await host.answer(function, given) != first:
            raise CheckFailed(f"{function} answered the same question differently.")


async def it_adds_its_section(host: HostUnderTest) -> None:
    """What it gives is what the next function takes.

    Add the section of docs/reference/functions.md to the ECG object, with all columns of one length, and
    answer with ecg and ecgDataFilePath (null).
    """
    for function in _known(host):
        given = await host.answer(function, host.input_of(function))
        if function == ANALYSIS:
            _ecg_in(given, function, "findings")
            continue
        if given.get("ecgDataFilePath") is not None:
            raise CheckFailed(f"{function} answered with a reference to what was sent by value.")
        _ecg_in(given, function, _ADDS[function])
        following = _after(function)
        if following is not None:
            _perform(following, {"ecg": given["ecg"]}, f"{following} does not take what {function} gave")


async def it_leaves_other_sections_alone(host: HostUnderTest) -> None:
    """It leaves alone what others wrote.

    Copy every field of the ECG object but your own section, those too that you do not know; add to versions.
    """
    for function in _known(host):
        if function == ANALYSIS:
            continue
        before = host.input_of(function)["ecg"]
        after = (await host.answer(function, host.input_of(function)))["ecg"]
        for name, value in before.items():
            if name == "versions":
                same = all(after.get(name, {}).get(key) == version for key, version in value.items())
            else:
                same = after.get(name) == value
            if not same:
                raise CheckFailed(f"{function} changed {name}.")


async def it_refuses_garbage(host: HostUnderTest) -> None:
    """It refuses garbage with 4xx and a problem that says why.

    Answer a body that is no JSON object with 400 or 422, and with application/problem+json: title, status,
    detail.
    """
    bodies = {
        "nothing": b"",
        "no JSON": b"beats",
        "half of an object": b'{"ecg": {"samples": [1, 2',
        "a list": b"[]",
        "a number": b"7",
        "bytes that are no text": b'{"ecg": "\xff\xfe"}',
        "brackets without end": b"[" * 100_000,
    }
    for function in host.listed:
        for said, body in bodies.items():
            reply = await host.call(function, body)
            if not 400 <= reply.status < 500:
                raise CheckFailed(f"{function} answered {reply.status} to {said}.")
            _expect_problem(reply, f"{function}, to {said},")


async def it_refuses_an_object_without_what_it_needs(host: HostUnderTest) -> None:
    """It refuses an object without what it needs.

    Answer with 422 where neither ecg nor ecgDataFilePath is given, or a section is missing.
    """
    for function in _known(host):
        refused: list[tuple[str, dict[str, Any]]] = [("an empty object", {})]
        needed = _before(function)
        if needed is not None:
            lacking = {**host.input_of(function)["ecg"]}
            del lacking[_ADDS[needed]]
            refused.append((f"an object without {_ADDS[needed]}", {"ecg": lacking, "ecgDataFilePath": None}))
        refused.append(("an object whose ecg is a text", {"ecg": "beats"}))
        for said, inputs in refused:
            reply = await host.call(function, inputs)
            if not 400 <= reply.status < 500:
                raise CheckFailed(f"{function} answered {reply.status} to {said}.")
            _expect_problem(reply, f"{function}, to {said},")


async def it_refuses_what_it_does_not_have(host: HostUnderTest) -> None:
    """It says 404 to a function that it does not have, and 415 to a type that it does not read.

    Look at the path first, then at Content-Type.
    """
    reply = await host.call("noSuchFunction", {"ecg": {}})
    if reply.status != 404:
        raise CheckFailed(f"a function that is not listed was answered with {reply.status}.")
    for function in host.listed:
        reply = await host.call(function, b"<ecg/>", headers={"Content-Type": "application/xml"})
        if reply.status != 415:
            raise CheckFailed(f"{function} answered {reply.status} to application/xml.")


async def it_survives_any_ecg(host: HostUnderTest) -> None:
    """It survives one sample, none, a flat line and missing samples.

    An ECG is never an error: answer 200 with what can be said, which may be no beats.
    """
    for function in _known(host):
        for kind in ("one", "none", "flat", "missing", "partly missing", "wild"):
            given = await host.answer(function, host.input_of(function, kind))
            following = _after(function)
            if following is not None:
                said = f"{following} does not take what {function} made of an ECG that is {kind}"
                _perform(following, {"ecg": given.get("ecg")}, said)


async def it_honours_the_idempotency_key(host: HostUnderTest) -> None:
    """It honours Idempotency-Key: one answer for one key, again and at once.

    Keep the answer to a key for some minutes, and let a call with a key that is under way wait for that one.
    """
    for function in _known(host):
        given = host.input_of(function)
        key = f"check-{function}-{secrets.token_hex(6)}"
        first = await host.answer(function, given, key=key)
        again = await asyncio.gather(
            *(host.answer(function, given, key=key) for _ in range(4)),
            *(host.answer(function, given, key=f"{key}-at-once") for _ in range(4)),
        )
        if any(one != first for one in again):
            raise CheckFailed(f"{function} answered the same key differently.")


async def it_handles_many_calls_at_once(host: HostUnderTest) -> None:
    """It handles 16 calls at once, or says when to come again.

    Answer all of them, or 429 (503 where it ends) with Retry-After in seconds; never drop a connection.
    """
    for function in _known(host):
        given = host.input_of(function)
        expected = await host.answer(function, given)
        found = await asyncio.gather(*(_patiently(host, function, given) for _ in range(_AT_ONCE)))
        if any(one != expected for one in found):
            raise CheckFailed(f"{function} answered differently when it was called {_AT_ONCE} times at once.")


async def it_refuses_what_is_too_large(host: HostUnderTest) -> None:
    """It says 413 to what is too large, before it comes.

    Look at Content-Length before reading, and stop reading a body without one at your limit.
    """
    for function in host.listed[:1]:
        try:
            status = await asyncio.wait_for(_announced(host, function), _ANSWERS_TOO_LARGE_S)
        except TimeoutError:
            raise CheckFailed(f"{function} waits for a body of {_TOO_LARGE} bytes.") from None
        except OSError as error:
            raise CheckFailed(f"{function} cut the connection ({type(error).__name__}).") from None
        if status != 413:
            raise CheckFailed(f"{function} answered {status} to a body of {_TOO_LARGE} bytes.")


async def it_asks_for_the_token(host: HostUnderTest) -> None:
    """It asks for the token.

    Answer a call without it, or with another one, with 401.
    """
    if host.token is None:
        raise CheckSkipped("no token was given")
    for function in host.listed:
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            reply = await host.call(function, {}, has_token=False, headers=headers)
            if reply.status != 401:
                raise CheckFailed(f"{function} answered {reply.status} without the token.")


async def it_never_says_200_with_an_error(host: HostUnderTest) -> None:
    """It never says 200 with an error, nor an error without a problem.

    An answer with an error in it has a status of 400 or more and the type application/problem+json.
    """
    if host.lies:
        raise CheckFailed(f"{len(host.lies)} answers of this check did; the first: {host.lies[0]}")


HOST_CHECKS: Final[tuple[HostCheck, ...]] = (
    it_lists_what_it_has,
    it_says_whether_it_is_ready,
    it_answers_in_the_encoding_of_the_question,
    it_gives_the_same_answer_to_the_same_question,
    it_adds_its_section,
    it_leaves_other_sections_alone,
    it_refuses_garbage,
    it_refuses_an_object_without_what_it_needs,
    it_refuses_what_it_does_not_have,
    it_survives_any_ecg,
    it_honours_the_idempotency_key,
    it_handles_many_calls_at_once,
    it_refuses_what_is_too_large,
    it_asks_for_the_token,
    it_never_says_200_with_an_error,
)
"""In the order in which they are made; the last looks at all answers before."""


# -------------------------------------------------------------------- what they are made of


def _known(host: HostUnderTest) -> tuple[str, ...]:
    if not host.known:
        raise CheckSkipped("none of its functions is known here")
    return host.known


def _listed(content: bytes) -> tuple[str, ...]:
    try:
        found = msgspec.json.decode(content)
        names = tuple(one["name"] for one in found["functions"])
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        return ()
    return names if all(isinstance(name, str) for name in names) else ()


def _encodings_in(content: bytes) -> tuple[str, ...]:
    found = _decoded(content, "json")
    names = found.get("encodings") if isinstance(found, dict) else None
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _encoded(inputs: Any, encoding: CallEncoding) -> bytes:
    content = json.dumps(inputs).encode()
    return content if encoding == "json" else encode(decode_as(content, "json", Asked), encoding)


def _decoded(content: bytes, encoding: CallEncoding) -> Any:
    try:
        return msgspec.json.decode(content) if encoding == "json" else msgspec.msgpack.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _before(function: str) -> str | None:
    names = list(STAGES)
    return names[names.index(function) - 1] if function in names[1:] else None


def _after(function: str) -> str | None:
    names = list(STAGES)
    return names[names.index(function) + 1] if function in names[:-1] else None


def _samples(kind: str) -> list[int]:
    healthy = VirtualPatient(7, SCENES["healthy"]).read(0, 3750)[0].astype(np.int64)
    match kind:
        case "one":
            healthy = healthy[:1]
        case "none":
            healthy = healthy[:0]
        case "flat":
            healthy[:] = 0
        case "missing":
            healthy[:] = _MISSING
        case "partly missing":
            healthy[1000:2200] = _MISSING
        case "wild":
            healthy = np.random.default_rng(7).integers(-30_000, 30_000, healthy.size)
    found: list[int] = healthy.tolist()
    return found


def _input_of(function: str, samples: Iterable[int]) -> dict[str, Any]:
    ecg: Any = {"patientId": "check", "fs": 125, "gain": 200, "lead": "II", "samples": list(samples)}
    for before in STAGES if function in STAGES else ():
        if before == function:
            break
        ecg = _perform(before, {"ecg": ecg}, f"{before} refuses the check's own ECG")["ecg"]
    return {"ecg": ecg, "ecgDataFilePath": None}


def _perform(function: str, inputs: dict[str, Any], said: str) -> dict[str, Any]:
    """What the function of this program gives."""
    content = json.dumps(inputs).encode()
    call = Call(function=function, content=content, encoding="json", key="", timeout_s=60.0)
    try:
        found: dict[str, Any] = msgspec.json.decode(perform(_OWN, call).content)
    except InvocationBroke as broke:
        raise CheckFailed(f"{said}: {broke.message}") from None
    return found


def _ecg_in(given: dict[str, Any], function: str, section: str) -> Ecg:
    if not isinstance(given.get("ecg"), dict) or given["ecg"].get(section) is None:
        raise CheckFailed(f"{function} did not add {section} to ecg.")
    try:
        return decode_as(json.dumps(given["ecg"]).encode(), "json", Ecg)
    except InputInvalid as error:
        raise CheckFailed(f"{function} gave an ECG object that is none: {error.what}") from None


def _expect_problem(reply: Reply, who: str) -> None:
    lie = _lie_in(reply)
    if lie:
        raise CheckFailed(f"{who} {lie}.")


def _lie_in(reply: Reply) -> str:
    """What is wrong with how an answer tells that it is one, or none; empty where nothing is."""
    if reply.status == 200:
        encoding: CallEncoding = "msgpack" if "msgpack" in reply.type else "json"
        found = _decoded(reply.content, encoding)
        if reply.type == "application/problem+json":
            return "said 200 with a problem"
        return "said 200 with an error" if isinstance(found, dict) and found.get("error") is not None else ""
    if reply.status < 400:
        return f"said {reply.status}"
    problem = _decoded(reply.content, "json")
    if reply.type != "application/problem+json" or not isinstance(problem, dict):
        return f"said {reply.status} without a problem object"
    if problem.get("status") != reply.status or not problem.get("title") or not problem.get("detail"):
        return f"said {reply.status} with a problem that lacks title, status or detail"
    return ""


async def _patiently(host: HostUnderTest, function: str, inputs: dict[str, Any]) -> Any:
    for _ in range(30):
        reply = await host.call(function, inputs)
        if reply.status == 200:
            return _decoded(reply.content, "json")
        if reply.status not in (429, 503):
            raise CheckFailed(f"{function} answered {reply.status} among {_AT_ONCE} calls at once.")
        after = reply.headers.get("Retry-After", "")
        if not after.isdecimal():
            raise CheckFailed(f"{function} answered {reply.status} without Retry-After in seconds.")
        await asyncio.sleep(min(float(after), 2.0))
    raise CheckFailed(f"{function} kept sending calls away.")


async def _announced(host: HostUnderTest, function: str) -> int:
    """The status of a body that is announced, and does not come."""
    parts = urlsplit(host.address)
    is_secret = parts.scheme == "https"
    port = parts.port or (443 if is_secret else 80)
    reader, writer = await asyncio.open_connection(
        parts.hostname, port, ssl=(host.tls or ssl.create_default_context()) if is_secret else None
    )
    try:
        lines = [
            f"POST {parts.path}/functions/{function} HTTP/1.1",
            f"Host: {parts.netloc.rpartition('@')[2]}",
            "Content-Type: application/json",
            f"Content-Length: {_TOO_LARGE}",
            *([] if host.token is None else [f"Authorization: Bearer {host.token}"]),
            "",
            '{"ecg":',
        ]
        writer.write("\r\n".join(lines).encode())
        words = (await reader.readline()).split()
        return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)
