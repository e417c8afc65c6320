"""``einthoven functions``: serve the functions over HTTP, and check any host of functions."""

import asyncio
import json
import logging
import os
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from einthoven.errors import InputInvalid
from einthoven.notice import SHORT_NOTICE
from einthoven.runtime.ecg_functions import Reading
from einthoven.runtime.hosted import Hosted

__all__ = ["command"]

EXIT_FAILED: Final = 1
"""A check failed."""
_TOKEN: Final = "EINTHOVEN_FUNCTIONS_TOKEN"  # noqa: S105 - where it is


@click.group(name="functions")
def command() -> None:
    """Serve the functions over HTTP or NATS, and check hosts of functions in any language."""


_STORE: Final = click.option(
    "--store", help="Object store of what goes by reference; without it all goes by value."
)


_FOLDER: Final = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of the recordings that countHours, split and join read.  [default: this one]",
)
_LEARN_FROM: Final = click.option(
    "--learn-from",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    envvar="EINTHOVEN_FUNCTIONS_LEARN_FROM",
    show_envvar=True,
    help="Folder of annotated WFDB records: also host federated-round, which learns from them.",
)
_DRAIN: Final = click.option(
    "--drain",
    "drain_s",
    type=click.FloatRange(0, 3600),
    default=30.0,
    show_default=True,
    help="Seconds that what is under way has to finish when the host ends.",
)


@command.command(name="list")
@_STORE
@click.option("--json", "as_json", is_flag=True, help="One JSON list on standard output.")
def list_(store: str | None, as_json: bool) -> None:
    """List the functions that can be served, with what they need."""
    functions = Hosted(store=store).functions
    if as_json:
        click.echo(msgspec.json.encode(functions))
        return
    for one in functions:
        click.echo(f"{one.name:<28} {one.version:<16} {one.memory_mb:>5} MB {one.timeout_s:>6g} s")


@command.command(name="serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    envvar="PORT",
    show_envvar=True,
    default=8126,
    show_default=True,
    help="Port to listen at; 0 for a free one.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Worker processes; one is a thread of this process.",
)
@click.option("--slots", type=click.IntRange(1, 4096), help="Calls at once.  [default: one a worker]")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 3600),
    default=2.0,
    show_default=True,
    help="Seconds that a call waits for a slot before it is sent away.",
)
@click.option(
    "--longest",
    "longest_s",
    type=click.FloatRange(0.1, 86_400),
    default=3600.0,
    show_default=True,
    help="Seconds that a function may take; then its worker is ended, if that is a process.",
)
@_STORE
@_FOLDER
@_LEARN_FROM
@click.option(
    "--only",
    metavar="NAME",
    envvar="EINTHOVEN_FUNCTIONS_ONLY",
    show_envvar=True,
    help="Serve one function alone, and at / too.  [default: all]",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    envvar="EINTHOVEN_FUNCTIONS_TOKEN_FILE",
    show_envvar=True,
    help=f"File of bearer tokens, one a line; each is good. {_TOKEN} in the environment is one.",
)
@click.option(
    "--tls-cert",
    type=click.Path(dir_okay=False, exists=True),
    help="Certificate (PEM, with those above it): TLS 1.2 or 1.3 is spoken, and nothing else.",
)
@click.option("--tls-key", type=click.Path(dir_okay=False, exists=True), help="Its key (PEM).")
@click.option(
    "--allow-anonymous",
    is_flag=True,
    help="Let others than this machine call without a token, where something in front asks who they are.",
)
@click.option(
    "--body-max",
    "body_max_mb",
    type=click.IntRange(1, 256),
    default=256,
    show_default=True,
    help="MiB in one body; all that are under way together have twice that at most.",
)
@_DRAIN
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output when it listens.")
def serve(
    host: str,
    port: int,
    workers: int,
    slots: int | None,
    wait_s: float,
    longest_s: float,
    store: str | None,
    folder: Path | None,
    learn_from: Path | None,
    only: str | None,
    token_file: Path | None,
    tls_cert: str | None,
    tls_key: str | None,
    allow_anonymous: bool,
    body_max_mb: int,
    drain_s: float,
    as_json: bool,
) -> None:
    """Serve the functions over HTTP until SIGTERM or Ctrl-C; what is under way is finished."""
    # The server is what this command alone needs.
    from einthoven.server.function_host import HostLimits  # noqa: PLC0415
    from einthoven.server.function_serving import (  # noqa: PLC0415
        HostSettings,
        check_tls,
        listen_for_calls,
        refuse_open_host,
        serve_functions,
    )

    tokens = _tokens(token_file)
    refuse_open_host(host, has_tokens=bool(tokens), allows_anonymous=allow_anonymous)
    if (tls_cert is None) != (tls_key is None):
        raise InputInvalid("a certificate and its key go together.", where="--tls-cert, --tls-key")
    tls = None if tls_cert is None or tls_key is None else (tls_cert, tls_key)
    if tls is not None:
        check_tls(*tls)
    logging.basicConfig(level=logging.WARNING)
    settings = HostSettings(
        hosted=_hosted(store, folder, learn_from),
        workers=workers,
        limits=HostLimits(
            slots=slots or workers,
            wait_s=wait_s,
            timeout_max_s=longest_s,
            body_max_bytes=body_max_mb * 2**20,
            bodies_max_bytes=2 * body_max_mb * 2**20,
        ),
        tokens=tokens,
        only=only,
        tls=tls,
        drain_s=drain_s,
    )
    with listen_for_calls(host, port) as accepting:
        found = accepting.getsockname()[1]
        scheme = "http" if tls is None else "https"
        url = f"{scheme}://[{host}]:{found}" if ":" in host else f"{scheme}://{host}:{found}"
        names = [one.name for one in settings.hosted.functions if only in (None, one.name)]
        if as_json:
            click.echo(json.dumps({"url": url, "port": found, "functions": names}))
        else:
            click.echo(
                f"{len(names)} functions at {url}/functions. Ctrl-C ends it.\n{SHORT_NOTICE}", err=True
            )
        serve_functions(
            settings,
            accepting,
            compiling=lambda: click.echo("Compiling kernels once; this takes some seconds.", err=True),
        )


@command.command(name="join")
@click.argument("region", metavar="REGION")
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
    "--workers",
    type=click.IntRange(0, 256),
    default=1,
    show_default=True,
    help="Worker processes; one is a thread of this process, none is its event loop.",
)
@click.option(
    "--waiting", type=click.IntRange(0, 65536), default=64, show_default=True, help="Calls that may wait."
)
@click.option("--function", "only", multiple=True, help="One that is hosted; all if left out.")
@_STORE
@_FOLDER
@_LEARN_FROM
@click.option("--credentials", type=click.Path(dir_okay=False, exists=True), help="User credentials file.")
@click.option("--ca", type=click.Path(dir_okay=False, exists=True), help="Certificates that are trusted.")
@_DRAIN
def join(
    region: str,
    servers: tuple[str, ...],
    workers: int,
    waiting: int,
    only: tuple[str, ...],
    store: str | None,
    folder: Path | None,
    learn_from: Path | None,
    credentials: str | None,
    ca: str | None,
    drain_s: float,
) -> None:
    """Host the functions as a member of a region over NATS, until SIGTERM or Ctrl-C."""
    from einthoven.runtime.nats_host import serve_over_nats  # noqa: PLC0415 - an extra
    from einthoven.runtime.nats_link import NatsLink  # noqa: PLC0415

    logging.basicConfig(level=logging.WARNING)
    hosted = _hosted(store, folder, learn_from)
    names = {one.name for one in hosted.functions}
    if not names.issuperset(only):
        raise InputInvalid(
            "there is no such function.",
            where="--function",
            remedy=f"There are {', '.join(sorted(names))}.",
        )
    serve_over_nats(
        region,
        NatsLink(servers=servers, credentials=credentials, ca=ca),
        hosted,
        workers=workers,
        waiting=waiting,
        only=frozenset(only or names),
        grace_s=drain_s,
        ready=lambda: click.echo(
            f"{len(only or names)} functions in the region {region}. Ctrl-C ends it.\n{SHORT_NOTICE}",
            err=True,
        ),
    )


@command.command(name="check")
@click.argument("url", metavar="URL")
@click.option("--token", envvar=_TOKEN, show_envvar=True, help="Bearer token, where the host asks for one.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="File whose first line is the token.",
)
@click.option("--ca", type=click.Path(dir_okay=False, exists=True), help="Certificates that are trusted.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def check(url: str, token: str | None, token_file: Path | None, ca: str | None, as_json: bool) -> int:
    """Check a host of functions, in whatever language it is written.

    URL is where it listens. Only functions that it lists are called. Exit code 1 if a check fails.
    """
    if find_spec("aiohttp") is None:
        raise InputInvalid(
            "aiohttp is not installed.", where="einthoven", remedy="pip install 'einthoven[delivery]'"
        )
    from einthoven.server.function_checks import Checked, checked_host  # noqa: PLC0415 - an extra

    if token_file is not None:
        token = _tokens(token_file)[0]
    console = Console(stderr=True)
    with console.status("Checking ...") if console.is_terminal and not as_json else nullcontext() as status:

        def told(one: Checked) -> None:
            if status is not None:
                status.update(one.promise)

        functions, found = asyncio.run(checked_host(url, token, told=told, ca=ca))
    has_failed = any(one.outcome == "failed" for one in found)
    if as_json:
        rows = [msgspec.to_builtins(one) for one in found]
        click.echo(json.dumps({"url": url, "functions": functions, "ok": not has_failed, "checks": rows}))
        return EXIT_FAILED if has_failed else 0
    colours = {"passed": "green", "failed": "red", "skipped": "dim"}
    table = Table("", "check", "", title=f"{url}: {', '.join(functions) or 'no functions'}")
    for one in found:
        said = escape(f"{one.detail} {one.remedy}".strip())
        table.add_row(f"[{colours[one.outcome]}]{one.outcome}[/]", escape(one.promise), said)
    Console().print(table)
    return EXIT_FAILED if has_failed else 0


def _hosted(store: str | None, folder: Path | None, learn_from: Path | None) -> Hosted:
    return Hosted(
        store=store,
        reading=Reading(folder="" if folder is None else str(folder)),
        learns_from="" if learn_from is None else str(learn_from.resolve()),
    )


def _tokens(file: Path | None) -> tuple[str, ...]:
    """The tokens that are good: of the file, or the one in the environment."""
    if file is None:
        return tuple(filter(None, (os.environ.get(_TOKEN, "").strip(),)))
    try:
        found = tuple(filter(None, (line.strip() for line in file.read_text().splitlines())))
    except (OSError, UnicodeDecodeError):
        raise InputInvalid("the file of tokens cannot be read.", where=str(file)) from None
    if not found:
        raise InputInvalid("the file of tokens is empty.", where=str(file), remedy="Put a token in it.")
    return found
