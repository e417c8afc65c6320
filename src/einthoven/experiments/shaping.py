"""A wire with faults: a TCP proxy that delays, narrows, stops and cuts what goes through it.

What goes in is given on in order, after the latency of one way, and no faster than the bandwidth; so a
request and its answer take twice the latency more than without. `tc netem` would do so in the kernel, where
that is to be had.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

__all__ = ["ShapedWire", "shaped_wire"]

_BLOCK: Final = 65_536


class ShapedWire:
    """One listening address, and what happens to all that goes through it, which may change at any time."""

    def __init__(self, host: str, port: int, latency_s: float = 0.0, bandwidth_mb_s: float = 0.0) -> None:
        self._behind = (host, port)
        self.latency_s = latency_s
        """Of one way."""
        self.bandwidth_mb_s = bandwidth_mb_s
        """Of each way of each connection; 0: unlimited."""
        self.is_garbling = False
        """What comes back is not what was sent."""
        self._flows = asyncio.Event()
        self._flows.set()
        self._is_cut = False
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def open(self) -> None:
        """Listen on a free port of this machine."""
        self._server = await asyncio.start_server(self._joined, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """End all connections, and take no new ones until it is mended."""
        self._is_cut = True
        for writer in list(self._open):
            writer.transport.abort()

    def hang(self) -> None:
        """Give nothing on, and keep everything open, until it is mended."""
        self._flows.clear()

    def mend(self) -> None:
        """Work again."""
        self._is_cut = False
        self.is_garbling = False
        self._flows.set()

    async def close(self) -> None:
        """End it."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._connect(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            if self._is_cut:
                return
            there, back = await asyncio.open_connection(*self._behind)
            self._open.add(back)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._carry(reader, back, is_back=False))
                    both.create_task(self._carry(there, writer, is_back=True))
            finally:
                self._open.discard(back)
                back.transport.abort()
        except (OSError, ExceptionGroup):
            pass
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_back: bool
    ) -> None:
        """Read without a pause, and give on what is due: what is under way does not hold up what follows."""
        loop = asyncio.get_running_loop()
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(256)

        async def give_on() -> None:
            while True:
                due_s, block = await under_way.get()
                if due_s > loop.time():
                    await asyncio.sleep(due_s - loop.time())
                await self._flows.wait()
                if not block:
                    raise ConnectionResetError
                writer.write(_garbled(block) if is_back and self.is_garbling else block)
                await writer.drain()

        async with asyncio.TaskGroup() as both:
            giving = both.create_task(give_on())
            free_s = loop.time()
            while block := await reader.read(_BLOCK):
                narrow_s = len(block) / (self.bandwidth_mb_s * 1e6) if self.bandwidth_mb_s else 0.0
                free_s = max(free_s, loop.time()) + narrow_s
                await under_way.put((free_s + self.latency_s, block))
            await under_way.put((loop.time() + self.latency_s, b""))
            await giving


def _garbled(block: bytes) -> bytes:
    """The head of an answer as it was, and its body turned round."""
    head, gap, body = block.partition(b"\r\n\r\n")
    return head + gap + body[::-1] if gap else block[::-1]


@contextlib.asynccontextmanager
async def shaped_wire(
    host: str, port: int, latency_s: float = 0.0, bandwidth_mb_s: float = 0.0
) -> AsyncIterator[ShapedWire]:
    """A wire to an address, as long as the context lasts."""
    wire = ShapedWire(host, port, latency_s, bandwidth_mb_s)
    await wire.open()
    try:
        yield wire
    finally:
        await wire.close()
