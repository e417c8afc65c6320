"""What the document promises is held against the running service, with valid and with hostile input."""

import os

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from einthoven.server.page_files import PAGES
from einthoven.server.roles import ROUTES
from einthoven.testing.serving import Served

EXAMPLES = 200 if os.environ.get("EINTHOVEN_EXAMPLES") == "thorough" else 25
"""Of each mode; a route costs about a second."""
BESIDE = ("/schema/openapi.json", "/metrics", "/v1/events", *PAGES, "/pages/{file}")
"""Not of the framework, or without an end."""
DOCUMENTED = [route for route in ROUTES if route[1] not in BESIDE]


@schemathesis.serializer("application/msgpack")
def _as_it_is(_context, value):
    """The document says nothing of what MessagePack holds; the fuzz test does."""
    return value if isinstance(value, bytes) else repr(value).encode()


@schemathesis.serializer("application/offset+octet-stream")
def _a_piece(_context, value):
    """Bytes are sent as they are."""
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.serializer("application/vnd.einthoven.sealed")
def _sealed(_context, value):
    """What opens nobody here."""
    return value if isinstance(value, bytes) else str(value).encode()


def caller(route: tuple[str, str], served: Served) -> str:
    """The token of somebody who may."""
    allowed = ROUTES[route]
    if "gateway" in allowed:
        return served.token("gateway")[1]
    role = next((one for one in ("admin", "clinician") if one in allowed), "admin")
    return str(served.person(role).headers["Authorization"].removeprefix("Bearer "))


BEYOND = {
    ("POST", "/v1/segments"): [positive_data_acceptance, negative_data_rejection],
    ("POST", "/v1/uploads"): [positive_data_acceptance],
    ("POST", "/v1/recordings"): [positive_data_acceptance],
    ("POST", "/v1/tokens"): [positive_data_acceptance],
    ("POST", "/v1/users"): [positive_data_acceptance],
    ("PATCH", "/v1/users/{name}"): [positive_data_acceptance],
    ("POST", "/v1/alerts/{alert}/suppress"): [positive_data_acceptance],
    ("PUT", "/v1/rules"): [positive_data_acceptance],
    ("PUT", "/v1/patients/{patient}/rules"): [positive_data_acceptance],
    ("PUT", "/v1/patients/{patient}/consent"): [positive_data_acceptance],
    ("POST", "/v1/patients/{patient}/grants"): [positive_data_acceptance],
    ("GET", "/v1/audit-events"): [positive_data_acceptance],
    ("GET", "/v1/patients/{patient}/trends"): [positive_data_acceptance],
    ("GET", "/v1/patients/{patient}/summary"): [positive_data_acceptance],
    ("GET", "/v1/patients/{patient}/beats"): [positive_data_acceptance],
    ("GET", "/v1/patients/{patient}/quality"): [positive_data_acceptance],
    ("GET", "/v1/patients/{patient}/ecg"): [positive_data_acceptance],
    ("GET", "/v1/fhir/Patient/{patient}/Observation"): [positive_data_acceptance],
    ("GET", "/v1/fhir/Patient/{patient}/DiagnosticReport"): [positive_data_acceptance],
    ("GET", "/v1/fhir/Patient/{patient}/$export"): [positive_data_acceptance],
}
"""What a schema does not say: that one field needs another, that 3.0 is no integer here, that base64 has an
even number of bytes, that a batch with a bad segment is answered with 207, that a span ends after it begins
and is not too long."""
CASES = [
    (route, mode)
    for route in DOCUMENTED
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    if (route, mode)
    not in {
        (("GET", path), GenerationMode.NEGATIVE)
        for path in ("/health/live", "/health/ready", "/v1/fhir/metadata")
    }
]
"""Those take nothing that could be wrong."""


@pytest.mark.parametrize(
    ("route", "mode"), CASES, ids=[f"{' '.join(route)} {mode.value}" for route, mode in CASES]
)
def test_the_service_does_what_its_document_says(route, mode, sqlite_served: Served) -> None:
    method, path = route
    document = schemathesis.openapi.from_dict(sqlite_served.app.document, config=SchemathesisConfig())
    document.config.base_url = sqlite_served.url
    token = caller(route, sqlite_served)
    operation = document[path][method]

    @seed(1905)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def check(case) -> None:
        # A parameter without a value does not reach the service, which cannot refuse it then.
        assume(all(value not in (None, [], {}) for value in (case.query or {}).values()))
        case.call_and_validate(
            headers={"Authorization": f"Bearer {token}"}, timeout=20, excluded_checks=BEYOND.get(route)
        )

    check()
