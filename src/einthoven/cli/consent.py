"""``einthoven consent``: what a patient agreed to, at a running service."""

import json
from pathlib import Path
from typing import Any

import click

from einthoven.cli.service_calls import connected, patient_path, with_service
from einthoven.clock import SystemClock
from einthoven.runtime.upload_client import Destination, accepted
from einthoven.trust.consent import read_consent, revoked, write_consent

__all__ = ["command"]


@click.group(name="consent")
def command() -> None:
    """See, give and take back a patient's consent at a running service."""


@command.command(name="show")
@click.argument("patient")
@with_service
def show(patient: str, url: str, token_file: Path | None, token: str | None) -> None:
    """Print the newest version as a FHIR R4 Consent."""
    with connected(url, token_file, token) as destination:
        click.echo(json.dumps(_asked(destination, "GET", patient), indent=2))


@command.command(name="put")
@click.argument("patient")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@with_service
def put(patient: str, file: Path, url: str, token_file: Path | None, token: str | None) -> None:
    """Give the next version, a FHIR R4 Consent in FILE; it holds for what is sent from then on."""
    content = file.read_bytes()
    read_consent(content)
    with connected(url, token_file, token) as destination:
        found = _asked(destination, "PUT", patient, content)
    click.echo(f"{found['id']}, version {found['meta']['versionId']}, {found['status']}.")


@command.command(name="revoke")
@click.argument("patient")
@with_service
def revoke(patient: str, url: str, token_file: Path | None, token: str | None) -> None:
    """Take back what was given: the next version, which says nothing any more."""
    with connected(url, token_file, token) as destination:
        newest = read_consent(_asked(destination, "GET", patient))
        over = write_consent(revoked(newest, at_ns=SystemClock().utc_ns()))
        found = _asked(destination, "PUT", patient, json.dumps(over).encode())
    click.echo(f"{found['id']}, version {found['meta']['versionId']}, {found['status']}.")


def _asked(
    destination: Destination, method: str, patient: str, content: bytes | None = None
) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"} if content is not None else {}
    answer = destination.ask(method, patient_path(patient, "consent"), content, headers)
    found: dict[str, Any] = accepted(answer).value
    return found
