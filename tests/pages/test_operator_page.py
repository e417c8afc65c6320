"""The page of whoever runs the service."""

import re
from typing import Any

import pytest
from streaming import LOOKS, a_stream, looks_like

from einthoven.clock import SystemClock
from einthoven.runtime import ledgers
from einthoven.runtime.secret_files import keep_ledger_key
from einthoven.testing.serving import Served
from einthoven.trust.notes import SigningKey

expect = pytest.importorskip("playwright.sync_api").expect


@pytest.fixture(scope="module", autouse=True)
def a_ledger(request: pytest.FixtureRequest, browser: Any) -> None:
    clinic = request.getfixturevalue("clinic")
    key = SigningKey.made("einthoven.example/clinic")
    keep_ledger_key(clinic.service.settings.folder, "main", key)
    with clinic.writing() as statements:
        ledgers.create(statements, "main", key, by="test", now_ns=SystemClock().utc_ns())
    (clinic.service.settings.folder / "continuum.toml").write_text(
        '[regions.ward-7]\nkind = "http"\naddress = "http://127.0.0.1:9"\ntier = "edge"\n'
    )
    a_stream(clinic.device("p-1"))


def test_the_page_is_accessible_and_nothing_is_complained_of(clinic: Served, visit, violations) -> None:
    visitor = visit(clinic.url).comes_as(clinic.person("auditor"), "/operator")
    page = visitor.page
    page.locator("#entries td").first.wait_for()
    page.locator("#regions td").first.wait_for()
    for look in LOOKS:
        looks_like(page, look)
        assert violations(page) == [], look
    assert visitor.complaints == []


def test_each_role_sees_its_parts(clinic: Served, visit) -> None:
    technician = visit(clinic.url).comes_as(clinic.person("technician"), "/operator").page
    expect(technician.locator("#placement")).to_contain_text("the service")
    technician.get_by_text("None yet.").wait_for()
    assert technician.locator("#ledger-box").is_hidden()
    admin = visit(clinic.url).comes_as(clinic.person("admin"), "/operator").page
    admin.get_by_text("einthoven.example/clinic").wait_for()
    assert admin.locator("#entries-box").is_hidden()
    clinician = visit(clinic.url).comes_as(clinic.person("clinician"), "/operator").page
    clinician.wait_for_url(clinic.url + "/")


def test_what_is_sent_shows_as_work(clinic: Served, visit) -> None:
    page = visit(clinic.url).comes_as(clinic.person("technician"), "/operator").page
    analysed = page.locator("#numbers div", has_text="analysed").locator("dd")
    expect(analysed).to_have_text(re.compile("[1-9]"))
    before = int(analysed.inner_text().replace(",", ""))
    a_stream(clinic.device("p-2"), "healthy")
    expect(analysed).to_have_text(f"{before + 6:,}", timeout=10_000)


def test_a_region_is_drained_and_used_again(clinic: Served, visit) -> None:
    page = visit(clinic.url).comes_as(clinic.person("admin"), "/operator").page
    page.get_by_role("button", name="Drain ward-7").click()
    page.get_by_role("button", name="Use ward-7").click()
    page.get_by_role("button", name="Drain ward-7").wait_for()
    page.get_by_role("button", name="Probe ward-7").click()
    page.get_by_role("alert").get_by_text("ward-7 does not answer").wait_for()


def test_the_ledger_is_verified_and_what_was_altered_turns_red(clinic: Served, visit) -> None:
    page = visit(clinic.url).comes_as(clinic.person("auditor"), "/operator").page
    verdict = page.locator("#verdict")
    page.get_by_role("button", name="Verify all of it").click()
    expect(verdict).to_contain_text("are what was signed")
    expect(verdict).to_have_class("verdict-good")
    with clinic.writing() as statements:
        statements.run("UPDATE ledgers SET signed = signed + 1")
    page.get_by_role("button", name="Verify all of it").click()
    expect(verdict).to_contain_text("Not what was signed")
    expect(verdict).to_have_class("verdict-bad")
    with clinic.writing() as statements:
        statements.run("UPDATE ledgers SET signed = signed - 1")
