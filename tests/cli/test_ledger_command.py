"""`einthoven ledger`, as somebody uses it at two sites that witness each other."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from einthoven.cli.ledger import command
from einthoven.errors import Conflict, EinthovenError, InputInvalid, KeyRefused, LedgerTampered, NotFound
from einthoven.trust.checkpoints import Checkpoint, sign_checkpoint
from einthoven.trust.exports import GrowthProof, print_growth
from einthoven.trust.notes import SigningKey, read_note
from einthoven.trust.secrets import open_secret

CONSENT = {
    "patient": "p1-mzxw6ytb", "kind": "consent-changed", "at_ns": 1_764_000_000_000_000_000,
    "change": "given", "consent": "c-1", "version": 1, "digest": "00ff", "by": "ann",
}  # fmt: skip
SCRIPT = Path(__file__).parents[2] / "examples" / "ledger" / "verify_ledger.py"


def run(*words: object, code: int = 0, given: str = "") -> Result:
    done = CliRunner().invoke(command, list(map(str, words)), input=given, standalone_mode=False)
    if isinstance(done.exception, EinthovenError):
        raise done.exception
    left_with = 2 if isinstance(done.exception, click.ClickException) else done.return_value or 0
    assert left_with == code, (done.output, done.exception)
    return done


class Site:
    """One data folder with a ledger."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.key = self("create", name)["key"]

    def __call__(self, *words: object, code: int = 0, given: str = "") -> dict:
        done = run(*words, "--data-folder", self.folder, "--json", code=code, given=given)
        return json.loads(done.stdout)

    def __str__(self) -> str:
        return str(self.folder)


@pytest.fixture
def clinic(tmp_path: Path) -> Site:
    return Site(tmp_path / "clinic", "clinic.example/ledger")


@pytest.fixture
def other(tmp_path: Path) -> Site:
    return Site(tmp_path / "other", "other.example/ledger")


def test_entries_are_appended_shown_exported_and_verified(clinic: Site, tmp_path: Path) -> None:
    lines = "\n".join(json.dumps({**CONSENT, "version": number}) for number in range(1, 4))
    assert clinic("append", "-", given=lines) == {"first": 1, "entries": 3}
    assert clinic("show", "--kind", "consent-changed", "--limit", 2)["entries"][1]["version"] == 2
    assert clinic("show", "--patient", "p1-other")["entries"] == []
    shown = run("show", "--data-folder", clinic).output
    assert "3 behind the last checkpoint" in shown
    assert "p1-mzxw6ytb" in shown
    assert clinic("checkpoint")["entries"] == 4
    assert clinic("check")["key_given"], "its own keys are at hand"
    export = tmp_path / "export"
    assert clinic("export", export)["entries"] == 4
    verified = json.loads(run("verify", export, "--key", clinic.key, "--json").stdout)
    assert verified["verified"]
    assert verified["key_given"]
    assert verified["kinds"] == {"consent-changed": 3, "key-changed": 1}
    read = run("verify", export).output
    assert "Whose key it is was not checked" in read
    assert "Whether this is the newest was not checked" in read
    by_script = [sys.executable, str(SCRIPT), str(export), "--key", clinic.key]
    said = subprocess.run(by_script, capture_output=True, text=True, check=True).stdout
    assert said.startswith("verified: clinic.example/ledger, 4 entries")
    export.write_bytes(export.read_bytes().replace(b'"version":2', b'"version":7'))
    assert "NOT what was signed: checkpoint 2" in run("verify", export, code=1).output
    assert json.loads(run("verify", export, "--json", code=1).stdout)["verified"] is False
    assert subprocess.run(by_script, capture_output=True, check=False).returncode == 1


def test_a_database_that_somebody_changed_is_found(clinic: Site) -> None:
    with sqlite3.connect(clinic.folder / "einthoven.db") as database:
        database.execute("UPDATE ledger_batches SET content = REPLACE(content, 'offline', 'nobody')")
    database.close()
    assert clinic("check", code=1)["code"] == "ledger-tampered"
    assert "NOT what was signed" in run("check", "--data-folder", clinic, code=1).output


def test_one_entry_is_proven_to_somebody_who_sees_no_other(clinic: Site, tmp_path: Path) -> None:
    clinic("append", "-", given=json.dumps(CONSENT))
    clinic("checkpoint")
    proof = tmp_path / "proof"
    run("prove", 1, "-o", proof, "--data-folder", clinic)
    done = json.loads(run("verify", proof, "--key", clinic.key, "--json").stdout)
    assert done["entry"]["consent"] == "c-1"
    assert "this is entry 1 of clinic.example/ledger" in run("verify", proof, "--key", clinic.key).output
    run("verify", proof, code=2)
    proof.write_text(proof.read_text().replace("c-1", "c-2"))
    run("verify", proof, "--key", clinic.key, code=1)
    run("prove", "--data-folder", clinic, code=2)


def test_sites_witness_each_other_and_a_second_history_is_found(
    clinic: Site, other: Site, tmp_path: Path
) -> None:
    export = tmp_path / "export"
    clinic("export", export)
    with pytest.raises(NotFound, match="never seen here"):
        other("witness", export)
    seen = tmp_path / "seen"
    run("witness", export, "--key", clinic.key, "-o", seen, "--data-folder", other)
    witness = other("keys")[0]["as_witness"]
    assert clinic("believe", witness)["entries"] == 2
    run("prove", "--since", 1, "-o", tmp_path / "growth", "--data-folder", clinic)
    seen.write_text(other("witness", tmp_path / "growth")["checkpoint"])
    assert clinic("cosigned", seen) == {"added": 1}
    assert clinic("cosigned", seen) == {"added": 0}
    clinic("export", export)
    kept = ["--kept", seen, "--witnesses", 1]
    assert json.loads(run("verify", export, *kept, "--json").stdout)["witnesses"] == {other.name: 2}
    assert "cosigned 2 of 2 entries" in run("verify", export, *kept).output
    forked = tmp_path / "forked"
    backup = (clinic.folder / "einthoven.db").read_bytes()
    clinic("append", "-", given=json.dumps(CONSENT))
    clinic("checkpoint")
    clinic("export", export)
    other("witness", export)
    for file in clinic.folder.glob("einthoven.db*"):
        file.unlink()
    (clinic.folder / "einthoven.db").write_bytes(backup)
    clinic("append", "-", given=json.dumps({**CONSENT, "change": "revoked"}))
    clinic("checkpoint")
    clinic("export", forked)
    found = other("witness", forked, code=1)["finding"]
    assert (found["kind"], found["priority"]) == ("fork", "high")
    assert "two different trees of one size" in run("witness", forked, "--data-folder", other, code=1).stderr
    assert read_note(found["before"]).text != read_note(found["after"]).text
    assert [one["finding"] for one in other("show", "--kind", "checkpoint-received")["entries"]] == [
        *["consistent"] * 3,
        *["fork"] * 2,
    ]


def test_a_witness_follows_the_keys_of_an_export_and_believes_no_retired_one(
    clinic: Site, other: Site, tmp_path: Path
) -> None:
    export, growth = tmp_path / "export", tmp_path / "growth"
    clinic("export", export)
    other("witness", export, "--key", clinic.key)
    new = clinic("rotate")["key"]
    clinic("export", export)
    assert other("witness", export)["checkpoint"].startswith(f"{clinic.name}\n3\n"), "signed by the old key"
    clinic("append", "-", given=json.dumps(CONSENT))
    clinic("checkpoint")
    run("prove", "--since", 3, "-o", growth, "--data-folder", clinic)
    assert other("witness", growth)["checkpoint"].startswith(f"{clinic.name}\n4\n"), "by the new one"
    secret = next((clinic.folder / "keys").glob(f"*{clinic.key.split('+')[1]}.json")).read_text()
    thief = SigningKey(clinic.name, Ed25519PrivateKey.from_private_bytes(open_secret("ledger", secret)))
    said = Checkpoint(clinic.name, 5, bytes(32), 2**62)
    growth.write_text(print_growth(GrowthProof(4, (), sign_checkpoint(said, [thief]))))
    for more in ((), ("--key", clinic.key)):
        with pytest.raises(LedgerTampered, match="no key that is in force"):
            other("witness", growth, *more)
    assert new != clinic.key


def test_a_key_is_rotated_and_lies_closed(
    clinic: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EINTHOVEN_PASSPHRASE", "open sesame")
    new = clinic("rotate")["key"]
    assert new != clinic.key
    clinic("append", "-", given=json.dumps(CONSENT))
    clinic("checkpoint")
    assert [one["until"] for one in clinic("keys")] == [3, None]
    export = tmp_path / "export"
    clinic("export", export)
    for key in (clinic.key, new):
        assert json.loads(run("verify", export, "--key", key, "--json").stdout)["keys"] == [new]
    monkeypatch.setenv("EINTHOVEN_PASSPHRASE", "open barley")
    clinic("append", "-", given=json.dumps(CONSENT))
    with pytest.raises(KeyRefused, match="passphrase"):
        clinic("checkpoint")


def test_what_cannot_be_is_said_in_one_sentence(clinic: Site, tmp_path: Path) -> None:
    with pytest.raises(Conflict):
        clinic("create", "again.example")
    with pytest.raises(NotFound, match="no ledger"):
        run("show", "--data-folder", tmp_path / "nothing")
    for wrong in ("{", "[]", json.dumps({"kind": "nonsense"}), json.dumps({**CONSENT, "by": "Ann Smith"})):
        with pytest.raises(InputInvalid):
            clinic("append", "-", given=wrong)
    assert clinic("append", "-") == {"first": None, "entries": 0}
    assert clinic("show")["size"] == 1
