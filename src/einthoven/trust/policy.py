"""Where what data may go, for what: a table of rules, and the decision with its reason.

Nothing may go anywhere unless a rule permits it: an unknown function, class or purpose, a consent that is
missing or over, or a policy that says nothing are all "deny". A rule that denies stands above all that
permit. A function gets the class of data that tells least of those that it takes and the policy permits, so
that features leave a tier where samples may not.

An emergency is an exception that the policy itself allows, for as long as it says, to somebody who gives a
reason; it is marked in the decision, so that it is in the ledger.
"""

import hashlib
import re
import tomllib
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from einthoven.continuum import Region, Tier
from einthoven.errors import InputInvalid, PolicyDenied
from einthoven.trust.consent import DATA_CLASSES, Consent, DataClass, Purpose, Verdict
from einthoven.trust.entries import Placed, Reason

__all__ = [
    "NO_POLICY",
    "WHY",
    "Decision",
    "Emergency",
    "EmergencyRule",
    "Need",
    "Policy",
    "Question",
    "Rule",
    "Why",
    "decide",
    "decide_call",
    "placed",
    "read_policy",
    "require",
]

Need = Literal["required", "unless-refused", "none"]
Why = Literal[
    "permitted", "emergency", "denied", "no-rule", "no-consent", "consent-over", "consent-refuses",
    "no-function", "no-policy",
]  # fmt: skip
WHY: Final[dict[Why, str]] = {
    "permitted": "a rule permits it, and the consent that it asks for is there",
    "emergency": "the emergency rule permits what would be denied; it is logged",
    "denied": "a rule denies it",
    "no-rule": "no rule permits it",
    "no-consent": "it needs the patient's consent, and there is none",
    "consent-over": "it needs the patient's consent, and that is withdrawn, over or not yet valid",
    "consent-refuses": "the patient's consent does not allow it",
    "no-function": "the policy does not say what this function takes, or not that it takes what is sent",
    "no-policy": "the policy, or the patient's consent, cannot be read",
}
"""Every reason that a decision can have."""
_NEAR: Final[tuple[Why, ...]] = (
    "consent-refuses", "consent-over", "no-consent", "denied", "no-rule", "no-function", "no-policy",
)  # fmt: skip
"""Of several classes that are all denied, the reason that is told: what a person can do most about."""
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_FUNCTION: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,127}")
_MAX_BYTES: Final = 2**20
_HOUR_S: Final = 3600.0
_REMEDY: Final = "See docs/reference/policy.md."


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may go where, or may not; what it leaves empty matches anything, but for the data."""

    name: str
    verdict: Verdict = "permit"
    data: tuple[DataClass, ...]
    tiers: tuple[Tier, ...] = ()
    regions: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    """A rule that permits wants all of them of a region; one that denies, any."""
    purposes: tuple[Purpose, ...] = ()
    functions: tuple[str, ...] = ()
    consent: Need = "required"
    """``required``: an active consent says yes. ``unless-refused``: none says no, and none was taken back.
    ``none``: it is not asked."""

    def __post_init__(self) -> None:
        _check(bool(_NAME.fullmatch(self.name)), "name", "is a word of a-z, 0-9 and -")
        _check(bool(self.data), "data", "names at least one class")

    def speaks_of(self, data: DataClass, asked: "Question") -> bool:
        """Whether it says something about this."""
        has = set(asked.region.labels)
        wanted = set(self.labels)
        matches = wanted <= has if self.verdict == "permit" else not wanted or bool(wanted & has)
        return (
            data in self.data
            and matches
            and (not self.tiers or asked.region.tier in self.tiers)
            and (not self.regions or asked.region.name in self.regions)
            and (not self.purposes or asked.purpose in self.purposes)
            and (not self.functions or asked.function in self.functions)
        )


class EmergencyRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be done for treatment in an emergency though a rule or a consent is missing."""

    data: tuple[DataClass, ...]
    tiers: tuple[Tier, ...] = ("local", "edge")
    labels: tuple[str, ...] = ()
    roles: tuple[str, ...] = ("clinician",)
    """Who may say that it is one."""
    most_s: float = _HOUR_S
    """How long after it was said."""

    def __post_init__(self) -> None:
        _check(bool(self.data), "emergency.data", "names at least one class")
        _check(0 < self.most_s <= 24 * _HOUR_S, "emergency.most_s", "is more than 0 and at most a day")


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A document that is in force as a whole."""

    version: int
    functions: dict[str, tuple[DataClass, ...]] = {}
    """What each function takes; it is given one of these classes."""
    rules: tuple[Rule, ...] = ()
    emergency: EmergencyRule | None = None

    def __post_init__(self) -> None:
        _check(self.version >= 1, "version", "is a number from 1")
        names = [rule.name for rule in self.rules]
        _check(len(set(names)) == len(names), "rules", "have different names")
        for name, takes in self.functions.items():
            _check(bool(_FUNCTION.fullmatch(name)), "functions", "are named by words")
            _check(bool(takes), f"functions.{name}", "takes at least one class")

    @property
    def digest(self) -> str:
        """SHA-256 of what it says, hexadecimal; the same however the document was written."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked: whether this function may have a patient's data there."""

    function: str
    region: Region
    purpose: Purpose
    consent: Consent | None
    """The newest version of the patient's, whatever it says; None if there is none."""
    now_ns: int
    """UTC; what holds from or until a time is judged by it."""


class Emergency(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody said that it is an emergency."""

    by: str
    role: str
    reason: Reason
    since_ns: int


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a function may have a patient's data in a region, of which class, and why."""

    verdict: Verdict
    why: Why
    data: DataClass | None
    """The class that it is given; None if it gets nothing."""
    rule: str
    """What decided: the name of a rule, or the reason again."""
    consent: str = ""
    """Id and version of the consent that was looked at, if one was."""
    emergency: Emergency | None = None

    @property
    def is_permitted(self) -> bool:
        """Whether it may."""
        return self.verdict == "permit"


NO_FUNCTION: Final = Decision(verdict="deny", why="no-function", data=None, rule="no-function")
NO_POLICY: Final = Decision(verdict="deny", why="no-policy", data=None, rule="no-policy")
"""What cannot be judged is denied."""


def decide(
    policy: Policy,
    asked: Question,
    emergency: Emergency | None = None,
    *,
    carried: Sequence[DataClass] = DATA_CLASSES,
) -> Decision:
    """Whether a function may have a patient's data in a region, of which class, and why.

    Parameters
    ----------
    carried : classes as which what would be sent may pass; whoever cannot send less names them.
    """
    takes = policy.functions.get(asked.function, ())
    classes = [data for data in DATA_CLASSES if data in takes and data in carried]
    if not classes:
        return NO_FUNCTION
    found = [_of_class(policy, data, asked) for data in classes]
    permitted = next((one for one in found if one.is_permitted), None)
    if permitted is not None:
        return permitted
    if emergency is not None and policy.emergency is not None:
        data = _in_emergency(policy.emergency, classes, asked, emergency)
        if data is not None:
            return Decision(
                verdict="permit",
                why="emergency",
                data=data,
                rule="emergency",
                consent=_told(asked.consent),
                emergency=emergency,
            )
    return min(found, key=lambda one: _NEAR.index(one.why))


def decide_call(
    policy: Policy, functions: Sequence[str], asked: Question, *, carried: Sequence[DataClass]
) -> Decision:
    """Whether a call of functions one after the other may be sent to a region.

    The first is given what the call carries, and each of the others what the one before it gives: nothing of
    that leaves the region. So all of them must be permitted there, and what is told is of the first.

    Parameters
    ----------
    functions : by the names that the policy has for them; ``asked`` names the call.
    """
    found = [
        decide(
            policy,
            msgspec.structs.replace(asked, function=function),
            carried=DATA_CLASSES if number else carried,
        )
        for number, function in enumerate(functions)
    ]
    return next((one for one in found if not one.is_permitted), found[0]) if found else NO_FUNCTION


def _of_class(policy: Policy, data: DataClass, asked: Question) -> Decision:
    spoken = [rule for rule in policy.rules if rule.speaks_of(data, asked)]
    for rule in spoken:
        if rule.verdict == "deny":
            return Decision(verdict="deny", why="denied", data=None, rule=rule.name)
    whys: list[tuple[Why, Rule]] = []
    for rule in spoken:
        why = _consented(rule.consent, data, asked)
        if why == "permitted":
            told = "" if rule.consent == "none" else _told(asked.consent)
            return Decision(verdict="permit", why=why, data=data, rule=rule.name, consent=told)
        whys.append((why, rule))
    if not whys:
        return Decision(verdict="deny", why="no-rule", data=None, rule="no-rule")
    why, rule = min(whys, key=lambda one: _NEAR.index(one[0]))
    return Decision(verdict="deny", why=why, data=None, rule=rule.name, consent=_told(asked.consent))


def _consented(need: Need, data: DataClass, asked: Question) -> Why:
    consent = asked.consent
    if need == "none":
        return "permitted"
    if consent is None:
        return "permitted" if need == "unless-refused" else "no-consent"
    if not consent.holds(asked.now_ns):
        is_silent = consent.status in {"draft", "proposed", "active"}  # said nothing yet, or for another time
        return "permitted" if need == "unless-refused" and is_silent else "consent-over"
    says = consent.says(data, asked.region, asked.purpose, asked.now_ns)
    return "permitted" if says == "permit" else "consent-refuses"


def _in_emergency(
    rule: EmergencyRule, classes: Sequence[DataClass], asked: Question, said: Emergency
) -> DataClass | None:
    is_one = (
        asked.purpose in {"treatment", "emergency"}
        and said.role in rule.roles
        and 0 <= asked.now_ns - said.since_ns <= rule.most_s * 1e9
        and asked.region.tier in rule.tiers
        and set(rule.labels) <= set(asked.region.labels)
    )
    return next((data for data in classes if data in rule.data), None) if is_one else None


def require(decision: Decision) -> DataClass:
    """The class of data that may go, for whoever is about to send it.

    Raises
    ------
    PolicyDenied : nothing may.
    """
    if decision.data is None:
        raise PolicyDenied(
            f"the data policy does not permit it: {WHY[decision.why]}.",
            where=decision.rule,
            remedy="einthoven policy explain says where it may go.",
        )
    return decision.data


def placed(
    policy: Policy | None, asked: Question, decision: Decision, *, patient: str, invocation: str = ""
) -> Placed:
    """The ledger's entry of a decision; without a policy, where that could not be read."""
    said = decision.emergency
    rule = f"{decision.rule}/{said.by}:{said.reason}" if said else decision.rule
    return Placed(
        at_ns=asked.now_ns,
        patient=patient,
        function=asked.function,
        region=asked.region.name,
        tier=asked.region.tier,
        data=decision.data or "",
        purpose=asked.purpose,
        verdict=decision.verdict,
        rule=rule if decision.is_permitted or decision.why == decision.rule else f"{decision.why}:{rule}",
        digest="" if policy is None else policy.digest,
        invocation=invocation,
    )


def read_policy(text: str, name: str = "policy.toml") -> Policy:
    """The policy that a TOML document says.

    Raises
    ------
    InputInvalid : it says something else too, or something wrong; the message names the place.
    """
    if len(text) > _MAX_BYTES:
        raise InputInvalid(f"the file has more than {_MAX_BYTES} characters.", where=name, remedy=_REMEDY)
    try:
        document: dict[str, Any] = tomllib.loads(text)
        return msgspec.convert(document, Policy)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputInvalid(f"this is not TOML: {error}.", where=name, remedy=_REMEDY) from None
    except InputInvalid as error:
        raise InputInvalid(error.what, where=f"{name}: {error.where}", remedy=_REMEDY) from None
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at ")
        place = place.strip("`").removeprefix("$.") or "document"
        said = f"{what[:1].lower()}{what[1:]}."
        raise InputInvalid(said, where=f"{name}: {place}", remedy=_REMEDY) from None


def _told(consent: Consent | None) -> str:
    return "" if consent is None else f"{consent.id}/{consent.version}"


def _check(is_right: bool, where: str, rule: str) -> None:
    if not is_right:
        raise InputInvalid(f"{where} {rule}.", where=where, remedy=_REMEDY)
