"""The pages of formats are those of the program; and what needs the extra is only what says so."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec

from einthoven.server.settings import Settings
from einthoven.trust.consent import DATA_CLASSES, PURPOSES
from einthoven.trust.entries import ENTRY_KINDS, REASONS
from einthoven.trust.envelopes import ENVELOPE_BYTES
from einthoven.trust.policy import WHY, EmergencyRule, Rule, read_policy

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def test_every_kind_of_entry_is_on_its_page_with_its_fields_in_their_order() -> None:
    page = (REFERENCE / "ledger.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.*?) \|", page, re.MULTILINE))
    assert list(rows) == list(ENTRY_KINDS)
    for name, kind in ENTRY_KINDS.items():
        assert re.findall(r"`(\w+)`", rows[name]) == list(kind.__struct_fields__), name
    assert ", ".join(f"`{reason}`" for reason in REASONS) in page


def test_the_page_of_the_policy_knows_every_key_and_reason() -> None:
    page = (REFERENCE / "policy.md").read_text()
    keys = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert keys[: len(Rule.__struct_fields__)] == list(Rule.__struct_fields__)
    assert keys[len(Rule.__struct_fields__) :][: len(EmergencyRule.__struct_fields__)] == list(
        EmergencyRule.__struct_fields__
    )
    for why, meaning in WHY.items():
        assert f"| `{why}` | {meaning} |" in page
    for word in (*DATA_CLASSES, *PURPOSES):
        assert f"`{word}`" in page
    for code in PURPOSES.values():
        assert code in page
    example, in_the_service = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(read_policy(example).rules) == 4
    assert set(tomllib.loads(in_the_service)) <= {one.name for one in msgspec.structs.fields(Settings)}


def test_the_page_of_payloads_counts_the_bytes() -> None:
    page = (REFERENCE / "payloads.md").read_text()
    sizes = re.findall(r"^\| (?:n \+ )?(\d+) \|", page, re.MULTILINE)
    assert sum(map(int, sizes)) == ENVELOPE_BYTES
    assert f"{ENVELOPE_BYTES} bytes longer" in (REFERENCE.parent / "trust.md").read_text()


def test_policy_pseudonyms_and_the_tree_need_no_extra() -> None:
    """So that placement and ingest may import them wherever they run."""
    modules = (
        "policy",
        "consent",
        "pseudonyms",
        "deidentification",
        "anonymity",
        "batching",
        "replay",
        "merkle",
    )
    names = ", ".join(f"einthoven.trust.{one}" for one in modules)
    script = f"import sys, {names}; print([one for one in sys.modules if one.startswith('cryptography')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
