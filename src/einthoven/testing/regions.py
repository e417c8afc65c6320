"""What every way to a region promises, as checks: each docstring is the rule.

For a region of your own::

    @asynccontextmanager
    async def a_region():
        region = MyRegion(...)
        try:
            yield region
        finally:
            await region.close()


    @pytest.mark.parametrize("check", REGION_CHECKS, ids=lambda check: check.__name__)
    @in_loop
    async def test_my_region_keeps_the_promises(check):
        await check(a_region)

The region must have the functions of `einthoven.runtime.hosted.Hosted`; with a store or without.
"""

import asyncio
import itertools
import math
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager, suppress
from functools import lru_cache
from typing import Final, TypeVar, get_args
from uuid import uuid4

import msgspec
import numpy as np

from einthoven.functions import Ecg, encode
from einthoven.functions.codec import decode_as
from einthoven.runtime.conducting import FunctionUnknown, InvocationBroke
from einthoven.runtime.ecg_functions import STAGES
from einthoven.runtime.hosted import ANALYSIS, Asked, Gave, Hosted, perform
from einthoven.runtime.region_port import Answer, Call, CallEncoding, RegionPort
from einthoven.testing.builders import a_recording

__all__ = ["REGION_CHECKS", "MakeRegion", "a_call", "a_slow_call", "check_region"]

_T = TypeVar("_T")

MakeRegion = Callable[[], AbstractAsyncContextManager[RegionPort]]
"""Gives a fresh way to the region; it is closed behind the block, and may be closed inside."""

_HOSTED: Final = Hosted()
_TIMEOUT_S: Final = 60.0
_SLACK_S: Final = 1.0
"""How much later than its time a call may end, on a machine that does other things too."""
_CLOSING_S: Final = 10.0
_AT_ONCE: Final = 50
_PATIENT: Final = "somebody-4711"
_SAMPLE: Final = 1_234_567
_ENCODINGS: Final[tuple[CallEncoding, ...]] = get_args(CallEncoding)
_NO_FUNCTIONS: Final = ("nobody", "a b", "a.b.>", "*", "../analysis", "ä\r\nKey: x", "x" * 5000, "")


async def check_region(make: MakeRegion) -> None:
    """Run every check, each on a fresh way; the first that fails raises AssertionError."""
    for check in REGION_CHECKS:
        await check(make)


# -------------------------------------------------------------------- what is asked


def a_call(
    seed: int = 1,
    *,
    function: str = ANALYSIS,
    encoding: CallEncoding = "msgpack",
    key: str | None = None,
    timeout_s: float = _TIMEOUT_S,
    duration_s: float = 30.0,
    fs: float = 125.0,
    state: bytes | None = None,
    number: int | None = None,
) -> Call:
    """An invocation on ECG by value.

    Parameters
    ----------
    number : of the segment in a stream that goes on; None: a recording of its own.
    """
    size = round(duration_s * fs)
    first = 0 if number is None else number * size
    whole = a_recording(seed=seed, duration_s=first / fs + duration_s, fs=fs)
    ecg = Ecg(
        patient_id=f"p-{seed}",
        fs=fs,
        first=first,
        is_last=number is None,
        samples=whole.counts[0, first : first + size].astype(np.int32),
    )
    content = encode(Asked(ecg=ecg, state=state), encoding)
    return _call(content, function=function, encoding=encoding, key=key, timeout_s=timeout_s)


@lru_cache(maxsize=1)
def _slow_content() -> bytes:
    return a_call(7, duration_s=4400.0, fs=50.0).content


def a_slow_call(timeout_s: float = _TIMEOUT_S) -> Call:
    """An invocation that takes about 50 ms, and whose content still has less than 1 MB."""
    return _call(_slow_content(), timeout_s=timeout_s)


def _call(
    content: bytes,
    *,
    function: str = ANALYSIS,
    encoding: CallEncoding = "msgpack",
    key: str | None = None,
    timeout_s: float = _TIMEOUT_S,
) -> Call:
    name = key or f"check-{uuid4().hex}"
    return Call(function=function, content=content, encoding=encoding, key=name, timeout_s=timeout_s)


# -------------------------------------------------------------------- the rules


async def what_is_invoked_answers_as_in_this_process(make: MakeRegion) -> None:
    """Byte for byte what `perform` gives, of every function, in both encodings."""
    async with make() as region:
        for encoding in _ENCODINGS:
            call = a_call(2, encoding=encoding)
            await _same(region, call)
            for name in STAGES:
                call = msgspec.structs.replace(call, function=name, key=uuid4().hex)
                gave = decode_as((await _same(region, call)).content, encoding, Gave)
                following = encode(Asked(ecg=gave.ecg, state=None), encoding)
                call = msgspec.structs.replace(call, content=following)


async def the_same_again_answers_the_same(make: MakeRegion) -> None:
    """A call that comes again under its key, later or while the first goes on, has the same answer."""
    async with make() as region:
        call = a_call(3)
        first = await region.invoke(call)
        for again in await asyncio.gather(*(region.invoke(call) for _ in range(4))):
            assert again.content == first.content
        fresh = msgspec.structs.replace(call, key=uuid4().hex)
        for again in await asyncio.gather(*(region.invoke(fresh) for _ in range(4))):
            assert again.content == first.content


async def another_content_is_not_answered_with_the_first(make: MakeRegion) -> None:
    """Under a key that was used for something else a call gets its own answer, or is refused."""
    async with make() as region:
        first = a_call(4)
        await region.invoke(first)
        for other in (a_call(5, key=first.key), a_call(4, key=first.key, encoding="json")):
            with suppress(InvocationBroke):
                assert (await region.invoke(other)).content == perform(_HOSTED, other).content


async def any_number_may_be_under_way(make: MakeRegion) -> None:
    """Fifty at once: each gets its own answer, whatever the others are and how they end."""
    async with make() as region:
        calls = [a_call(seed, encoding=_ENCODINGS[seed % 2]) for seed in range(_AT_ONCE)]
        wrong = [_call(b"\xc1 garbage") for _ in range(10)]
        mixed = itertools.chain.from_iterable(itertools.zip_longest(calls, wrong))
        asked = [call for call in mixed if call is not None]
        answers = await asyncio.gather(*(region.invoke(call) for call in asked), return_exceptions=True)
        for call, answer in zip(asked, answers, strict=True):
            if call in wrong:
                assert isinstance(answer, InvocationBroke)
                assert answer.kind == "refused"
            else:
                assert isinstance(answer, Answer), answer
                assert answer.content == perform(_HOSTED, call).content


async def a_state_goes_along(make: MakeRegion) -> None:
    """Ten segments, each with the state that the one before gave, are found as in one process."""
    async with make() as region:
        for encoding in _ENCODINGS:
            state: bytes | None = None
            for number in range(10):
                call = a_call(6, number=number, duration_s=10.0, encoding=encoding, state=state)
                gave = decode_as((await _same(region, call)).content, encoding, Gave)
                assert gave.state is not None
                state = gave.state


async def what_is_no_call_is_refused(make: MakeRegion) -> None:
    """Unknown functions and content that is none are ``refused``, and the region goes on."""
    async with make() as region:
        for name in _NO_FUNCTIONS:
            await _breaks(region, a_call(function=name), {"refused"})
        for encoding in _ENCODINGS:
            for content in (b"", b"{", b"\xc1", b"\x00" * 3000, b"[]", b'{"ecg": 1}', a_call().content[:-1]):
                await _breaks(region, _call(content, encoding=encoding), {"refused"})
        await _same(region, a_call(8))


async def errors_hold_no_values(make: MakeRegion) -> None:
    """Whatever is wrong with a content: no patient and no sample is in what is said of it."""
    odd = (
        {"patientId": _PATIENT, "samples": [_SAMPLE, "x"]},
        {"patientId": _PATIENT, "samples": [_SAMPLE] * 100, "fs": _PATIENT},
        {"patientId": [_PATIENT], "samples": [_SAMPLE * 10_000]},
        {"patientId": _PATIENT, "samples": [_SAMPLE], "startTime": _PATIENT, "fs": 250},
    )
    async with make() as region:
        for ecg in odd:
            for encoding in _ENCODINGS:
                given = {"ecg": ecg}
                content = msgspec.json.encode(given) if encoding == "json" else msgspec.msgpack.encode(given)
                said = await _breaks(region, _call(content, encoding=encoding), {"refused"})
                assert _PATIENT not in said
                assert str(_SAMPLE) not in said


async def too_much_is_told(make: MakeRegion) -> None:
    """What is too large for the way, there or back, is ``payload``; the region goes on."""
    async with make() as region:
        await _breaks(region, _call(b"\xc1" * 40_000_000), {"payload", "refused"})
        call = msgspec.structs.replace(a_slow_call(), function="preprocessing")
        ended = await _ended(region.invoke(call))
        if isinstance(ended, InvocationBroke):
            assert ended.kind == "payload", ended
        else:
            assert ended.content == perform(_HOSTED, call).content
        await _same(region, a_call(9))


async def out_of_time_is_a_timeout(make: MakeRegion) -> None:
    """A call that does not end in its time breaks with ``timeout``, little later; the region goes on."""
    async with make() as region:
        await region.invoke(a_slow_call())
        for timeout_s in (0.001, 0.005):
            began_s = time.perf_counter()
            await _breaks(region, a_slow_call(timeout_s), {"timeout"})
            assert time.perf_counter() - began_s < timeout_s + _SLACK_S
        await _same(region, a_call(10))


async def a_cancelled_call_is_given_up(make: MakeRegion) -> None:
    """Whoever cancels a call has not to wait for it, and the region goes on."""
    async with make() as region:
        await region.invoke(a_call(11))
        for pause_s in (0.0, 0.001, 0.02):
            task = asyncio.ensure_future(region.invoke(a_slow_call()))
            await asyncio.sleep(pause_s)
            began_s = time.perf_counter()
            if task.cancel():
                assert (await asyncio.gather(task, return_exceptions=True)) is not None
                assert task.cancelled()
            assert time.perf_counter() - began_s < _SLACK_S
        await _same(region, a_call(11))


async def it_says_what_it_has(make: MakeRegion) -> None:
    """Asked what it has, it names all its functions with their versions, and its slots."""
    async with make() as region:
        probed = await region.probe()
        assert set(_HOSTED.functions) <= set(probed.functions)
        assert probed.slots >= 1
        assert not probed.is_draining
        answer = await region.invoke(a_call(12))
        assert math.isnan(answer.busy_s) or 0 < answer.busy_s < _TIMEOUT_S


async def what_it_says_it_has_it_has(make: MakeRegion) -> None:
    """A function that it lists is never unknown there, in no encoding; one that it does not list is.

    Of content that is wrong it does not say so: whoever is told is to look for the function elsewhere.
    """
    async with make() as region:
        probed = await region.probe()
        for function in probed.functions:
            for encoding in _ENCODINGS:
                ended = await _ended(region.invoke(a_call(14, function=function.name, encoding=encoding)))
                assert not isinstance(ended, FunctionUnknown), function.name
        assert "nobody" not in [one.name for one in probed.functions]
        for encoding in _ENCODINGS:
            empty = b"{}" if encoding == "json" else b"\x80"
            ended = await _ended(region.invoke(_call(empty, function="nobody", encoding=encoding)))
            assert isinstance(ended, FunctionUnknown), ended
            ended = await _ended(region.invoke(_call(b"\xc1", encoding=encoding)))
            assert isinstance(ended, InvocationBroke)
            assert not isinstance(ended, FunctionUnknown), ended


async def what_is_closed_breaks(make: MakeRegion) -> None:
    """Closing soon breaks what is under way, and whatever is asked afterwards, with ``transport``."""
    async with make() as region:
        await region.invoke(a_call(13))
        under_way = [asyncio.ensure_future(region.invoke(a_slow_call())) for _ in range(5)]
        await asyncio.sleep(0.001)
        await region.close()
        ended = await asyncio.wait_for(asyncio.gather(*under_way, return_exceptions=True), _CLOSING_S)
        for one in ended:
            # What had its answer already may keep it.
            assert isinstance(one, Answer) or (isinstance(one, InvocationBroke) and one.kind == "transport")
        await _breaks(region, a_call(13), {"transport"})
        said = await _ended(region.probe())
        assert isinstance(said, InvocationBroke)
        assert said.kind == "transport", said
        await region.close()


REGION_CHECKS: Final[tuple[Callable[[MakeRegion], Awaitable[None]], ...]] = (
    what_is_invoked_answers_as_in_this_process,
    the_same_again_answers_the_same,
    another_content_is_not_answered_with_the_first,
    any_number_may_be_under_way,
    a_state_goes_along,
    what_is_no_call_is_refused,
    errors_hold_no_values,
    too_much_is_told,
    out_of_time_is_a_timeout,
    a_cancelled_call_is_given_up,
    it_says_what_it_has,
    what_it_says_it_has_it_has,
    what_is_closed_breaks,
)


async def _same(region: RegionPort, call: Call) -> Answer:
    answer = await region.invoke(call)
    assert answer.content == perform(_HOSTED, call).content, f"{call.function} in {call.encoding}"
    return answer


async def _breaks(region: RegionPort, call: Call, kinds: Collection[str]) -> str:
    """How it breaks, in words."""
    ended = await _ended(region.invoke(call))
    assert isinstance(ended, InvocationBroke), f"expected one of {sorted(kinds)}"
    assert ended.kind in kinds, f"{ended.kind}: {ended.message}"
    assert 0 < len(ended.message) < 1000
    return ended.message


async def _ended(asked: Awaitable[_T]) -> _T | InvocationBroke:
    try:
        return await asked
    except InvocationBroke as broke:
        return broke
