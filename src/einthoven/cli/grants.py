"""``einthoven grants``: who may see a patient, at a running service."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

import click
import msgspec

from einthoven.cli.offline import printed
from einthoven.cli.service_calls import connected, patient_path, with_service
from einthoven.errors import DestinationUnavailable, InputInvalid
from einthoven.runtime.upload_client import Destination, accepted
from einthoven.trust.entries import REASONS
from einthoven.trust.grants import SEEN_CLASSES, EmergencyReason

__all__ = ["command"]

F = TypeVar("F", bound=Callable[..., Any])
_GRANT: Final = re.compile(r"grt_[0-9a-f]{24}")
_case = click.option("--case", default="", help="Number of a case; no name.")
_reason = click.option("--reason", type=click.Choice(REASONS), required=True, help="Why.")


def _with_service(function: F) -> F:
    function = click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")(function)
    return with_service(function)


@click.group(name="grants")
def command() -> None:
    """See who may see a patient, let somebody, take it back, and break the glass, at a running service.

    Who may do what is decided by the account whose token it is: a patient lets others see what is their own,
    an administrator does so on a patient's behalf, and a clinician breaks the glass.
    """


@command.command(name="list")
@click.argument("patient")
@click.option("--all", "with_past", is_flag=True, help="Those that are over too.")
@_with_service
def list_(
    patient: str, with_past: bool, as_json: bool, url: str, token_file: Path | None, token: str | None
) -> None:
    """List who may see PATIENT, until when, and who said so."""
    found: list[dict[str, Any]] = []
    after: int | None = 0
    with connected(url, token_file, token) as destination:
        while after is not None:
            page = accepted(destination.ask("GET", patient_path(patient, f"grants?after={after}"))).value
            found += page["items"]
            after = page["next"]
    shown = [one for one in found if with_past or one["isInForce"]]
    printed(shown if as_json else [_row(one) for one in shown], as_table=not as_json)


@command.command(name="give")
@click.argument("patient")
@click.option("--account", help="Who may see; this or --role.")
@click.option("--role", help="Whose accounts may see: clinician, technician or auditor.")
@click.option(
    "--data",
    multiple=True,
    required=True,
    type=click.Choice(SEEN_CLASSES),
    help="What may be seen; several times.",
)
@_reason
@click.option("--until", help="When it ends, as 2026-12-24T08:00:00Z; else when it is taken back.")
@click.option("--care-team", is_flag=True, help="Assigned to the patient's care by an administrator.")
@_case
@click.option("--why", default="", help="In words; kept beside the grant, never in a ledger.")
@_with_service
def give(
    patient: str,
    account: str | None,
    role: str | None,
    data: tuple[str, ...],
    reason: str,
    until: str | None,
    care_team: bool,
    case: str,
    why: str,
    as_json: bool,
    url: str,
    token_file: Path | None,
    token: str | None,
) -> None:
    """Let an account, or all of a role, see PATIENT."""
    if (account is None) == (role is None):
        raise click.UsageError("one of --account and --role says who.")
    said = {"account": account, "role": role, "until": until}
    body: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    body |= {"data": list(dict.fromkeys(data)), "reason": reason, "isCareTeam": care_team}
    with connected(url, token_file, token) as destination:
        found = _done(destination, patient_path(patient, "grants"), {**body, "case": case, "why": why})
    _say(found, as_json=as_json)


@command.command(name="end")
@click.argument("patient")
@click.argument("grant")
@_reason
@_case
@_with_service
def end(
    patient: str,
    grant: str,
    reason: str,
    case: str,
    as_json: bool,
    url: str,
    token_file: Path | None,
    token: str | None,
) -> None:
    """Take a GRANT back; it holds no more from the next request on."""
    if not _GRANT.fullmatch(grant):
        raise InputInvalid("this is no grant.", where="GRANT", remedy="einthoven grants list PATIENT")
    path = patient_path(patient, f"grants/{grant}/revoke")
    with connected(url, token_file, token) as destination:
        found = _done(destination, path, {"reason": reason, "case": case})
    _say(found, as_json=as_json)


@command.command(name="break-glass")
@click.argument("patient")
@click.option("--reason", type=click.Choice(get_args(EmergencyReason)), required=True, help="Why.")
@click.option("--why", required=True, help="In words; administrators and the patient read them.")
@_case
@_with_service
def break_glass(
    patient: str,
    reason: str,
    why: str,
    case: str,
    as_json: bool,
    url: str,
    token_file: Path | None,
    token: str | None,
) -> None:
    """See all of PATIENT for a while though nobody let you; administrators are told at once."""
    path = patient_path(patient, "emergency-access")
    with connected(url, token_file, token) as destination:
        found = _done(destination, path, {"reason": reason, "why": why, "case": case})
    _say(found, as_json=as_json)


def _done(destination: Destination, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Ask once: asked again, somebody would be let twice."""
    answer = destination.once("POST", path, msgspec.json.encode(body), {"Content-Type": "application/json"})
    if answer is None:
        raise DestinationUnavailable(
            "the service did not answer; it may have done it.",
            where="--to",
            remedy="einthoven grants list says whether it did.",
        )
    found: dict[str, Any] = accepted(answer).value
    return found


def _say(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        printed(found)
        return
    ends = f"until {found['until']}" if found["until"] else "until it is taken back"
    state = ends if found["isInForce"] else "over"
    click.echo(f"{found['id']}: {_who(found)}, {' '.join(found['data'])}, {state}.")


def _row(one: dict[str, Any]) -> dict[str, Any]:
    return {
        "grant": one["id"],
        "who": _who(one),
        "data": " ".join(one["data"]),
        "basis": one["basis"],
        "since": one["since"],
        "until": one["revokedAt"] or one["until"],
        "holds": "yes" if one["isInForce"] else "no",
        "by": one["by"],
        "reason": one["reason"],
    }


def _who(one: dict[str, Any]) -> str:
    return one["account"] or f"every {one['role']}"
