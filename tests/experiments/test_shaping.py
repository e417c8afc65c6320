"""A shaped wire: what goes through comes out whole and in order, as late as it was said."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from einthoven.experiments.shaping import ShapedWire, shaped_wire


@asynccontextmanager
async def echoing() -> AsyncIterator[int]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while block := await reader.read(65_536):
            writer.write(block)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def asked(wire: ShapedWire, content: bytes) -> float:
    reader, writer = await asyncio.open_connection("127.0.0.1", wire.port)
    try:
        began_s = time.perf_counter()
        writer.write(content)
        assert await reader.readexactly(len(content)) == content
        return time.perf_counter() - began_s
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


def test_everything_is_later_by_twice_the_latency_and_whole() -> None:
    async def run() -> None:
        async with echoing() as port, shaped_wire("127.0.0.1", port) as wire:
            content = bytes(range(256)) * 4000
            quick_s = await asked(wire, content)
            wire.latency_s = 0.1
            assert 0.2 <= await asked(wire, content) < 0.6 + quick_s
            wire.latency_s, wire.bandwidth_mb_s = 0.0, 5.0
            assert await asked(wire, content) >= 0.2

    asyncio.run(run())


def test_many_at_once_do_not_hold_each_other_up() -> None:
    async def run() -> None:
        async with echoing() as port, shaped_wire("127.0.0.1", port, latency_s=0.1) as wire:
            began_s = time.perf_counter()
            await asyncio.gather(*(asked(wire, b"x" * 1000) for _ in range(50)))
            assert time.perf_counter() - began_s < 1.5

    asyncio.run(run())


def test_a_wire_that_hangs_gives_everything_on_when_it_is_mended_and_one_that_is_cut_refuses() -> None:
    async def run() -> None:
        async with echoing() as port, shaped_wire("127.0.0.1", port) as wire:
            wire.hang()
            waiting = asyncio.ensure_future(asked(wire, b"abc"))
            await asyncio.sleep(0.2)
            assert not waiting.done()
            wire.mend()
            assert await asyncio.wait_for(waiting, 5) >= 0.15
            wire.hang()
            cut = asyncio.ensure_future(asked(wire, b"abc"))
            await asyncio.sleep(0.1)
            wire.cut()
            wire.mend()
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await asyncio.wait_for(cut, 5)
            wire.cut()
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await asked(wire, b"abc")
            wire.mend()
            await asked(wire, b"abc")

    asyncio.run(run())
