"""Administration without the service: users and tokens, directly in the database."""

import io
import json
from pathlib import Path

import pytest

from einthoven.cli import run
from einthoven.server.tokens import digest_of_token
from einthoven.storage import open_database

PASSWORD = "three words long enough"  # noqa: S105 - of a test


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EINTHOVEN_DATA_FOLDER", str(tmp_path / "data"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{PASSWORD}\n".encode())))
    return tmp_path / "data"


def said(capsys, *words: str) -> object:
    assert run([*words, "--json"]) == 0, words
    return json.loads(capsys.readouterr().out)


def test_a_user_and_tokens_without_the_service(folder: Path, capsys) -> None:
    added = said(capsys, "users", "add", "ada", "--role", "admin", "--password-stdin")
    assert (added["name"], added["role"]) == ("ada", "admin")
    assert [one["name"] for one in said(capsys, "users", "list")] == ["ada"]

    device = said(capsys, "tokens", "issue", "--kind", "device", "--patient", "p1", "--device", "chest")
    assert device["token"].startswith("eid_")
    own = said(capsys, "tokens", "issue", "--kind", "user", "--user", "ada", "--days", "30")
    assert (own["token"][:4], own["about"]["user"]) == ("eiu_", "ada")
    number = device["about"]["id"]
    assert said(capsys, "tokens", "revoke", str(number)) == {"id": number, "revoked": True}
    assert said(capsys, "tokens", "revoke", str(number)) == {"id": number, "revoked": False}
    listed = said(capsys, "tokens", "list")
    assert [one["revoked"] is None for one in listed] == [False, True]

    connection = open_database(str(folder / "einthoven.db")).connect()
    with connection.reading() as statements:
        kept = {bytes(row[0]) for row in statements.rows("SELECT digest FROM tokens")}
        acts = [row[0] for row in statements.rows("SELECT action FROM audit ORDER BY id")]
        actors = {row[0] for row in statements.rows("SELECT actor FROM audit")}
        hash_ = statements.rows("SELECT hash FROM users")[0][0]
    connection.close()
    assert kept == {digest_of_token(device["token"]), digest_of_token(own["token"])}
    assert acts == ["user.added", "token.issued", "token.issued", "token.revoked"]
    assert actors == {"offline"}
    assert hash_.startswith("$argon2id$v=19$m=65536,t=3,p=1$")


def test_tables_and_sentences_for_people(folder: Path, capsys) -> None:
    assert run(["tokens", "list"]) == 0
    assert run(["users", "add", "ada", "--role", "admin", "--password-stdin"]) == 0
    assert run(["users", "list"]) == 0
    assert run(["tokens", "issue", "--kind", "gateway", "--label", "ward 7"]) == 0
    assert run(["tokens", "list"]) == 0
    assert run(["tokens", "revoke", "1"]) == 0
    said = capsys.readouterr()
    for words in ("None.", "User ada is added.", "eig_", "gateway", "Token 1 is revoked."):
        assert words in said.out
    assert "It is not shown again." in said.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["tokens", "issue", "--kind", "device"], "patient"),
        (["tokens", "issue", "--kind", "user"], "--user"),
        (["tokens", "issue", "--kind", "user", "--user", "nobody"], "no user"),
        (["tokens", "issue", "--kind", "gateway", "--organisation", "none"], "no such organisation"),
        (["tokens", "revoke", "7"], "no token"),
        (["users", "add", "ADA", "--role", "admin", "--password-stdin"], "not such a name"),
        (["users", "add", "p", "--role", "patient", "--password-stdin"], "pseudonym"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(words: list[str], told: str, folder: Path, capsys) -> None:
    assert run(words) == 2
    assert told in capsys.readouterr().err


def test_the_settings_that_hold_and_where_they_came_from(folder: Path, capsys, monkeypatch) -> None:
    """A password in the database's URL stays there."""
    monkeypatch.setenv("EINTHOVEN_DATABASE", "postgresql://ada:secret@db/einthoven")
    found = said(capsys, "config", "show", "--origin", "--port", "99")
    assert found["port"] == {"value": 99, "origin": "flag --port"}
    assert found["database"]["origin"] == "environment EINTHOVEN_DATABASE"
    assert run(["config", "show", "--origin"]) == 0
    told = capsys.readouterr().out
    assert "environment EINTHOVEN_DATA_FOLDER" in " ".join(told.split())
    assert "secret" not in told + json.dumps(found)
