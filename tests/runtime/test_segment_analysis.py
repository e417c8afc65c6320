"""Segments analysed in regions are analysed as here, and here where regions do not do it."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.clock import SystemClock
from einthoven.continuum import Region
from einthoven.errors import EinthovenError, InputInvalid, StateUnreadable
from einthoven.functions import Ecg, PatientState, decode_state, encode, encode_state
from einthoven.functions.codec import decode_as
from einthoven.placement import Terms
from einthoven.runtime.federation import Federation
from einthoven.runtime.hosted import ANALYSES, INTERPRETATIONS, Hosted, perform
from einthoven.runtime.local_regions import InlineRegion
from einthoven.runtime.online import Sensed, Stream, place, sense_all
from einthoven.runtime.reencoding import reencoded_answer, reencoded_call
from einthoven.runtime.region_port import Answer, Call, Probed, RegionPort
from einthoven.runtime.regional_analyst import RegionalAnalyst
from einthoven.runtime.segment_analysis import (
    Analysed,
    AnalysesAsked,
    AnalysesGave,
    CarriedState,
    Following,
    SegmentAsked,
    StreamAsked,
    Streams,
    analyse_asked,
    analyse_here,
    asked_of,
    interpret_here,
    interpretable,
    interpretation_asked,
    interpreted,
)
from einthoven.testing.builders import some_segments
from einthoven.testing.faulty import FaultyRegion

SEGMENTS = {seed: some_segments(f"d{seed}", 6, seed=seed) for seed in range(3)}


@st.composite
def batches(draw: st.DrawFn) -> list[Following]:
    """Streams that have come some way, each with some segments that follow, some of which were lost."""
    streams = []
    for seed in draw(st.lists(st.sampled_from(sorted(SEGMENTS)), min_size=1, max_size=5)):
        stream: Stream | None = None
        state = CarriedState(PatientState())
        done = draw(st.integers(0, 3))
        for one in SEGMENTS[seed][:done]:
            placed = place(stream, one)
            (result,) = analyse_here([Following([placed], state)])
            assert isinstance(result, Analysed)
            stream, state = placed.after, result.state
        following = []
        for one in SEGMENTS[seed][done:]:
            if draw(st.booleans()):
                following.append(place(stream, one))
                stream = following[-1].after
        if following:
            streams.append(Following(following, state))
    return streams


def content(found: list[Analysed | EinthovenError]) -> list[Any]:
    """To be compared."""
    return [
        (type(one), one.what)
        if isinstance(one, EinthovenError)
        else ([encode(Ecg(findings=its), "msgpack") for its in one.findings], one.state.pack())
        for one in found
    ]


@given(batches())
def test_a_call_gives_what_is_found_here_bit_for_bit(streams: Any) -> None:
    if not streams:
        return
    call = Call(
        function=ANALYSES,
        content=encode(asked_of(streams), "msgpack"),
        encoding="msgpack",
        key="k",
        timeout_s=10.0,
    )
    gave = decode_as(perform(Hosted(), call).content, "msgpack", AnalysesGave)
    found = [Analysed(one.findings, CarriedState(packed=one.state)) for one in gave.streams if one]
    assert content(found) == content(analyse_here(streams))


FAR = Region(name="a", kind="inline", slots=4).spot


def apart(streams: Streams) -> list[Following]:
    """The same, whose samples may go nowhere and whose features may."""
    return [one._replace(admits=frozenset(), features=frozenset({FAR})) for one in streams]


def sensed_of(streams: Streams) -> list[tuple[Following, Sensed]]:
    found = sense_all([(one.segments, one.state.value) for one in streams])
    return [(one, its) for one, its in zip(streams, found, strict=True) if isinstance(its, Sensed)]


@given(batches())
def test_what_features_mean_is_what_samples_mean_bit_for_bit_and_no_sample_is_sent(streams: Any) -> None:
    if not streams:
        return
    pairs = sensed_of(streams)
    assert len(pairs) == len(streams)
    asked = encode(interpretation_asked(pairs), "msgpack")
    for stream in decode_as(asked, "msgpack", AnalysesAsked).streams:
        pieces = [piece for its in stream.segments for piece in its.pieces]
        assert all(piece.samples is None and piece.cleaned.samples.size == 0 for piece in pieces)
        if stream.state is not None:
            state = decode_state(stream.state)
            assert (state.cleaning, state.beats) == (None, None)
    call = Call(function=INTERPRETATIONS, content=asked, encoding="msgpack", key="k", timeout_s=10.0)
    gave = decode_as(perform(Hosted(), call).content, "msgpack", AnalysesGave)
    found = [
        interpreted(sensed, one.findings, decode_state(one.state))
        for (_, sensed), one in zip(pairs, gave.streams, strict=True)
        if one
    ]
    assert content(found) == content(interpret_here(pairs)) == content(analyse_here(streams))


def test_of_what_nothing_follows_the_features_do_not_say_where_it_ends() -> None:
    last = place(None, SEGMENTS[0][0], is_last=True)
    (one,) = apart([Following([last], CarriedState(PatientState()))])
    assert not interpretable(one)
    assert interpretable(apart(some_streams(1))[0])
    assert not interpretable(some_streams(1)[0])


def test_a_call_says_nothing_of_whose_the_segments_are() -> None:
    placed = place(None, SEGMENTS[0][0])
    names = {SEGMENTS[0][0].patient, SEGMENTS[0][0].device}
    asked = encode(asked_of([Following([placed], CarriedState(PatientState()))]), "json")
    assert not [one for one in names if one.encode() in asked]
    assert str(SEGMENTS[0][0].start_ns).encode() not in asked


@pytest.mark.parametrize(
    "streams",
    [
        (),
        (StreamAsked(()),),
        (StreamAsked((SegmentAsked(()),)),),
        (StreamAsked(tuple(SegmentAsked((Ecg(),)) for _ in range(2000))),),
    ],
)
def test_a_call_of_nothing_or_too_much_is_refused(streams: Any) -> None:
    with pytest.raises(InputInvalid):
        analyse_asked(AnalysesAsked(streams))


def test_a_state_of_another_version_is_no_beginning() -> None:
    other = encode_state(msgspec.structs.replace(PatientState(), version=99))
    placed = place(None, SEGMENTS[0][0])
    with pytest.raises(StateUnreadable):
        analyse_asked(AnalysesAsked((StreamAsked((SegmentAsked(placed.pieces),), other),)))


def test_what_is_wrong_with_one_stream_is_left_to_who_asked() -> None:
    good = place(None, SEGMENTS[0][0])
    state = CarriedState(PatientState())
    (after,) = analyse_here([Following([good], state)])
    assert isinstance(after, Analysed)
    streams = [
        Following([good], state),
        Following([msgspec.structs.replace(good, is_begin=False)], after.state),
    ]
    gave = analyse_asked(asked_of(streams))
    assert gave.streams[0] is not None
    assert gave.streams[1] is None
    assert isinstance(analyse_here(streams)[1], StateUnreadable)


# -------------------------------------------------------------------- in regions


class Altering:
    """A region whose answers are altered."""

    def __init__(self, port: RegionPort, alter: Callable[[bytes], bytes]) -> None:
        self._port = port
        self._alter = alter

    async def invoke(self, call: Call) -> Answer:
        answer = await self._port.invoke(call)
        return msgspec.structs.replace(answer, content=self._alter(answer.content))

    async def probe(self) -> Probed:
        return await self._port.probe()

    async def close(self) -> None:
        await self._port.close()


@contextmanager
def an_analyst(port: RegionPort, **more: Any) -> Iterator[tuple[RegionalAnalyst, list[tuple[int, int]]]]:
    """One whose federation has this region; and what it counts."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    counts: list[tuple[int, int]] = []
    terms = Terms(attempts=2, attempt_s=0.5, waiting=0, patience_s=0.1)

    async def federated() -> Federation:
        return Federation([Region(name="a", kind="inline", slots=4)], {"a": port}, SystemClock(), terms)

    federation = asyncio.run_coroutine_threadsafe(federated(), loop).result()
    how = {"patience_s": 1.0, **more}
    analyst = RegionalAnalyst(lambda: federation, loop, counted=lambda *one: counts.append(one), **how)
    try:
        yield analyst, counts
    finally:
        asyncio.run_coroutine_threadsafe(federation.close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def some_streams(count: int = 40) -> Streams:
    return [
        Following([place(None, SEGMENTS[number % 3][0])], CarriedState(PatientState()))
        for number in range(count)
    ]


def test_regions_find_what_is_found_here() -> None:
    with an_analyst(InlineRegion(Hosted())) as (analyst, counts):
        found = analyst(some_streams())
        again = [
            Following([place(place(None, SEGMENTS[n % 3][0]).after, SEGMENTS[n % 3][1])], one.state)
            for n, one in enumerate(found)
            if isinstance(one, Analysed)
        ]
        assert content(analyst(again)) == content(analyse_here(again))
        assert content(found) == content(analyse_here(some_streams()))
        assert analyst([]) == []
    assert counts == [(40, 0), (40, 0)]


def test_features_go_where_samples_may_not_and_what_they_mean_comes_back() -> None:
    class Noting(InlineRegion):
        async def invoke(self, call: Call) -> Answer:
            asked.append((call.function, call.content))
            return await super().invoke(call)

    asked: list[tuple[str, bytes]] = []
    told: list[tuple[str, int]] = []
    streams = [
        *some_streams(3),
        *(
            one._replace(sent=lambda region, size: told.append((region.name, size)), region=None)
            for one in apart(some_streams(20))
        ),
        some_streams(1)[0]._replace(admits=frozenset()),
    ]
    with an_analyst(Noting(Hosted())) as (analyst, counts):
        found = analyst(streams)
        assert content(found) == content(analyse_here(streams))
        again = apart(
            [
                Following([place(place(None, SEGMENTS[n % 3][0]).after, SEGMENTS[n % 3][1])], one.state)
                for n, one in enumerate(found[3:23])
                if isinstance(one, Analysed)
            ]
        )
        assert content(analyst(again)) == content(analyse_here(again))
    assert sum(there for there, _ in counts) == 43
    assert sum(here for _, here in counts) == 1, "what may go nowhere at all"
    assert [name for name, _ in asked].count(ANALYSES) == 1
    assert [name for name, _ in asked].count(INTERPRETATIONS) == 4
    samples = SEGMENTS[0][0].recording.counts.nbytes
    assert len(told) == 20
    assert all(name == "a" and 0 < size < samples for name, size in told)
    whole = len(encode(asked_of(some_streams(16)), "msgpack"))
    assert max(len(one) for name, one in asked if name == INTERPRETATIONS) < whole / 2


def test_streams_go_where_they_belong_and_some_nowhere() -> None:
    class Noting(InlineRegion):
        async def invoke(self, call: Call) -> Answer:
            streams = decode_as(call.content, "msgpack", AnalysesAsked).streams
            sizes.append(len(streams))
            return await super().invoke(call)

    sizes: list[int] = []
    streams = [
        one._replace(region=(None, "a", "", "gone")[number % 4])
        for number, one in enumerate(some_streams(12))
    ]
    with an_analyst(Noting(Hosted())) as (analyst, counts):
        assert content(analyst(streams)) == content(analyse_here(streams))
    assert sorted(sizes) == [3, 3, 3], "a call for each place; a place that is gone is none"
    assert counts == [(9, 3)]


@pytest.mark.parametrize("fault", ["transport", "throttled", "refused", "function", "server"])
def test_what_regions_do_not_do_is_done_here(fault: Any) -> None:
    region = FaultyRegion(InlineRegion(Hosted()), 4)
    region.fails = fault
    with an_analyst(region) as (analyst, counts):
        assert content(analyst(some_streams(20))) == content(analyse_here(some_streams(20)))
        assert counts == [(0, 20)]
        assert content(analyst(apart(some_streams(20)))) == content(analyse_here(some_streams(20)))
        assert counts == [(0, 20), (0, 20)]


def test_a_region_that_hangs_is_not_waited_for_longer_than_was_said() -> None:
    region = FaultyRegion(InlineRegion(Hosted()), 4)
    region.hangs = True
    with an_analyst(region, patience_s=0.3) as (analyst, counts):
        began_s = SystemClock().now_s()
        assert content(analyst(some_streams(3))) == content(analyse_here(some_streams(3)))
        assert SystemClock().now_s() - began_s < 3.0
        assert counts == [(0, 3)]


def of_another_version(content: bytes) -> bytes:
    gave = decode_as(content, "msgpack", AnalysesGave)
    return encode(msgspec.structs.replace(gave, version="1905"), "msgpack")


def with_a_broken_state(content: bytes) -> bytes:
    gave = decode_as(content, "msgpack", AnalysesGave)
    streams = tuple(msgspec.structs.replace(one, state=one.state[:-1]) for one in gave.streams if one)
    return encode(msgspec.structs.replace(gave, streams=streams), "msgpack")


def without_the_last(content: bytes) -> bytes:
    gave = decode_as(content, "msgpack", AnalysesGave)
    return encode(msgspec.structs.replace(gave, streams=gave.streams[:-1]), "msgpack")


@pytest.mark.parametrize(
    "alter", [of_another_version, with_a_broken_state, without_the_last, lambda _: b"\xc1", lambda _: b""]
)
def test_an_answer_that_cannot_be_used_is_none(alter: Any) -> None:
    with an_analyst(Altering(InlineRegion(Hosted()), alter)) as (analyst, counts):
        assert content(analyst(some_streams(5))) == content(analyse_here(some_streams(5)))
        assert content(analyst(apart(some_streams(5)))) == content(analyse_here(some_streams(5)))
        assert counts == [(0, 5), (0, 5)]


def test_without_regions_or_their_loop_all_is_done_here() -> None:
    loop = asyncio.new_event_loop()
    analyst = RegionalAnalyst(lambda: None, loop, patience_s=1.0)
    assert content(analyst(some_streams(2))) == content(analyse_here(some_streams(2)))
    with an_analyst(InlineRegion(Hosted())) as (ended, _):
        pass
    assert content(ended(some_streams(2))) == content(analyse_here(some_streams(2)))
    loop.close()


def test_a_state_is_made_in_the_form_that_is_asked_for() -> None:
    state = CarriedState(PatientState())
    assert CarriedState(packed=state.pack()).value.version == PatientState().version
    with pytest.raises(StateUnreadable):
        _ = CarriedState(packed=b"nonsense").value
    broken = CarriedState(packed=b"nonsense")
    placed = place(None, SEGMENTS[0][0])
    after = place(placed.after, SEGMENTS[0][1])
    found = analyse_here([Following([after], broken), Following([placed], CarriedState(PatientState()))])
    assert isinstance(found[0], StateUnreadable)
    assert isinstance(found[1], Analysed)


def test_hosts_that_read_json_alone_can_be_asked_too() -> None:
    asked = encode(asked_of(some_streams(2)), "msgpack")
    there = reencoded_call(ANALYSES, asked, "msgpack", "json")
    call = Call(function=ANALYSES, content=there, encoding="json", key="k", timeout_s=10.0)
    back = reencoded_answer(ANALYSES, perform(Hosted(), call).content, "json", "msgpack")
    assert back == perform(Hosted(), msgspec.structs.replace(call, content=asked, encoding="msgpack")).content
