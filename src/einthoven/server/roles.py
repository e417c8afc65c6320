"""Who may call what: every route of the service and the roles that it is open to.

Everything is closed that is not in this table. Administrators keep accounts and devices and see no findings,
and of alerts those alone that no ECG shows; auditors see who did what; a patient sees what is theirs. Where
an organisation wants it, a role is not enough to see a patient: `einthoven.server.access`. What a role may do
on a route that several share is said beside it.
"""

from typing import Final, Literal

from einthoven.server.accounts import ROLES, Role
from einthoven.server.tokens import TokenKind

__all__ = ["ISSUES", "OVERSEES", "ROUTES", "SENDERS", "Caller"]

Caller = Literal["anyone", "setup", "device", "gateway"] | Role

ANYONE: Final[frozenset[Caller]] = frozenset({"anyone"})
PEOPLE: Final[frozenset[Caller]] = frozenset(ROLES)
ADMIN: Final[frozenset[Caller]] = frozenset({"admin"})
OVERSIGHT: Final[frozenset[Caller]] = frozenset({"admin", "auditor"})
TECHNICAL: Final[frozenset[Caller]] = frozenset({"admin", "clinician", "technician", "patient"})
CLINICAL: Final[frozenset[Caller]] = frozenset({"clinician", "patient"})
STAFF: Final[frozenset[Caller]] = frozenset({"clinician", "technician"})
CLINICIAN: Final[frozenset[Caller]] = frozenset({"clinician"})
SENDERS: Final[frozenset[Caller]] = frozenset({"device", "gateway"})

ROUTES: Final[dict[tuple[str, str], frozenset[Caller]]] = {
    ("POST", "/v1/segments"): frozenset({"device", "gateway"}),
    ("POST", "/v1/uploads"): SENDERS | STAFF,
    ("HEAD", "/v1/uploads/{upload}"): SENDERS | STAFF,
    ("PATCH", "/v1/uploads/{upload}"): SENDERS | STAFF,
    ("DELETE", "/v1/uploads/{upload}"): SENDERS | STAFF,
    ("GET", "/v1/recordings"): SENDERS | CLINICAL | STAFF,
    ("POST", "/v1/recordings"): SENDERS | STAFF,
    ("GET", "/v1/recordings/{recording}"): SENDERS | CLINICAL | STAFF,
    ("POST", "/v1/recordings/{recording}/cancel"): SENDERS | STAFF,
    ("POST", "/v1/recordings/{recording}/redrive"): STAFF,
    ("GET", "/v1/recordings/{recording}/result"): SENDERS | CLINICAL,
    ("GET", "/v1/recordings/{recording}/report"): CLINICAL,
    ("GET", "/v1/recordings/{recording}/reports"): CLINICAL,
    ("POST", "/v1/recordings/{recording}/reports"): CLINICIAN,
    ("POST", "/v1/setup"): frozenset({"setup"}),
    ("POST", "/v1/login"): ANYONE,
    ("POST", "/v1/logout"): PEOPLE,
    ("POST", "/v1/session"): ANYONE,
    ("GET", "/v1/session"): PEOPLE,
    ("DELETE", "/v1/session"): PEOPLE,
    ("GET", "/v1/me"): PEOPLE,
    ("PUT", "/v1/me/password"): PEOPLE,
    ("GET", "/v1/users"): OVERSIGHT,
    ("POST", "/v1/users"): ADMIN,
    ("GET", "/v1/users/{name}"): OVERSIGHT,
    ("PATCH", "/v1/users/{name}"): ADMIN,
    ("DELETE", "/v1/users/{name}"): ADMIN,
    ("GET", "/v1/tokens"): PEOPLE,
    ("POST", "/v1/tokens"): PEOPLE,
    ("DELETE", "/v1/tokens/{number}"): PEOPLE,
    ("GET", "/v1/organisations"): OVERSIGHT,
    ("POST", "/v1/organisations"): ADMIN,
    ("PATCH", "/v1/organisations/{organisation}"): ADMIN,
    ("GET", "/v1/streams"): TECHNICAL,
    ("GET", "/v1/streams/{device}"): TECHNICAL,
    ("GET", "/v1/payload-keys"): SENDERS | PEOPLE,
    ("GET", "/v1/devices/{device}/payload-keys"): OVERSIGHT | {"technician"},
    ("PUT", "/v1/devices/{device}/payload-keys"): frozenset({"admin", "technician"}),
    ("DELETE", "/v1/devices/{device}/payload-keys/{key}"): frozenset({"admin", "technician"}),
    ("GET", "/v1/ward"): CLINICAL | {"technician"},
    ("GET", "/v1/patients/{patient}/ecg"): CLINICAL,
    ("GET", "/v1/patients/{patient}/segments"): CLINICAL,
    ("GET", "/v1/patients/{patient}/trends"): CLINICAL,
    ("GET", "/v1/patients/{patient}/summary"): CLINICAL,
    ("GET", "/v1/patients/{patient}/episodes"): CLINICAL,
    ("GET", "/v1/patients/{patient}/beats"): CLINICAL,
    ("GET", "/v1/patients/{patient}/quality"): CLINICAL,
    ("GET", "/v1/fhir/metadata"): ANYONE,
    ("GET", "/v1/fhir/Patient/{patient}/Observation"): CLINICAL,
    ("GET", "/v1/fhir/Patient/{patient}/DiagnosticReport"): CLINICAL,
    ("GET", "/v1/fhir/Patient/{patient}/$export"): CLINICAL,
    ("GET", "/v1/patients/{patient}/grants"): OVERSIGHT | CLINICAL,
    ("POST", "/v1/patients/{patient}/grants"): frozenset({"admin", "patient"}),
    ("POST", "/v1/patients/{patient}/grants/{grant}/revoke"): frozenset({"admin", "patient"}),
    ("POST", "/v1/patients/{patient}/emergency-access"): CLINICIAN,
    ("GET", "/v1/alerts"): TECHNICAL,
    ("GET", "/v1/alerts/{alert}"): PEOPLE,
    ("POST", "/v1/alerts/{alert}/acknowledge"): STAFF | {"admin"},
    ("POST", "/v1/alerts/{alert}/assign"): STAFF | {"admin"},
    ("POST", "/v1/alerts/{alert}/escalate"): STAFF | {"admin"},
    ("POST", "/v1/alerts/{alert}/suppress"): CLINICIAN,
    ("POST", "/v1/alerts/{alert}/resume"): CLINICIAN,
    ("POST", "/v1/alerts/{alert}/close"): CLINICIAN | {"admin"},
    ("GET", "/v1/events"): TECHNICAL,
    ("GET", "/v1/dead-letters"): STAFF | {"admin"},
    ("POST", "/v1/dead-letters/{notification}/retry"): STAFF | {"admin"},
    ("GET", "/v1/rules"): PEOPLE - {"patient"},
    ("PUT", "/v1/rules"): CLINICIAN,
    ("GET", "/v1/patients/{patient}/rules"): CLINICIAN,
    ("PUT", "/v1/patients/{patient}/rules"): CLINICIAN,
    ("GET", "/v1/patients/{patient}/consent"): CLINICAL | {"auditor"},
    ("PUT", "/v1/patients/{patient}/consent"): CLINICAL,
    ("GET", "/v1/audit"): OVERSIGHT,
    ("GET", "/v1/audit-events"): OVERSIGHT | {"patient"},
    ("GET", "/v1/ledger"): OVERSIGHT,
    ("GET", "/v1/ledger/entries"): frozenset({"auditor"}),
    ("POST", "/v1/ledger/verification"): OVERSIGHT,
    ("GET", "/v1/figures"): OVERSIGHT | {"technician"},
    ("GET", "/v1/regions"): OVERSIGHT | {"technician"},
    ("POST", "/v1/regions"): ADMIN,
    ("PATCH", "/v1/regions/{name}"): ADMIN,
    ("DELETE", "/v1/regions/{name}"): ADMIN,
    ("POST", "/v1/regions/{name}/probe"): ADMIN,
    ("GET", "/"): ANYONE,
    ("GET", "/patient"): ANYONE,
    ("GET", "/operator"): ANYONE,
    ("GET", "/sign-in"): ANYONE,
    ("GET", "/pages/{file}"): ANYONE,
    ("GET", "/health/live"): ANYONE,
    ("GET", "/health/ready"): ANYONE,
    ("GET", "/metrics"): ANYONE,
    ("GET", "/schema/openapi.json"): ANYONE,
}
"""By method and path."""

ISSUES: Final[dict[TokenKind, frozenset[Caller]]] = {
    "device": frozenset({"admin", "technician"}),
    "gateway": ADMIN,
    "user": PEOPLE,
}
"""Who issues and revokes tokens of which kind. A token for a person is issued by that person alone, and
revoked by that person or by whoever may revoke a gateway's."""
OVERSEES: Final[dict[TokenKind, frozenset[Caller]]] = {
    "device": frozenset({"admin", "technician", "auditor"}),
    "gateway": OVERSIGHT,
    "user": OVERSIGHT,
}
"""Who sees all of the organisation's tokens of which kind; one's own everybody sees."""
