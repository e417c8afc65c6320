"""Routes of people: the first administrator, logging in and out, users, organisations, who did what."""

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, delete, get, patch, post, put
from litestar.datastructures import State
from litestar.params import JSONBody, Parameter
from litestar.types import ControllerRouterHandler
from msgspec import UNSET, Meta, UnsetType

from einthoven.errors import AccessDenied, TokenInvalid
from einthoven.server import accounts
from einthoven.server.accounts import MAIN, Organisation, Role, User
from einthoven.server.auditing import acts, record
from einthoven.server.granting import revoke_of_account
from einthoven.server.logins import Begun
from einthoven.server.passwords import PASSWORD_MAX, PASSWORD_MIN
from einthoven.server.requests import (
    Asker,
    Limit,
    OrganisationName,
    Parts,
    Pseudonym,
    UserInPath,
    UserName,
    address_of,
    bearer_of,
    instant,
)
from einthoven.storage.database import Statements

__all__ = ["HANDLERS", "Login", "OrganisationSeen", "organisation_seen"]

NewPassword = Annotated[str, Meta(min_length=PASSWORD_MIN, max_length=PASSWORD_MAX)]
KnownPassword = Annotated[str, Meta(max_length=PASSWORD_MAX)]


class Setup(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The first administrator of an organisation."""

    name: UserName
    password: NewPassword


class Login(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Who logs in."""

    name: UserName
    password: KnownPassword
    organisation: OrganisationName = MAIN


class SessionBegun(msgspec.Struct, frozen=True, rename="camel"):
    """A session; the token is shown this once."""

    token: str
    expires_at: datetime
    organisation: str
    user: str
    role: Role


class Me(msgspec.Struct, frozen=True, rename="camel"):
    """Who I am."""

    organisation: str
    user: str
    role: Role
    patient: str | None


class PasswordChange(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The password now and from now on."""

    current: KnownPassword
    new: NewPassword


class NewUser(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A user to be."""

    name: UserName
    role: Role
    password: NewPassword
    patient: Pseudonym | None = None


class UserChange(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What is to be different; what is left out stays."""

    role: Role | UnsetType = UNSET
    patient: Pseudonym | UnsetType = UNSET
    password: NewPassword | UnsetType = UNSET


class UserSeen(msgspec.Struct, frozen=True, rename="camel"):
    """A user."""

    name: str
    role: Role
    patient: str | None
    created_at: datetime


class UserPage(msgspec.Struct, frozen=True, rename="camel"):
    """Users by name; ``next`` is ``after`` of the next page."""

    items: list[UserSeen]
    next: str | None


class NewOrganisation(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """An organisation to be."""

    organisation: OrganisationName
    name: Annotated[str, Meta(pattern=accounts.LABEL)] = ""


class OrganisationSeen(msgspec.Struct, frozen=True, rename="camel"):
    """An organisation, and whether a role is enough to see its patients (open) or not (granted)."""

    organisation: str
    name: str
    created_at: datetime
    access: str


class OrganisationMade(msgspec.Struct, frozen=True, rename="camel"):
    """An organisation, and the token with which its first administrator is made; it is shown this once."""

    organisation: str
    name: str
    created_at: datetime
    setup_token: str


class OrganisationList(msgspec.Struct, frozen=True, rename="camel"):
    """Organisations by name."""

    items: list[OrganisationSeen]


class ActSeen(msgspec.Struct, frozen=True, rename="camel"):
    """One thing that somebody did."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: str


class ActPage(msgspec.Struct, frozen=True, rename="camel"):
    """What was done, oldest first; ``next`` is ``after`` of the next page."""

    items: list[ActSeen]
    next: int | None


@post("/v1/setup", status_code=201)
async def set_up(reception: Parts, data: JSONBody[Setup], request: Request[Any, Any, State]) -> SessionBegun:
    """Make the first administrator; the bearer token is the one that the service printed at its start."""
    return _begun(
        await reception.logins.set_up(bearer_of(request), data.name, data.password, address_of(request))
    )


@post("/v1/login", status_code=201)
async def log_in(reception: Parts, data: JSONBody[Login], request: Request[Any, Any, State]) -> SessionBegun:
    """Begin a session. Ten wrong passwords close a name for a quarter of an hour."""
    return _begun(
        await reception.logins.log_in(data.organisation, data.name, data.password, address_of(request))
    )


@post("/v1/logout", status_code=204)
async def log_out(reception: Parts, person: Asker, request: Request[Any, Any, State]) -> None:
    """Revoke the token that this request carries."""
    await reception.logins.log_out(person)
    reception.identities.forget(bearer_of(request))


@get("/v1/me")
async def me(person: Asker) -> Me:
    """Who this token acts for."""
    return Me(person.org, person.user, person.role, person.patient)


@put("/v1/me/password", status_code=204)
async def change_password(reception: Parts, person: Asker, data: JSONBody[PasswordChange]) -> None:
    """Change one's own password; all sessions end, this one too."""
    user = await reception.logins.is_right(person.org, person.user, data.current)
    if user is None:
        raise AccessDenied("the current password is wrong.", where="current", remedy="Try again.")
    hash_ = await reception.passwords.hash(data.new)
    now_ns = reception.clock.utc_ns()

    def change(statements: Statements) -> None:
        found = accounts.read_user(statements, person.org, person.user)
        if found.hash != user.hash:
            raise TokenInvalid("the password was just changed.", where="current", remedy="Log in again.")
        accounts.change_user(statements, found, hash_=hash_)
        accounts.revoke_of_user(statements, found, now_ns, sessions_only=True)
        record(statements, person.org, now_ns, person.user, "user.changed", f"user:{person.user}", "password")

    await reception.connections.write(change)


@get("/v1/users")
async def users(
    reception: Parts,
    person: Asker,
    after: Annotated[str, Parameter(max_length=64, description="Where the page before ended.")] = "",
    limit: Limit = 100,
) -> UserPage:
    """Users of the organisation."""
    after = after.replace("\0", "")
    found = await reception.connections.read(
        lambda s: accounts.list_users(s, person.org, after=after, limit=limit + 1)
    )
    return UserPage([_user(one) for one in found[:limit]], found[limit - 1].name if found[limit:] else None)


@post("/v1/users", status_code=201)
async def add_user(reception: Parts, person: Asker, data: JSONBody[NewUser]) -> UserSeen:
    """Make a user."""
    hash_ = await reception.passwords.hash(data.password)
    now_ns = reception.clock.utc_ns()

    def change(statements: Statements) -> User:
        record(statements, person.org, now_ns, person.user, "user.added", f"user:{data.name}", data.role)
        return accounts.add_user(
            statements, person.org, data.name, data.role, patient=data.patient, hash_=hash_, now_ns=now_ns
        )

    return _user(await reception.connections.write(change))


@get("/v1/users/{name:str}")
async def user(reception: Parts, person: Asker, name: UserInPath) -> UserSeen:
    """One user."""
    return _user(await reception.connections.read(lambda s: accounts.read_user(s, person.org, name)))


@patch("/v1/users/{name:str}")
async def change_user(
    reception: Parts, person: Asker, name: UserInPath, data: JSONBody[UserChange]
) -> UserSeen:
    """Give a user another role, pseudonym or password; all their sessions end."""
    hash_ = None if data.password is UNSET else await reception.passwords.hash(data.password)
    now_ns = reception.clock.utc_ns()
    what = [field for field in ("role", "patient", "password") if getattr(data, field) is not UNSET]

    def change(statements: Statements) -> User:
        found = accounts.read_user(statements, person.org, name)
        changed = accounts.change_user(
            statements, found, role=data.role or None, patient=data.patient or None, hash_=hash_
        )
        accounts.revoke_of_user(statements, found, now_ns, sessions_only=True)
        detail = " ".join(what) + (f" {found.role}>{changed.role}" if changed.role != found.role else "")
        record(statements, person.org, now_ns, person.user, "user.changed", f"user:{name}", detail)
        return changed

    return _user(await reception.connections.write(change))


@delete("/v1/users/{name:str}", status_code=204)
async def remove_user(reception: Parts, person: Asker, name: UserInPath) -> None:
    """Remove a user; what they hold is revoked."""
    now_ns = reception.clock.utc_ns()

    def change(statements: Statements) -> None:
        found = accounts.read_user(statements, person.org, name)
        accounts.remove_user(statements, found, now_ns)
        record(statements, person.org, now_ns, person.user, "user.removed", f"user:{name}", found.role)
        revoke_of_account(statements, person.org, name, by=person.user, by_role=person.role, at_ns=now_ns)

    await reception.connections.write(change)


@get("/v1/organisations")
async def organisations(reception: Parts, person: Asker) -> OrganisationList:
    """All organisations for those who run the service; for others their own."""
    found = await reception.connections.read(accounts.list_organisations)
    seen = [one for one in found if person.org in (MAIN, one.org)]
    return OrganisationList([_organisation(one) for one in seen])


@post("/v1/organisations", status_code=201)
async def add_organisation(
    reception: Parts, person: Asker, data: JSONBody[NewOrganisation]
) -> OrganisationMade:
    """Make an organisation; only an administrator of ``main`` does."""
    if person.org != MAIN:
        raise AccessDenied(
            "only those who run the service do this.", where="Authorization", remedy=f"Ask one of {MAIN}."
        )
    now_ns = reception.clock.utc_ns()

    def change(statements: Statements) -> str:
        accounts.add_organisation(statements, data.organisation, data.name, now_ns)
        record(
            statements, MAIN, now_ns, person.user, "organisation.added", f"organisation:{data.organisation}"
        )
        return accounts.issue_setup(statements, data.organisation, now_ns) or ""

    secret = await reception.connections.write(change)
    return OrganisationMade(data.organisation, data.name, instant(now_ns), secret)


@get("/v1/audit")
async def audit(
    reception: Parts,
    person: Asker,
    after: Annotated[int, Parameter(ge=0, le=2**53, description="Where the page before ended.")] = 0,
    limit: Limit = 100,
) -> ActPage:
    """Who did what to accounts and tokens."""
    found = await reception.connections.read(lambda s: acts(s, person.org, after=after, limit=limit + 1))
    items = [
        ActSeen(one.id, instant(one.at_ns), one.actor, one.action, one.subject, one.detail)
        for one in found[:limit]
    ]
    return ActPage(items, found[limit - 1].id if found[limit:] else None)


HANDLERS: Final[tuple[ControllerRouterHandler, ...]] = (
    set_up,
    log_in,
    log_out,
    me,
    change_password,
    users,
    add_user,
    user,
    change_user,
    remove_user,
    organisations,
    add_organisation,
    audit,
)


def _address(request: Request[Any, Any, State]) -> str:
    return request.client.host if request.client else ""


def _begun(begun: Begun) -> SessionBegun:
    user = begun.user
    return SessionBegun(begun.secret, instant(begun.token.expires_ns or 0), user.org, user.name, user.role)


def organisation_seen(statements: Statements, org: str) -> OrganisationSeen:
    """One organisation as it goes out."""
    (found,) = (one for one in accounts.list_organisations(statements) if one.org == org)
    return _organisation(found)


def _organisation(one: Organisation) -> OrganisationSeen:
    return OrganisationSeen(one.org, one.name, instant(one.created_ns), one.access)


def _user(one: User) -> UserSeen:
    return UserSeen(one.name, one.role, one.patient, instant(one.created_ns))
