"""``einthoven nodes``: the nodes of a site and what is deployed to them.

What is wished here is written into the service's database, where the site manager finds it within a tenth of
a second; when there is none, it finds it later.
"""

import asyncio
import hashlib
import json
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import msgspec

from einthoven.cli.offline import opened, printed
from einthoven.cli.setting_flags import resolved, with_settings
from einthoven.continuum import TIERS, Tier
from einthoven.edge.matching import WHY_NOT
from einthoven.edge.nanoservices import read_nanoservice
from einthoven.edge.site_state import Happening, SiteState
from einthoven.errors import Conflict, InputInvalid, NotFound
from einthoven.runtime.node_link import JoinToken
from einthoven.runtime.site_office import NodeTerms, SiteStatus, Wish, program_name, read_state
from einthoven.server.logs import configure_logs
from einthoven.server.settings import Settings
from einthoven.server.site_managing import office_of, site_key
from einthoven.server.wire import utc_text
from einthoven.storage import Connection, open_store
from einthoven.storage.sites import (
    NodeToken,
    add_node_token,
    add_wish,
    happenings_of,
    outcome_of,
    read_site,
)

__all__ = ["command"]

F = TypeVar("F", bound=Callable[..., Any])
_LOOK_S: Final = 0.05
_PATIENCE_S: Final = 10.0


@click.group(name="nodes")
def command() -> None:
    """See the nodes of a site, let machines join, and deploy nanoservices to them."""


def _with_site(function: F) -> F:
    function = click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")(function)
    return with_settings("data_folder", "database", "objects", "nodes_site")(function)


@contextmanager
def _site(flags: dict[str, Any]) -> Iterator[tuple[Connection, Settings]]:
    database, settings = opened(flags)
    with closing(database.connect()) as connection:
        yield connection, settings


@command.command(name="enrol")
@click.argument("name")
@click.option("--tier", type=click.Choice(TIERS), default="local", show_default=True, help="Where it is.")
@click.option("--label", "labels", multiple=True, help="What the data policy may ask for; several times.")
@click.option(
    "--hours",
    type=click.FloatRange(0.01, 720),
    default=1.0,
    show_default=True,
    help="It is good for so long.",
)
@_with_site
def enrol(name: str, tier: Tier, labels: tuple[str, ...], hours: float, as_json: bool, **flags: Any) -> None:
    """Make a token with which one machine may join once; it is shown this once."""
    with _site(flags) as (connection, settings):
        public = site_key(settings.folder, settings.nodes_site).public_key().public_bytes_raw()
        token = JoinToken.made(settings.nodes_site, name, public)
        now_ns = time.time_ns()
        kept = NodeToken(
            site=token.site,
            public=token.key.public_key().public_bytes_raw(),
            node=name,
            content=msgspec.msgpack.encode(NodeTerms(tier=tier, labels=labels)),
            expires_ns=now_ns + round(hours * 3600e9),
        )
        with connection.writing() as statements:
            add_node_token(statements, kept, now_ns)
    if as_json:
        printed({"site": token.site, "node": name, "token": token.text})
    else:
        click.echo(token.text)
        click.echo(
            "It is not shown again. On the machine: einthoven node --nats … --token-file FILE", err=True
        )


@command.command(name="list")
@_with_site
def list_(as_json: bool, **flags: Any) -> None:
    """List nodes, and how each of them is."""
    with _site(flags) as (connection, settings):
        state, status, _ = _read(connection, settings.nodes_site)
    standings = {one.name: one for one in status.nodes}
    rows = []
    for node in state.nodes:
        seen, has = standings.get(node.name), node.description
        rows.append(
            {
                "node": node.name,
                "state": "new" if seen is None else seen.state,
                "tier": node.tier,
                "has": " ".join(has.capabilities) if has else "",
                "runs": " ".join(one.service.name for one in state.held if one.node == node.name),
                "processors": None if seen is None else f"{100 * seen.load.processors:.0f} %",
                "memory": None if has is None else f"{has.memory_bytes / 1e9:.1f} GB",
                "version": has.version if has else "",
            }
        )
    printed(rows, as_table=not as_json)


@command.command(name="services")
@_with_site
def services(as_json: bool, **flags: Any) -> None:
    """List nanoservices, where they run, and why not everywhere."""
    with _site(flags) as (connection, settings):
        state, status, _ = _read(connection, settings.nodes_site)
    reports = {one.id: one for node in status.nodes for one in node.instances}
    rows = []
    for wanted in state.services:
        name = wanted.service.name
        held = [one for one in state.held if one.service.name == name]
        is_ready = [one.id in reports and reports[one.id].state == "ready" for one in held]
        why = status.unplaced.get(name, {})
        rows.append(
            {
                "service": name,
                "version": wanted.service.version,
                "region": wanted.service.region,
                "wanted": wanted.replicas,
                "ready": sum(is_ready),
                "at": " ".join(f"{one.node}:{one.service.version}" for one in held),
                "replaces": wanted.before.version if wanted.before else "",
                "rolled_back": " ".join(wanted.condemned),
                "lacks": "; ".join(f"{node}: {WHY_NOT[reason]}" for node, reason in sorted(why.items())),
            }
        )
    printed(rows, as_table=not as_json)


@command.command(name="log")
@click.option("--most", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Lines.")
@_with_site
def log(most: int, as_json: bool, **flags: Any) -> None:
    """See what was decided, and when."""
    with _site(flags) as (connection, settings), connection.reading() as statements:
        found = happenings_of(statements, settings.nodes_site, most)
    rows = []
    for at_ns, content in found:
        one = msgspec.json.decode(content, type=Happening)
        rows.append({"at": utc_text(at_ns), **msgspec.to_builtins(one)})
    printed(rows, as_table=not as_json)


@command.command(name="deploy")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--program",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Python archive (zipapp) that is run; without it the node's own host of functions is.",
)
@_with_site
def deploy(file: Path, program: Path | None, as_json: bool, **flags: Any) -> None:
    """Deploy a nanoservice, or another version of it, as FILE (TOML) describes it."""
    service = read_nanoservice(file.read_text(encoding="utf-8"), file.name)
    if program is not None:
        content = program.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if service.program not in {"", digest}:
            raise InputInvalid("the program is not what the file's digest says.", where=str(program))
        service = msgspec.structs.replace(service, program=digest)
        open_store(resolved(flags).settings.objects_url).create(program_name(digest), content)
    _wish(Wish(deploy=service), flags, as_json=as_json, says=f"{service.name} {service.version} is deployed.")


@command.command(name="remove")
@click.argument("service")
@_with_site
def remove(service: str, as_json: bool, **flags: Any) -> None:
    """End a nanoservice everywhere."""
    _wish(Wish(remove=service), flags, as_json=as_json, says=f"{service} is removed.")


@command.command(name="scale")
@click.argument("service")
@click.argument("replicas", type=click.IntRange(1, 1000))
@_with_site
def scale(service: str, replicas: int, as_json: bool, **flags: Any) -> None:
    """Let a nanoservice run on so many nodes."""
    _wish(
        Wish(scale=(service, replicas)), flags, as_json=as_json, says=f"{service} is to run {replicas} times."
    )


@command.command(name="drain")
@click.argument("name")
@_with_site
def drain(name: str, as_json: bool, **flags: Any) -> None:
    """Let what a node runs go elsewhere, and give it nothing new."""
    _wish(Wish(drain=name), flags, as_json=as_json, says=f"{name} is given nothing new.")


@command.command(name="resume")
@click.argument("name")
@_with_site
def resume(name: str, as_json: bool, **flags: Any) -> None:
    """Take a node back that was drained."""
    _wish(Wish(resume=name), flags, as_json=as_json, says=f"{name} is given something again.")


@command.command(name="forget")
@click.argument("name")
@_with_site
def forget(name: str, as_json: bool, **flags: Any) -> None:
    """Let a node belong to the site no more; nothing that it says counts from now on."""
    _wish(Wish(forget=name), flags, as_json=as_json, says=f"{name} does not belong to the site any more.")


@command.command(name="manage")
@with_settings(
    "data_folder", "database", "objects", "nodes_nats", "nodes_site", "policy", "nodes_ca",
    "nodes_credentials", "log_level",
)  # fmt: skip
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object on standard output when it is in office."
)
def manage(as_json: bool, **flags: Any) -> None:
    """Be the site manager alone, without the service, until SIGTERM or Ctrl-C."""
    database, settings = opened(flags)
    configure_logs(settings.log_level)

    def ready() -> None:
        if as_json:
            click.echo(json.dumps({"event": "in-office", "site": settings.nodes_site}))

    async def serve() -> None:
        holder = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        office = office_of(settings, database, holder, ready)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, office.stop)
        await office.run()

    asyncio.run(serve())


def _read(connection: Connection, site: str) -> tuple[SiteState, SiteStatus, int]:
    with connection.reading() as statements:
        kept = read_site(statements, site)
    if kept is None:
        raise NotFound(
            f"the site {site!r} never had a manager.",
            where="site",
            remedy="Start the service with nodes_nats, or `einthoven nodes manage`.",
        )
    status = msgspec.msgpack.decode(kept.status, type=SiteStatus) if kept.status else SiteStatus()
    return read_state(kept.content), status, kept.status_ns


def _wish(wish: Wish, flags: dict[str, Any], *, as_json: bool, says: str) -> None:
    with _site(flags) as (connection, settings):
        with connection.writing() as statements:
            number = add_wish(statements, settings.nodes_site, time.time_ns(), msgspec.msgpack.encode(wish))
        end_s = time.monotonic() + _PATIENCE_S
        outcome: str | None = None
        while outcome is None and time.monotonic() < end_s:
            time.sleep(_LOOK_S)
            with connection.reading() as statements:
                outcome = outcome_of(statements, number)
    if outcome:
        raise Conflict(outcome, where=settings.nodes_site)
    if as_json:
        printed({"done": outcome is not None})
    else:
        click.echo(says if outcome is not None else "No site manager is there; it will be done when one is.")
