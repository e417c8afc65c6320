"""Pictures of the pages for the documentation, drawn with EINTHOVEN_WRITE_DOCS=1."""

import io
import os
from pathlib import Path
from typing import Any

import pytest
from streaming import LOOKS, a_stream

from einthoven.clock import SystemClock
from einthoven.runtime import ledgers
from einthoven.runtime.secret_files import keep_ledger_key
from einthoven.testing.serving import Served
from einthoven.trust.notes import SigningKey

FOLDER = Path(__file__).parents[2] / "docs" / "pictures" / "pages"
SCENES = {
    "p-104": "vt_to_vf",
    "p-117": "pauses",
    "p-121": "atrial_fibrillation",
    "p-128": "healthy",
    "p-133": "ectopy",
    "p-140": "lead_off",
    "p-146": "svt",
    "p-151": "healthy",
    "p-160": "noise_only",
}
REGIONS = """currency = "EUR"

[regions.ward-7]
kind = "http"
address = "http://127.0.0.1:9"
tier = "edge"
slots = 4

[regions.frankfurt]
kind = "http"
address = "https://ecg-frankfurt.example.org"
tier = "core"
slots = 1000
"""
MOST_BYTES = 200_000

pytestmark = pytest.mark.skipif(
    not os.environ.get("EINTHOVEN_WRITE_DOCS"), reason="pictures are drawn with EINTHOVEN_WRITE_DOCS=1"
)


@pytest.fixture(scope="module")
def ward(clinic: Served) -> Served:
    for patient, scene in SCENES.items():
        a_stream(clinic.device(patient), scene)
    return clinic


def keep(page: Any, name: str) -> None:
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.png"
    image = pytest.importorskip("PIL.Image", reason="pictures are made small by Pillow")
    drawn = image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
    drawn.quantize(128).save(path, optimize=True)
    assert path.stat().st_size < MOST_BYTES


@pytest.mark.parametrize("look", LOOKS)
def test_the_ward_is_drawn(ward: Served, visit, look) -> None:
    page = (
        visit(ward.url, **{"viewport": {"width": 1200, "height": 680}, **LOOKS[look]})
        .comes_as(ward.person("clinician"))
        .page
    )
    page.get_by_text("p-104").first.wait_for()
    page.get_by_text("live", exact=True).wait_for()
    page.locator("#list").focus()
    page.keyboard.press("j")
    page.locator("#detail li").first.wait_for()
    keep(page, f"ward-{look}")


@pytest.mark.parametrize("look", LOOKS)
def test_the_patient_is_drawn(ward: Served, visit, look) -> None:
    options = {"viewport": {"width": 1200, "height": 900}, **LOOKS[look]}
    page = visit(ward.url, **options).comes_as(ward.person("clinician"), "/patient#p-104").page
    page.locator("#events button").first.wait_for()
    page.locator("[data-hours='1']").click()
    page.locator("#events button").first.click()
    page.wait_for_function("() => document.getElementById('means').textContent")
    page.locator("[data-measure=RR]").click()
    page.locator("#note").wait_for()
    keep(page, f"patient-{look}")


@pytest.mark.parametrize("look", LOOKS)
def test_the_operators_page_is_drawn(ward: Served, visit, look) -> None:
    key = SigningKey.made("einthoven.example/clinic")
    folder = ward.service.settings.folder
    if not (folder / "continuum.toml").exists():
        keep_ledger_key(folder, "main", key)
        with ward.writing() as statements:
            ledgers.create(statements, "main", key, by="test", now_ns=SystemClock().utc_ns())
        (folder / "continuum.toml").write_text(REGIONS)
    options = {"viewport": {"width": 1200, "height": 800}, **LOOKS[look]}
    page = visit(ward.url, **options).comes_as(ward.person("auditor"), "/operator").page
    page.locator("#entries td").first.wait_for()
    for number in range(4):  # some work to be drawn
        a_stream(ward.device(f"{look}-{number}"), "healthy")
        page.wait_for_timeout(2000)
    page.get_by_role("button", name="Verify all of it").click()
    page.locator(".verdict-good").wait_for()
    keep(page, f"operator-{look}")
