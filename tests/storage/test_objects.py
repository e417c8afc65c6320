"""Objects by name: whole or not at all, and never outside the store."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from einthoven.errors import EinthovenError, RecordingNotFound, ReferenceRefused, StoreUnavailable
from einthoven.storage import FolderStore


def test_what_is_put_is_got(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put("a/b/c.ecg", b"one")
    store.put("a/b/c.ecg", b"two")
    assert store.get("a/b/c.ecg") == b"two"
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["c.ecg"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../x",
        "a/../x",
        "/etc/passwd",
        "a//b",
        "a/",
        ".hidden",
        "a/.x",
        "a\\b",
        "a\0b",
        "ä",
        "a b",
        "x" * 513,
        "~/x",
    ],
)
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    store = FolderStore(tmp_path / "store")
    for act in (lambda: store.put(name, b""), lambda: store.get(name)):
        with pytest.raises(ReferenceRefused, match="not a name inside the store") as caught:
            act()
        assert caught.value.remedy


def test_a_link_may_not_lead_out(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    root = tmp_path / "store"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(ReferenceRefused, match="leads out"):
        FolderStore(root).get("link")


_PARTS = st.sampled_from(["..", ".", "", "outside", "root", "~", "%2e%2e", "..\\", "\\outside", "../outside"])


@given(name=st.lists(_PARTS, min_size=1, max_size=5).map("/".join) | st.text(max_size=40))
@example("../outside")
@example("x/../../outside")
@example("./../outside")
def test_no_name_reaches_outside(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = tmp_path_factory.mktemp("store")
    (folder / "outside").write_text("secret")
    store = FolderStore(folder / "root")
    try:
        assert store.get(name) != b"secret"
    except EinthovenError as error:
        assert error.fault in {"caller", "peer"}


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put("a/b", b"")
    for name in ("nothing", "a", "a/b/c"):
        with pytest.raises(RecordingNotFound, match="no object"):
            store.get(name)


def test_a_store_that_does_not_take_an_object_is_a_peers_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreUnavailable, match="could not be written"):
        FolderStore(tmp_path).put("file/x", b"")
