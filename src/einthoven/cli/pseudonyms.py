"""``einthoven pseudonyms``: what leaves a site of its patients' data; and, for a reason, whose it was."""

import csv
import io
from contextlib import closing
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

import click
import msgspec
from rich.console import Console
from rich.progress import track

from einthoven.cli.offline import OFFLINE, opened, printed, with_database
from einthoven.clock import SystemClock
from einthoven.errors import InputInvalid, KeyRefused, NotFound
from einthoven.records.files import write_whole
from einthoven.trust.anonymity import Anonymity, anonymity
from einthoven.trust.deidentification import RESEARCH, SAFE_HARBOR, FieldClass, Profile, deidentified
from einthoven.trust.entries import REASONS, Reason
from einthoven.trust.pseudonyms import PseudonymKey, epoch_of, reidentify

if find_spec("cryptography") is None:
    raise InputInvalid(
        "cryptography is not installed.", where="einthoven", remedy="pip install 'einthoven[trust]'"
    )

from einthoven.runtime import ledgers
from einthoven.runtime.secret_files import keep_secret, secrets_in

__all__ = ["command"]

TOO_FEW: Final = 1
"""Exit code: somebody would be too alone in the export; nothing was written."""
_PROFILES: Final[dict[str, Profile]] = {one.name: one for one in (SAFE_HARBOR, RESEARCH)}
_RULES_MOST: Final = 2**20
_WIDE: Final = 160
_file = click.Path(path_type=Path, dir_okay=False, exists=True)


class ExportRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What each column of a table is, and how it leaves."""

    purpose: str
    fields: dict[str, FieldClass]
    profile: Literal["safe-harbor", "research"] = "safe-harbor"
    epoch: int = 1
    quasi_identifiers: tuple[str, ...] = ()
    k: int = 5
    sensitive: str = ""


@click.group(name="pseudonyms")
def command() -> None:
    """Let data leave without saying whose it is; find whose it was, with a reason and an entry in the ledger.

    The site's secret lies in the data folder, closed if EINTHOVEN_PASSPHRASE is set; who has it can undo all.
    """


@command.command(name="export")
@with_database
@click.argument("table", type=_file)
@click.argument("output", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--rules", type=_file, required=True, help="TOML: what each column is; see docs/trust.md.")
@click.option("--anyway", is_flag=True, help="Write it though somebody is too alone in it.")
def export(
    table: Path, output: Path, rules: Path, anyway: bool, organisation: str, as_json: bool, **flags: Any
) -> int:
    """Write the CSV file TABLE as OUTPUT without what says who it is, and count how alone anybody is in it.

    Exit code 1: a group of the quasi-identifiers is smaller than k, and nothing was written.
    """
    said = _rules(rules)
    folder = opened(flags)[1].folder
    key = PseudonymKey.of(_secret(folder, organisation, make=True), organisation, said.purpose, said.epoch)
    patient = next((name for name, of in said.fields.items() if of == "patient"), "")
    year = datetime.fromtimestamp(SystemClock().utc_ns() / 1e9, UTC).year
    with table.open(newline="", encoding="utf-8-sig") as file:
        rows = [
            deidentified(
                {name: value for name, value in row.items() if name and value != ""},
                said.fields,
                _PROFILES[said.profile],
                key,
                now_year=year,
            )
            for row in track(csv.DictReader(file), "Rows", console=Console(stderr=True), transient=True)
        ]
    counted = [dict.fromkeys(said.quasi_identifiers, "") | row for row in rows]
    report = anonymity(
        counted, said.quasi_identifiers, patient=patient, wanted=said.k, sensitive=said.sensitive or None
    )
    is_written = report.is_enough or anyway
    if is_written:
        write_whole(output, _csv(rows))
    if as_json:
        printed({"written": is_written, **msgspec.to_builtins(report, str_keys=True)})
    else:
        _print(report, output if is_written else None)
    return 0 if is_written else TOO_FEW


def _csv(rows: list[dict[str, Any]]) -> bytes:
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _print(report: Anonymity, output: Path | None) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = _WIDE
    console.print(
        f"{report.rows} rows of {report.patients} patients in {report.groups} groups by "
        f"{', '.join(report.quasi_identifiers) or 'nothing'}: k = {report.k}."
    )
    if not report.is_enough:
        console.print(
            f"[red]{report.patients_below} patients ({report.rows_below} rows) are in groups of less than "
            f"{report.wanted}.[/] Make ages or places coarser, or leave them out."
        )
    if report.alike:
        console.print(f"[yellow]In {report.alike} groups everybody has the same.[/]")
    console.print(f"Written: {output}" if output else "Nothing was written; --anyway does.")


@command.command(name="find")
@with_database
@click.argument("pseudonym")
@click.option("--purpose", required=True, help="For which it was made.")
@click.option(
    "--identifiers", type=click.File("r"), required=True, help="All of the site's, one a line; - too."
)
@click.option("--reason", type=click.Choice(REASONS), required=True)
@click.option("--case", default="", help="Number of the case.")
@click.option("--by", default=OFFLINE, show_default=True, help="Account of whoever is told.")
def find(
    pseudonym: str,
    purpose: str,
    identifiers: Any,
    reason: Reason,
    case: str,
    by: str,
    organisation: str,
    as_json: bool,
    **flags: Any,
) -> None:
    """Print whose PSEUDONYM it is, after the ledger has an entry that it was asked, by whom and why."""
    database, settings = opened(flags)
    secret = _secret(settings.folder, organisation, make=False)
    key = PseudonymKey.of(secret, organisation, purpose, epoch_of(pseudonym))
    known = (line.rstrip("\r\n") for line in identifiers)
    who, entry = reidentify(
        key, pseudonym, known, by=by, reason=reason, case=case, at_ns=SystemClock().utc_ns()
    )
    with closing(database.connect()) as connection, connection.writing() as statements:
        number = ledgers.append(statements, organisation, [entry])
    if as_json:
        printed({"identifier": who, "entry": number})
    else:
        click.echo(f"Entry {number} of the ledger.", err=True)
        click.echo(who)


def _secret(folder: Path, organisation: str, *, make: bool) -> bytes:
    found = secrets_in(folder, "pseudonyms", f"{organisation}.")
    if found:
        return next(iter(found.values()))
    if not make:
        raise NotFound("this site's secret is not here.", where="keys", remedy="Ask where it was made.")
    try:
        return keep_secret(folder, "pseudonyms", f"{organisation}.1")
    except KeyRefused:
        return next(iter(secrets_in(folder, "pseudonyms", f"{organisation}.").values()))


def _rules(path: Path) -> ExportRules:
    with path.open("rb") as file:
        content = file.read(_RULES_MOST)
    try:
        said = msgspec.toml.decode(content, type=ExportRules)
    except msgspec.MsgspecError as error:
        raise InputInvalid(f"the rules cannot be read: {error}.", where=str(path)) from None
    asked = [*said.quasi_identifiers, *([said.sensitive] if said.sensitive else [])]
    unknown = [name for name in asked if name not in said.fields]
    if unknown:
        raise InputInvalid(
            f"there is no field {', '.join(map(repr, unknown))}; who is alone could not be told by it.",
            where=str(path),
            remedy="Name fields of the table [fields].",
        )
    return said
