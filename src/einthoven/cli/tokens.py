"""``einthoven tokens``: tokens, directly in the database."""

from typing import Any

import click
import msgspec

from einthoven.cli.offline import OFFLINE, printed, with_database, writing
from einthoven.clock import SystemClock
from einthoven.server import accounts
from einthoven.server.accounts import Token
from einthoven.server.auditing import record
from einthoven.server.tokens import TokenKind
from einthoven.server.wire import utc_text

__all__ = ["command"]

_DAY_S = 86_400


@click.group(name="tokens")
def command() -> None:
    """Issue, list and revoke tokens, directly in the database."""


@command.command(name="issue")
@with_database
@click.option(
    "--kind", type=click.Choice(["device", "gateway", "user"]), required=True, help="What it is for."
)
@click.option("--patient", help="Pseudonym whose device it is.")
@click.option("--device", help="The name of a device.")
@click.option("--user", help="Whom it acts for; of a user.")
@click.option("--label", default="", help="A note of your own.")
@click.option("--days", type=click.IntRange(1, 3650), help="How long it is good for; always, if left out.")
def issue(
    kind: TokenKind,
    patient: str | None,
    device: str | None,
    user: str | None,
    label: str,
    days: int | None,
    organisation: str,
    as_json: bool,
    **flags: Any,
) -> None:
    """Issue a token; it is shown this once."""
    if (kind == "user") != (user is not None):
        raise click.UsageError("--user belongs to --kind user, and only there.")
    now_ns = SystemClock().utc_ns()
    with writing(flags) as statements:
        whose = accounts.read_user(statements, organisation, user) if user is not None else None
        token, secret = accounts.issue(
            statements,
            organisation,
            kind,
            now_ns=now_ns,
            user=whose,
            patient=patient,
            device=device,
            label=label,
            lifetime_s=None if days is None else days * _DAY_S,
        )
        record(statements, organisation, now_ns, OFFLINE, "token.issued", f"token:{token.id}", kind)
    if as_json:
        printed({"token": secret, "about": _row(token)})
    else:
        click.echo(secret)
        click.echo(f"Token {token.id}. It is not shown again.", err=True)


@command.command(name="list")
@with_database
def list_(organisation: str, as_json: bool, **flags: Any) -> None:
    """List tokens; none can be read back."""
    with writing(flags) as statements:
        found = accounts.list_tokens(statements, organisation, ["device", "gateway", "user"], limit=1_000_000)
    rows = [_row(one) for one in found]
    printed(rows, as_table=not as_json)


@command.command(name="revoke")
@with_database
@click.argument("number", type=click.IntRange(1, 2**53))
def revoke(number: int, organisation: str, as_json: bool, **flags: Any) -> None:
    """Revoke token NUMBER; a running service refuses it within five seconds."""
    now_ns = SystemClock().utc_ns()
    with writing(flags) as statements:
        token = accounts.read_token(statements, organisation, number)
        was_good = accounts.revoke(statements, organisation, number, now_ns)
        if was_good:
            record(statements, organisation, now_ns, OFFLINE, "token.revoked", f"token:{number}", token.kind)
    if as_json:
        printed({"id": number, "revoked": was_good})
    else:
        click.echo(f"Token {number} is revoked." if was_good else f"Token {number} was revoked before.")


def _row(token: Token) -> dict[str, Any]:
    row = msgspec.structs.asdict(token)
    for name in ("created", "expires", "revoked", "used"):
        instant_ns = row.pop(f"{name}_ns")
        row[name] = None if instant_ns is None else utc_text(instant_ns // 10**9 * 10**9)
    return row
