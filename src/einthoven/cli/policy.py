"""``einthoven policy``: where what data may go, and why."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from einthoven.cli.offline import printed
from einthoven.clock import SystemClock
from einthoven.continuum import Region, read_continuum
from einthoven.errors import InputInvalid
from einthoven.names import is_pseudonym
from einthoven.server.wire import instant_of
from einthoven.trust.consent import PURPOSES, Consent, Purpose, read_consent
from einthoven.trust.entries import REASONS, Reason
from einthoven.trust.policy import WHY, Decision, Emergency, Policy, Question, decide, read_policy

__all__ = ["command"]

NOWHERE: Final = 1
"""Exit code: the policy permits it nowhere."""
_TEXT_MOST: Final = 2**20
_file = click.Path(path_type=Path, dir_okay=False, exists=True)
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
_policy = click.option(
    "--policy", "path", type=_file, default="policy.toml", show_default=True, help="The data policy."
)


@click.group(name="policy")
def command() -> None:
    """See where what data may go, for what, with whose consent."""


@command.command(name="check")
@_policy
@_json
def check(path: Path, as_json: bool) -> None:
    """Read a policy, and say what is wrong with it."""
    policy = _read(path)
    if as_json:
        printed({"version": policy.version, "digest": policy.digest, "rules": len(policy.rules)})
    else:
        click.echo(f"Version {policy.version}, {len(policy.rules)} rules, {len(policy.functions)} functions.")
        click.echo(policy.digest)


@command.command(name="explain")
@click.argument("patient")
@click.argument("function")
@_policy
@click.option(
    "--continuum",
    type=_file,
    default="continuum.toml",
    show_default=True,
    envvar="EINTHOVEN_CONTINUUM",
    help="The regions.",
)
@click.option(
    "--consent", "consents", type=_file, multiple=True, help="A FHIR R4 Consent; the newest counts."
)
@click.option("--purpose", type=click.Choice(list(PURPOSES)), default="treatment", show_default=True)
@click.option(
    "--at", type=click.DateTime(["%Y-%m-%dT%H:%M:%SZ"]), metavar="TIME", help="UTC, as 2026-11-27T10:00:00Z."
)
@click.option("--emergency", type=click.Choice(REASONS), help="As if this had been said to be one just now.")
@click.option("--role", default="clinician", show_default=True, help="Of whoever says that.")
@_json
def explain(
    patient: str,
    function: str,
    path: Path,
    continuum: Path,
    consents: tuple[Path, ...],
    purpose: Purpose,
    at: datetime | None,
    emergency: Reason | None,
    role: str,
    as_json: bool,
) -> int:
    """Say where FUNCTION may run on data of PATIENT, with which data, and why not elsewhere.

    Exit code 0: somewhere. 1: nowhere.
    """
    if not is_pseudonym(patient):
        raise InputInvalid("this is no pseudonym.", where="PATIENT", remedy="Never give a name.")
    policy = _read(path)
    regions = read_continuum(_text(continuum), str(continuum)).regions
    consent = _newest([read_consent(one.read_bytes()) for one in consents], patient)
    now_ns = SystemClock().utc_ns() if at is None else instant_of(at.replace(tzinfo=UTC))
    said = Emergency(by="whoever", role=role, reason=emergency, since_ns=now_ns) if emergency else None
    found = []
    for region in regions:
        asked = Question(function=function, region=region, purpose=purpose, consent=consent, now_ns=now_ns)
        found.append((region, decide(policy, asked, said)))
    if as_json:
        printed(
            {
                "patient": patient,
                "function": function,
                "purpose": purpose,
                "policy": {"version": policy.version, "digest": policy.digest},
                "consent": None if consent is None else {"id": consent.id, "version": consent.version},
                "regions": [_row(*one) for one in found],
            }
        )
    else:
        _print(found, policy, consent, function, purpose)
    return 0 if any(decision.is_permitted for _, decision in found) else NOWHERE


def _row(region: Region, decision: Decision) -> dict[str, Any]:
    return {
        "region": region.name,
        "tier": region.tier,
        "verdict": decision.verdict,
        "data": decision.data,
        "why": decision.why,
        "rule": decision.rule,
        "is_emergency": decision.emergency is not None,
    }


def _print(
    found: list[tuple[Region, Decision]], policy: Policy, consent: Consent | None, function: str, purpose: str
) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = 160
    said = f"consent {consent.id}, version {consent.version}, {consent.status}" if consent else "no consent"
    takes = " or ".join(policy.functions.get(function, ())) or "nothing that the policy knows of"
    console.print(f"{function} takes {takes}; for {purpose}; {said}; policy version {policy.version}.")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("region", "tier", "", "data", "rule", "why"):
        table.add_column(heading)
    for region, one in found:
        mark = Text("may", "green") if one.is_permitted else Text("may not", "red")
        table.add_row(region.name, region.tier, mark, one.data or "", one.rule, WHY[one.why])
    console.print(table)


def _newest(consents: list[Consent], patient: str) -> Consent | None:
    own = [one for one in consents if one.patient == patient]
    if len(own) != len(consents):
        raise InputInvalid("a consent is another patient's.", where="--consent")
    if len({one.id for one in own}) > 1:
        raise InputInvalid("the consents are not versions of one.", where="--consent")
    return max(own, key=lambda one: one.version, default=None)


def _read(path: Path) -> Policy:
    return read_policy(_text(path), str(path))


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_TEXT_MOST + 1).decode("utf-8", "replace")
