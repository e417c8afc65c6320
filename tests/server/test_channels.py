"""The file of channels: what is wrong in it is said by name, and without its values."""

from pathlib import Path

import pytest

from einthoven.clock import SystemClock
from einthoven.errors import InputInvalid
from einthoven.server.channels import open_channels, read_channels


@pytest.mark.parametrize(
    "text",
    [
        '[mail]\nhost = "mail.example.org"\nsender = "a@example.org"\nlink = "https://e"\nencryption = "ssl"',
        '[mqtt]\nhost = "broker.example.org"\nversion = "4"',
        '[webhook]\nnetworks = ["10.0.0.0/99"]',
        "[pigeon]",
        "[webhook",
    ],
)
def test_a_channel_that_cannot_be_is_refused_when_the_file_is_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "channels.toml"
    path.write_text(text)
    with pytest.raises(InputInvalid) as error:
        open_channels(read_channels(path), SystemClock())
    assert "99" not in str(error.value)
    assert error.value.remedy


def test_no_file_is_no_channel(tmp_path: Path) -> None:
    assert open_channels(read_channels(tmp_path / "channels.toml"), SystemClock()) == {}
