"""Requests as the routes see them: who asks, what was sent, which page is wanted."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.handlers import BaseRouteHandler
from litestar.params import Parameter, ParameterKwarg, PathParameter, QueryParameter

from einthoven.errors import AccessDenied, InputInvalid
from einthoven.names import ORGANISATION, PSEUDONYM, USER
from einthoven.server.access import SHOWN, Wanted, admit, sight_of
from einthoven.server.grant_tables import Sight
from einthoven.server.identities import Person
from einthoven.server.parties import Party, is_senders, party_for, party_of
from einthoven.server.reception import Reception
from einthoven.server.roles import ROUTES, SENDERS
from einthoven.server.sessions import token_behind

__all__ = [
    "LATEST_NS",
    "AskedSpan",
    "Asker",
    "Limit",
    "OrganisationName",
    "Parts",
    "Pseudonym",
    "PseudonymInPath",
    "Seeing",
    "Sending",
    "Spanning",
    "StrictRequest",
    "UserInPath",
    "UserName",
    "address_of",
    "asked_span",
    "bearer_of",
    "instant",
    "instant_ns",
    "instant_parameter",
    "let_in",
    "own_patient",
    "party_behind",
    "person_of",
    "reception_of",
    "sight_behind",
]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE_NS: Final = 60 * 10**9
_DAY_NS: Final = 24 * 3600 * 10**9
LATEST_NS: Final = 2**62
"""No time is later."""

OrganisationName = Annotated[str, msgspec.Meta(pattern=ORGANISATION, description="An organisation.")]
UserName = Annotated[str, msgspec.Meta(pattern=USER, description="A user's name.")]
Parts = NamedDependency[Reception]
"""What the routes work with."""
Asker = NamedDependency[Person]
"""Who asks."""
Seeing = NamedDependency[Sight]
"""Whose data the asker sees in lists; on routes that show what was found."""
Sending = NamedDependency[Party]
"""Who sends, or asks of what was sent; on routes that are open to devices."""
UserInPath = Annotated[str, PathParameter(pattern=USER, description="A user's name.")]
PseudonymInPath = Annotated[str, PathParameter(pattern=PSEUDONYM, description="A pseudonym.")]
Pseudonym = Annotated[str, msgspec.Meta(pattern=PSEUDONYM, description="A pseudonym; never a name.")]
Limit = Annotated[int, Parameter(ge=1, le=500, description="Most items on this page.")]


class StrictRequest(Request[Any, Any, State]):
    """A request whose body is read strictly: a text that looks like a number is none."""

    async def json(self) -> Any:
        """See `litestar.Request`."""
        wanted = self.route_handler.parsed_fn_signature.parameters["data"].annotation
        try:
            return msgspec.convert(_whole(msgspec.json.decode(await self.body())), wanted)
        except msgspec.ValidationError as error:
            raise InputInvalid(
                "a value is missing or breaks its contract.", where=_place(str(error)), remedy=_REMEDY
            ) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InputInvalid("the request is not valid JSON.", where="request", remedy=_REMEDY) from None


_REMEDY: Final = "See /schema/openapi.json."
_EXACT: Final = 2.0**53


def _whole(value: Any) -> Any:
    """3.0 is the integer 3, as JSON Schema has it."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) <= _EXACT else value
    if isinstance(value, list):
        return [_whole(one) for one in value]
    if isinstance(value, dict):
        return {key: _whole(one) for key, one in value.items()}
    return value


def _place(message: str) -> str:
    """The field that msgspec speaks of; its names are ours, its keys are not."""
    for mark in ("field `", "at `$."):
        _, found, rest = message.partition(mark)
        name = rest.partition("`")[0]
        if found and "unknown field" not in message and name.isidentifier():
            return name
    return "request"


_UNGUARDED: Final = frozenset({"anyone", "setup"})
"""A setup token is looked at by its own route."""


async def let_in(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Nobody passes whose role is not in the table."""
    _refuse_unknown(connection, handler)
    route = (connection.scope["method"], connection.scope["path_template"])  # type: ignore[typeddict-item]
    allowed = ROUTES.get(route, frozenset())
    if not allowed.isdisjoint(_UNGUARDED) or route[0] == "OPTIONS":
        return
    reception: Reception = connection.app.state.reception
    token = bearer_of(connection)
    if is_senders(token) and not allowed.isdisjoint(SENDERS):
        party = await party_of(reception.identities, token, allowed, segments=1)
        connection.state.sight = sight_of(party)
        connection.state.party = party
        return
    person = await reception.identities.person(token)
    party = party_for(person)
    may_ask = person.role in allowed
    if route in SHOWN:
        connection.state.sight = await _admitted(reception, connection, party, route, may_ask=may_ask)
    if not may_ask:
        raise AccessDenied(
            f"the role {person.role} may not do this.", where="Authorization", remedy="Ask an administrator."
        )
    connection.state.person = person
    connection.state.party = party


async def _admitted(
    reception: Reception,
    connection: ASGIConnection[Any, Any, Any, Any],
    party: Party,
    route: tuple[str, str],
    *,
    may_ask: bool,
) -> Sight:
    """Whose data somebody sees here; see `einthoven.server.access`."""
    if len(connection.query_params.getall("patient", [])) > 1:
        raise InputInvalid("one patient is asked for at a time.", where="patient", remedy="Name one.")
    # What the path names is what is shown; of what only filters it, a patient alone narrows whom it shows.
    path = connection.path_params
    named: dict[str, str] = {
        kind: str(path[kind]) for kind in ("patient", "alert", "recording", "device") if kind in path
    }
    if not named and "patient" in connection.query_params:
        named["patient"] = str(connection.query_params["patient"])
    wanted = Wanted(party=party, route=route, named=named, may_ask=may_ask)
    return await admit(reception.connections, reception.clock, wanted)


def _refuse_unknown(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """A misspelt parameter would be a filter that does not filter."""
    if connection.scope["query_string"]:
        known = set()
        given = handler.parsed_fn_signature.parameters
        of_others = [one.parsed_fn_signature.parameters for name, one in _provided(handler) if name in given]
        for parameters in (given, *of_others):
            for name, field in parameters.items():
                known.add(getattr(field.kwarg_definition, "name", None) or name)
        if not known.issuperset(connection.query_params):
            raise InputInvalid(
                "there is no such parameter.", where="query", remedy="See /schema/openapi.json."
            )


def _provided(handler: BaseRouteHandler) -> Iterable[tuple[str, Provide]]:
    """What a handler may be given beside what it asks for in its own name."""
    return handler.resolve_dependencies().items()


def bearer_of(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """The token; empty where there is none.

    Raises
    ------
    AccessDenied : a browser's session without what stands against forged requests.
    """
    return token_behind(connection.scope)  # type: ignore[arg-type]


def address_of(request: Request[Any, Any, State]) -> str:
    """Where a request comes from."""
    return request.client.host if request.client else ""


def party_behind(request: Request[Any, Any, State]) -> Party:
    """Who sends, or asks of what was sent."""
    party: Party = request.state.party
    return party


def sight_behind(request: Request[Any, Any, State]) -> Sight:
    """Whose data the asker sees in lists."""
    sight: Sight = request.state.sight
    return sight


def person_of(request: Request[Any, Any, State]) -> Person:
    """Who asks."""
    person: Person = request.state.person
    return person


def own_patient(person: Person, patient: str | None) -> str:
    """The pseudonym that somebody with the role of a patient asks for: their own.

    Raises
    ------
    AccessDenied : it is another one's.
    """
    if patient is None or patient != person.patient:
        raise AccessDenied("these are another one's data.", where="patient", remedy="Ask for your own.")
    return patient


def reception_of(state: State) -> Reception:
    """What the routes work with."""
    reception: Reception = state.reception
    return reception


def instant(ns: int) -> datetime:
    """An instant as it goes out."""
    return _EPOCH + timedelta(microseconds=ns // 1000)


class AskedSpan(NamedTuple):
    """The span that is asked for, UTC, ns since 1970."""

    from_ns: int
    until_ns: int


Spanning = NamedDependency[AskedSpan]
"""From when to when; on routes that show what was found."""


def instant_parameter(name: str, description: str) -> ParameterKwarg:
    """A parameter of the query that is a time."""
    return QueryParameter(name=name, description=description, schema_extra={"format": "date-time"})


def asked_span(
    reception: Parts,
    from_: Annotated[
        str | None, instant_parameter("from", "Where the span begins; a day before its end.")
    ] = None,
    until: Annotated[str | None, instant_parameter("until", "Where it ends; now.")] = None,
) -> AskedSpan:
    """The last minute has begun, and counts."""
    until_ns = instant_ns("until", until, reception.clock.utc_ns() + _MINUTE_NS)
    return AskedSpan(instant_ns("from", from_, until_ns - _DAY_NS), until_ns)


def instant_ns(where: str, text: str | None, default: int) -> int:
    """A time as it came in, UTC, ns since 1970; within what can be kept.

    Raises
    ------
    InputInvalid : it is no time.
    """
    if text is None:
        return default
    try:
        moment: datetime = msgspec.convert(text, Annotated[datetime, msgspec.Meta(tz=True)])
    except msgspec.ValidationError:
        raise InputInvalid(
            "this is no time.", where=where, remedy="Give it as 2026-11-26T08:00:00Z."
        ) from None
    return min(max((moment - _EPOCH) // timedelta(microseconds=1) * 1000, 0), LATEST_NS)
