"""A proxy that lets everything through and keeps a copy; for tests of what is on the wire."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

__all__ = ["Wiretap", "wiretap"]

_PIECE: Final = 65_536


class Wiretap:
    """A TCP proxy in front of one port of this machine."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._lock = threading.Lock()
        self._sent: list[bytes] = []
        self._received: list[bytes] = []
        self._open: list[socket.socket] = []
        self._accepting = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._accepting.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens, for HTTP."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def sent(self) -> bytes:
        """All that went through to the port, so far."""
        with self._lock:
            return b"".join(self._sent)

    @property
    def received(self) -> bytes:
        """All that came back, so far."""
        with self._lock:
            return b"".join(self._received)

    def close(self) -> None:
        """Listen no more, and hang up."""
        with suppress(OSError):
            self._accepting.shutdown(socket.SHUT_RDWR)
        self._accepting.close()
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._accepting.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                near.close()
                continue
            self._open += [near, far]
            for source, sink, kept in ((near, far, self._sent), (far, near, self._received)):
                threading.Thread(target=self._pass, args=(source, sink, kept), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, kept: list[bytes]) -> None:
        with suppress(OSError):
            while piece := source.recv(_PIECE):
                with self._lock:
                    kept.append(piece)
                sink.sendall(piece)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@contextmanager
def wiretap(port: int) -> Iterator[Wiretap]:
    """One that is closed at the end."""
    tap = Wiretap(port)
    try:
        yield tap
    finally:
        tap.close()
