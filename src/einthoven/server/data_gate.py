"""Which regions may be given a patient's samples: policy, consent and purpose, each time that any are sent.

A region that may not have them is never a candidate. What cannot be judged is denied: a policy or a consent
that cannot be read, a decision that cannot be entered into a ledger that there is. None of that holds anybody
up, because what regions may not have is analysed here: the site that received it has it already.

A decision is entered before the first data goes because of it, and again only when it is another one. The
newest consents are read in the transaction that enters it, and else in one that ends just before the data
goes: what a patient takes back holds for the next invocation, in every process.
"""

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from einthoven.clock import Clock
from einthoven.continuum import Region, Spot
from einthoven.errors import EinthovenError, InputInvalid, LedgerTampered
from einthoven.functions import INTERPRETING, PIPELINE, contract_of
from einthoven.runtime.ecg_functions import STAGES
from einthoven.runtime.hosted import ANALYSES, FUSED, INTERPRETATIONS
from einthoven.server.ledger_entries import has_ledger, ledgers_here
from einthoven.storage.consents import Movement, add_movements, consents_of, note_decision
from einthoven.storage.database import Connection, Statements
from einthoven.storage.ledgers import head_of
from einthoven.trust.consent import Consent, DataClass, read_consent
from einthoven.trust.entries import Entry, PolicyChanged
from einthoven.trust.policy import NO_POLICY, Decision, Policy, Question, decide_call, placed, read_policy

__all__ = ["CARRIED", "Admitted", "DataGate", "Patient", "PolicyFile"]

_LOG: Final = logging.getLogger("einthoven.policy")
CARRIED: Final[tuple[DataClass, ...]] = ("pseudonymised", "samples")
"""What a call holds: samples. No name, pseudonym, device or time is with them, so that it may pass as the one
or the other."""
_CARRIED_BY: Final[dict[str, tuple[DataClass, ...]]] = {INTERPRETATIONS: ("features",)}
"""Calls that hold something else."""
_PIPELINE: Final = tuple(contract_of(call).name for call in PIPELINE)
_NAMES: Final = {name: (contract_of(call).name,) for name, call in STAGES.items()} | {
    ANALYSES: _PIPELINE,
    INTERPRETATIONS: tuple(contract_of(call).name for call in INTERPRETING),
}
"""What the policy calls the functions that are called so."""
_KEPT: Final = 200_000
_REGION: Final = ""
_POLICY: Final = "policy"

Patient = tuple[str, str]
"""Organisation and pseudonym."""
Admitted = Mapping[Spot, DataClass]
"""Regions that may have a patient's data, and as which class it goes there."""


class PolicyFile:
    """A policy that is looked at each time, and read when it changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._policy: Policy | None = None
        self._has_looked = False

    def current(self) -> Policy | None:
        """What is in force; None where it cannot be read, and so nothing is permitted."""
        try:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        except OSError:
            stamp = None
        if stamp != self._seen or not self._has_looked:
            self._seen, self._has_looked = stamp, True
            self._policy = self._read()
        return self._policy

    def _read(self) -> Policy | None:
        try:
            return read_policy(self._path.read_text(encoding="utf-8"), self._path.name)
        except (OSError, UnicodeDecodeError) as error:
            _LOG.error("the data policy cannot be read, and nothing leaves: %s", type(error).__name__)
        except InputInvalid as error:
            _LOG.error(
                "the data policy cannot be read, and nothing leaves: %s", error, extra={"code": error.code}
            )
        return None


class _Judged(NamedTuple):
    decision: Decision
    until_ns: float
    """It is the same until then."""


class _Made(NamedTuple):
    """A decision about a patient's data in a region."""

    patient: Patient
    region: Region
    decision: Decision
    asked: Question
    said: str


class DataGate:
    """Decides, enters what it decided, and counts what went; for any thread.

    Parameters
    ----------
    path : of the policy.
    regions : those that might be given data now.
    """

    def __init__(self, path: Path, regions: Callable[[], Iterable[Region]], clock: Clock) -> None:
        self._file = PolicyFile(path)
        self._regions = regions
        self._clock = clock
        self._lock = threading.Lock()
        self._policy: Policy | None = None
        self._judged: dict[tuple[bytes | None, Spot, str], _Judged] = {}
        self._entered: dict[tuple[str, str, str, str], str] = {}
        self._moved: dict[tuple[str, str, str, str, str], int] = {}
        self._moved_lock = threading.Lock()  # whoever sends does not wait for who enters a decision

    def admitted(
        self, connection: Connection, patients: Collection[Patient], function: str
    ) -> dict[Patient, Admitted]:
        """The regions that may be given a call of a function with these patients' data now.

        Raises
        ------
        DatabaseUnavailable : no answer.
        """
        with self._lock:
            policy = self._file.current()
            if policy != self._policy or len(self._judged) > _KEPT:
                self._judged.clear()
                self._policy = policy
            regions = tuple(self._regions())
            now_ns = self._clock.utc_ns()
            with connection.reading() as statements:
                made = self._made(statements, policy, patients, regions, function, now_ns)
                with_ledger = {org for org in {one for one, _ in patients} if has_ledger(statements, org)}
            fresh = {
                one.patient for one in made if one.patient[0] in with_ledger and self._is_fresh(one, function)
            }
            if fresh:
                made = [one for one in made if one.patient not in fresh]
                made += self._entering(connection, policy, fresh, regions, function, now_ns)
        found: dict[Patient, dict[Spot, DataClass]] = {patient: {} for patient in patients}
        for one in made:
            if one.decision.data is not None:
                found[one.patient][one.region.spot] = one.decision.data
        return dict(found)

    # ---------------------------------------------------------------- deciding

    def _made(
        self,
        statements: Statements,
        policy: Policy | None,
        patients: Collection[Patient],
        regions: Sequence[Region],
        function: str,
        now_ns: int,
    ) -> list[_Made]:
        consents: dict[Patient, bytes] = {}
        for org in {one for one, _ in patients}:
            own = consents_of(statements, org, [patient for its, patient in patients if its == org])
            consents |= {(org, patient): resource for patient, resource in own.items()}
        made = []
        for patient in patients:
            resource = consents.get(patient)
            for region in regions:
                asked = Question(
                    function=function, region=region, purpose="treatment", consent=None, now_ns=now_ns
                )
                decision = self._decision(policy, resource, asked)
                made.append(
                    _Made(patient, region, decision, asked, _said(policy, resource, region, decision))
                )
        return made

    def _decision(self, policy: Policy | None, resource: bytes | None, asked: Question) -> Decision:
        key = (resource, asked.region.spot, asked.function)
        known = self._judged.get(key)
        if known is not None and asked.now_ns < known.until_ns:
            return known.decision
        consent, is_readable = _read(resource)
        if policy is None or not is_readable:
            found = _Judged(NO_POLICY, float("inf"))
        else:
            asked = msgspec.structs.replace(asked, consent=consent)
            carried = _CARRIED_BY.get(asked.function, CARRIED)
            decision = decide_call(policy, _functions(asked.function), asked, carried=carried)
            found = _Judged(decision, _same_until_ns(consent, asked.now_ns))
        self._judged[key] = found
        return found.decision

    # ---------------------------------------------------------------- the ledger

    def _is_fresh(self, one: _Made, function: str) -> bool:
        return self._entered.get((*one.patient, function, one.region.name)) != one.said

    def _entering(
        self,
        connection: Connection,
        policy: Policy | None,
        patients: Collection[Patient],
        regions: Sequence[Region],
        function: str,
        now_ns: int,
    ) -> list[_Made]:
        """Decide again, where nobody changes a consent, and enter it; what cannot be is not done."""
        ledgers = ledgers_here()
        if ledgers is None:
            return []
        if len(self._entered) > _KEPT:
            self._entered.clear()
        try:
            with connection.writing() as statements:
                orgs = sorted({org for org, _ in patients})
                for org in orgs:
                    head_of(statements, org, for_append=True)  # who changes a consent waits for this, too
                made = self._made(statements, policy, patients, regions, function, now_ns)
                entries: dict[str, list[Entry]] = {
                    org: _policy_entry(statements, org, policy, now_ns) for org in orgs
                }
                for one in sorted(made, key=lambda it: (it.patient, it.region.name)):
                    if note_decision(statements, *one.patient, function, one.region.name, one.said):
                        asked, decision = one.asked, one.decision
                        entries[one.patient[0]].append(
                            placed(policy, asked, decision, patient=one.patient[1])
                        )
                for org in orgs:
                    ledgers.append(statements, org, entries[org])
        except LedgerTampered as error:  # whoever verifies alerts of it
            _LOG.error("nothing leaves, for it cannot be entered: %s", error.what, extra={"code": error.code})
            return []
        self._entered |= {(*one.patient, function, one.region.name): one.said for one in made}
        return made

    # ---------------------------------------------------------------- what went

    def sent(self, patient: Patient, admitted: Admitted, region: Region, content_bytes: int) -> None:
        """So much of a patient's data went to a region."""
        if region.kind in ("inline", "pool"):
            return  # it stayed in this machine
        key = (*patient, region.name, region.tier, admitted.get(region.spot, "samples"))
        with self._moved_lock:
            self._moved[key] = self._moved.get(key, 0) + content_bytes

    def sends(self, patient: Patient, admitted: Admitted) -> Callable[[Region, int], None]:
        """The same, for whoever sends."""
        return partial(self.sent, patient, admitted)

    def keep(self, statements: Statements) -> "Kept":
        """Add what went to the sums, in somebody's transaction; once that is on disk tell `kept`."""
        with self._moved_lock:
            these = dict(self._moved)
        now_ns = self._clock.utc_ns()
        add_movements(
            statements,
            [
                Movement(
                    org=org,
                    patient=patient,
                    region=region,
                    tier=tier,
                    data=data,
                    since_ns=now_ns,
                    content_bytes=content_bytes,
                )
                for (org, patient, region, tier, data), content_bytes in these.items()
            ],
        )
        return these

    def kept(self, these: "Kept") -> None:
        """It is on disk."""
        with self._moved_lock:
            for key, content_bytes in these.items():
                left = self._moved[key] - content_bytes
                if left:
                    self._moved[key] = left
                else:
                    del self._moved[key]


Kept = Mapping[tuple[str, str, str, str, str], int]
"""What went, by organisation, patient, region, tier and class, in bytes."""


def _functions(called: str) -> tuple[str, ...]:
    """The functions of a call, as the policy names them."""
    return tuple(name for part in called.split(FUSED) for name in _NAMES.get(part, (part,)))


@lru_cache(maxsize=20_000)
def _read(resource: bytes | None) -> tuple[Consent | None, bool]:
    """What a consent says, and whether it can be read."""
    if resource is None:
        return None, True
    try:
        return read_consent(resource), True
    except EinthovenError as error:
        _LOG.error("a consent cannot be read, and nothing of the patient leaves", extra={"code": error.code})
        return None, False


def _same_until_ns(consent: Consent | None, now_ns: int) -> float:
    """Until when a consent answers as it does now."""
    if consent is None:
        return float("inf")
    ends = [consent.start_ns, consent.until_ns]
    for one in consent.provisions:
        ends += [one.start_ns, one.until_ns]
    return min((end for end in ends if end is not None and end > now_ns), default=float("inf"))


def _said(policy: Policy | None, resource: bytes | None, region: Region, decision: Decision) -> str:
    """What makes a decision another one."""
    consent, _ = _read(resource)
    version = "" if consent is None else f"{consent.id}/{consent.version}"
    parts = (decision.verdict, decision.why, decision.data or "", decision.rule, version, region.tier)
    return " ".join((*parts, "" if policy is None else policy.digest))


def _policy_entry(statements: Statements, org: str, policy: Policy | None, now_ns: int) -> list[Entry]:
    """That another policy is in force, if nobody has entered that."""
    if policy is None or not note_decision(statements, org, "", _POLICY, _REGION, policy.digest):
        return []
    return [PolicyChanged(at_ns=now_ns, version=policy.version, digest=policy.digest, by="")]
