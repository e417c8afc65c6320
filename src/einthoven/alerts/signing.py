"""Who answers for a document of alert rules: signature, verification, history.

What is signed are the bytes that are kept, and what is verified is read, in this order: a document cannot
mean something else after its program was replaced. The signature is an HMAC-SHA256 under a key of the
service, which has authenticated the account: whoever can write the database and has no key can neither make
nor alter nor reorder a document. (Ed25519 would serve somebody who verifies without being able to sign;
nobody here does.)
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from einthoven.alerts.rules import AlertRules, parse_rules
from einthoven.errors import EinthovenError, RulesRefused

__all__ = ["Signature", "SignedRules", "rules_in_force", "sign", "verify"]

SIGNERS: Final = ("clinician",)
"""Roles whose accounts may sign."""
_KEY_BYTES_LEAST: Final = 32


class Signature(msgspec.Struct, frozen=True):
    """Who signed what, when; as a row."""

    account: str
    role: str
    signed_ns: int
    org: str
    patient: str
    version: int
    digest: str
    """SHA-256 of the document."""
    before: str
    """Digest of the version before; empty for the first."""
    key: str
    """Which of the service's keys."""
    mac: str = ""
    """HMAC-SHA256 over all of the above."""

    def statement(self) -> bytes:
        """What is signed."""
        return msgspec.json.encode(msgspec.structs.replace(self, mac=""), order="sorted")


class SignedRules(msgspec.Struct, frozen=True):
    """A document as it was signed, and its signature; as a row with key org, patient, version."""

    document: str
    """JSON, with its names in order."""
    signature: Signature


def sign(
    rules: AlertRules,
    *,
    account: str,
    role: str,
    at_ns: int,
    keys: Mapping[str, bytes],
    key: str,
    before: SignedRules | None = None,
) -> SignedRules:
    """Put a document into force on behalf of an account.

    Raises
    ------
    RulesRefused : the account may not sign, the version is not the next one, or the document before is
        of another patient.
    """
    if role not in SIGNERS:
        raise RulesRefused(
            "this account may not sign alert rules.", where="role", remedy="A clinician's account signs them."
        )
    _in_turn(rules.org, rules.patient, rules.version, at_ns, before)
    document = msgspec.json.encode(rules, order="sorted")
    unsigned = Signature(
        account=account,
        role=role,
        signed_ns=at_ns,
        org=rules.org,
        patient=rules.patient,
        version=rules.version,
        digest=hashlib.sha256(document).hexdigest(),
        before=before.signature.digest if before else "",
        key=key,
    )
    mac = _mac(_key(keys, key), unsigned)
    return SignedRules(document.decode(), msgspec.structs.replace(unsigned, mac=mac))


def verify(signed: SignedRules, keys: Mapping[str, bytes]) -> AlertRules:
    """The rules, if they are what was signed.

    Raises
    ------
    RulesRefused : not signed, altered since, signed by no clinician, or unreadable.
    """
    signature = signed.signature
    document = signed.document.encode("utf-8", "surrogatepass")
    is_signed = hmac.compare_digest(
        _mac(_key(keys, signature.key), signature), signature.mac.encode("ascii", "replace").decode()
    )
    if not is_signed or signature.role not in SIGNERS:
        raise RulesRefused(
            "the alert rules carry no valid signature.",
            where=f"version {signature.version}",
            remedy="Sign them again, with a clinician's account.",
        )
    if not hmac.compare_digest(hashlib.sha256(document).hexdigest(), signature.digest):
        raise RulesRefused(
            "the alert rules were altered after they were signed.",
            where=f"version {signature.version}",
            remedy="Go back to the version before, and find out who writes the database.",
        )
    try:
        rules = parse_rules(document)
    except EinthovenError as error:
        raise RulesRefused(
            f"the alert rules were signed for another program: {error.what}",
            where=f"version {signature.version}",
            remedy="Sign them again, with a clinician's account.",
        ) from None
    if (rules.org, rules.patient, rules.version) != (signature.org, signature.patient, signature.version):
        raise RulesRefused(
            "the signature is of other alert rules.",
            where=f"version {signature.version}",
            remedy="Sign them again, with a clinician's account.",
        )
    return rules


def rules_in_force(
    history: Sequence[SignedRules], keys: Mapping[str, bytes], *, org: str, patient: str
) -> AlertRules | None:
    """The newest of a patient's documents, oldest given first, after all of them were verified.

    Raises
    ------
    RulesRefused : one is unsigned or altered, one is missing, or they are out of turn.
    """
    rules: AlertRules | None = None
    before: SignedRules | None = None
    for signed in history:
        rules = verify(signed, keys)
        if (rules.org, rules.patient) != (org, patient):
            raise RulesRefused(
                "these are the alert rules of another patient.", where=f"version {rules.version}"
            )
        _in_turn(org, patient, rules.version, signed.signature.signed_ns, before)
        if signed.signature.before != (before.signature.digest if before else ""):
            raise RulesRefused(
                "a version of the alert rules is missing or was replaced.",
                where=f"version {rules.version}",
                remedy="Restore the history from a backup.",
            )
        before = signed
    return rules


def _in_turn(org: str, patient: str, version: int, at_ns: int, before: SignedRules | None) -> None:
    last = before.signature if before else None
    if last and (last.org, last.patient) != (org, patient):
        raise RulesRefused("the version before is of another patient.", where=f"version {version}")
    expected = last.version + 1 if last else 1
    if version != expected or (last and at_ns < last.signed_ns):
        raise RulesRefused(
            f"the next version is {expected}, signed after the one before.",
            where=f"version {version}",
            remedy="Read the version in force, change it, and count one up.",
        )


def _key(keys: Mapping[str, bytes], name: str) -> bytes:
    key = keys.get(name, b"")
    if len(key) < _KEY_BYTES_LEAST:
        raise RulesRefused(
            "the key of this signature is not known.",
            where="key",
            remedy="Configure a signing key of at least 32 bytes; keep old ones to read old rules.",
        )
    return key


def _mac(key: bytes, signature: Signature) -> str:
    return hmac.new(key, signature.statement(), hashlib.sha256).hexdigest()
