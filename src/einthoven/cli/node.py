"""``einthoven node``: the agent of a node. Nothing heavy is loaded here."""

import asyncio
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Final

import click

from einthoven.continuum import DIMENSIONS, read_quantity
from einthoven.errors import InputInvalid
from einthoven.runtime.nats_link import NatsLink
from einthoven.runtime.node_folder import Membership, NodeFolder
from einthoven.runtime.node_link import JoinToken
from einthoven.runtime.node_machine import describe_machine
from einthoven.runtime.node_service import NodeService, join_site

__all__ = ["command"]

_TOKEN: Final = "EINTHOVEN_NODE_TOKEN"  # noqa: S105 - the name of the variable


@click.command(name="node")
@click.option(
    "--nats",
    "servers",
    multiple=True,
    required=True,
    envvar="EINTHOVEN_NATS",
    show_envvar=True,
    help="URL of a server, those nearby first; several times.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="What the node keeps.  [default: the user's own]",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help=f"File with the token of the first time; {_TOKEN} in the environment is one.",
)
@click.option("--has", "capabilities", multiple=True, help="A sensor or an actuator; several times.")
@click.option("--memory", help='For nanoservices, like "512 MB".  [default: four fifths]')
@click.option("--may-go", is_flag=True, help="The machine is not meant to stay where it is, and on.")
@click.option("--credentials", type=click.Path(dir_okay=False, exists=True), help="User credentials file.")
@click.option("--ca", type=click.Path(dir_okay=False, exists=True), help="Certificates that are trusted.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output when it works.")
def command(
    servers: tuple[str, ...],
    folder: Path | None,
    token_file: Path | None,
    capabilities: tuple[str, ...],
    memory: str | None,
    may_go: bool,
    credentials: str | None,
    ca: str | None,
    as_json: bool,
) -> None:
    """Run the nanoservices that the site manager gives this machine, until SIGTERM or Ctrl-C.

    The first time a token is wanted, from `einthoven nodes enrol`. Afterwards the node knows where it
    belongs, and begins with what it ran before, whether anybody can be reached or not.
    """
    logging.basicConfig(level=logging.WARNING)
    memory_bytes = None if memory is None else read_quantity(memory, DIMENSIONS["storage"], "--memory")
    link = NatsLink(servers=servers, credentials=credentials, ca=ca)
    kept = NodeFolder(folder or _own_folder())

    async def serve() -> None:
        member = kept.membership()
        if member is None:
            member = await join_site(link, _token(token_file), kept)
        else:
            _refuse_other(member, token_file)
        description = describe_machine(
            tier=member.tier,
            labels=member.labels,
            capabilities=capabilities,
            memory_bytes=memory_bytes,
            is_stable=not may_go,
        )
        service = NodeService(kept, link, member, description)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, service.leave)
        await service.run(lambda: _greet(member, as_json=as_json))

    asyncio.run(serve())


def _greet(member: Membership, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"event": "ready", "site": member.site, "node": member.node}))
        sys.stdout.flush()
    else:
        click.echo(f"{member.node} is a node of the site {member.site}. Ctrl-C ends it.", err=True)


def _token(file: Path | None) -> JoinToken:
    text = file.read_text() if file is not None else os.environ.get(_TOKEN, "")
    if not text.strip():
        raise InputInvalid(
            "the node does not belong to a site yet, and has no token.",
            where="--token-file",
            remedy="Make one where the site manager is: einthoven nodes enrol NAME.",
        )
    return JoinToken.read(text)


def _refuse_other(member: Membership, file: Path | None) -> None:
    """A token of the first time may still be there; one for another node or site is a mistake."""
    if file is None and not os.environ.get(_TOKEN, "").strip():
        return
    token = _token(file)
    if (token.site, token.node, token.manager) != (member.site, member.node, member.manager):
        raise InputInvalid(
            f"the folder belongs to the node {member.node} of the site {member.site}; "
            f"the token is for {token.node} of {token.site}, or of another manager.",
            where="--folder",
            remedy="Name another --folder, or leave out the token.",
        )


def _own_folder() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "einthoven-node"
