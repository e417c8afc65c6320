"""``einthoven config show``: which settings hold, and where each came from."""

import json
import re
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from einthoven.cli.setting_flags import resolved, with_settings

__all__ = ["command"]

_WIDE = 240


@click.group(name="config")
def command() -> None:
    """See the settings of the service."""


@command.command(name="show")
@with_settings()
@click.option("--origin", is_flag=True, help="Also where each came from.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def show(origin: bool, as_json: bool, **flags: Any) -> None:
    """Print the settings that hold here."""
    found = resolved(flags)
    values = {
        name: _without_password(value) for name, value in msgspec.structs.asdict(found.settings).items()
    }
    if as_json:
        table = {
            name: {"value": value, "origin": found.origins[name]} if origin else value
            for name, value in values.items()
        }
        click.echo(json.dumps(table))
        return
    grid = Table.grid(padding=(0, 3))
    for name, value in values.items():
        grid.add_row(name, json.dumps(value), *([f"[dim]{found.origins[name]}[/]"] if origin else []))
    console = Console()
    if not console.is_terminal:
        console.width = _WIDE
    console.print(grid)


def _without_password(value: Any) -> Any:
    return re.sub(r"(://[^/@]*?):[^/@]*@", r"\1:…@", value) if isinstance(value, str) else value
