"""Routes of the ledger: where it stands, what is in it, and whether all of it is what was signed."""

import types
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from litestar import get, post
from litestar.params import Parameter
from litestar.types import ControllerRouterHandler

from einthoven.errors import Conflict, EinthovenError, LedgerTampered, NotFound
from einthoven.server.ledger_entries import ledgers_here
from einthoven.server.reception import Reception
from einthoven.server.requests import Asker, Parts, instant
from einthoven.storage.database import Statements
from einthoven.storage.ledgers import LedgerHead, entries_between, head_of

__all__ = ["HANDLERS"]

_MOST: Final = 200


class LedgerSeen(msgspec.Struct, frozen=True, rename="camel"):
    """Where the organisation's ledger stands."""

    origin: str | None
    """The name under which its checkpoints are signed; null where there is no ledger."""
    entries: int
    signed: int
    """Entries that the newest checkpoint covers."""


class LedgerEntry(msgspec.Struct, frozen=True, rename="camel"):
    """One entry, as it is kept."""

    number: int
    entry: dict[str, Any]


class LedgerPage(msgspec.Struct, frozen=True, rename="camel"):
    """Entries, the newest first; ``next`` is ``before`` of the next page."""

    items: list[LedgerEntry]
    next: int | None


class LedgerVerified(msgspec.Struct, frozen=True, rename="camel"):
    """What verifying every entry, hash and signature found."""

    is_whole: bool
    """Whether all of it is what was signed."""
    entries: int
    checkpoints: int
    is_pinned: bool
    """Whether a key of this installation signed a checkpoint."""
    signed_at: datetime | None
    """When the newest checkpoint was signed."""
    what: str
    """What is wrong; empty if nothing is."""
    where: str


@get("/v1/ledger")
async def ledger(reception: Parts, person: Asker) -> LedgerSeen:
    """Where the ledger stands."""
    found = await reception.connections.read(lambda s: head_of(s, person.org))
    return LedgerSeen(None, 0, 0) if found is None else LedgerSeen(found.origin, found.size, found.signed)


@get("/v1/ledger/entries")
async def ledger_entries(
    reception: Parts,
    person: Asker,
    before: Annotated[int | None, Parameter(ge=0, le=2**53, description="Entries before this one.")] = None,
    limit: Annotated[int, Parameter(ge=1, le=_MOST, description="Most entries on this page.")] = 50,
) -> LedgerPage:
    """What was decided, moved, seen and refused; the newest first."""

    def question(statements: Statements) -> LedgerPage:
        size = _head(statements, person.org).size
        stop = size if before is None else min(before, size)
        start = max(0, stop - limit)
        contents = list(entries_between(statements, person.org, start, stop))
        items = [LedgerEntry(start + at, msgspec.json.decode(one)) for at, one in enumerate(contents)]
        return LedgerPage(items[::-1], start or None)

    return await reception.views.read(question)


@post("/v1/ledger/verification", status_code=200)
async def verify_ledger(reception: Parts, person: Asker) -> LedgerVerified:
    """Verify the whole ledger as it is kept: every entry, every hash, every signature."""
    ledgers = ledgers_here()
    if ledgers is None:
        raise Conflict(
            "what verifies ledgers is not installed.",
            where="ledger",
            remedy="Run: pip install 'einthoven[trust]'.",
        )
    return await reception.verifying.read(lambda s: _verified(reception, ledgers, s, person.org))


HANDLERS: Final[tuple[ControllerRouterHandler, ...]] = (ledger, ledger_entries, verify_ledger)


def _head(statements: Statements, org: str) -> LedgerHead:
    found = head_of(statements, org)
    if found is None:
        raise NotFound("this organisation has no ledger.", where="ledger", remedy="einthoven ledger create")
    return found


def _verified(
    reception: Reception, ledgers: types.ModuleType, statements: Statements, org: str
) -> LedgerVerified:
    from einthoven.runtime.secret_files import public_ledger_keys  # noqa: PLC0415 - an extra

    size = _head(statements, org).size
    try:
        publics = public_ledger_keys(reception.settings.folder).get(org, ())
    except EinthovenError:  # keys that cannot be opened: it is verified without them, and says so
        publics = ()
    try:
        report = ledgers.verify_kept(statements, org, ledgers.verifying_keys(statements, org, publics))
    except LedgerTampered as error:
        return LedgerVerified(False, size, 0, bool(publics), None, error.what, error.where)
    return LedgerVerified(True, size, report.checkpoints, report.is_pinned, instant(report.made_ns), "", "")
