"""Routes of a patient's consent: a FHIR R4 Consent in and out, version by version.

A version is never changed and never deleted. What is taken back is the next version, whose status is
``inactive``. Each change is in the organisation's ledger, entered in the transaction that keeps it.
"""

from typing import Any, Final

import msgspec
from litestar import get, put
from litestar.params import JSONBody
from litestar.types import ControllerRouterHandler

from einthoven.errors import Conflict, InputInvalid, NotFound
from einthoven.server.identities import Person
from einthoven.server.ledger_entries import keep_entries
from einthoven.server.requests import Asker, Parts, PseudonymInPath, own_patient
from einthoven.storage.consents import add_consent, newest_consent
from einthoven.storage.database import Statements
from einthoven.storage.ledgers import head_of
from einthoven.trust.consent import Consent, changed, read_consent, write_consent

__all__ = ["HANDLERS"]

_MEDIA: Final = "application/fhir+json"


@get("/v1/patients/{patient:str}/consent", media_type=_MEDIA)
async def consent(reception: Parts, person: Asker, patient: PseudonymInPath) -> dict[str, Any]:
    """The newest version of a patient's consent, as a FHIR R4 Consent."""
    _whose(person, patient)
    found = await reception.connections.read(lambda s: newest_consent(s, person.org, patient))
    if found is None:
        raise NotFound("this patient has given no consent here.", where="patient", remedy="Put version 1.")
    return _shown(found)


@put("/v1/patients/{patient:str}/consent", media_type=_MEDIA)
async def put_consent(
    reception: Parts, person: Asker, patient: PseudonymInPath, data: JSONBody[dict[str, Any]]
) -> dict[str, Any]:
    """Keep the next version of a patient's consent. It holds for what is sent after the answer.

    ``meta.versionId`` is one more than the newest one's, 1 where there is none. The newest one again
    changes nothing. To take a consent back, put the next version with the status ``inactive``.
    """
    _whose(person, patient)
    given = read_consent(data)
    if given.patient != patient:
        raise InputInvalid("the consent is another patient's.", where="Consent.patient")
    now_ns = reception.clock.utc_ns()
    return _shown(await reception.connections.write(lambda s: _put(s, person, given, now_ns)))


HANDLERS: Final[tuple[ControllerRouterHandler, ...]] = (consent, put_consent)


def _put(statements: Statements, person: Person, given: Consent, now_ns: int) -> bytes:
    # Whoever decides waits for this, or is waited for.
    head_of(statements, person.org, for_append=True)
    resource = msgspec.json.encode(write_consent(given), order="deterministic")
    newest = newest_consent(statements, person.org, given.patient)
    if newest == resource:
        return resource
    before = None if newest is None else read_consent(newest)
    _check_follows(given, before)
    add_consent(statements, person.org, given.patient, given.version, resource, by=person.user, at_ns=now_ns)
    entry = changed(given, before, by=person.user, at_ns=now_ns)
    keep_entries(statements, person.org, [entry])
    return resource


def _check_follows(given: Consent, before: Consent | None) -> None:
    due = 1 if before is None else before.version + 1
    if given.version != due:
        raise Conflict(
            f"the next version is {due}.", where="meta.versionId", remedy="Read the newest version first."
        )
    if before is not None and given.id != before.id:
        raise Conflict("the patient's consent has another id.", where="id", remedy="Go on with that one.")


def _whose(person: Person, patient: str) -> None:
    if person.role == "patient":
        own_patient(person, patient)


def _shown(resource: bytes) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(resource)
    return found
