"""`einthoven policy` and `einthoven pseudonyms`, as somebody uses them at a terminal."""

import csv
import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from einthoven.cli import bench_trust, ledger, policy, pseudonyms
from einthoven.errors import EinthovenError, InputInvalid, NotFound
from einthoven.trust.consent import Consent, revoked, write_consent

POLICY = """
version = 1
[functions]
bdc = ["samples", "pseudonymised"]
finalization = ["features"]
[[rules]]
name = "at-the-site"
data = ["samples"]
tiers = ["local"]
consent = "unless-refused"
[[rules]]
name = "in-the-cloud"
data = ["features"]
labels = ["eu"]
[emergency]
data = ["samples"]
tiers = ["core"]
"""
CONTINUUM = """
[regions.ward]
kind = "inline"
tier = "local"
[regions.cloud]
kind = "inline"
tier = "core"
labels = ["eu"]
"""
NOW = "2025-11-24T16:00:00Z"
GIVEN = Consent(id="c-1", patient="p1-a", version=1, status="active", base="permit", given_ns=0)


def run(command: click.Command, *words: object, code: int = 0, given: str = "") -> Result:
    done = CliRunner().invoke(command, list(map(str, words)), input=given, standalone_mode=False)
    if isinstance(done.exception, EinthovenError):
        raise done.exception
    assert (done.exception, done.return_value or 0) == (None, code), done.output
    return done


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    found = {name: tmp_path / name for name in ("policy.toml", "continuum.toml", "given.json", "taken.json")}
    found["policy.toml"].write_text(POLICY)
    found["continuum.toml"].write_text(CONTINUUM)
    found["given.json"].write_text(json.dumps(write_consent(GIVEN)))
    found["taken.json"].write_text(json.dumps(write_consent(revoked(GIVEN, at_ns=9))))
    return found


def test_it_is_explained_where_a_function_may_run_and_why_not_elsewhere(files: dict[str, Path]) -> None:
    where = ["--policy", files["policy.toml"], "--continuum", files["continuum.toml"], "--at", NOW]

    def whys(function: str, *more: object, code: int = 0) -> dict[str, str]:
        done = run(policy.command, "explain", "p1-a", function, *where, *more, "--json", code=code)
        return {one["region"]: one["why"] for one in json.loads(done.stdout)["regions"]}

    given = ["--consent", files["given.json"]]
    assert whys("bdc") == {"ward": "permitted", "cloud": "no-rule"}
    assert whys("finalization", code=1) == {"ward": "no-rule", "cloud": "no-consent"}
    assert whys("finalization", *given) == {"ward": "no-rule", "cloud": "permitted"}
    both = [*given, "--consent", files["taken.json"]]
    assert whys("finalization", *both, code=1) == {"ward": "no-rule", "cloud": "consent-over"}
    assert whys("bdc", *both, code=1) == {"ward": "consent-over", "cloud": "no-rule"}
    assert whys("bdc", "--emergency", "emergency") == {"ward": "permitted", "cloud": "emergency"}
    assert whys("unheard-of", code=1) == {"ward": "no-function", "cloud": "no-function"}
    shown = run(policy.command, "explain", "p1-a", "finalization", *where, *given).output
    assert "finalization takes features; for treatment; consent c-1, version 1, active" in shown
    assert "no rule permits it" in shown
    with pytest.raises(InputInvalid, match="no pseudonym"):
        run(policy.command, "explain", "Jane Doe", "bdc", *where)
    with pytest.raises(InputInvalid, match="another patient's"):
        run(policy.command, "explain", "p1-b", "bdc", *where, *given)


def test_a_policy_is_checked(files: dict[str, Path]) -> None:
    checked = json.loads(run(policy.command, "check", "--policy", files["policy.toml"], "--json").stdout)
    assert (checked["version"], checked["rules"]) == (1, 2)
    assert checked["digest"] in run(policy.command, "check", "--policy", files["policy.toml"]).output
    files["policy.toml"].write_text(POLICY.replace("features", "everything"))
    with pytest.raises(InputInvalid, match="everything"):
        run(policy.command, "check", "--policy", files["policy.toml"])


RULES = """
purpose = "research"
quasi_identifiers = ["age", "zip"]
k = 2
sensitive = "rhythm"
[fields]
mrn = "patient"
name = "name"
age = "age"
zip = "zip"
seen = "date"
rhythm = "plain"
"""
TABLE = """mrn,name,age,zip,seen,rhythm,remark
MRN-1,Jane Doe,93,02139,2025-05-04,fibrillation,call her sister
MRN-2,John Roe,91,02140,2025-05-05,sinus,
MRN-3,Ann Poe,40,03601,2024-01-01,sinus,x
"""


def test_a_table_leaves_without_who_it_is_and_only_if_nobody_is_alone_in_it(tmp_path: Path) -> None:
    table, rules, output = tmp_path / "table.csv", tmp_path / "rules.toml", tmp_path / "out.csv"
    table.write_text(TABLE)
    rules.write_text(RULES.replace('["age", "zip"]', '["age", "zipp"]'))
    with pytest.raises(InputInvalid, match="no field 'zipp'"):
        run(pseudonyms.command, "export", table, output, "--rules", rules, "--data-folder", tmp_path / "site")
    rules.write_text(RULES)
    words = ["export", table, output, "--rules", rules, "--data-folder", tmp_path / "site"]
    refused = run(pseudonyms.command, *words, code=1).output
    assert "k = 1" in refused
    assert "1 patients (1 rows) are in groups of less than 2" in refused
    assert not output.exists()
    table.write_text(TABLE + "MRN-4,May Coe,40,03602,2024-01-01,sinus,\n")
    done = json.loads(run(pseudonyms.command, *words, "--json").stdout)
    assert (done["written"], done["k"], done["patients"], done["alike"]) == (True, 2, 4, 1)
    text = output.read_text()
    for word in ("MRN", "Jane", "Doe", "0213", "2025-05", "93", "sister"):
        assert word not in text
    rows = list(csv.DictReader(text.splitlines()))
    assert {key: value for key, value in rows[0].items() if key != "mrn"} == {
        "age": "90+", "zip": "021", "seen": "2025", "rhythm": "fibrillation",
    }  # fmt: skip
    assert "everybody has the same" in run(pseudonyms.command, *words).output
    run(ledger.command, "create", "site.example", "--data-folder", tmp_path / "site")
    names = "MRN-1\nMRN-2\n"
    asked = ["find", rows[1]["mrn"], "--purpose", "research", "--identifiers", "-", "--data-folder"]
    asked += [tmp_path / "site", "--reason", "research-recall", "--case", "IRB-12", "--by", "ann"]
    found = run(pseudonyms.command, *asked, "--json", given=names)
    assert json.loads(found.stdout) == {"identifier": "MRN-2", "entry": 1}
    assert run(pseudonyms.command, *asked, given=names).stdout == "MRN-2\n"
    shown = run(ledger.command, "show", "--data-folder", tmp_path / "site", "--json").stdout
    assert json.loads(shown)["entries"][1]["case"] == "IRB-12"
    assert "MRN" not in shown
    with pytest.raises(NotFound, match="nobody here"):
        run(pseudonyms.command, *asked, given="MRN-1\n")
    asked[asked.index(tmp_path / "site")] = tmp_path / "elsewhere"
    with pytest.raises(NotFound, match="secret is not here"):
        run(pseudonyms.command, *asked, given=names)
    rules.write_text("purpose = 1")
    with pytest.raises(InputInvalid, match="cannot be read"):
        run(pseudonyms.command, *words)


def test_the_benchmark_says_what_it_measured() -> None:
    done = json.loads(run(bench_trust.command, "--entries", 300, "--json").stdout)
    segment, kept = done["segment"], done["ledger"]
    assert 0 < segment["both_us"] < 600, "ten times what may be"
    assert segment["envelope_bytes"] == 69
    assert [one["batch"] for one in kept["append"]] == [1, 100, 1000]
    assert kept["entries"] == 301 + 200
    assert kept["verify_per_s"] > 0
    assert done["machine"]["cores"] >= 1
    assert kept["database"] == "sqlite"
    shown = run(bench_trust.command, "--entries", 64).output
    assert "entries in a transaction" in shown


def test_the_benchmark_appends_to_another_database_more_than_once(postgresql) -> None:
    url = postgresql()
    for _ in range(2):
        done = json.loads(run(bench_trust.command, "--entries", 64, "--database", url, "--json").stdout)
    assert done["ledger"]["database"] == "postgresql"
    assert all(one["per_s"] > 0 for one in done["ledger"]["append"])
