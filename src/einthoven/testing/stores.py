"""What every object store promises, as checks: each docstring is the rule.

For a store of your own::

    @pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
    def test_my_store_keeps_the_contract(check):
        check(MyStore())
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final
from uuid import uuid4

from einthoven.errors import EinthovenError, RecordingNotFound, ReferenceRefused
from einthoven.storage.objects import ObjectStore

__all__ = ["STORE_CHECKS", "check_store"]

_SIZES: Final = (0, 1, 5, 70_000, 9_000_000)
_NO_NAMES: Final = (
    "",
    "..",
    "../x",
    "a/../x",
    "/x",
    "a//b",
    "a/",
    ".x",
    "a/.x",
    "a\\b",
    "a b",
    "ä",
    "x" * 513,
)


def check_store(store: ObjectStore) -> None:
    """Run every check; the first that fails raises AssertionError. Objects are left under ``check-…``."""
    for check in STORE_CHECKS:
        check(store)


def what_is_put_is_got_whole(store: ObjectStore) -> None:
    """An object comes back byte for byte, whatever its size, and a later one takes its place."""
    folder = _folder()
    for size in _SIZES:
        content = _content(size)
        store.put(f"{folder}/{size}.bin", b"before")
        store.put(f"{folder}/{size}.bin", content)
        assert store.get(f"{folder}/{size}.bin") == content


def stretches_are_read(store: ObjectStore) -> None:
    """A stretch is that of the whole; it is cut where the object ends, and empty behind it."""
    folder = _folder()
    content = _content(1000)
    store.put(f"{folder}/x", content)
    store.put(f"{folder}/empty", b"")
    for start, length in ((0, 1000), (0, 10), (990, 10), (990, 500), (500, 0), (1000, 5), (5000, 5)):
        assert store.read(f"{folder}/x", start, length) == content[start : start + length]
    for length in (1, 64, 1000, 5000):
        assert store.read_end(f"{folder}/x", length) == content[-length:]
    assert store.read(f"{folder}/empty", 0, 10) == b""
    assert store.read_end(f"{folder}/empty", 10) == b""


def only_one_creates(store: ObjectStore) -> None:
    """Of those who create one name at once exactly one is told so, and its content stays."""
    name = f"{_folder()}/once"
    contents = [_content(3000, seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda content: store.create(name, content), contents))
    assert told.count(True) == 1
    assert store.get(name) == contents[told.index(True)]
    assert not store.create(name, b"later")
    assert store.get(name) == contents[told.index(True)]


def names_are_listed(store: ObjectStore) -> None:
    """Names below a folder are listed once, sorted, at any depth; its neighbours are not."""
    folder = _folder()
    inside = [f"{folder}/a", f"{folder}/b/c", f"{folder}/b/d.e", f"{folder}/bb"]
    for name in (*reversed(inside), f"{folder}x/a", f"{folder}-"):
        store.put(name, b"")
    assert list(store.names(folder)) == sorted(inside)
    assert list(store.names(f"{folder}/b")) == [f"{folder}/b/c", f"{folder}/b/d.e"]
    assert list(store.names(f"{folder}/none")) == []
    assert set(inside) <= set(store.names())


def what_is_deleted_is_gone(store: ObjectStore) -> None:
    """A deleted object is neither got nor listed, and deleting it again is no error."""
    name = f"{_folder()}/x"
    store.put(name, b"x")
    for _ in range(2):
        store.delete(name)
        assert list(store.names(name.split("/", maxsplit=1)[0])) == []
        _refused(RecordingNotFound, lambda: store.get(name))
    assert store.create(name, b"again")


def what_is_not_there_is_not_found(store: ObjectStore) -> None:
    """Reading what was never kept is `RecordingNotFound`; so is reading a folder."""
    folder = _folder()
    store.put(f"{folder}/a/b", b"x")
    for name in (f"{folder}/none", f"{folder}/a"):
        _refused(RecordingNotFound, partial(store.get, name))
        _refused(RecordingNotFound, partial(store.read, name, 0, 1))
        _refused(RecordingNotFound, partial(store.read, name, 0, 0))
        _refused(RecordingNotFound, partial(store.read_end, name, 1))


def a_name_that_is_none_is_refused(store: ObjectStore) -> None:
    """What is not a name inside the store is `ReferenceRefused`, whatever is done with it."""
    for name in _NO_NAMES:
        for act in (
            partial(store.put, name, b""),
            partial(store.create, name, b""),
            partial(store.get, name),
            partial(store.read, name, 0, 1),
            partial(store.read_end, name, 1),
            partial(store.delete, name),
        ):
            _refused(ReferenceRefused, act)
        if name:
            _refused(ReferenceRefused, partial(next, store.names(name)))


STORE_CHECKS: Final[tuple[Callable[[ObjectStore], None], ...]] = (
    what_is_put_is_got_whole,
    stretches_are_read,
    only_one_creates,
    names_are_listed,
    what_is_deleted_is_gone,
    what_is_not_there_is_not_found,
    a_name_that_is_none_is_refused,
)


def _folder() -> str:
    """A folder that nobody uses."""
    return f"check-{uuid4().hex}"


def _content(size: int, seed: int = 1) -> bytes:
    return bytes((seed + 31 * (i % 4093) + i // 4093) % 251 for i in range(min(size, 70_000))) * (
        max(1, size // 70_000)
    )


def _refused(kind: type[EinthovenError], act: Callable[[], object]) -> None:
    try:
        act()
    except kind:
        return
    raise AssertionError(f"expected {kind.__name__}")
