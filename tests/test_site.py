"""The documentation as a site: built with warnings as errors, all pages in it, nothing from elsewhere."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from einthoven.notice import NOTICE, SHORT_NOTICE
from einthoven.storage import open_database

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
CONFIGURATION = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]
LOADED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("link", "href")}
"""What a browser fetches by itself."""


def built(folder: Path) -> "subprocess.CompletedProcess[str]":
    """A site of the tree in this folder."""
    return subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--clean", "--strict"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def copied(folder: Path) -> Path:
    """Of the repository what the site is made of."""
    pytest.importorskip("zensical", reason="the site needs zensical: pip install '.[docs]'")
    shutil.copytree(DOCS, folder / "docs")
    shutil.copy(ROOT / "zensical.toml", folder)
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copied(tmp_path_factory.mktemp("site"))
    done = built(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / CONFIGURATION["site_dir"]


class Anchors(HTMLParser):
    """What a page links to and loads, and what may be linked to in it."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value for name, value in attrs if value is not None}
        self.ids |= {said["id"]} if "id" in said else set()
        if tag == "a" and "href" in said:
            self.links.append(said["href"])
        self.loads += [value for name, value in said.items() if (tag, name) in LOADED]


def pages_in(navigation: list[dict[str, Any]]) -> Iterator[str]:
    """The files that a part of the navigation names."""
    for one in navigation:
        for target in one.values():
            yield from [target] if isinstance(target, str) else pages_in(target)


def test_every_page_is_in_the_navigation_once() -> None:
    named = list(pages_in(CONFIGURATION["nav"]))
    assert sorted(named) == sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


def test_the_navigation_is_by_what_a_reader_wants() -> None:
    assert [name for one in CONFIGURATION["nav"] for name in one][1:] == [
        "Tutorials",
        "How to",
        "Reference",
        "Explanation",
    ]


def test_the_site_is_built_without_a_warning_and_leads_nowhere_else(site: Path) -> None:
    """Each link has its file and its place in it; what a page loads is a file of the site."""
    pages = {path: Anchors(path) for path in site.rglob("*.html") if path.name != "404.html"}
    assert len(pages) == len(list(DOCS.rglob("*.md")))
    for path, page in pages.items():
        for target in page.loads:
            assert not urlsplit(target).netloc, f"{path.name} loads {target}"
            assert (path.parent / unquote(urlsplit(target).path)).is_file(), f"{path.name} loads {target}"
        for target in page.links:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            found = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
            found = found / "index.html" if found.is_dir() else found
            assert found.is_file(), f"{path.name} links to {target}"
            if parts.fragment and found in pages:
                assert unquote(parts.fragment) in pages[found].ids, f"{path.name} links to {target}"


def test_the_styles_of_the_site_load_nothing_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import\s)[\"']?(?:https?:)?//", path.read_text()), path.name


def test_no_page_asks_for_a_script_that_is_fetched(site: Path) -> None:
    """The theme's script fetches one for each of these, if a page has it."""
    for path in site.rglob("*.html"):
        assert not re.findall(r'class="(?:mermaid|glightbox|pyodide)\b', path.read_text()), path.name


def test_every_page_of_the_site_says_that_this_is_no_medical_device(site: Path) -> None:
    words = SHORT_NOTICE.removesuffix(" See einthoven --version.")
    for path in site.rglob("*.html"):
        assert words in path.read_text(), path.name


def test_links_to_nowhere_are_errors(tmp_path: Path) -> None:
    """To a page that is not there, and to a place that a page does not have."""
    folder = copied(tmp_path)
    with (folder / "docs" / "index.md").open("a") as page:
        page.write("\n[away](nowhere.md) and [away](trust.md#nowhere)\n")
    done = built(folder)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "page does not exist" in said
    assert "anchor does not exist" in said


def test_lists_begin_after_an_empty_line() -> None:
    """What shows pages in the repository does not need it; the site does."""
    for page in DOCS.rglob("*.md"):
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        assert not re.search(r"^(?![-*>|#\d ]).+\n(?:[-*]|1\.) ", text, re.MULTILINE), page.name


def test_the_page_of_safety_says_the_notice() -> None:
    said = re.findall(r"^> (.*)$", (DOCS / "safety.md").read_text(), re.MULTILINE)
    words = " ".join(said).replace("[docs/performance.md](performance.md)", "docs/performance.md")
    assert words.split() == NOTICE.split()


def test_files_of_the_repository_that_pages_name_are_there() -> None:
    named = {
        name
        for page in DOCS.rglob("*.md")
        for name in re.findall(r"\b((?:deploy|examples|contracts)/[\w./-]*\w)", page.read_text())
    }
    assert len(named) > 6
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_the_tables_that_the_data_model_names_are_there(tmp_path: Path) -> None:
    database = open_database(str(tmp_path / "einthoven.db"))
    database.migrate()
    connection = database.connect()
    with connection.reading() as statements:
        tables = {row[0] for row in statements.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    rows = re.findall(
        r"^\| .* \| .* \| .* \| (.*) \| .* \|$", (DOCS / "reference/data-model.md").read_text(), re.M
    )
    named = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)}
    assert len(named) > 25
    assert named - tables == set()


def blocks(page: Path, wanted: str) -> list[str]:
    found = re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [text for language, text in found if language == wanted]


def a_free_port() -> int:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        return int(taken.getsockname()[1])


def performed(script: str, folder: Path, **variables: str) -> str:
    """What a page's shell blocks print, as one script."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [str(shutil.which("bash")), "-c", f"set -e\n{script}"],
        cwd=folder,
        env={**os.environ, "PATH": path, "no_proxy": "127.0.0.1", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_from_zero_to_an_alert(tmp_path: Path) -> None:
    """The tutorial as it stands, at another port."""
    port = str(a_free_port())
    script = "trap 'kill $(jobs -p) 2> over.txt || true' EXIT\n" + "".join(
        blocks(DOCS / "tutorials" / "first-alert.md", "sh")
    )
    said = performed(script.replace("8125", port), tmp_path, EINTHOVEN_PORT=port, EINTHOVEN_WORKERS="1")
    assert "analysed 12, lost 0" in said
    assert '"condition": "ventricular_fibrillation"' in said
    assert re.search(r'"state": "(?:active|cleared)-acknowledged"', said)
