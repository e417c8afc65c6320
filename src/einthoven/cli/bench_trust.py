"""``einthoven bench trust``: what sealing, pseudonyms and the ledger cost."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console
from rich.table import Table

from einthoven.cli.machine import machine
from einthoven.cli.offline import printed
from einthoven.errors import InputInvalid
from einthoven.version import __version__

if TYPE_CHECKING:
    from einthoven.experiments.trust import TrustCosts

__all__ = ["command"]


@click.command(name="trust")
@click.option(
    "--entries",
    type=click.IntRange(min=1),
    default=100_000,
    show_default=True,
    help="Of the ledger that is verified.",
)
@click.option(
    "--database",
    help="Append to this database, postgresql://… or a path, instead of SQLite in a folder of its own; "
    "what is appended stays there.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(entries: int, database: str | None, as_json: bool) -> None:
    """Time a segment sealed and pseudonymised, entries kept in the ledger, and a ledger verified."""
    if find_spec("cryptography") is None:
        raise InputInvalid(
            "cryptography is not installed.", where="einthoven", remedy="pip install 'einthoven[trust]'"
        )
    from einthoven.experiments.trust import bench_trust  # noqa: PLC0415 - an extra

    with Console(stderr=True).status("Starting") as status:
        costs = bench_trust(entries, lambda what: status.update(f"Running: {what}"), database)
    if as_json:
        printed({**msgspec.to_builtins(costs), "machine": machine(), "version": __version__})
    else:
        _print(costs)


def _print(costs: "TrustCosts") -> None:
    console = Console()
    segment, ledger = costs.segment, costs.ledger
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column(f"a segment of {segment.payload_bytes} bytes")
    table.add_column("µs", justify="right")
    for what, us in (
        ("pseudonymise patient, device and dates", segment.pseudonymise_us),
        ("seal", segment.seal_us),
        ("[bold]both[/]", segment.both_us),
        ("open, and move the window", segment.open_us),
        ("open in the service, before it is decoded", segment.service_open_us),
        ("the same, of a session that it does not know", segment.service_session_us),
        ("begin a session", segment.session_us),
        ("decide whether it may go", segment.decide_us),
    ):
        table.add_row(what, f"{us:.1f}")
    console.print(table)
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("entries in a transaction")
    table.add_column(f"entries/s, {ledger.database}", justify="right")
    for one in ledger.append:
        table.add_row(str(one.batch), f"{one.per_s:.0f}")
    console.print(table)
    console.print(
        f"{ledger.entries} entries with {ledger.checkpoints} checkpoints, {ledger.export_mb} MB: verified in "
        f"[bold]{ledger.verify_s} s[/]. One entry proven in {ledger.prove_us:.0f} µs; a checkpoint "
        f"{ledger.checkpoint_us:.0f} µs, an entry {ledger.entry_us:.1f} µs."
    )
