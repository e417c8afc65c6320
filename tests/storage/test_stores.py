"""Every store keeps the contract: a folder, memory, and a real S3 server; and none tells a secret."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from einthoven.errors import InputInvalid, StoreUnavailable
from einthoven.storage import FolderStore, ObjectStore, open_store
from einthoven.testing.stores import STORE_CHECKS, check_store

Check = Callable[[ObjectStore], None]


@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
def test_a_folder_keeps_the_contract(tmp_path: Path, check: Check) -> None:
    check(open_store(f"file://{tmp_path}/store"))


@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
def test_memory_keeps_the_contract(check: Check) -> None:
    pytest.importorskip("obstore")
    check(open_store("memory:///"))


@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
def test_s3_keeps_the_contract(s3_options: dict[str, str], check: Check) -> None:
    check(open_store("s3://einthoven/some/folder", s3_options))


def test_a_store_that_forgets_is_found_out(tmp_path: Path) -> None:
    class Forgetful(FolderStore):
        def put(self, name: str, content: bytes) -> None:
            super().put(name, content[:1000])

    with pytest.raises(AssertionError):
        check_store(Forgetful(tmp_path))


def test_a_container_is_created_in_s3_at_once(s3_options: dict[str, str]) -> None:
    store = open_store("s3://einthoven/large", s3_options)
    name, content = uuid4().hex, bytes(range(256)) * 100_000
    assert store.create(name, content)
    assert not store.create(name, b"")
    assert store.read(name, 20_000_000, 300) == content[20_000_000:20_000_300]


def test_the_environment_says_where_s3_is_and_who_we_are(s3_options: dict[str, str]) -> None:
    program = """
from einthoven.storage import open_store
store = open_store("s3://einthoven/environment")
store.put("a", b"x")
print(store.get("a"), store)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **s3_options}, capture_output=True, check=True
    )
    assert done.stdout == b"b'x' RemoteStore('s3://einthoven/environment')\n"


def test_wrong_credentials_are_told_without_telling_them(s3_options: dict[str, str]) -> None:
    wrong = s3_options | {"AWS_SECRET_ACCESS_KEY": "s3cr3t-and-wrong"}
    store = open_store("s3://einthoven/x", wrong)
    for act in (lambda: store.get("a"), lambda: store.put("a", b""), lambda: list(store.names())):
        with pytest.raises(StoreUnavailable, match="refused our credentials") as caught:
            act()
        text = f"{caught.value} {caught.value.__cause__} {store!r}"
        assert "s3cr3t" not in text
        assert wrong["AWS_ACCESS_KEY_ID"] not in text
        assert caught.value.__suppress_context__


def test_a_server_that_is_not_there_is_told_after_retries() -> None:
    pytest.importorskip("obstore")
    options = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "s3cr3t",
        "AWS_REGION": "nowhere",
    }
    store = open_store("s3://einthoven", options)
    with pytest.raises(StoreUnavailable, match="did not answer") as caught:
        store.get("a")
    assert caught.value.remedy
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "not one of a store"),
        ("ftp://host/x", "not one of a store"),
        ("s3://", "not one of a store"),
        ("file://host/x", "not one of a store"),
        ("s3://key:s3cr3t@bucket/x", "credentials"),
        ("s3://s3cr3t@bucket/x", "credentials"),
        ("s3://bucket/x?sig=s3cr3t", "credentials"),
        ("abfss://container:s3cr3t@account.dfs.core.windows.net/x", "credentials"),
        ("az://container", "cannot be addressed so"),
    ],
)
def test_an_address_that_is_none_is_refused_and_not_repeated(url: str, says: str) -> None:
    pytest.importorskip("obstore")
    with pytest.raises(InputInvalid, match=says) as caught:
        open_store(url)
    assert "s3cr3t" not in str(caught.value)


def test_a_path_is_a_folder(tmp_path: Path) -> None:
    for url in (str(tmp_path), f"file://{tmp_path}", f"file://localhost{tmp_path}"):
        open_store(url).put("x/y", url.encode())
        assert (tmp_path / "x" / "y").read_bytes() == url.encode()


def test_what_einthoven_did_not_write_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir(mode=0)
    (tmp_path / ".hidden").write_text("x")
    (tmp_path / "a file").write_text("x")
    (tmp_path / "a").write_text("x")
    assert list(FolderStore(tmp_path).names()) == ["a"]
