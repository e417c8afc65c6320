"""Files of any size over connections that break: tus 1.0.0 on a real socket, on both databases."""

import asyncio
import hashlib
import http.client
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from einthoven.server.settings import Settings
from einthoven.server.upload_expiry import UploadExpiry
from einthoven.server.uploading import OPEN_MAX, Body
from einthoven.storage import FolderStore
from einthoven.storage.received import ReceivedFiles
from einthoven.testing.serving import Served, serving
from einthoven.testing.uploads import about, begin, checksum, piece, send_whole

CONTENT = bytes(range(256)) * 4000
BIG = bytes(range(251)) * 80_000  # 20 MB: three parts


def received(served: Served, content: bytes, org: str = "main") -> bytes:
    """What the service has of a file."""
    files = ReceivedFiles(FolderStore(served.service.settings.folder / "objects"))
    manifest = files.manifest(org, hashlib.sha256(content).hexdigest())
    assert manifest is not None
    return b"".join(files.content(manifest))


def parts_on_disk(served: Served) -> list[Path]:
    folder = served.service.settings.folder / "objects" / "recordings"
    return [path for path in folder.rglob("*") if path.is_file() and path.name != "manifest"]


def test_a_file_comes_piece_by_piece_and_is_whole_in_the_end(served: Served) -> None:
    device = served.device()
    begun = device.post("/v1/uploads", headers=about(CONTENT))
    assert (begun.status_code, begun.headers["Upload-Offset"]) == (201, "0")
    assert "Upload-Expires" in begun.headers
    path = begun.headers["Location"]
    first = piece(device, path, 0, CONTENT[:1000])
    assert (first.status_code, first.headers["Upload-Offset"]) == (204, "1000")
    asked = device.head(path)
    assert (asked.status_code, asked.headers["Upload-Offset"]) == (200, "1000")
    assert asked.headers["Upload-Length"] == str(len(CONTENT))
    assert asked.headers["Tus-Resumable"] == "1.0.0"
    rest = CONTENT[1000:]
    last = piece(device, path, 1000, rest, **{"Upload-Checksum": checksum(rest)})
    assert (last.status_code, last.headers["Upload-Offset"]) == (204, str(len(CONTENT)))
    assert received(served, CONTENT) == CONTENT
    assert "Upload-Expires" not in device.head(path).headers


def test_a_large_body_is_kept_in_parts(served: Served) -> None:
    device = served.device()
    path = begin(device, BIG)
    assert piece(device, path, 0, BIG, **{"Upload-Checksum": checksum(BIG)}).status_code == 204
    assert received(served, BIG) == BIG
    assert len(parts_on_disk(served)) == 3


def test_the_protocol_says_what_it_can(sqlite_served: Served) -> None:
    """Without a token, as the protocol has it."""
    for path in ("/v1/uploads", f"/v1/uploads/upl_{'0' * 24}"):
        answer = sqlite_served.client().options(path)
        assert answer.status_code == 204
        assert answer.headers["Tus-Version"] == "1.0.0"
        assert answer.headers["Tus-Extension"] == "creation,checksum,termination,expiration"
        assert answer.headers["Tus-Checksum-Algorithm"] == "sha256"
        assert int(answer.headers["Tus-Max-Size"]) == Settings().upload_max_bytes


def test_a_wrong_offset_is_refused_and_changes_nothing(served: Served) -> None:
    device = served.device()
    path = begin(device, CONTENT)
    for offset in (1, 1000, len(CONTENT)):
        answer = piece(device, path, offset, b"")
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert piece(device, path, 0, CONTENT[:10]).status_code == 204
    assert piece(device, path, 0, CONTENT[:10]).status_code == 409
    assert device.head(path).headers["Upload-Offset"] == "10"


def test_a_piece_that_is_not_what_its_checksum_says_does_not_count(served: Served) -> None:
    device = served.device()
    path = begin(device, BIG)
    answer = piece(device, path, 0, BIG, **{"Upload-Checksum": checksum(BIG[:-1])})
    assert (answer.status_code, answer.json()["code"]) == (460, "digest-mismatch")
    assert device.head(path).headers["Upload-Offset"] == "0"
    assert parts_on_disk(served) == []
    assert piece(device, path, 0, BIG, **{"Upload-Checksum": checksum(BIG)}).status_code == 204


def test_a_file_that_is_not_what_was_announced_is_of_no_use(served: Served) -> None:
    device = served.device()
    path = begin(device, CONTENT)
    other = CONTENT[:-1] + b"!"
    answer = piece(device, path, 0, other)
    assert (answer.status_code, answer.json()["code"]) == (422, "digest-mismatch")
    assert device.head(path).status_code == 410
    assert piece(device, path, len(CONTENT), b"").status_code == 410
    body = {"upload": path.rpartition("/")[2], "startTime": "2026-11-26T08:00:00Z"}
    assert device.post("/v1/recordings", json=body).status_code == 422
    assert parts_on_disk(served) == []
    again = begin(device, CONTENT)
    assert again != path
    assert piece(device, again, 0, CONTENT).status_code == 204


def test_the_check_does_not_depend_on_one_worker_having_seen_all(database, tmp_path: Path) -> None:
    settings = Settings(data_folder=str(tmp_path))
    with serving(database, settings=settings) as one, serving(database, settings=settings) as other:
        token = one.token("device")[1]
        first, second = one.client(token), other.client(token)
        path = begin(first, CONTENT)
        assert piece(first, path, 0, CONTENT[:5000]).status_code == 204
        assert piece(second, path, 5000, CONTENT[5000:9000]).status_code == 204
        assert piece(first, path, 9000, CONTENT[9000:]).status_code == 204
        assert received(one, CONTENT) == CONTENT


def cut_off(served: Served, token: str, path: str, content: bytes, headers: dict[str, str]) -> None:
    """Send the head of a piece and some of its body, and hang up."""
    where = urlsplit(served.url)
    with socket.create_connection((str(where.hostname), int(where.port or 0))) as connection:
        lines = [
            f"PATCH {path} HTTP/1.1",
            f"Host: {where.netloc}",
            f"Authorization: Bearer {token}",
            "Content-Type: application/offset+octet-stream",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
        time.sleep(0.3)


def offset_after(client: httpx.Client, path: str) -> int:
    """The offset once it stands still."""
    before = -1
    while True:
        time.sleep(0.3)
        now = int(client.head(path).headers["Upload-Offset"])
        if now == before:
            return now
        before = now


def test_what_came_before_a_cut_counts(served: Served) -> None:
    token = served.token("device")[1]
    device = served.client(token)
    path = begin(device, BIG)
    head = {"Upload-Offset": "0", "Content-Length": str(len(BIG))}
    cut_off(served, token, path, BIG[:12_000_000], head)
    offset = offset_after(device, path)
    assert 8 * 2**20 <= offset <= 12_000_000
    assert piece(device, path, offset, BIG[offset:]).status_code == 204
    assert received(served, BIG) == BIG


def test_of_a_body_with_a_checksum_nothing_counts_that_was_cut(served: Served) -> None:
    token = served.token("device")[1]
    device = served.client(token)
    path = begin(device, BIG)
    head = {"Upload-Offset": "0", "Content-Length": str(len(BIG)), "Upload-Checksum": checksum(BIG)}
    cut_off(served, token, path, BIG[:12_000_000], head)
    assert offset_after(device, path) == 0
    assert parts_on_disk(served) == []


def test_of_two_that_send_the_same_stretch_one_counts(served: Served) -> None:
    token = served.token("device")[1]
    path = begin(served.client(token), BIG)
    clients = [served.client(token) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda one: piece(one, path, 0, BIG, **{"Upload-Checksum": checksum(BIG)}), clients)
        )
    assert sorted(one.status_code for one in answers)[0] == 204
    assert {one.status_code for one in answers} <= {204, 409}
    assert received(served, BIG) == BIG
    assert len(parts_on_disk(served)) == 3


def test_a_sender_that_forgot_its_upload_finds_it(served: Served) -> None:
    device = served.device()
    path = begin(device, CONTENT)
    piece(device, path, 0, CONTENT[:5000])
    again = device.post("/v1/uploads", headers=about(CONTENT))
    assert (again.status_code, again.headers["Location"], again.headers["Upload-Offset"]) == (
        200,
        path,
        "5000",
    )
    piece(device, path, 5000, CONTENT[5000:])
    once_more = device.post("/v1/uploads", headers=about(CONTENT))
    assert (once_more.status_code, once_more.headers["Location"]) == (200, path)
    assert once_more.headers["Upload-Offset"] == str(len(CONTENT))


def test_the_same_content_under_another_name_is_not_sent_again(served: Served) -> None:
    device = served.device()
    send_whole(device, CONTENT, "a.dat")
    other = device.post("/v1/uploads", headers=about(CONTENT, "b.dat"))
    assert other.headers["Upload-Offset"] == str(len(CONTENT))


def test_nobody_learns_by_a_digest_what_others_sent(served: Served) -> None:
    """Who has a file proves it by sending it; it is then kept once."""
    send_whole(served.device("p1"), CONTENT)
    other = served.device("p2")
    assert other.post("/v1/uploads", headers=about(CONTENT)).headers["Upload-Offset"] == "0"
    send_whole(other, CONTENT)
    assert len(parts_on_disk(served)) == 1


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
def test_an_upload_of_another_one_is_not_there(method: str, served: Served) -> None:
    path = begin(served.device("p1"), CONTENT)
    headers = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    for other in (
        served.device("p1", "north"),
        served.device("p2"),
        served.gateway("north"),
        served.gateway(),
    ):
        assert other.request(method, path, headers=headers).status_code == 404


def test_an_upload_that_was_given_up_is_gone(served: Served) -> None:
    device = served.device()
    path = begin(device, CONTENT)
    piece(device, path, 0, CONTENT[:5000])
    assert device.delete(path).status_code == 204
    assert device.head(path).status_code == 404
    assert parts_on_disk(served) == []
    whole = f"/v1/uploads/{send_whole(device, CONTENT)}"
    assert device.delete(whole).status_code == 409
    assert received(served, CONTENT) == CONTENT


def test_an_upload_expires_and_takes_its_parts_with_it(served: Served) -> None:
    device = served.device()
    path = begin(device, CONTENT)
    piece(device, path, 0, CONTENT[:5000])
    kept = send_whole(device, BIG)
    parts = parts_on_disk(served)
    now_ns = served.service.clock.utc_ns()
    expiry = UploadExpiry(ReceivedFiles(FolderStore(served.service.settings.folder / "objects")))
    connection = served.database.connect()
    try:
        assert expiry.remove(connection, now_ns) == 0
        later_ns = now_ns + round(3601e9 * served.service.settings.upload_keep_h)
        assert expiry.remove(connection, later_ns) == 1
        assert expiry.remove(connection, later_ns) == 0
    finally:
        connection.close()
    assert device.head(path).status_code == 404
    assert device.head(f"/v1/uploads/{kept}").status_code == 200
    assert len(parts_on_disk(served)) == len(parts) - 1
    assert received(served, BIG) == BIG


def test_an_upload_whose_time_is_over_takes_nothing_before_it_is_removed(served: Served) -> None:
    device = served.device()
    path = begin(device, CONTENT)
    with served.writing() as statements:
        statements.run("UPDATE uploads SET expires_ns = 1")
    assert device.head(path).status_code == 404
    assert piece(device, path, 0, CONTENT).status_code == 404
    assert begin(device, CONTENT) != path


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upload-Length": "-1"}, 400),
        ({"Upload-Length": "1e3"}, 400),
        ({"Upload-Length": "²"}, 400),
        ({"Upload-Length": "0"}, 400),
        ({"Upload-Length": str(2**43)}, 413),
        ({"Upload-Metadata": ""}, 400),
        ({"Upload-Metadata": "filename !"}, 400),
        ({"Upload-Metadata": "filename YQ=="}, 400),
        ({"Upload-Metadata": "filename Li4vYQ==,sha256 YQ=="}, 400),
        ({"Tus-Resumable": "0.2.2"}, 412),
    ],
)
def test_a_beginning_that_is_wrong_is_refused(
    headers: dict[str, str], status: int, sqlite_served: Served
) -> None:
    sent = {name: value.encode("latin-1") for name, value in {**about(b"x"), **headers}.items()}
    answer = sqlite_served.device("w1").post("/v1/uploads", headers=sent)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"code", "fault", "what", "where", "remedy"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/octet-stream"}, 415),
        ({"Upload-Offset": ""}, 400),
        ({"Upload-Checksum": "md5 AAAA"}, 400),
        ({"Upload-Checksum": "sha256 !"}, 400),
        ({"Tus-Resumable": "2.0.0"}, 412),
    ],
)
def test_a_piece_that_is_wrong_is_refused(
    headers: dict[str, str], status: int, sqlite_served: Served
) -> None:
    device = sqlite_served.device("w2")
    path = begin(device, CONTENT)
    answer = piece(device, path, 0, b"x", **headers)
    assert answer.status_code == status, answer.text
    assert device.head(path).headers["Upload-Offset"] == "0"


def test_more_than_was_announced_is_refused(served: Served) -> None:
    device = served.device()
    path = begin(device, CONTENT)
    assert piece(device, path, 0, CONTENT + b"x").status_code == 413

    def unannounced():
        yield CONTENT
        yield b"x"

    headers = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
    assert device.patch(path, content=unannounced(), headers=headers).status_code == 413
    assert device.head(path).headers["Upload-Offset"] == "0"


def test_the_path_has_no_other_methods(sqlite_served: Served) -> None:
    device = sqlite_served.device()
    for method, path in (("GET", "/v1/uploads"), ("PUT", "/v1/uploads/x"), ("GET", "/v1/uploads/x")):
        answer = device.request(method, path)
        assert answer.status_code == 405
        assert "PATCH" in answer.headers["Allow"]


def test_one_sender_has_so_many_unfinished_uploads(served: Served) -> None:
    device = served.device()
    for number in range(OPEN_MAX):
        begin(device, b"%d" % number)
    assert device.post("/v1/uploads", headers=about(b"one more")).status_code == 409
    assert served.device("p2").post("/v1/uploads", headers=about(b"one more")).status_code == 201


def test_a_body_is_cut_into_blocks_as_they_are_wanted() -> None:
    messages = [
        {"type": "http.request", "body": b"a" * 10, "more_body": True},
        {"type": "http.request", "body": b"b" * 5, "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive():
        return messages.pop(0)

    async def blocks() -> tuple[list[bytes], bool]:
        body, found = Body(receive), []
        while not body.is_over:
            found.append(b"".join(await body.block(4)))
        return found, body.is_cut

    assert asyncio.run(blocks()) == ([b"aaaa", b"aaaa", b"aabb", b"bbb"], True)


def test_it_takes_any_client_of_the_standard_library(sqlite_served: Served) -> None:
    """No header but those that the protocol wants."""
    token = sqlite_served.token("device", "w3")[1]
    connection = http.client.HTTPConnection(urlsplit(sqlite_served.url).netloc, timeout=20)
    connection.request("POST", "/v1/uploads", headers={"Authorization": f"Bearer {token}", **about(CONTENT)})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 201
    connection.close()
