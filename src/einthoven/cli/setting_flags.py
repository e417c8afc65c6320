"""The service's settings as flags of a command."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from einthoven.server.settings import SETTINGS, Resolved, resolve

__all__ = ["resolved", "with_settings"]

F = TypeVar("F", bound=Callable[..., Any])


def with_settings(*names: str) -> Callable[[F], F]:
    """Give a command ``--config`` and a flag for each of these settings, or for all.

    The command takes them as keywords and hands them to `resolved`.
    """

    def decorate(function: F) -> F:
        for name in reversed(names or tuple(SETTINGS)):
            setting = SETTINGS[name]
            kind = click.Choice(setting.choices) if setting.choices else setting.type
            unit = f" [{setting.unit}]" if setting.unit else ""
            default = f"  Default: {setting.default}." if setting.default != "" else ""
            function = click.option(setting.flag, name, type=kind, help=f"{setting.help}{unit}{default}")(
                function
            )
        file = click.Path(dir_okay=False, path_type=Path)
        return click.option("--config", type=file, help="TOML file with settings.")(function)

    return decorate


def resolved(flags: dict[str, Any]) -> Resolved:
    """The settings that a command was called with.

    Raises
    ------
    InputInvalid : a setting that is wrong; says which, and where it came from.
    """
    return resolve({k: v for k, v in flags.items() if k != "config"}, file=flags.get("config"))
