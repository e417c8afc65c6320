"""``einthoven users``: users, directly in the database."""

import sys
from typing import Any

import click

from einthoven.cli.offline import OFFLINE, printed, with_database, writing
from einthoven.clock import SystemClock
from einthoven.server import accounts
from einthoven.server.accounts import MAIN, ROLES, Role, User
from einthoven.server.auditing import record
from einthoven.server.passwords import hash_password
from einthoven.server.wire import utc_text

__all__ = ["command"]


@click.group(name="users")
def command() -> None:
    """Add and list users, directly in the database."""


@command.command(name="add")
@with_database
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What this user may do.")
@click.option("--patient", help="Pseudonym; of the role patient.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input, do not ask.")
def add(
    name: str,
    role: Role,
    patient: str | None,
    password_stdin: bool,
    organisation: str,
    as_json: bool,
    **flags: Any,
) -> None:
    """Add user NAME; the password is asked for."""
    if password_stdin:
        password = sys.stdin.readline().rstrip("\n")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    hash_ = hash_password(password)
    now_ns = SystemClock().utc_ns()
    with writing(flags) as statements:
        if organisation == MAIN:
            accounts.ensure_main(statements, now_ns)
        user = accounts.add_user(
            statements, organisation, name, role, patient=patient, hash_=hash_, now_ns=now_ns
        )
        record(statements, organisation, now_ns, OFFLINE, "user.added", f"user:{name}", role)
    if as_json:
        printed(_row(user))
    else:
        click.echo(f"User {name} is added.")


@command.command(name="list")
@with_database
def list_(organisation: str, as_json: bool, **flags: Any) -> None:
    """List users."""
    with writing(flags) as statements:
        found = accounts.list_users(statements, organisation, limit=1_000_000)
    printed([_row(one) for one in found], as_table=not as_json)


def _row(user: User) -> dict[str, Any]:
    return {
        "name": user.name,
        "role": user.role,
        "patient": user.patient,
        "organisation": user.org,
        "created": utc_text(user.created_ns),
    }
