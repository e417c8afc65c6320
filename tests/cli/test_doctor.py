"""``einthoven doctor`` tries what the service stands on."""

import json
from pathlib import Path

from click.testing import CliRunner

from einthoven.cli.doctor import command


def asked(*flags: str) -> tuple[int, dict[str, dict[str, object]]]:
    result = CliRunner().invoke(command, ["--json", *flags], standalone_mode=False)
    service = json.loads(result.stdout)["service"]
    return int(result.return_value), {check["name"]: check for check in service}


def test_where_all_is_well_each_part_says_what_it_did(tmp_path: Path) -> None:
    code, checks = asked("--data-folder", str(tmp_path), "--port", "0")
    assert code == 0
    assert set(checks) == {"database", "objects", "channels", "port"}
    assert all(check["is_well"] for check in checks.values())
    assert "a commit takes" in str(checks["database"]["detail"])
    assert not list((tmp_path / "objects").rglob("doctor/*"))


def test_what_cannot_be_had_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "channels.toml").write_text("[webhook]\ncolour = 'red'\n")
    code, checks = asked("--data-folder", str(tmp_path), "--database", "postgresql://127.0.0.1:9/none")
    assert code == 3
    assert not checks["database"]["is_well"]
    assert "URL" in str(checks["database"]["remedy"])
    assert not checks["channels"]["is_well"]
    assert "colour" in str(checks["channels"]["detail"])
    assert checks["objects"]["is_well"]
