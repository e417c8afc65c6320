"""A plan that anybody can check: the problem, the answer, why none is better, why each was not accepted.

Saved as JSON or MessagePack and read again without the loss of a bit. Checking it needs the file alone:
deadlines and capacities, the utilisation, the bound from its dual, prices, and each remedy are computed
anew, by other code than that which planned. What cannot be checked so is named: an optimum above the bound's
own reach was found by search, and only another search can confirm it.

The digest finds what was altered by accident or without care. Who alters a problem and makes a new digest has
made a certificate of another problem; so compare `Certificate.problem` with that of your own.
"""

import hashlib
import math
from typing import Any, Final, Literal

import msgspec
import numpy as np

from einthoven.errors import EinthovenError, InputInvalid
from einthoven.placement.offloading.instance import FloatArray, Instance
from einthoven.placement.offloading.plans import Plan
from einthoven.placement.offloading.reasons import Reason, reasons_of, worths
from einthoven.placement.offloading.relaxation import bound_of
from einthoven.placement.offloading.saved import (
    Number,
    SavedDual,
    SavedInstance,
    SavedPlan,
    as_number,
    restored_instance,
    restored_plan,
    saved_dual,
    saved_instance,
    saved_plan,
)
from einthoven.placement.offloading.verify import TOLERANCE, bound_by, flaws_of, least_use

__all__ = [
    "Certificate",
    "certify",
    "digest_of",
    "problem_digest",
    "read_certificate",
    "verify_certificate",
    "write_certificate",
]

_VERSION: Final = 1
Proof = Literal["dual", "search", "none"]


class Certificate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A plan, and all that is claimed of it."""

    version: int
    problem: str
    """Digest of the instance."""
    instance: SavedInstance
    plan: SavedPlan
    acceptance: float
    gap: Number
    proof: Proof
    """How the bound is known: by the dual, by search, which only another search can confirm, or there is
    none."""
    relaxed_bound: Number
    """What the dual proves."""
    dual: SavedDual | None
    worths: tuple[float, ...] | None
    """Of each whole resource: what a hundredth more of it is worth at most, in requests or their value, times
    a hundred."""
    reasons: tuple[Reason, ...]
    digest: str = ""

    def says(self) -> tuple[str, ...]:
        """In words: how good it is, what is scarce, and why each was not accepted."""
        plan, total = self.plan, len(self.instance.values)
        lines = [f"{len(plan.accepted)} of {total} requests are accepted ({100 * self.acceptance:.1f} %)."]
        source = "by the dual" if self.proof == "dual" else "by search"
        if self.proof == "none":
            lines.append("How good the best plan is, this method does not know.")
        elif self.gap == 0:
            lines.append(f"No plan is worth more, {source}.")
        else:
            lines.append(f"This one is worth {plan.value:.6g}; none more than {plan.bound:.6g}, {source}.")
        if plan.least_utilisation > 0 and plan.allocation != "frozen":
            spare = 100 * (1 - plan.least_utilisation)
            lines.append(f"All of them could be served with {max(0.0, spare):.3g} % less of everything.")
        pairs = sorted(zip(self.worths or (), self.instance.resources, strict=False), reverse=True)[:3]
        named = [f"{name} ({worth / 100:.3g})" for worth, name in pairs if worth > 1e-9]
        if named:
            lines.append(f"Scarce, and what one per cent more is worth at most: {', '.join(named)}.")
        return (*lines, *(one.says for one in self.reasons))


def certify(instance: Instance, plan: Plan) -> Certificate:
    """The certificate of a plan."""
    relaxed = math.inf if plan.dual is None else bound_of(instance, plan.dual)
    known = worths(plan)
    made = Certificate(
        version=_VERSION,
        problem=problem_digest(instance),
        instance=saved_instance(instance),
        plan=saved_plan(plan),
        acceptance=plan.acceptance,
        gap=as_number(plan.gap),
        proof=_proof(instance.values, plan.bound, relaxed),
        relaxed_bound=as_number(relaxed),
        dual=saved_dual(plan.dual),
        worths=None if known is None else tuple(known.tolist()),
        reasons=reasons_of(instance, plan),
    )
    return msgspec.structs.replace(made, digest=digest_of(made))


def problem_digest(instance: Instance) -> str:
    """The digest of an instance (BLAKE2b, 16 bytes): equal for the same problem."""
    return digest_of(saved_instance(instance))


def write_certificate(certificate: Certificate, *, is_json: bool = True) -> bytes:
    """As JSON, or as MessagePack, which is half as long."""
    encode = msgspec.json.encode if is_json else msgspec.msgpack.encode
    return encode(certificate)


def read_certificate(data: bytes) -> Certificate:
    """What either of them holds.

    Raises
    ------
    InputInvalid : it is neither, or of another version.
    """
    decode = msgspec.json.decode if data[:1] == b"{" else msgspec.msgpack.decode
    try:
        found = decode(data, type=Certificate)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputInvalid(
            f"this is no certificate: {str(error).rstrip('.').lower()}.",
            where="certificate",
            remedy="Make it again from the plan.",
        ) from None
    if found.version != _VERSION:
        raise InputInvalid(
            f"the certificate is of version {found.version}; {_VERSION} is wanted.",
            where="certificate.version",
        )
    return found


def verify_certificate(certificate: Certificate) -> tuple[str, ...]:
    """What is wrong with a certificate; nothing if all its claims hold."""
    flaws: list[str] = []
    try:
        if certificate.digest != digest_of(certificate):
            flaws.append("the digest is not that of the content")
        flaws += _flaws_of_content(certificate)
    except (EinthovenError, ValueError, IndexError, OverflowError) as error:
        said = error.what if isinstance(error, EinthovenError) else "its numbers do not fit together"
        flaws.append(f"the problem in it is none: {said.rstrip('.')}")
    return tuple(flaws)


def _flaws_of_content(certificate: Certificate) -> list[str]:
    instance = restored_instance(certificate.instance)
    plan = restored_plan(certificate.plan, certificate.dual, instance)
    flaws = []
    if certificate.problem != problem_digest(instance):
        flaws.append("the problem is not the one it is said to be")
    of_plan = flaws_of(instance, plan)
    if of_plan:
        return [*flaws, *of_plan]
    flaws += _flaws_of_claims(certificate, instance, plan)
    flaws += _flaws_of_reasons(certificate, instance, plan)
    return flaws


def _flaws_of_claims(certificate: Certificate, instance: Instance, plan: Plan) -> list[str]:
    flaws = []
    if instance.is_additive and not _same(least_use(instance, plan.options), plan.least_utilisation, 1e-9):
        flaws.append("the least utilisation is another")
    if not instance.is_additive and plan.least_utilisation > plan.utilisations.max(initial=0.0) + TOLERANCE:
        flaws.append("the least utilisation is above that of the shares")
    if instance.is_additive and plan.allocation in {"balanced", "cheapest"} and not _follow(instance, plan):
        flaws.append("the shares do not follow from the prices")
    if not _same(certificate.acceptance, len(plan.accepted) / max(1, plan.offered), TOLERANCE):
        flaws.append("the accepted part is another")
    if not _same(float(certificate.gap), plan.gap, TOLERANCE):
        flaws.append("the gap is another")
    relaxed = math.inf if plan.dual is None else bound_by(instance, plan.dual)
    stated = float(certificate.relaxed_bound)
    if not (stated == relaxed or _same(stated, relaxed, 1e-6)):
        flaws.append("the dual proves another bound")
    if plan.bound > relaxed * (1 + 1e-6):
        flaws.append("the bound is not the one that is proven")
    if certificate.proof != _proof(instance.values, plan.bound, relaxed):
        flaws.append("how the bound is known is told otherwise")
    if plan.is_proven and plan.value < _reach(instance.values, plan.bound) - 1e-6:
        flaws.append("it is not shown that none is better")
    known = worths(plan)
    said = certificate.worths
    if (known is None) != (said is None) or (
        known is not None and said is not None and not np.allclose(known, said, rtol=1e-9, atol=1e-12)
    ):
        flaws.append("the worth of a resource is another")
    return flaws


def _flaws_of_reasons(certificate: Certificate, instance: Instance, plan: Plan) -> list[str]:
    """Every rejected request has its reason, and every remedy heals."""
    accepted = set(plan.accepted.tolist())
    rejected = [name for number, name in enumerate(instance.requests) if number not in accepted]
    if [one.request for one in certificate.reasons] != rejected:
        return ["not exactly those that were rejected have a reason"]
    numbers = {name: number for number, name in enumerate(instance.requests)}
    flaws = []
    for reason in certificate.reasons:
        flaw = _flaw_of_reason(reason, instance, plan, numbers)
        if flaw:
            flaws.append(f"{reason.request}: {flaw}")
    return flaws[:10]


def _flaw_of_reason(reason: Reason, instance: Instance, plan: Plan, numbers: dict[str, int]) -> str:
    mine = instance.options_of(numbers[reason.request])
    if reason.why == "never":
        alone = float(instance.alone[numbers[reason.request]])
        stated = alone if reason.take is None else reason.take
        return "it has options" if len(mine) or not (stated == alone or math.isnan(alone)) else ""
    if reason.option is None or reason.option not in mine or instance.sites[reason.option] != reason.site:
        return "the option is not one of its own"
    if not instance.is_additive:
        return ""
    together = np.append(plan.options, reason.option)
    use = least_use(instance, together)
    if reason.why == "settled":
        return "" if use <= 1 + 1e-9 else "it would not fit"
    if use <= 1 - 1e-9:
        return "it would fit"
    if reason.more is not None and reason.resource in instance.resources:
        scale = np.ones(len(instance.capacities))
        at = instance.resources.index(reason.resource)
        for factor, fits in ((1 + 1e-6, True), (1 - 1e-4, False)):
            scale[at] = (1 + reason.more) * factor
            if (least_use(instance, together, scale) <= 1 + 1e-9) != fits:
                return f"{reason.more:.3g} more of {reason.resource} is not what it takes"
    elif reason.more is not None:
        return "the resource is unknown"
    if reason.take is not None and reason.later_s is not None:
        if not _same(reason.later_s, (reason.take - 1) * float(instance.slacks_s[reason.option]), 1e-9):
            return "the later deadline is not that of what it takes"
        for factor, fits in ((1 + 1e-5, True), (1 - 1e-3, False)):
            eased = np.ones(len(together))
            eased[-1] = reason.take * factor
            if (least_use(instance, together, slack=eased) <= 1 + 1e-9) != fits:
                return "a deadline so much later is not what it takes"
    if reason.instead:
        leaving = numbers.get(reason.instead)
        places = np.flatnonzero(plan.accepted == leaving) if leaving is not None else np.zeros(0)
        if not len(places):
            return f"{reason.instead} was not accepted"
        others = np.delete(plan.options, int(places[0]))
        if min(least_use(instance, np.append(others, one)) for one in mine) > 1 + 1e-9:
            return f"it does not fit instead of {reason.instead}"
    return ""


def _follow(instance: Instance, plan: Plan) -> bool:
    """Whether each request would compute its shares from the prices."""
    asked = instance.demands[plan.options] > 0
    price = np.where(asked, plan.prices[instance.paths[plan.options]], 1.0)
    root = np.where(asked, np.sqrt(price * instance.demands[plan.options]), 0.0)
    shares = root / price * root.sum(axis=1, keepdims=True)
    return bool(np.allclose(shares, plan.shares, rtol=1e-6, atol=0.0))


def _proof(values: FloatArray, bound: float, relaxed: float) -> Proof:
    """What the dual itself proves is not left to trust."""
    if bound == math.inf:
        return "none"
    return "dual" if bound >= _reach(values, relaxed) - 1e-6 else "search"


def _reach(values: FloatArray, bound: float) -> float:
    """A bound rounded down, where all values are whole numbers."""
    return math.floor(bound + 1e-6) if math.isfinite(bound) and bool(np.all(values % 1 == 0)) else bound


def _same(one: float, other: float, tolerance: float) -> bool:
    return math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)


def digest_of(value: Any) -> str:
    """Of a value as it would be written (BLAKE2b, 16 bytes); of a certificate without its own."""
    if isinstance(value, Certificate):
        value = msgspec.structs.replace(value, digest="")
    return hashlib.blake2b(msgspec.msgpack.encode(value), digest_size=16).hexdigest()
