"""``einthoven consent``: what a patient agreed to, at a running service."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import click

from einthoven.clock import SystemClock
from einthoven.errors import InputInvalid
from einthoven.names import is_pseudonym
from einthoven.runtime.upload_client import Destination, accepted
from einthoven.trust.consent import read_consent, revoked, write_consent

__all__ = ["command"]

_PATIENCE_S: Final = 10.0
_to = click.option(
    "--to", "url", required=True, envvar="EINTHOVEN_URL", show_envvar=True, help="The service."
)
_token = click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="File that holds a clinician's or patient's token; else EINTHOVEN_TOKEN.",
)
_secret = click.option("--token", envvar="EINTHOVEN_TOKEN", hidden=True)


@click.group(name="consent")
def command() -> None:
    """See, give and take back a patient's consent at a running service."""


@command.command(name="show")
@click.argument("patient")
@_to
@_token
@_secret
def show(patient: str, url: str, token_file: Path | None, token: str | None) -> None:
    """Print the newest version as a FHIR R4 Consent."""
    with closing(_destination(url, token_file, token)) as destination:
        click.echo(json.dumps(_asked(destination, "GET", patient), indent=2))


@command.command(name="put")
@click.argument("patient")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@_to
@_token
@_secret
def put(patient: str, file: Path, url: str, token_file: Path | None, token: str | None) -> None:
    """Give the next version, a FHIR R4 Consent in FILE; it holds for what is sent from then on."""
    content = file.read_bytes()
    read_consent(content)
    with closing(_destination(url, token_file, token)) as destination:
        found = _asked(destination, "PUT", patient, content)
    click.echo(f"{found['id']}, version {found['meta']['versionId']}, {found['status']}.")


@command.command(name="revoke")
@click.argument("patient")
@_to
@_token
@_secret
def revoke(patient: str, url: str, token_file: Path | None, token: str | None) -> None:
    """Take back what was given: the next version, which says nothing any more."""
    with closing(_destination(url, token_file, token)) as destination:
        newest = read_consent(_asked(destination, "GET", patient))
        over = write_consent(revoked(newest, at_ns=SystemClock().utc_ns()))
        found = _asked(destination, "PUT", patient, json.dumps(over).encode())
    click.echo(f"{found['id']}, version {found['meta']['versionId']}, {found['status']}.")


def _destination(url: str, token_file: Path | None, token: str | None) -> Destination:
    secret = token_file.read_text().strip() if token_file else token
    if not secret:
        raise InputInvalid("there is no token.", where="--token-file", remedy="Set EINTHOVEN_TOKEN.")
    return Destination(url, secret, SystemClock(), patience_s=_PATIENCE_S)


def _asked(
    destination: Destination, method: str, patient: str, content: bytes | None = None
) -> dict[str, Any]:
    if not is_pseudonym(patient):
        raise InputInvalid("this is no pseudonym.", where="PATIENT", remedy="Never give a name.")
    path = f"/v1/patients/{patient}/consent"
    headers = {"Content-Type": "application/json"} if content is not None else {}
    found: dict[str, Any] = accepted(destination.ask(method, path, content, headers)).value
    return found
