"""`einthoven ledger anchor`, as somebody uses it at a site with a chain, and at one without."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from einthoven.cli.ledger import command
from einthoven.errors import EinthovenError, InputInvalid, KeyRefused, NotFound
from einthoven.trust.secrets import open_secret

pytest.importorskip("eth_utils", reason="the extra chain is not installed")

from einthoven.testing.chain_nodes import ChainNode
from einthoven.trust.anchoring import consent_salt

ORIGIN = "clinic.example/ledger"
CONSENT = {
    "patient": "p1-mzxw6ytb", "kind": "consent-changed", "at_ns": 1_764_000_000_000_000_000,
    "change": "given", "consent": "c-1", "version": 1, "digest": "00ff", "by": "ann",
}  # fmt: skip


def run(*words: object, code: int = 0, given: str = "") -> Result:
    done = CliRunner().invoke(command, list(map(str, words)), input=given, standalone_mode=False)
    if isinstance(done.exception, EinthovenError):
        raise done.exception
    left_with = 2 if isinstance(done.exception, click.ClickException) else done.return_value or 0
    assert left_with == code, (done.output, done.exception)
    return done


class Clinic:
    """A data folder with a ledger that is anchored."""

    def __init__(self, folder: Path, node: ChainNode) -> None:
        self.folder, self.node = folder, node
        self("create", ORIGIN)
        self.account = self("anchor", "account")["account"]
        node.fund(self.account)
        self.contract = self("anchor", "deploy", *self.chain)["contract"]

    @property
    def chain(self) -> tuple[str, str]:
        return "--chain-url", self.node.url

    def __call__(self, *words: object, code: int = 0, given: str = "") -> dict:
        done = run(*words, "--data-folder", self.folder, "--json", code=code, given=given)
        return json.loads(done.stdout)

    def grow(self, *entries: dict) -> None:
        self("append", "-", given="\n".join(map(json.dumps, entries)))
        self("checkpoint")

    def exported(self, name: str) -> Path:
        self("export", self.folder / name)
        return self.folder / name


@pytest.fixture
def clinic(tmp_path: Path, node: ChainNode) -> Clinic:
    return Clinic(tmp_path / "clinic", node)


def verified(clinic: Clinic, file: Path, code: int = 0) -> dict:
    words = ("verify", file, "--anchors", *clinic.chain, "--chain-contract", clinic.contract, "--json")
    return json.loads(run(*words, code=code).stdout)


def test_a_ledger_is_anchored_and_both_it_and_its_exports_are_held_against_the_chain(clinic: Clinic) -> None:
    clinic.grow(CONSENT)
    early = clinic.exported("early")
    assert verified(clinic, early)["anchored"] == 0
    now = clinic("anchor", "now", *clinic.chain)
    assert [one["deed"] for one in now["transactions"]] == ["anchor", "register"]
    assert now["transactions"][0]["gas"] < 90_000
    assert clinic("anchor", "now", *clinic.chain)["transactions"] == []
    clinic.grow({**CONSENT, "version": 2, "change": "revoked"})
    late = clinic.exported("late")
    assert verified(clinic, late)["anchored"] == 2
    assert verified(clinic, late)["account"] == clinic.account
    clinic("anchor", "now", *clinic.chain)
    assert (verified(clinic, early)["anchored"], verified(clinic, late)["anchored"]) == (2, 3)
    assert (clinic("check")["anchored"], clinic("check")["chain_asked"]) == (3, False)
    assert clinic("check", *clinic.chain)["chain_asked"]
    status = clinic("anchor", "status")
    assert ([one["entries"] for one in status["anchors"]], status["consents_until"]) == ([2, 3], 3)
    assert "3 of 3 entries anchored" in run("anchor", "status", "--data-folder", clinic.folder).output
    assert "vouches for 3 of 3" in run("check", *clinic.chain, "--data-folder", clinic.folder).output
    words = ("verify", early, "--anchors", *clinic.chain, "--chain-contract", clinic.contract)
    assert "this is not the newest" in run(*words).output


def test_another_history_of_the_same_key_is_found_in_a_file_and_in_the_database(clinic: Clinic) -> None:
    clinic.grow(CONSENT)
    for kept in ("einthoven.db", "einthoven.db-wal"):
        if (clinic.folder / kept).exists():
            shutil.copy(clinic.folder / kept, clinic.folder / f"{kept}.before")
    clinic.grow({**CONSENT, "version": 2})
    clinic("anchor", "now", *clinic.chain)
    for kept in clinic.folder.glob("einthoven.db*"):
        if kept.suffix != ".before":
            kept.unlink()
    for kept in clinic.folder.glob("*.before"):
        kept.rename(kept.with_suffix(""))
    clinic.grow({**CONSENT, "version": 2, "digest": "aa"})
    assert not verified(clinic, clinic.exported("forked"), code=1)["verified"]
    found = clinic("check", *clinic.chain, code=1)
    assert found["code"] == "ledger-tampered"
    assert "NOT what was signed" in run("check", *clinic.chain, "--data-folder", clinic.folder, code=1).output


def test_a_consent_is_found_with_its_salt_and_the_secrets_are_closed(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    clinic.grow(CONSENT, {**CONSENT, "version": 2, "change": "revoked"})
    clinic("anchor", "now", *clinic.chain)
    said = clinic("anchor", "consent", CONSENT["patient"], "c-1", *clinic.chain)
    text = (clinic.folder / "keys" / "consents-main.json").read_text()
    salt = consent_salt(open_secret("consents", text), ORIGIN, CONSENT["patient"], "c-1")
    assert (said["version"], said["revoked"], said["salt"]) == (2, True, salt.hex())
    assert clinic("anchor", "consent", "p1-nobody", "c-1", *clinic.chain)["version"] == 0
    with pytest.raises(InputInvalid, match="pseudonym"):
        clinic("anchor", "consent", "Jane Doe", "c-1", *clinic.chain)
    for kind in ("chain", "consents"):
        assert (clinic.folder / "keys" / f"{kind}-main.json").stat().st_mode & 0o077 == 0


def test_keys_are_brought_along_and_another_site_is_admitted(clinic: Clinic, tmp_path: Path) -> None:
    ward = tmp_path / "ward"
    given = tmp_path / "key"
    given.write_text("0x" + 31 * "00" + "05\n")
    run("create", "ward.example", "--data-folder", ward)
    account = run("anchor", "account", "--import", given, "--data-folder", ward).output.strip()
    with pytest.raises(KeyRefused, match="of this name"):
        run("anchor", "account", "--import", given, "--data-folder", ward)
    given.write_text("words")
    with pytest.raises(InputInvalid, match="hexadecimal"):
        run("anchor", "account", "--import", given, "--data-folder", tmp_path / "else")
    clinic.node.fund(account)
    run("anchor", "use", clinic.contract, *clinic.chain, "--data-folder", ward)
    with pytest.raises(KeyRefused, match="may not write"):
        run("anchor", "now", *clinic.chain, "--data-folder", ward)
    admitted = clinic("anchor", "admit", "ward.example", account, *clinic.chain)
    assert [one["deed"] for one in admitted["transactions"]] == ["admit"]
    assert "1 entries anchored" in run("anchor", "now", *clinic.chain, "--data-folder", ward).output
    assert "Nothing to do" in run("anchor", "now", *clinic.chain, "--data-folder", ward).output


def test_what_is_missing_is_named(clinic: Clinic, tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="no chain is named"):
        clinic("anchor", "now")
    with pytest.raises(NotFound, match="no ledger"):
        run("anchor", "status", "--data-folder", tmp_path / "empty")
    export = clinic.exported("export")
    assert "--chain-url" in str(run("verify", export, "--anchors", code=2).exception)
    with pytest.raises(InputInvalid, match="which contract"):
        run("verify", export, "--anchors", *clinic.chain)


def test_without_the_extra_all_but_the_chain_works(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('eth_account', 'eth_abi', 'eth_utils', 'rlp')))\n"
        "from einthoven.cli import run\n"
        "for words in (['create', 'a.example'], ['check'], ['anchor', 'status']):\n"
        "    assert run(['ledger', *words]) == 0, words\n"
        "assert run(['ledger', 'anchor', 'deploy', '--chain-url', 'http://127.0.0.1:1']) != 0\n"
    )
    kept = {**os.environ, "EINTHOVEN_DATA_FOLDER": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=kept, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "pip install 'einthoven[chain]'" in done.stderr
