"""``einthoven serve``: the service."""

import json
from typing import Any

import click
from rich.console import Console

from einthoven.cli.setting_flags import resolved, with_settings
from einthoven.clock import SystemClock
from einthoven.notice import NOTICE
from einthoven.runtime.kernels import kernels_are_cached, warm_kernels
from einthoven.server import accounts
from einthoven.server.keys import signing_keys
from einthoven.server.settings import Settings, refuse_exposure
from einthoven.server.workers import listen, run_workers
from einthoven.storage import open_database

__all__ = ["command"]


@click.command(name="serve")
@with_settings()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output when it listens.")
def command(as_json: bool, **flags: Any) -> int:
    """Take segments, analyse them, keep them, and alert."""
    settings = resolved(flags).settings
    settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    setup = _prepare(settings)
    if not kernels_are_cached():
        click.echo("Compiling kernels once; this takes some seconds.", err=True)
        warm_kernels()
    accepting = listen(settings)
    port = accepting.getsockname()[1]
    url = f"http://{settings.host}:{port}"
    if as_json:
        click.echo(
            json.dumps({"url": url, "port": port, "workers": settings.processes, "setup_token": setup})
        )
    else:
        _greet(settings, url, setup)
    done = run_workers(settings, accepting)
    if as_json:
        click.echo(json.dumps({"event": "ended", **done}))
    else:
        _part(done)
    return 0


def _prepare(settings: Settings) -> str | None:
    """Tables, keys, and a token for the first administrator where there is none."""
    database = open_database(settings.database_url)
    database.migrate()
    signing_keys(settings.folder)
    connection = database.connect()
    try:
        with connection.writing() as statements:
            refuse_exposure(settings.host, has_users=accounts.has_users(statements))
            return accounts.issue_setup(statements, accounts.MAIN, SystemClock().utc_ns())
    finally:
        connection.close()


def _part(done: dict[str, int]) -> None:
    """What was done, and what to do next."""
    console = Console(stderr=True)
    alerts = done.pop("alerts", 0)
    told = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(done.items())) or "none came"
    console.print(f"\n[bold]Ended.[/] Segments: {told}. Alerts raised: {alerts:,}. All of it is on disk.")
    console.print(
        "[dim]einthoven serve goes on where it stopped; einthoven doctor looks at what it stands on.[/]"
    )


def _greet(settings: Settings, url: str, setup: str | None) -> None:
    console = Console(stderr=True)
    console.print(f"[dim]{NOTICE}[/]\n")
    console.print(f"[bold]Einthoven listens at {url}[/]  ({settings.processes} workers)")
    console.print(f"Pages    {url}/")
    console.print(f"API      {url}/schema/openapi.json")
    console.print(f"Data     {settings.folder}")
    if setup is not None:
        console.print("\nNobody can sign in yet. Make the first administrator within a day, at")
        console.print(f"  {url}/sign-in#setup={setup}", soft_wrap=True, highlight=False)
        console.print("or with")
        console.print(
            f"  curl -X POST {url}/v1/setup -H 'Authorization: Bearer {setup}' "
            "-H 'Content-Type: application/json' "
            '-d \'{"name": "admin", "password": "…"}\'',
            soft_wrap=True,
            highlight=False,
        )
    console.print("\nCtrl-C ends it; what was accepted is finished first.")
