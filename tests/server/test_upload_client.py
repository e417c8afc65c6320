"""The client of an offline patient: over connections that break, every byte about once."""

import hashlib
import http.server
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from einthoven.clock import SystemClock
from einthoven.errors import (
    DestinationUnavailable,
    DigestMismatch,
    EinthovenError,
    InputInvalid,
    RecordingUnreadable,
    TokenInvalid,
)
from einthoven.runtime.upload_client import Destination, file_digest, send_file
from einthoven.storage import FolderStore
from einthoven.storage.received import ReceivedFiles
from einthoven.testing.serving import Served
from einthoven.testing.uploads import cutting

LEAST, MOST = 64 * 2**10, 4 * 2**20
"""Pieces: the smallest, and the largest that a file of this size comes to."""


def briefly(wanted_s: float) -> None:
    time.sleep(min(wanted_s, 0.01))


def to(url: str, token: str, patience_s: float = 30.0) -> Destination:
    return Destination(url, token, SystemClock(), patience_s=patience_s, pause=briefly)


def kept(served: Served, sha256: str) -> bytes:
    files = ReceivedFiles(FolderStore(served.service.settings.folder / "objects"))
    manifest = files.manifest("main", sha256)
    assert manifest is not None
    return b"".join(files.content(manifest))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "recording.csv"
    path.write_bytes(random.Random(str(tmp_path)).randbytes(3_000_000))
    return path


@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32),
    size=st.integers(1, 6_000_000),
    mean_bytes=st.sampled_from([300.0, 30_000.0, 1_000_000.0]),
)
def test_what_is_sent_over_connections_that_break_arrives_byte_for_byte(
    seed: int, size: int, mean_bytes: float, sqlite_served: Served, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Each cut costs at most the piece that was on its way, whose size falls with every cut."""
    content = random.Random(seed).randbytes(size)
    path = tmp_path_factory.mktemp("files") / "recording.csv"
    path.write_bytes(content)
    sha256, length = file_digest(path)
    assert (sha256, length) == (hashlib.sha256(content).hexdigest(), size)
    token = sqlite_served.token("gateway")[1]
    with cutting(int(urlsplit(sqlite_served.url).port or 0), seed, mean_bytes, cuts=12) as proxy:
        destination = to(f"http://127.0.0.1:{proxy.port}", token)
        seen: list[int] = []
        done = send_file(destination, path, path.name, sha256, length, seen.append)
        destination.close()
        heads = 1024 * (2 * proxy.cuts + 4 + size // LEAST)
        assert size <= proxy.passed <= size + proxy.cuts * min(MOST, size) + heads
    assert kept(sqlite_served, sha256) == content
    assert seen == sorted(seen)
    assert seen[-1] == size
    assert done.bytes == size
    again = to(sqlite_served.url, token)
    assert send_file(again, path, path.name, sha256, length).sent_bytes == 0
    again.close()


def test_a_process_that_forgot_everything_goes_on(sqlite_served: Served, file: Path) -> None:
    token = sqlite_served.token("gateway")[1]
    sha256, size = file_digest(file)

    class Died(Exception):
        pass

    def die(count: int) -> None:
        if count:
            raise Died

    first = to(sqlite_served.url, token)
    with pytest.raises(Died):
        send_file(first, file, file.name, sha256, size, die)
    first.close()
    second = to(sqlite_served.url, token)
    seen: list[int] = []
    done = send_file(second, file, file.name, sha256, size, seen.append)
    second.close()
    assert seen[0] > 0
    assert done.sent_bytes == size - seen[0]


def test_a_file_that_changes_is_refused(sqlite_served: Served, file: Path) -> None:
    token = sqlite_served.token("gateway")[1]
    destination = to(sqlite_served.url, token)
    sha256, size = file_digest(file)
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(DigestMismatch):
        send_file(destination, file, file.name, sha256, size)
    file.write_bytes(b"short")
    with pytest.raises(DigestMismatch, match="shorter"):
        send_file(destination, file, file.name, hashlib.sha256(b"x").hexdigest(), size)
    file.unlink()
    with pytest.raises(RecordingUnreadable):
        file_digest(file)
    destination.close()


def test_what_the_service_refuses_is_raised_as_it_said(sqlite_served: Served, file: Path) -> None:
    sha256, size = file_digest(file)
    destination = to(sqlite_served.url, "eig_" + "x" * 43)
    with pytest.raises(TokenInvalid):
        send_file(destination, file, file.name, sha256, size)
    destination.close()
    destination = to(sqlite_served.url, sqlite_served.token("gateway")[1])
    with pytest.raises(InputInvalid, match="filename"):
        send_file(destination, file, "../x", sha256, size)
    destination.close()


class _Busy(http.server.BaseHTTPRequestHandler):
    """A service that has no time, or none that is ours."""

    status = 503
    asked = 0

    def do_POST(self) -> None:
        type(self).asked += 1
        self.send_response(self.status)
        self.send_header("Retry-After", "1")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Quietly."""


@pytest.fixture
def busy() -> Iterator[tuple[type[_Busy], str]]:
    handler = type("Handler", (_Busy,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_service_that_has_no_time_is_asked_again_until_patience_ends(busy, file: Path) -> None:
    handler, url = busy
    destination = to(url, "eig_x", patience_s=0.2)
    with pytest.raises(DestinationUnavailable, match="too long"):
        send_file(destination, file, file.name, "0" * 64, 1)
    assert handler.asked > 3
    destination.close()


@pytest.mark.parametrize("status", [200, 302, 404])
def test_an_address_that_is_no_service_is_told_so(status: int, busy, file: Path) -> None:
    handler, url = busy
    handler.status = status
    destination = to(url, "eig_x")
    with pytest.raises(EinthovenError):
        send_file(destination, file, file.name, "0" * 64, 10)
    destination.close()


@pytest.mark.parametrize("url", ["", "ftp://x", "http://", "http://u:p@x", "http://x:port"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InputInvalid):
        to(url, "eig_x")


@pytest.mark.parametrize("token", ["", " ", "a\nb", "ä"])
def test_a_token_that_is_none_is_refused(token: str) -> None:
    with pytest.raises(InputInvalid):
        to("http://x", token)
