"""What the commands share that work on the service's database while it runs or not."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import click
from rich.console import Console
from rich.table import Table

from einthoven.cli.setting_flags import resolved, with_settings
from einthoven.server.accounts import MAIN
from einthoven.server.settings import Settings
from einthoven.storage import Database, Statements, open_database

__all__ = ["OFFLINE", "opened", "printed", "with_database", "writing"]

F = TypeVar("F", bound=Callable[..., Any])

_WIDE: Final = 240
"""Columns where nobody says how many there are."""
OFFLINE: Final = "offline"
"""Who the audit says it was: somebody who can write to the database."""


def with_database(function: F) -> F:
    """Options that say which database, which organisation, and how to print."""
    function = click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")(function)
    function = click.option("--organisation", default=MAIN, show_default=True, help="Whose.")(function)
    return with_settings("data_folder", "database")(function)


def opened(flags: dict[str, Any]) -> tuple[Database, Settings]:
    """The service's database, which is made where there is none, and the settings that name it."""
    settings = resolved(flags).settings
    if not settings.database:
        settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = open_database(settings.database_url)
    database.migrate()
    return database, settings


@contextmanager
def writing(flags: dict[str, Any]) -> Iterator[Statements]:
    """One transaction on the service's database, which is made where there is none."""
    database, _ = opened(flags)
    connection = database.connect()
    try:
        with connection.writing() as statements:
            yield statements
    finally:
        connection.close()


def printed(what: Any, *, as_table: bool = False) -> None:
    """Show rows as a table or as one JSON value."""
    if not as_table:
        click.echo(json.dumps(what))
        return
    rows: Sequence[dict[str, Any]] = what
    if not rows:
        click.echo("None.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0]:
        table.add_column(name)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    console = Console()
    if not console.is_terminal:
        console.width = _WIDE
    console.print(table)
