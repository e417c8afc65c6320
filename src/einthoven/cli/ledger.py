"""``einthoven ledger``: what was decided and done, in an order that nobody can change unnoticed."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from einthoven.cli.offline import OFFLINE, opened, printed, with_database
from einthoven.cli.setting_flags import resolved, with_settings
from einthoven.clock import SystemClock
from einthoven.errors import InputInvalid, LedgerTampered, NotFound
from einthoven.records.files import write_whole
from einthoven.server.settings import Settings
from einthoven.server.wire import utc_text
from einthoven.storage.anchors import KeptAnchor, anchors_of, chain_of
from einthoven.storage.database import Statements
from einthoven.storage.ledgers import entries_between, other_ledger
from einthoven.trust.entries import ENTRY_KINDS, Entry, KeyChanged, read_entry

if find_spec("cryptography") is None:
    raise InputInvalid(
        "cryptography is not installed.", where="einthoven", remedy="pip install 'einthoven[trust]'"
    )

from einthoven.cli import anchors
from einthoven.runtime import ledgers
from einthoven.runtime.secret_files import keep_ledger_key, ledger_keys
from einthoven.trust.checkpoints import KeyRing, checkpoint_of
from einthoven.trust.exports import (
    EXPORT,
    ExportReport,
    print_growth,
    print_inclusion,
    read_growth,
    read_inclusion,
    verify_export,
    verify_inclusion,
)
from einthoven.trust.notes import (
    COSIGNS,
    SIGNS,
    Note,
    SigningKey,
    VerifyingKey,
    print_note,
    read_note,
    read_verifying_key,
)

if TYPE_CHECKING:
    from einthoven.trust.anchoring import ChainView
    from einthoven.trust.witnessing import Witnessed

__all__ = ["command"]

TAMPERED: Final = 1
"""Exit code: it was verified, and it is not what was signed."""
_APPENDED_AT_ONCE: Final = 1000
_TEXT_MOST: Final = 2**20
_SHOWN: Final = {"kind", "at_ns"}
_file = click.Path(path_type=Path, dir_okay=False, exists=True)
_output = click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write into this file instead."
)


@click.group(name="ledger")
def command() -> None:
    """Keep, show, export and verify the ledger: decisions, movements and accesses, signed.

    Keys lie in the data folder, closed if EINTHOVEN_PASSPHRASE is set. verify needs neither folder nor
    database. Exit code 1: what was verified is not what was signed, or a witness found two histories.
    """


command.add_command(anchors.command)


# -------------------------------------------------------------------- keeping


@command.command(name="create")
@with_database
@click.argument("name")
def create(name: str, organisation: str, as_json: bool, **flags: Any) -> None:
    """Begin an organisation's ledger; NAME is what others call it, such as clinic.example/ledger."""
    with _writing(flags) as (statements, folder):
        key = SigningKey.made(name)
        note = ledgers.create(statements, organisation, key, by=OFFLINE, now_ns=SystemClock().utc_ns())
        keep_ledger_key(folder, organisation, key)
    _say_checkpoint(note, as_json=as_json, more={"key": str(key.verifying)})
    if not as_json:
        click.echo(f"Its key, for whoever verifies it:\n{key.verifying}")


@command.command(name="append")
@with_database
@click.argument("file", type=click.File("rb"))
def append(file: Iterable[bytes], organisation: str, as_json: bool, **flags: Any) -> None:
    """Append entries from FILE, one JSON object a line; - is standard input.

    The service appends its own; this is for what is done beside it.
    """
    first, count = None, 0
    batches = list(_batches(file))  # before the transaction: nobody else writes while it lasts
    with _writing(flags) as (statements, _):
        for batch in batches:
            at = ledgers.append(statements, organisation, batch)
            first = at if first is None else first
            count += len(batch)
    if as_json:
        printed({"first": first, "entries": count})
    else:
        click.echo("Nothing to append." if first is None else f"Entries {first} to {first + count - 1}.")


def _batches(file: Iterable[bytes]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    for number, line in enumerate(file, 1):
        batch.append(_entry(line.rstrip(b"\r\n"), number))
        if len(batch) == _APPENDED_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _entry(line: bytes, number: int) -> Entry:
    """An entry as a person writes one: any order of fields, any spaces."""
    try:
        fields = json.loads(line)
        return msgspec.convert(fields, ENTRY_KINDS[fields["kind"]])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        what = f": {error}" if isinstance(error, msgspec.ValidationError) else ""
        raise InputInvalid(
            f"this is no entry of a ledger{what}.",
            where=f"line {number}",
            remedy="See docs/reference/ledger.md.",
        ) from None


@command.command(name="checkpoint")
@with_database
def checkpoint(organisation: str, as_json: bool, **flags: Any) -> None:
    """Sign a checkpoint of all entries, and print it."""
    with _writing(flags) as (statements, folder):
        keys = _keys(statements, folder, organisation)
        note = ledgers.checkpoint(statements, organisation, keys, SystemClock().utc_ns())
    _say_checkpoint(note, as_json=as_json)


@command.command(name="keys")
@with_database
def keys(organisation: str, as_json: bool, **flags: Any) -> None:
    """List the keys that the ledger believes, its own and those of witnesses, and since when.

    "as_witness" is what another ledger is to believe if this one is to be its witness.
    """
    with _reading(flags) as (statements, _):
        ring = ledgers.ring_of(statements, organisation)
    rows = [
        {
            "key": str(one.key),
            "of": "ledger" if one.key.kind == SIGNS else "witness",
            "as_witness": str(VerifyingKey(one.key.name, one.key.public, COSIGNS))
            if one.key.kind == SIGNS
            else None,
            "after": max(0, one.after),
            "until": one.until,
        }
        for one in ring.keys
    ]
    printed(rows, as_table=not as_json)


@command.command(name="rotate")
@with_database
def rotate(organisation: str, as_json: bool, **flags: Any) -> None:
    """Sign with a new key from now on; the old ones sign for it, and then no more."""
    with _writing(flags) as (statements, folder):
        old = _keys(statements, folder, organisation)
        ring = ledgers.ring_of(statements, organisation)
        new = SigningKey.made(ring.origin)
        now_ns = SystemClock().utc_ns()
        size = ledgers.head(statements, organisation).size + 1
        changes = [_change("introduced", new.verifying, now_ns)]
        changes += [_change("retired", key, now_ns) for key in ring.in_force(size, SIGNS)]
        note = ledgers.change_keys(statements, organisation, changes, old, now_ns)
        keep_ledger_key(folder, organisation, new)
    _say_checkpoint(note, as_json=as_json, more={"key": str(new.verifying)})
    if not as_json:
        click.echo(f"The new key, for whoever verifies it:\n{new.verifying}")


@command.command(name="believe")
@with_database
@click.argument("key")
@click.option("--no-more", is_flag=True, help="Not from now on.")
def believe(key: str, no_more: bool, organisation: str, as_json: bool, **flags: Any) -> None:
    """Enter the KEY of a witness into the ledger, so that its cosignatures count."""
    with _writing(flags) as (statements, folder):
        now_ns = SystemClock().utc_ns()
        change = _change("retired" if no_more else "introduced", read_verifying_key(key), now_ns)
        signers = _keys(statements, folder, organisation)
        note = ledgers.change_keys(statements, organisation, [change], signers, now_ns)
    _say_checkpoint(note, as_json=as_json)


# -------------------------------------------------------------------- showing


@command.command(name="show")
@with_database
@click.option("--start", type=click.IntRange(min=0), help="First entry.  [default: the newest]")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Entries.")
@click.option("--kind", help="Only these, such as consent-changed.")
@click.option("--patient", help="Only of this pseudonym.")
def show(
    start: int | None,
    limit: int,
    kind: str | None,
    patient: str | None,
    organisation: str,
    as_json: bool,
    **flags: Any,
) -> None:
    """Show entries, the oldest first."""
    with _reading(flags) as (statements, _):
        head = ledgers.head(statements, organisation)
        first = max(0, head.size - limit) if start is None and not (kind or patient) else start or 0
        rows = []
        for number, content in enumerate(entries_between(statements, organisation, first, head.size), first):
            fields = msgspec.to_builtins(read_entry(content, f"entry {number}"))
            if kind in (None, fields["kind"]) and patient in (None, fields.get("patient")):
                rows.append({"number": number, **fields})
            if len(rows) == limit:
                break
    if as_json:
        printed({"origin": head.origin, "size": head.size, "signed": head.signed, "entries": rows})
        return
    printed(
        [
            {
                "number": row["number"],
                "at": utc_text(row["at_ns"]),
                "kind": row["kind"],
                "what": ", ".join(
                    f"{name} {value}"
                    for name, value in row.items()
                    if name not in _SHOWN | {"number"} and value != ""
                ),
            }
            for row in rows
        ],
        as_table=True,
    )
    click.echo(f"{head.origin}: {head.size} entries, {head.size - head.signed} behind the last checkpoint.")


@command.command(name="prove")
@with_database
@click.argument("number", type=click.IntRange(min=0), required=False)
@click.option("--since", type=click.IntRange(min=0), help="That the ledger only grew since so many entries.")
@_output
def prove(
    number: int | None, since: int | None, output: Path | None, organisation: str, as_json: bool, **flags: Any
) -> None:
    """Print the proof that entry NUMBER is in the ledger, or, for a witness, that the ledger only grew."""
    if (number is None) == (since is None):
        raise click.UsageError("give the number of an entry, or --since.")
    with _reading(flags) as (statements, _):
        if number is not None:
            text = print_inclusion(ledgers.prove_inclusion(statements, organisation, number))
        else:
            text = print_growth(ledgers.prove_growth(statements, organisation, since or 0))
    _give(text, output, as_json=as_json, name="proof")


@command.command(name="export")
@with_database
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def export(file: Path, organisation: str, as_json: bool, **flags: Any) -> None:
    """Write all that checkpoints cover into FILE; einthoven ledger verify needs nothing else."""
    with _reading(flags) as (statements, _):
        size = ledgers.head(statements, organisation).signed
        with file.open("wb") as out, _bar("Exporting", size) as (bar, task):
            for piece in ledgers.export(statements, organisation):
                out.write(piece)
                bar.advance(task, piece[:1] == b"{")
    if as_json:
        printed({"file": str(file), "entries": size, "bytes": file.stat().st_size})
    else:
        click.echo(f"{size} entries, {file.stat().st_size / 1e6:.1f} MB: {file}")


# -------------------------------------------------------------------- verifying


@command.command(name="verify")
@click.argument("file", type=_file)
@click.option("--key", "keys", multiple=True, help="The ledger's key, as ledger keys prints it.")
@click.option("--kept", type=_file, multiple=True, help="A checkpoint of this ledger that was saved before.")
@click.option("--witnesses", type=click.IntRange(min=0), default=0, help="So many must have cosigned.")
@click.option("--anchors", "with_anchors", is_flag=True, help="Hold it against the chain of --chain-url.")
@with_settings(*anchors.CHAIN_SETTINGS)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def verify(
    file: Path,
    keys: tuple[str, ...],
    kept: tuple[Path, ...],
    witnesses: int,
    with_anchors: bool,
    as_json: bool,
    **flags: Any,
) -> int:
    """Verify an export, or the proof of one entry: every root, every signature, every byte.

    Exit code 0: it is what was signed, and what the chain says. 1: it is not.
    """
    trusted = [read_verifying_key(key) for key in keys]
    notes = [_note(one) for one in kept]
    settings = resolved(flags).settings
    if with_anchors and not settings.chain_url:
        raise click.UsageError("anchors are on a chain: --chain-url.")
    view = _view_of(file, settings) if with_anchors else None
    anchored: int | None = None
    try:
        with file.open("rb") as content:
            if content.readline(len(EXPORT)) != EXPORT:
                if with_anchors:
                    raise click.UsageError("only an export can be held against a chain.")
                return _verify_proof(file, trusted, as_json=as_json)
            content.seek(0)
            with _bar("Verifying", None) as (bar, task):
                report = verify_export(
                    content,
                    keys=trusted,
                    kept=notes,
                    witnesses=witnesses,
                    sizes=[view.latest.size] if view and view.latest else [],
                    told=lambda done, of: bar.update(task, completed=done, total=of),
                )
        if view is not None:
            anchored = anchors.hold_against(settings, report.origin, view, report.roots, report.newest_roots)
    except LedgerTampered as error:
        return _say_tampered(error, as_json=as_json)
    _say_verified(report, notes, as_json=as_json, view=view, anchored=anchored)
    return 0


def _view_of(file: Path, settings: Settings) -> "ChainView | None":
    with file.open("rb") as content:
        content.readline(_TEXT_MOST)
        origin = content.readline(_TEXT_MOST).decode("ascii", "replace").strip()
    return anchors.asked_view(settings, origin, settings.chain_contract)


@command.command(name="check")
@anchors.with_chain
def check(organisation: str, as_json: bool, **flags: Any) -> int:
    """Verify the ledger as it is kept here, and all that is kept beside it; and what a chain says of it.

    Exit code 0: it is what was signed, and anchored. 1: it is not.
    """
    settings = resolved(flags).settings
    with _reading(flags) as (statements, _):
        origin = ledgers.head(statements, organisation).origin
        kept, known = chain_of(statements, organisation), anchors_of(statements, organisation)
    contract = settings.chain_contract or (kept.contract if kept else "")
    view = anchors.asked_view(settings, origin, contract) if kept or contract else None
    try:
        with _reading(flags) as (statements, folder), _bar("Verifying", None) as (bar, task):
            own = [key.verifying for key in ledger_keys(folder, organisation, origin)]
            report = ledgers.verify_kept(
                statements,
                organisation,
                own,
                lambda done, of: bar.update(task, completed=done, total=of),
                [view.latest] if view and view.latest else [],
            )
    except LedgerTampered as error:
        return _say_tampered(error, as_json=as_json)
    anchored = view.latest.size if view and view.latest else known[-1].size if known and not view else 0
    _say_verified(report, [], as_json=as_json, view=view, anchored=anchored, known=known)
    return 0


def _verify_proof(file: Path, trusted: list[VerifyingKey], *, as_json: bool) -> int:
    if not trusted:
        raise click.UsageError("a proof needs the ledger's key: --key.")
    proof = read_inclusion(_text(file), str(file))
    checkpoint = verify_inclusion(proof, KeyRing.of(trusted[0].name, trusted), str(file))
    if as_json:
        printed(
            {
                "verified": True,
                "origin": checkpoint.origin,
                "number": proof.number,
                "entries": checkpoint.size,
                "entry": json.loads(proof.entry),
            }
        )
    else:
        click.echo(proof.entry.decode())
        click.secho(
            f"Verified: this is entry {proof.number} of {checkpoint.origin}, of {checkpoint.size} at "
            f"{utc_text(checkpoint.made_ns)}.",
            fg="green",
        )
    return 0


def _say_tampered(error: LedgerTampered, *, as_json: bool) -> int:
    if as_json:
        printed({"verified": False, **error.as_dict()})
    else:
        click.secho(f"NOT what was signed: {error}", fg="red", bold=True)
    return TAMPERED


def _say_verified(
    report: ExportReport,
    kept: list[Note],
    *,
    as_json: bool,
    view: "ChainView | None" = None,
    anchored: int | None = None,
    known: Sequence[KeptAnchor] = (),
) -> None:
    believed = [str(one.key) for one in report.ring.keys if one.key.kind == SIGNS and one.until is None]
    if as_json:
        printed(
            {
                "verified": True,
                "origin": report.origin,
                "entries": report.entries,
                "checkpoints": report.checkpoints,
                "root": report.root.hex(),
                "made": utc_text(report.made_ns),
                "kinds": report.kinds,
                "witnesses": report.witnesses,
                "keys": believed,
                "key_given": report.is_pinned,
                "kept": len(kept),
                "anchored": anchored,
                "chain_asked": view is not None,
                "account": view.site if view else None,
            }
        )
        return
    click.secho(
        f"Verified: {report.origin}, {report.entries} entries, {report.checkpoints} checkpoints.", fg="green"
    )
    click.echo(f"root     {report.root.hex()}")
    click.echo(f"entries  {utc_text(report.first_ns)} to {utc_text(report.last_ns)}")
    click.echo(f"signed   {utc_text(report.made_ns)}")
    printed([{"kind": kind, "entries": count} for kind, count in report.kinds.items()], as_table=True)
    for name, size in report.witnesses.items():
        click.echo(f"{name} cosigned {size} of {report.entries} entries")
    if anchored is not None and (view or known):
        anchors.say_anchored(anchored, report.entries, view, known)
    if not report.is_pinned:
        click.secho(f"Whose key it is was not checked. Is it this one?  {', '.join(believed)}", fg="yellow")
    if not kept and not report.witnesses and not (view and anchored):
        click.secho(
            "Whether this is the newest was not checked: give --kept, or have witnesses or anchors.",
            fg="yellow",
        )


# -------------------------------------------------------------------- witnessing


@command.command(name="witness")
@with_database
@click.argument("file", type=_file)
@click.option(
    "--key",
    "given",
    multiple=True,
    help="The other ledger's key: at first, and a new one without export.",
)
@_output
def witness(
    file: Path, given: tuple[str, ...], output: Path | None, organisation: str, as_json: bool, **flags: Any
) -> int:
    """Look at another site's ledger, and cosign its newest checkpoint if it only grew since the last time.

    FILE is its export, or what its einthoven ledger prove --since printed. What came of it is an entry of
    this ledger. Exit code 1: two histories were signed; both checkpoints are printed, and are the proof.
    """
    with _writing(flags) as (statements, folder):
        signers = _keys(statements, folder, organisation)
        if not signers:
            raise NotFound("this ledger's key is not here.", where="ledger key")
        seen = _witnessed(
            statements, organisation, file, [read_verifying_key(one) for one in given], signers[0]
        )
    if seen.finding is not None:
        if as_json:
            printed({"finding": msgspec.to_builtins(seen.finding)})
        else:
            click.secho(seen.finding.text, fg="red", bold=True, err=True)
            click.echo(f"{seen.finding.before}\n{seen.finding.after}", nl=False)
        return TAMPERED
    note = read_note(seen.remembered)
    text = print_note(note.with_signatures([seen.cosignature] if seen.cosignature else []))
    _give(text, output, as_json=as_json, name="checkpoint")
    return 0


def _witnessed(
    statements: Statements, organisation: str, file: Path, given: list[VerifyingKey], key: SigningKey
) -> "Witnessed":
    now_ns = SystemClock().utc_ns()
    with file.open("rb") as content:
        is_export = content.readline(len(EXPORT)) == EXPORT
        origin = content.readline(_TEXT_MOST).decode("ascii", "replace").strip() if is_export else ""
    if not is_export:
        growth = read_growth(_text(file), str(file))
        origin = checkpoint_of(growth.note, str(file)).origin
    kept = other_ledger(statements, organisation, origin)
    ring = ledgers.ring_of_other(statements, organisation, origin, given)
    if not is_export:
        return ledgers.witness_other(
            statements, organisation, growth.note, ring=ring, key=key, now_ns=now_ns, proof=growth.path
        )
    sizes = [checkpoint_of(read_note(kept.note)).size] if kept else []
    with file.open("rb") as content:
        report = verify_export(content, keys=[one.key for one in ring.keys], sizes=sizes)
    return ledgers.witness_other(
        *(statements, organisation, read_note(report.newest)),
        ring=report.ring, key=key, now_ns=now_ns, old_root=report.roots.get,
    )  # fmt: skip


@command.command(name="cosigned")
@with_database
@click.argument("file", type=_file)
def cosigned(file: Path, organisation: str, as_json: bool, **flags: Any) -> None:
    """Keep the cosignatures that witnesses put under a checkpoint of this ledger."""
    with _writing(flags) as (statements, _):
        added = ledgers.add_cosignatures(statements, organisation, _note(file))
    if as_json:
        printed({"added": added})
    else:
        click.echo(f"{added} new.")


# -------------------------------------------------------------------- what they share


@contextmanager
def _writing(flags: dict[str, Any]) -> Iterator[tuple[Statements, Path]]:
    database, settings = opened(flags)
    with closing(database.connect()) as connection, connection.writing() as statements:
        yield statements, settings.folder


@contextmanager
def _reading(flags: dict[str, Any]) -> Iterator[tuple[Statements, Path]]:
    database, settings = opened(flags)
    with closing(database.connect()) as connection, connection.reading() as statements:
        yield statements, settings.folder


def _keys(statements: Statements, folder: Path, organisation: str) -> list[SigningKey]:
    """Those that are here and in force for the next checkpoint."""
    ring = ledgers.ring_of(statements, organisation)
    believed = ring.in_force(ledgers.head(statements, organisation).size + 1, SIGNS)
    return [key for key in ledger_keys(folder, organisation, ring.origin) if key.verifying in believed]


def _change(change: Any, key: VerifyingKey, now_ns: int) -> KeyChanged:
    return KeyChanged(at_ns=now_ns, change=change, key=str(key), by=OFFLINE)


def _say_checkpoint(note: Note, *, as_json: bool, more: dict[str, Any] | None = None) -> None:
    said = checkpoint_of(note)
    if as_json:
        text = {"root": said.root.hex(), "made": utc_text(said.made_ns), "checkpoint": print_note(note)}
        printed({"origin": said.origin, "entries": said.size, **text, **(more or {})})
    else:
        click.echo(print_note(note), nl=False)


def _give(text: str, output: Path | None, *, as_json: bool, name: str) -> None:
    if output is not None:
        write_whole(output, text.encode())
        click.echo(f"{name.capitalize()}: {output}", err=True)
    elif as_json:
        printed({name: text})
    else:
        sys.stdout.write(text)


def _note(file: Path) -> Note:
    return read_note(_text(file), str(file))


def _text(file: Path) -> str:
    with file.open("rb") as content:
        return content.read(_TEXT_MOST).decode("utf-8", "replace")


@contextmanager
def _bar(what: str, total: int | None) -> Iterator[tuple[Progress, Any]]:
    console = Console(stderr=True)
    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("entries"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield bar, bar.add_task(what, total=total)
