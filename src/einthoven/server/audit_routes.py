"""Who did what to whose data, as FHIR R4 AuditEvents over the organisation's ledger."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final
from urllib.parse import urlencode

import msgspec
from litestar import get
from litestar.params import Parameter, QueryParameter
from litestar.types import ControllerRouterHandler

from einthoven.errors import InputInvalid
from einthoven.names import PSEUDONYM, USER
from einthoven.server.ledger_entries import keep_entries
from einthoven.server.requests import Asker, Parts, instant_ns, own_patient
from einthoven.storage.database import Statements
from einthoven.storage.ledgers import LedgerHead, entries_between, head_of
from einthoven.trust.audit_events import AUDIT_LOG, audit_event, event_type, subject_of
from einthoven.trust.entries import Accessed, Entry, read_entry

__all__ = ["HANDLERS"]

_LOOKED_AT_MOST: Final = 20_000
"""Entries that one page looks through: a filter that seldom applies gives pages with little in them."""
_DATE: Final = re.compile(
    r"(eq|ge|gt|le|lt)?"
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:(T[0-9]{2}:[0-9]{2})(:[0-9]{2})?(?:\.([0-9]{1,9}))?(Z|[+-][0-9]{2}:[0-9]{2}))?"
)
_DAY_NS: Final = 24 * 3600 * 10**9
_LAST_NS: Final = 2**63 - 1


class BundleLink(msgspec.Struct, frozen=True):
    """Where a page is: the one that was asked for, or the next."""

    relation: str
    url: str


class BundleEntry(msgspec.Struct, frozen=True, rename="camel"):
    """One event that was asked for."""

    full_url: str
    resource: dict[str, Any]
    """An AuditEvent."""
    search: dict[str, str]


class AuditBundle(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A FHIR R4 Bundle of AuditEvents, in the order of the ledger."""

    resource_type: str
    type: str
    link: list[BundleLink]
    entry: list[BundleEntry] = []
    """Left out where there is none; the next page may hold some."""


class _Asked(msgspec.Struct, frozen=True):
    """Which events are wanted."""

    patient: str
    agent: str
    type: str
    since_ns: int
    until_ns: int
    """The first instant that is not."""

    def takes(self, line: bytes, number: int) -> bool:
        """Whether an entry is one of them."""
        if self.patient and self.patient.encode() not in line:
            return False
        entry = read_entry(line, f"entry {number}")
        patient, by = subject_of(entry)
        return (
            (not self.patient or patient == self.patient)
            and (not self.agent or by == self.agent)
            and self.since_ns <= entry.at_ns < self.until_ns
            and self._is_type(entry)
        )

    def _is_type(self, entry: Entry) -> bool:
        system, code, _ = event_type(entry)
        wanted_system, bar, wanted = self.type.rpartition("|")
        return not self.type or (wanted == code and (not bar or wanted_system == system))


class _Page(msgspec.Struct, frozen=True):
    """Events, and the number of the entry behind which the next page begins, if there is one."""

    events: list[dict[str, Any]]
    after: int | None
    before: int
    """Where the last page ends."""


@get(AUDIT_LOG, media_type="application/fhir+json")
async def audit_events(
    reception: Parts,
    person: Asker,
    patient: Annotated[
        str | None, Parameter(pattern=PSEUDONYM, description="About one patient only.")
    ] = None,
    agent: Annotated[str | None, Parameter(pattern=USER, description="By one account only.")] = None,
    type_: Annotated[
        str | None,
        QueryParameter(
            name="type",
            pattern=r"^([!-{}~]{1,100}\|)?[A-Za-z0-9-]{1,40}$",
            description="Of one type only: its code, or system|code.",
        ),
    ] = None,
    date: Annotated[
        list[str] | None,
        Parameter(max_items=2, description="When, as FHIR has it: ge2026-11-26, lt2026-11-27T08:00:00Z."),
    ] = None,
    after: Annotated[
        int, Parameter(ge=-1, le=2**53, description="Number of the entry with which the page before ended.")
    ] = -1,
    before: Annotated[
        int | None,
        Parameter(ge=0, le=2**53, description="Entries from this number on are in no page."),
    ] = None,
    limit: Annotated[int, Parameter(ge=1, le=500, description="Most items on this page.")] = 100,
) -> AuditBundle:
    """Who did what to whose data, as FHIR AuditEvents; a patient sees what was done to their own.

    That somebody reads this is an event, too: later pages hold what there was when the first was asked for.
    """
    if person.role == "patient":
        patient = own_patient(person, patient or person.patient)
    since_ns, until_ns = _span(date or [])
    asked = _Asked(patient or "", agent or "", type_ or "", since_ns, until_ns)
    entry = Accessed(
        at_ns=reception.clock.utc_ns(),
        patient=asked.patient,
        by=person.user,
        role=person.role,
        what=AUDIT_LOG,
        purpose="operations",
        verdict="permit",
    )
    await reception.connections.write(lambda s: keep_entries(s, person.org, [entry]))
    page = await reception.views.read(lambda s: _page(s, person.org, asked, after, before, limit))
    given = {"patient": patient, "agent": agent, "type": type_, "date": date}
    query = [(name, value) for name, value in given.items() if value]
    links = [BundleLink("self", _url(query, after, before, limit))]
    if page.after is not None:
        links.append(BundleLink("next", _url(query, page.after, page.before, limit)))
    return AuditBundle(
        resource_type="Bundle",
        type="searchset",
        link=links,
        entry=[BundleEntry(f"urn:einthoven:{one['id']}", one, {"mode": "match"}) for one in page.events],
    )


HANDLERS: Final[tuple[ControllerRouterHandler, ...]] = (audit_events,)


def _url(query: list[tuple[str, Any]], after: int, before: int | None, limit: int) -> str:
    place = [("after", after), *([] if before is None else [("before", before)]), ("limit", limit)]
    return f"{AUDIT_LOG}?{urlencode([*query, *place], doseq=True)}"


def _page(
    statements: Statements, org: str, asked: _Asked, after: int, before: int | None, limit: int
) -> _Page:
    head = head_of(statements, org)
    if head is None:
        return _Page([], None, 0)
    end = head.size if before is None else min(before, head.size)
    found: list[dict[str, Any]] = []
    number = after
    for number, line in _lines(statements, head, after, end):
        if asked.takes(line, number):
            found.append(audit_event(line, number, org=org, origin=head.origin))
            if len(found) == limit:
                break
    return _Page(found, number if number + 1 < end else None, end)


def _lines(statements: Statements, head: LedgerHead, after: int, end: int) -> Iterator[tuple[int, bytes]]:
    stop = max(after + 1, min(end, after + 1 + _LOOKED_AT_MOST))
    return enumerate(entries_between(statements, head.org, after + 1, stop), after + 1)


def _span(dates: list[str]) -> tuple[int, int]:
    """What all of them say together, ns since 1970: from the first, before the second.

    Raises
    ------
    InputInvalid : a date that is none.
    """
    since_ns, until_ns = -_LAST_NS, _LAST_NS
    for one in dates:
        prefix, first, behind = _instants(one)
        if prefix in ("eq", "ge"):
            since_ns = max(since_ns, first)
        if prefix == "gt":
            since_ns = max(since_ns, behind)
        if prefix in ("eq", "le"):
            until_ns = min(until_ns, behind)
        if prefix == "lt":
            until_ns = min(until_ns, first)
    return since_ns, until_ns


def _instants(text: str) -> tuple[str, int, int]:
    """How a date compares, when its day, minute, second or part of one begins, and when that is over.

    Raises
    ------
    InputInvalid : it is none.
    """
    parts = _DATE.fullmatch(text)
    if parts is None:
        raise InputInvalid("this is no time.", where="date", remedy="Give it as ge2026-11-26T08:00:00Z.")
    prefix, day, minute, second, fraction, zone = parts.groups()
    if not minute:
        first = instant_ns("date", f"{day}T00:00:00Z", 0)
        return prefix or "eq", first, first + _DAY_NS
    first = instant_ns("date", f"{day}{minute}{second or ':00'}{zone}", 0)
    if not second:
        return prefix or "eq", first, first + 60 * 10**9
    width_ns = 10 ** (9 - len(fraction or ""))
    first += int(fraction or 0) * width_ns
    return prefix or "eq", first, first + width_ns
