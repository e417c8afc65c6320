"""A sender of files as any client of tus is one, and a connection that breaks; for tests."""

import base64
import hashlib
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import httpx

__all__ = ["CuttingProxy", "about", "begin", "checksum", "cutting", "piece", "send_whole"]

_BLOCK: Final = 16 * 1024


def about(content: bytes, name: str = "recording.csv") -> dict[str, str]:
    """The headers with which an upload of this content is begun."""
    pairs = (("filename", name), ("sha256", hashlib.sha256(content).hexdigest()))
    metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs)
    return {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(content)), "Upload-Metadata": metadata}


def begin(client: httpx.Client, content: bytes, name: str = "recording.csv") -> str:
    """Begin an upload, or find it; its path."""
    answer = client.post("/v1/uploads", headers=about(content, name))
    assert answer.status_code in (200, 201), answer.text  # noqa: S101 - for tests
    return answer.headers["Location"]


def checksum(content: bytes) -> str:
    """The header's value."""
    return f"sha256 {base64.b64encode(hashlib.sha256(content).digest()).decode()}"


def piece(client: httpx.Client, path: str, offset: int, content: bytes, **more: str) -> httpx.Response:
    """Send a piece."""
    headers = {
        "Tus-Resumable": "1.0.0",
        "Content-Type": "application/offset+octet-stream",
        "Upload-Offset": str(offset),
        **more,
    }
    return client.patch(path, content=content, headers=headers)


def send_whole(client: httpx.Client, content: bytes, name: str = "recording.csv") -> str:
    """Upload a file in one piece; the upload's name."""
    path = begin(client, content, name)
    if client.head(path).headers["Upload-Offset"] != str(len(content)):
        answer = piece(client, path, 0, content)
        assert answer.status_code == 204, answer.text  # noqa: S101 - for tests
    return path.rpartition("/")[2]


class CuttingProxy:
    """Passes connections on, and cuts each after so many bytes as somebody says.

    Parameters
    ----------
    next_cut : after how many bytes towards the service the next connection is cut; None: never.
    """

    def __init__(self, port: int, next_cut: Callable[[], int | None]) -> None:
        self._to = port
        self._next_cut = next_cut
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.passed = 0
        """Bytes towards the service."""
        self.cuts = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more."""
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        left = self._next_cut()
        with client, socket.create_connection(("127.0.0.1", self._to)) as server:
            back = threading.Thread(target=_copied, args=(server, client), daemon=True)
            back.start()
            while True:
                try:
                    content = client.recv(_BLOCK)
                    if not content:
                        break
                    if left is not None and len(content) >= left:
                        server.sendall(content[:left])
                        self.passed += left
                        self.cuts += 1
                        break
                    server.sendall(content)
                except OSError:
                    break
                self.passed += len(content)
                left = None if left is None else left - len(content)
            for one in (client, server):
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue
            back.join(5)


def _copied(source: socket.socket, sink: socket.socket) -> None:
    try:
        while content := source.recv(_BLOCK):
            sink.sendall(content)
    except OSError:
        return


@contextmanager
def cutting(port: int, seed: int, mean_bytes: float, cuts: int) -> Iterator[CuttingProxy]:
    """A proxy whose first connections are cut at random bytes."""
    choose = random.Random(seed)  # noqa: S311 - a test's
    remaining = iter([1 + int(choose.expovariate(1 / mean_bytes)) for _ in range(cuts)])
    proxy = CuttingProxy(port, lambda: next(remaining, None))
    try:
        yield proxy
    finally:
        proxy.close()
