"""The page of the virtual patients: a run is ordered, watched and over."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from einthoven.testing.serving import Served

expect = pytest.importorskip("playwright.sync_api").expect


@pytest.fixture
def address(browser: Any) -> Iterator[str]:
    words = ["-m", "einthoven", "patients", "serve", "--port", "0"]
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip().removeprefix("Open ")
        finally:
            process.terminate()


def test_a_run_is_ordered_and_watched_to_its_end(clinic: Served, visit, violations, address: str) -> None:
    url = address.partition("/#")[0]
    visitor = visit(url)
    page = visitor.page
    page.goto(address)
    assert "token" not in page.url
    page.get_by_label("URL").fill(clinic.url)
    page.get_by_label("gateway token").fill(clinic.token("gateway")[1])
    page.get_by_label("segments/s").fill("20")
    page.get_by_label("duration, s").fill("2")
    assert violations(page) == []
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#runs")).to_contain_text("lost 0", timeout=30_000)
    expect(page.locator("#numbers")).to_contain_text("sent")
    assert violations(page) == []
    assert visitor.complaints == []
