"""Routes of tokens: issue, list, revoke."""

from datetime import datetime
from typing import Annotated, Final, Literal, cast

import msgspec
from litestar import delete, get, post
from litestar.params import JSONBody, Parameter
from litestar.types import ControllerRouterHandler
from msgspec import Meta

from einthoven.errors import AccessDenied, NotFound
from einthoven.server import accounts
from einthoven.server.accounts import Token, User
from einthoven.server.auditing import record
from einthoven.server.identities import Person
from einthoven.server.requests import Asker, Limit, Parts, Pseudonym, instant
from einthoven.server.roles import ISSUES, OVERSEES
from einthoven.server.tokens import TokenKind
from einthoven.storage.database import Statements

__all__ = ["HANDLERS"]

Issued = Literal["device", "gateway", "user"]
_KINDS: Final[tuple[Issued, ...]] = ("device", "gateway", "user")
_DAY_S: Final = 86_400


class NewToken(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A token to be; a device's needs patient and device."""

    kind: Issued
    patient: Pseudonym | None = None
    device: Pseudonym | None = None
    label: Annotated[str, Meta(pattern=accounts.LABEL, description="What it is for.")] = ""
    days: (
        Annotated[int, Meta(ge=1, le=3650, description="How long it is good for; null for always.")] | None
    ) = None


class TokenSeen(msgspec.Struct, frozen=True, rename="camel"):
    """What is known of a token."""

    id: int
    kind: Issued
    user: str | None
    patient: str | None
    device: str | None
    label: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime | None
    """To the hour."""


class TokenIssued(msgspec.Struct, frozen=True, rename="camel"):
    """A new token; it is shown this once."""

    token: str
    about: TokenSeen


class TokenPage(msgspec.Struct, frozen=True, rename="camel"):
    """Tokens in the order in which they were issued; ``next`` is ``after`` of the next page."""

    items: list[TokenSeen]
    next: int | None


@get("/v1/tokens")
async def tokens(
    reception: Parts,
    person: Asker,
    after: Annotated[int, Parameter(ge=0, le=2**53, description="Where the page before ended.")] = 0,
    limit: Limit = 100,
) -> TokenPage:
    """Tokens: all for those who oversee them, one's own for everybody. No session is among them."""
    kinds = [kind for kind in _KINDS if person.role in OVERSEES[kind]]

    def question(statements: Statements) -> list[Token]:
        found = accounts.list_tokens(statements, person.org, kinds, after=after, limit=limit + 1)
        if "user" not in kinds:
            found += accounts.list_tokens(
                statements, person.org, ["user"], user=person.user, after=after, limit=limit + 1
            )
        return sorted(found, key=lambda one: one.id)[: limit + 1]

    found = await reception.connections.read(question)
    return TokenPage([_seen(one) for one in found[:limit]], found[limit - 1].id if found[limit:] else None)


@post("/v1/tokens", status_code=201)
async def issue_token(reception: Parts, person: Asker, data: JSONBody[NewToken]) -> TokenIssued:
    """Issue a token for a device, a gateway or one's own programs. It is shown this once."""
    _allow(person, data.kind)
    if data.kind == "user" and not person.is_session:
        raise AccessDenied(
            "a token that a program keeps makes no other one.", where="Authorization", remedy="Log in first."
        )
    now_ns = reception.clock.utc_ns()

    def change(statements: Statements) -> tuple[Token, str]:
        user: User | None = None
        if data.kind == "user":
            user = accounts.read_user(statements, person.org, person.user)
        token, secret = accounts.issue(
            statements,
            person.org,
            data.kind,
            now_ns=now_ns,
            user=user,
            patient=data.patient,
            device=data.device,
            label=data.label,
            lifetime_s=None if data.days is None else data.days * _DAY_S,
        )
        record(statements, person.org, now_ns, person.user, "token.issued", f"token:{token.id}", data.kind)
        return token, secret

    token, secret = await reception.connections.write(change)
    return TokenIssued(secret, _seen(token))


@delete("/v1/tokens/{number:int}", status_code=204)
async def revoke_token(
    reception: Parts,
    person: Asker,
    number: Annotated[int, Parameter(ge=1, le=2**53, description="Its id.")],
) -> None:
    """Revoke a token; every worker refuses it within five seconds."""
    now_ns = reception.clock.utc_ns()

    def change(statements: Statements) -> None:
        token = accounts.read_token(statements, person.org, number)
        if token.kind not in _KINDS:
            raise NotFound("there is no token of this number.", where="token", remedy="List the tokens.")
        is_own = token.kind == "user" and token.user == person.user
        if not is_own:
            _allow(person, "gateway" if token.kind == "user" else token.kind)
        if accounts.revoke(statements, person.org, number, now_ns):
            record(
                statements, person.org, now_ns, person.user, "token.revoked", f"token:{number}", token.kind
            )

    await reception.connections.write(change)


HANDLERS: Final[tuple[ControllerRouterHandler, ...]] = (tokens, issue_token, revoke_token)


def _allow(person: Person, kind: TokenKind) -> None:
    if person.role not in ISSUES[kind]:
        raise AccessDenied(
            f"the role {person.role} may not do this with a token of this kind.",
            where="kind",
            remedy="Ask an administrator.",
        )


def _seen(token: Token) -> TokenSeen:
    return TokenSeen(
        id=token.id,
        kind=cast("Issued", token.kind),
        user=token.user,
        patient=token.patient,
        device=token.device,
        label=token.label,
        created_at=instant(token.created_ns),
        expires_at=None if token.expires_ns is None else instant(token.expires_ns),
        revoked_at=None if token.revoked_ns is None else instant(token.revoked_ns),
        used_at=None if token.used_ns is None else instant(token.used_ns),
    )
