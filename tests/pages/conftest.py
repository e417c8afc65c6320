"""A real browser before a real service."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from einthoven.server.desk import Desk
from einthoven.server.settings import Settings
from einthoven.storage import open_database
from einthoven.testing.serving import Served, serving

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="tests of pages need playwright: pip install '.[test]'"
)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Of one module: while it runs there is an event loop in this thread, and others want to begin theirs."""
    if CHROMIUM is None:
        pytest.skip("tests of pages need Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


class Visitor:
    """Somebody at a browser of their own; what it complains about is kept."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.url = url
        self.context = browser.new_context(base_url=url, **options)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def comes_as(self, person: httpx.Client, path: str = "/") -> "Visitor":
        """With a session that was begun elsewhere; only so many may be begun at one address."""
        token = person.headers["Authorization"].removeprefix("Bearer ")
        self.context.add_cookies([{"name": "einthoven_session", "value": token, "url": self.url}])
        self.page.goto(path)
        return self


Visit = Callable[..., Visitor]


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    visitors: list[Visitor] = []

    def begin(url: str, **options: Any) -> Visitor:
        visitors.append(Visitor(browser, url, **options))
        return visitors[-1]

    yield begin
    for visitor in visitors:
        visitor.context.close()


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The service with alerts, shared by a module's tests."""
    folder = tmp_path_factory.mktemp("clinic")
    database = open_database(str(folder / "einthoven.db"))
    database.migrate()
    with serving(
        database, follower=Desk({"1": bytes(32)}), settings=Settings(data_folder=str(folder))
    ) as running:
        running.person("clinician")
        yield running


@pytest.fixture(scope="session")
def violations() -> Callable[[Any], list[str]]:
    """What axe-core finds in a page."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

    def found(page: Any) -> list[str]:
        response = axe.run(page).response
        return [
            f"{one['id']}: {node['html'][:120]} {node.get('failureSummary', '')[:200]}"
            for one in response["violations"]
            for node in one["nodes"]
        ]

    return found
