"""``einthoven demo --pages``: a link, and a ward that lives."""

import json
import subprocess
import sys

import pytest

expect = pytest.importorskip("playwright.sync_api").expect


def test_the_link_of_the_demonstration_opens_a_ward_that_lives(visit) -> None:
    words = ["-m", "einthoven", "demo", "--pages", "--json", "--segment", "1"]
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            link = json.loads(process.stdout.readline())["url"]
            visitor = visit(link.partition("/sign-in")[0])
            page = visitor.page
            page.goto(link)
            page.locator(".row").nth(11).wait_for()
            page.locator("#list").focus()
            page.keyboard.press("j")
            page.keyboard.press("o")
            expect(page.locator("#shown")).to_contain_text("s behind")
            assert visitor.complaints == []
            page.close()
        finally:
            process.terminate()  # as Ctrl-C, which whatever runs in the background may ignore
            said, _ = process.communicate(timeout=60)
            ending = json.loads(said.splitlines()[-1])
    assert ending["event"] == "summary"
    assert ending["sent"] == ending["analysed"] >= 12
    assert ending["lost"] == 0
