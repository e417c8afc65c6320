"""Settings: one table, and four places from which a value comes."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einthoven.errors import InputInvalid
from einthoven.server.settings import SETTINGS, Settings, refuse_exposure, resolve


def test_a_flag_goes_before_the_environment_the_file_and_the_default(tmp_path: Path) -> None:
    file = tmp_path / "einthoven.toml"
    file.write_text("port = 1\nworkers = 1\nbatch_limit = 1\n")
    environment = {"EINTHOVEN_PORT": "2", "EINTHOVEN_WORKERS": "2", "EINTHOVEN_DATA": "/elsewhere"}
    found = resolve({"port": 3, "host": None}, environment=environment, file=file)
    settings = found.settings
    assert (settings.port, settings.workers, settings.batch_limit) == (3, 2, 1)
    assert settings.queue_limit == Settings().queue_limit
    assert found.origins["port"] == "flag --port"
    assert found.origins["workers"] == "environment EINTHOVEN_WORKERS"
    assert found.origins["batch_limit"] == f"file {file}"
    assert found.origins["queue_limit"] == found.origins["host"] == "default"


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"EINTHOVEN_PORT": "65536"}, "port is wrong"),
        ({"EINTHOVEN_PORT": "eighty"}, "port is wrong"),
        ({"EINTHOVEN_DRAIN_S": "nan"}, "drain_s is wrong"),
        ({"EINTHOVEN_SESSION_H": "0"}, "session_h is wrong"),
        ({"EINTHOVEN_LOG_LEVEL": "loud"}, "debug, info, warning, error"),
    ],
)
def test_a_wrong_value_is_refused_by_name_and_place(environment: dict[str, str], words: str) -> None:
    with pytest.raises(InputInvalid, match=words) as caught:
        resolve(environment=environment)
    assert caught.value.where == f"environment {next(iter(environment))}"


@pytest.mark.parametrize("text", ["prot = 1", "port = '1'", "port = 1.5", "port =", "[port]", "port = true"])
def test_a_file_with_another_name_or_type_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "einthoven.toml"
    file.write_text(text)
    with pytest.raises(InputInvalid) as caught:
        resolve(environment={}, file=file)
    assert str(file) in caught.value.where
    if text.startswith("prot"):
        assert "Did you mean port?" in caught.value.remedy
        assert all(name in caught.value.remedy for name in SETTINGS)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="cannot be read"):
        resolve(environment={}, file=tmp_path / "none.toml")


@given(st.sampled_from(sorted(SETTINGS)), st.text(max_size=12))
def test_any_text_is_a_value_or_refused(name: str, text: str) -> None:
    try:
        found = resolve(environment={SETTINGS[name].environment: text})
    except InputInvalid as error:
        assert name in error.what or SETTINGS[name].choices
    else:
        value = getattr(found.settings, name)
        assert isinstance(value, SETTINGS[name].type)
        assert msgspec.convert(msgspec.structs.asdict(found.settings), Settings) == found.settings


def test_every_setting_says_what_it_is() -> None:
    for setting in SETTINGS.values():
        assert setting.help.endswith(".")
        assert setting.type in (str, int, float)
        for suffix in ("_s", "_h", "_bytes"):
            if setting.name.endswith(suffix):
                assert setting.unit, setting.name


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "clinic.example", ""])  # noqa: S104
def test_nobody_elsewhere_reaches_a_service_without_users(host: str) -> None:
    refuse_exposure(host, has_users=True)
    with pytest.raises(InputInvalid, match="reachable"):
        refuse_exposure(host, has_users=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine_reaches_it_always(host: str) -> None:
    refuse_exposure(host, has_users=False)


def test_the_folder_holds_what_has_no_other_place(tmp_path: Path) -> None:
    settings = Settings(data_folder=str(tmp_path))
    assert settings.database_url == str(tmp_path / "einthoven.db")
    assert settings.objects_url == str(tmp_path / "objects")
    assert Settings(database="postgresql://h/d").database_url == "postgresql://h/d"
    assert Settings().processes >= 1
