"""Whoever may send, and whoever asks of what was sent: a device, a gateway or a person, behind one value."""

from typing import Final

import msgspec

from einthoven.errors import AccessDenied
from einthoven.server.identities import Identities, Person
from einthoven.server.roles import Caller
from einthoven.server.tokens import PREFIXES

__all__ = ["Party", "is_senders", "party_for", "party_of"]

_SENDING: Final = (PREFIXES["device"], PREFIXES["gateway"])


class Party(msgspec.Struct, frozen=True):
    """Who stands behind a request."""

    org: str
    kind: Caller
    owner: str
    """Under which what it sends is found again; the same with another token of the same device or person."""
    patient: str | None = None
    """The only patient whose data it sends and sees; None for all of its organisation."""
    device: str | None = None


def is_senders(token: str) -> bool:
    """Whether a token is a device's or a gateway's, by its looks."""
    return token.startswith(_SENDING)


def party_for(person: Person) -> Party:
    """A person as a party."""
    patient = person.patient if person.role == "patient" else None
    return Party(person.org, person.role, f"user/{person.user}", patient)


async def party_of(
    identities: Identities, token: str, allowed: frozenset[Caller], *, segments: int = 0
) -> Party:
    """Who shows up with a token, if it is one of those that may.

    Parameters
    ----------
    segments : how many segments the request counts as against the rate of the token.

    Raises
    ------
    TokenInvalid, RateExceeded, DatabaseUnavailable, Overloaded : see `Identities`.
    AccessDenied : it may not.
    """
    if is_senders(token):
        sender = await identities.sender(token, segments)
        if sender.patient is None:
            party = Party(sender.org, "gateway", "gateway")
        else:
            owner = f"device/{sender.patient}/{sender.device}"
            party = Party(sender.org, "device", owner, sender.patient, sender.device)
    else:
        party = party_for(await identities.person(token))
    if party.kind not in allowed:
        who = "token of a" if party.kind in ("device", "gateway") else "role"
        raise AccessDenied(
            f"the {who} {party.kind} may not do this.",
            where="Authorization",
            remedy="Ask an administrator.",
        )
    return party
