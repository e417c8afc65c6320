"""Who may call what: every route of the service and the roles that it is open to.

Everything is closed that is not in this table. Administrators keep accounts and devices and see no findings;
auditors see who did what; a patient sees what is theirs. What a role may do on a route that several share is
said beside it.
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
    ("POST", "/v1/setup"): frozenset({"setup"}),
    ("POST", "/v1/login"): ANYONE,
    ("POST", "/v1/logout"): PEOPLE,
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
    ("GET", "/v1/streams"): TECHNICAL,
    ("GET", "/v1/streams/{device}"): TECHNICAL,
    ("GET", "/v1/patients/{patient}/segments"): CLINICAL,
    ("GET", "/v1/patients/{patient}/trends"): CLINICAL,
    ("GET", "/v1/patients/{patient}/summary"): CLINICAL,
    ("GET", "/v1/patients/{patient}/episodes"): CLINICAL,
    ("GET", "/v1/patients/{patient}/beats"): CLINICAL,
    ("GET", "/v1/patients/{patient}/quality"): CLINICAL,
    ("GET", "/v1/alerts"): CLINICAL | {"technician"},
    ("GET", "/v1/alerts/{alert}"): CLINICAL | {"technician", "auditor"},
    ("POST", "/v1/alerts/{alert}/acknowledge"): STAFF,
    ("POST", "/v1/alerts/{alert}/assign"): STAFF,
    ("POST", "/v1/alerts/{alert}/suppress"): CLINICIAN,
    ("POST", "/v1/alerts/{alert}/resume"): CLINICIAN,
    ("POST", "/v1/alerts/{alert}/close"): CLINICIAN,
    ("GET", "/v1/events"): CLINICAL | {"technician"},
    ("GET", "/v1/dead-letters"): STAFF | {"admin"},
    ("POST", "/v1/dead-letters/{notification}/retry"): STAFF | {"admin"},
    ("GET", "/v1/rules"): PEOPLE - {"patient"},
    ("PUT", "/v1/rules"): CLINICIAN,
    ("GET", "/v1/patients/{patient}/rules"): CLINICIAN,
    ("PUT", "/v1/patients/{patient}/rules"): CLINICIAN,
    ("GET", "/v1/audit"): OVERSIGHT,
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
