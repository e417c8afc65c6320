"""Whether a person may see what was found of a patient, asked at every route that shows it, and entered.

`SHOWN` names those routes: views, samples, answers, recordings and their reports, FHIR resources, alerts, the
ward, and what is told live. `admit` answers before the route is served: the answer and its entry are one
transaction, so that nothing is shown of which the ledger does not know. Where a ledger was altered, care goes
on: what may be seen is shown, that it was not entered is logged, and the ledger is alerted of.

Who names a patient that they may not see is refused in the same words whether or not there is one; who names
an alert, a recording or a device of such a patient is told that there is none.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, get_args

import msgspec

from einthoven.alerts import WatchKind
from einthoven.clock import Clock
from einthoven.errors import AccessDenied, InputInvalid, NotFound
from einthoven.names import is_pseudonym
from einthoven.server import grant_tables
from einthoven.server.accounts import Role
from einthoven.server.connections import Connections
from einthoven.server.grant_tables import Sight
from einthoven.server.ledger_entries import has_ledger, keep_entries
from einthoven.server.parties import Party
from einthoven.storage.database import Statements
from einthoven.trust.entries import Entry
from einthoven.trust.grants import AccessAsk, AccessDecision, SeenClass, accessed, decide_access

__all__ = [
    "SHOWN",
    "STREAM_EVENTS",
    "Answer",
    "Shown",
    "Wanted",
    "admit",
    "alert_ask",
    "alerts_seen",
    "answer",
    "sight_of",
]


Enter = Callable[[Statements, str, Sequence[Entry]], None]
"""Puts entries into an organisation's ledger, in the transaction."""


class Shown(msgspec.Struct, frozen=True):
    """What a route shows, and whom it is no finding for."""

    data: SeenClass
    kept_by: frozenset[Role] = frozenset()
    """Roles that keep devices and recordings, and see of them what this route shows."""
    is_entered: bool = True
    """Whether each look is entered; what is refused, or seen in an emergency, always is."""


_KEEPERS: Final[frozenset[Role]] = frozenset({"admin", "technician"})
_STREAMS: Final = Shown("segments", _KEEPERS, is_entered=False)
_RECORDINGS: Final = Shown("recordings", frozenset({"technician"}), is_entered=False)
SHOWN: Final[dict[tuple[str, str], Shown]] = {
    ("GET", "/v1/patients/{patient}/segments"): Shown("segments"),
    ("GET", "/v1/patients/{patient}/trends"): Shown("findings"),
    ("GET", "/v1/patients/{patient}/summary"): Shown("findings"),
    ("GET", "/v1/patients/{patient}/episodes"): Shown("findings"),
    ("GET", "/v1/patients/{patient}/beats"): Shown("findings"),
    ("GET", "/v1/patients/{patient}/quality"): Shown("findings"),
    ("GET", "/v1/patients/{patient}/rules"): Shown("alerts"),
    ("PUT", "/v1/patients/{patient}/rules"): Shown("alerts"),
    ("GET", "/v1/patients/{patient}/ecg"): Shown("segments"),
    ("GET", "/v1/fhir/Patient/{patient}/Observation"): Shown("findings"),
    ("GET", "/v1/fhir/Patient/{patient}/DiagnosticReport"): Shown("findings"),
    ("GET", "/v1/fhir/Patient/{patient}/$export"): Shown("findings"),
    ("GET", "/v1/ward"): Shown("findings", frozenset({"technician"})),
    ("GET", "/v1/recordings/{recording}/result"): Shown("recordings"),
    ("GET", "/v1/recordings/{recording}/report"): Shown("recordings"),
    ("GET", "/v1/recordings/{recording}/reports"): Shown("recordings"),
    ("POST", "/v1/recordings/{recording}/reports"): Shown("recordings"),
    ("GET", "/v1/recordings"): _RECORDINGS,
    ("POST", "/v1/recordings"): _RECORDINGS,
    ("GET", "/v1/recordings/{recording}"): _RECORDINGS,
    ("POST", "/v1/recordings/{recording}/cancel"): _RECORDINGS,
    ("POST", "/v1/recordings/{recording}/redrive"): _RECORDINGS,
    ("GET", "/v1/streams"): _STREAMS,
    ("GET", "/v1/streams/{device}"): _STREAMS,
    ("GET", "/v1/alerts"): Shown("alerts"),
    ("GET", "/v1/alerts/{alert}"): Shown("alerts"),
    ("POST", "/v1/alerts/{alert}/acknowledge"): Shown("alerts"),
    ("POST", "/v1/alerts/{alert}/assign"): Shown("alerts"),
    ("POST", "/v1/alerts/{alert}/escalate"): Shown("alerts"),
    ("POST", "/v1/alerts/{alert}/suppress"): Shown("alerts"),
    ("POST", "/v1/alerts/{alert}/resume"): Shown("alerts"),
    ("POST", "/v1/alerts/{alert}/close"): Shown("alerts"),
    ("GET", "/v1/events"): Shown("alerts"),
}
"""Routes by which a person sees what was found of patients, or that there are any."""
STREAM_EVENTS: Final = "/v1/events:streams"
"""How it stands in the ledger that somebody is told of streams."""
_STREAM_EVENTS: Final = Shown("findings", _KEEPERS)
_SIGNS: Final = str.maketrans("", "", "{}$")
"""Of routes, that an entry has not."""
_WATCHED: Final[tuple[str, ...]] = get_args(WatchKind)
"""Conditions of devices, channels, ledgers and access: no findings, whoever keeps those sees them."""
_ABSENT: Final = {
    "alert": ("there is no such alert.", "List the alerts."),
    "recording": ("there is no such recording.", "List the recordings."),
    "device": ("there is no such stream.", "List the streams."),
}
"""What is said of something that is not there; and of something that the asker may not know of."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a person asks for."""

    party: Party
    route: tuple[str, str]
    named: Mapping[str, str] = {}
    """The patient, alert, recording or device that the request names."""
    may_ask: bool = True
    """Whether the route is open to the role."""

    @property
    def shown(self) -> Shown:
        """What is seen if it is permitted."""
        return _STREAM_EVENTS if self.route[1] == STREAM_EVENTS else SHOWN[self.route]

    @property
    def account(self) -> str:
        """Who asks."""
        return self.party.owner.removeprefix("user/")

    @property
    def what(self) -> str:
        """How the route stands in the ledger."""
        method, path = self.route
        path = path.translate(_SIGNS)
        return path if method == "GET" else f"{method}:{path}"


class Answer(msgspec.Struct, frozen=True):
    """Whether they may, and what they see in lists."""

    decision: AccessDecision
    sight: Sight
    is_due: bool
    """Whether it belongs into a ledger, and there is one."""


async def admit(connections: Connections, clock: Clock, wanted: Wanted, *others: Wanted) -> Sight:
    """Whose data this person sees here; entered, if there is a ledger.

    Where one of several is enough, all that are permitted are entered; if none is, all that were refused.

    Raises
    ------
    AccessDenied : not this patient's. NotFound : not this alert, recording or device.
    InputInvalid : a patient by a name that is no pseudonym.
    """
    patient = wanted.named.get("patient", "")
    if wanted.may_ask and patient and not is_pseudonym(patient):
        raise InputInvalid("this is no pseudonym.", where="patient", remedy="See /schema/openapi.json.")
    now_ns = clock.utc_ns()
    asked = (wanted, *others)
    found = await connections.read(lambda s: _answers(s, asked, now_ns))
    if any(one.is_due for one in found):
        found = await connections.write(lambda s: _answers(s, asked, now_ns, enter=keep_entries))
    if found[0].decision.verdict == "deny" and wanted.may_ask:
        raise _refusal(wanted)
    return found[0].sight


def _answers(
    statements: Statements, asked: Sequence[Wanted], now_ns: int, *, enter: Enter | None = None
) -> list[Answer]:
    """Of those of them that are permitted; of all, if none is."""
    found = [answer(statements, one, now_ns) for one in asked]
    permitted = [place for place, one in enumerate(found) if one.decision.verdict == "permit"]
    return [
        found[place] if enter is None else answer(statements, asked[place], now_ns, enter=enter)
        for place in permitted or range(len(asked))
    ]


def sight_of(party: Party) -> Sight:
    """What a device or a gateway sees: its patient's, or all that it sends for."""
    return Sight(party.org, "", party.kind, party.patient, "open", 0)


def answer(
    statements: Statements,
    wanted: Wanted,
    now_ns: int,
    *,
    enter: Enter | None = None,
) -> Answer:
    """The decision, as the tables are in this transaction."""
    party, shown = wanted.party, wanted.shown
    rule = grant_tables.rule_of(statements, party.org)
    ask = _ask(statements, wanted, shown)
    known = (
        grant_tables.grants_for(statements, party.org, [ask.patient], account=wanted.account, role=party.kind)
        if ask.patient and rule != "open"
        else ()
    )
    decision = decide_access(ask, rule, known, now_ns)
    seen_by = "open" if party.kind in shown.kept_by else rule
    sight = Sight(party.org, wanted.account, party.kind, party.patient, seen_by, now_ns)
    broken = _broken(statements, sight, ask, now_ns) if rule != "open" and not ask.patient else []
    is_told = shown.is_entered or decision.verdict == "deny" or decision.is_emergency or bool(broken)
    if enter is not None:
        told = [(ask, decision), *broken] if shown.is_entered or not broken else broken
        enter(statements, party.org, [accessed(one, made, wanted.what, now_ns) for one, made in told])
    return Answer(decision, sight, is_told and has_ledger(statements, party.org))


def _broken(
    statements: Statements, sight: Sight, ask: AccessAsk, now_ns: int
) -> list[tuple[AccessAsk, AccessDecision]]:
    """Patients whose data a list shows for no other reason than an emergency."""
    if ask.role == "patient" or not ask.may_ask or ask.is_kept:
        return []
    held = grant_tables.grants_of_account(statements, sight.org, sight.account, now_ns)
    patients = sorted({one.patient for one in held if one.basis == "emergency"})
    known = grant_tables.grants_for(statements, sight.org, patients, account=ask.account, role=ask.role)
    asks = [msgspec.structs.replace(ask, patient=one) for one in patients]
    made = [(one, decide_access(one, sight.rule, known, now_ns)) for one in asks]
    return [(one, decision) for one, decision in made if decision.is_emergency]


def _ask(statements: Statements, wanted: Wanted, shown: Shown) -> AccessAsk:
    party, patient, condition = wanted.party, wanted.named.get("patient", ""), ""
    if wanted.named.get("alert"):
        patient, condition = _alert(statements, party.org, wanted.named["alert"])
    elif wanted.named.get("recording"):
        patient = _patient(statements, "recordings", "id", party.org, wanted.named["recording"])
    elif wanted.named.get("device"):
        patient = _patient(statements, "streams", "device", party.org, wanted.named["device"])
    elif not patient and party.patient is not None:
        patient = party.patient
    if not is_pseudonym(patient):
        patient = ""
    if shown.data == "alerts" and (condition or party.kind == "admin"):
        return alert_ask(party, wanted.account, patient, condition or _WATCHED[0], may_ask=wanted.may_ask)
    return AccessAsk(
        account=wanted.account,
        role=party.kind,
        own_patient=party.patient,
        patient=patient,
        data=shown.data,
        may_ask=wanted.may_ask,
        is_kept=party.kind in shown.kept_by,
    )


def alert_ask(party: Party, account: str, patient: str, condition: str, *, may_ask: bool = True) -> AccessAsk:
    """Somebody asks for an alert: administrators for those alone that no ECG shows."""
    is_watched = condition in _WATCHED
    return AccessAsk(
        account=account,
        role=party.kind,
        own_patient=party.patient,
        patient=patient,
        data="alerts",
        may_ask=may_ask and (is_watched or party.kind != "admin"),
        is_kept=is_watched and party.kind in _KEEPERS,
    )


def alerts_seen(sight: Sight) -> tuple[str, tuple[object, ...]]:
    """What `alert_ask` with the decision says, for a list: a condition on rows of alerts, its values."""
    watched = f"condition IN ({', '.join('?' * len(_WATCHED))})"
    if sight.role == "admin":
        return watched, _WATCHED
    if not sight.is_limited or sight.role == "patient":
        return sight.of("alerts")
    sql, values = sight.of("alerts")
    if sight.role in _KEEPERS:
        return f"(patient = '' OR {watched} OR {sql})", (*_WATCHED, *values)
    return f"(patient = '' OR {sql})", values


def _alert(statements: Statements, org: str, id_: str) -> tuple[str, str]:
    rows = statements.rows("SELECT patient, condition FROM alerts WHERE org = ? AND id = ?", (org, id_))
    return (str(rows[0][0]), str(rows[0][1])) if rows else ("", "")


def _patient(statements: Statements, table: str, column: str, org: str, name: str) -> str:
    """Whose it is; nobody's where there is none."""
    rows = statements.rows(
        f"SELECT patient FROM {table} WHERE org = ? AND {column} = ?",  # noqa: S608 - names of ours
        (org, name),
    )
    return str(rows[0][0]) if rows else ""


def _refusal(wanted: Wanted) -> AccessDenied | NotFound:
    for kind, (what, remedy) in _ABSENT.items():
        if wanted.named.get(kind):
            return NotFound(what, where=kind, remedy=remedy)
    if wanted.party.kind == "patient":
        return AccessDenied("these are another one's data.", where="patient", remedy="Ask for your own.")
    return AccessDenied(
        "nobody let you see this patient's data.",
        where="patient",
        remedy="Ask the patient or an administrator for access; in an emergency, break the glass.",
    )
